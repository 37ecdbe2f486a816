"""Plots as SVG that follow the page's light or dark theme.

Plots are drawn with one fixed colour per *role*. Inline in a page each role becomes a CSS variable; in a file of its
own the light colours stay, on a light card, so that it can be read anywhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

ROLES: dict[str, tuple[str, str]] = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "soft": ("#59636e", "#a3adb8"),
    "grid": ("#e3e7eb", "#2b3138"),
    "faint": ("#c6cdd5", "#454d57"),
    "paper": ("#fffffe", "#14171b"),
    "baseline": ("#5d6975", "#aab4bf"),
    "loss": ("#0a66a8", "#5fb3f0"),
    "architecture": ("#b34a00", "#f59a52"),
    "towers": ("#1a7f4b", "#5fc792"),
    "rerank": ("#a3195b", "#f07fb2"),
    "own": ("#5b3fb5", "#b7a1f5"),
    "control": ("#8b939d", "#7a838e"),
    "rank-1": ("#0b3c6f", "#a6d5fb"),
    "rank-2": ("#1d679f", "#74b4e6"),
    "rank-3": ("#4593c4", "#4c92c8"),
    "rank-4": ("#8abfdf", "#35719f"),
    "rank-5": ("#bcd9eb", "#2b5575"),
    "rank-6": ("#dfe5ea", "#2a3a49"),
    "rank-7": ("#eff1f3", "#22272d"),
    "on-strong": ("#fefefe", "#0e1114"),
}
"""Role → colour on a light and on a dark page. Families also differ in lightness, for the colour-blind."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segue",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
}


def colour(role: str) -> str:
    """Return the light colour of a role, as plots are drawn."""
    return ROLES[role][0]


class Plot(Canvas):
    """A plot as a matplotlib figure, to change and save; a notebook shows it as a picture.

    Attributes:
        caption: how to read it, as plain text.
    """

    caption: str = ""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw_canvas(
    fill: Callable[[Canvas], None], size: tuple[float, float], *, title: str = "", stamp: str = "", dpi: float = 72.0
) -> Plot:
    """Return a canvas without background that ``fill`` has drawn on.

    Args:
        fill: called with the empty canvas.
        size: width and height in inches of 72 points.
        title: written above it, unless ``fill`` writes its own.
        stamp: label in the lower left corner, below everything else.
        dpi: pixels per inch where it is saved as a picture.
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        canvas = Plot(figsize=size, dpi=dpi, layout="constrained", facecolor="none")
        if stamp:
            foot = 16 / 72 / size[1]
            canvas.set_layout_engine("constrained", rect=(0, foot, 1, 1 - foot))
            canvas.text(4 / 72 / size[0], 6 / 72 / size[1], stamp, fontsize=13, fontweight="bold",
                        color=colour("architecture"))  # fmt: skip
        if title:
            write_title(canvas, title)
        fill(canvas)
    return canvas


def write_title(canvas: Canvas, title: str) -> None:
    """Write the title above the plot, in place of an earlier one."""
    canvas.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=colour("ink"))


def tidy(axes: mpl.axes.Axes, grid: str = "") -> mpl.axes.Axes:
    """Style axes: soft spines and ticks, a hairline grid along one axis or none."""
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_color(colour("faint"))
    axes.tick_params(colors=colour("soft"), labelcolor=colour("soft"), length=3)
    axes.xaxis.label.set_color(colour("soft"))
    axes.yaxis.label.set_color(colour("soft"))
    if grid:
        axes.grid(axis=grid, color=colour("grid"), linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def to_svg(figure: Canvas, name: str) -> str:
    """Write the figure as SVG text without prolog, its ids made unique by ``name``."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        # savefig would draw everything twice, the first time for the layout alone
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text).strip()


def inline_svg(svg: str, *, label: str) -> str:
    """Make the SVG part of a page: its colours follow the theme, its text the page's font.

    Args:
        svg: result of ``to_svg``.
        label: what the plot shows, already escaped for an attribute.
    """
    for role, (light, _) in ROLES.items():
        svg = re.sub(rf"(?<=: ){light}\b", f"var(--plot-{role})", svg)
    head, _, rest = svg.partition(">")
    view = re.search(r'viewBox="[^"]+"', head)
    # the namespaces are implied inside HTML, and a page that names no address at all is easier to trust
    rest = rest.replace("xlink:href", "href")
    return f'<svg {view[0] if view else ""} role="img" aria-label="{label}">{rest}'


def standalone_svg(svg: str) -> str:
    """Make the SVG a file of its own: a light card behind it, any sans-serif font."""
    head, _, rest = svg.partition(">")
    svg = f'{head}><rect width="100%" height="100%" rx="6" fill="{ROLES["paper"][0]}"/>{rest}'
    return svg.replace("'DejaVu Sans'", "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans'") + "\n"


def theme_variables(dark: bool) -> str:
    """Return the CSS variables of one theme."""
    return " ".join(f"--plot-{role}: {pair[dark]};" for role, pair in ROLES.items())
