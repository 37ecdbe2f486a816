"""The plots of the headline: intervals of R@5, recall against k, cosine against R@5."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from segue.reports.document import Figure
from segue.reports.plots.label_places import Box, Point, place_labels, spread
from segue.reports.plots.svg import STYLE, canvas, colour, tidy, to_svg
from segue.reports.record import Comparison, Row, mapping, number, sequence
from segue.reports.sections.summary import highest_cosine
from segue.reports.text.markup import code, plain, to_text
from segue.reports.text.numbers import PERCENT, count, of_things

LONGEST_NAME = 32
FAMILY_WORDS = {"baseline": "baselines", "loss": "losses", "architecture": "architectures", "towers": "two towers",
                "rerank": "rerankers", "other": "other"}  # fmt: skip


def contestants(comparison: Comparison) -> list[Row]:
    """Measured rows that are not controls."""
    return [row for row in comparison.rows if row.intent != "control" and row.metric("R@5") is not None]


def label_of(row: Row, comparison: Comparison) -> str:
    """The name, cut where it would leave no room for the plot, with the two marks that plots share."""
    name = shortened(row.name)
    return f"{'★ ' if comparison.won(row) else ''}{name}{' (projected)' if row.intent == 'projected' else ''}"


def shortened(text: str, longest: int = LONGEST_NAME) -> str:
    """Bring a text from outside onto one line of at most ``longest`` characters.

    >>> shortened("a b", 2)
    'a…'
    """
    line = to_text(plain(text))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def intervals_figure(comparison: Comparison) -> Figure | None:
    """Dot and whisker of R@5 per option, sorted, with a line at copy-last."""
    rows = sorted(contestants(comparison), key=lambda row: row.value("R@5") or 0.0)
    if len(rows) < 2:
        return None
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(1.0 + 0.3 * len(rows))
        axes = tidy(figure.subplots(), "x")
        for place, row in enumerate(rows):
            _whisker(axes, row, place, bold=comparison.won(row))
        _copy_line(axes, comparison, len(rows))
        _name_axis(axes, rows, comparison)
        axes.set_xlabel("R@5, % of windows, with 95 % interval over documents")
        _family_words(axes, rows, len(rows))
        svg = to_svg(figure, "intervals")
    return Figure("intervals", svg, _intervals_caption(comparison, rows), "R@5 of every option with its interval")


def _whisker(axes: Axes, row: Row, place: int, *, bold: bool) -> None:
    found, shade = row.metric("R@5"), colour(row.family)
    assert found is not None
    if found.low is not None and found.high is not None:
        axes.plot([100 * found.low, 100 * found.high], [place, place], color=shade, linewidth=3 if bold else 1.6)
    axes.plot(100 * found.value, place, "o", color=shade, markersize=9 if bold else 6.5, markerfacecolor=fill_of(row))


def fill_of(row: Row) -> str:
    """Marks of rows that cannot win are hollow."""
    return colour(row.family) if row.intent == "candidate" else colour("paper")


def _copy_line(axes: Axes, comparison: Comparison, top: int) -> None:
    reference = comparison.measured("copy-last")
    if reference is None:
        return
    value, ink = 100 * (reference.value("R@5") or 0.0), colour("ink")
    axes.vlines(value, -0.6, top - 0.45, color=ink, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    axes.annotate(f"copy-last {value:.1f}", (value, top - 0.4), color=ink, ha="center", va="bottom", fontsize=10)


def _name_axis(axes: Axes, rows: Sequence[Row], comparison: Comparison) -> None:
    """Names at the left in the colour of their family, values at the right."""
    axes.set_yticks(range(len(rows)), [label_of(row, comparison) for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(colour(row.family))
        tick.set_fontweight("bold" if comparison.won(row) else "normal")
    axes.set_ylim(-0.6, len(rows) + 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for place, row in enumerate(rows):
        axes.annotate(
            PERCENT.number(row.value("R@5")), (1.01, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=10, color=colour("soft"), annotation_clip=False,
        )  # fmt: skip


def _family_words(axes: Axes, rows: Sequence[Row], top: int) -> None:
    """Family names in their own colours instead of a legend."""
    present = [family for family in FAMILY_WORDS if any(row.family == family for row in rows)]
    for place, family in enumerate(reversed(present)):
        axes.annotate(
            f"● {FAMILY_WORDS[family]}", (0.99, 0.03 + 0.045 * place * 20 / max(top, 8)), xycoords="axes fraction",
            ha="right", fontsize=11, color=colour(family), fontweight="bold",
        )  # fmt: skip


def _intervals_caption(comparison: Comparison, rows: Sequence[Row]) -> str:
    reference, best, last = comparison.measured("copy-last"), rows[-1], rows[0]
    text = (
        f"R@5 of {of_things(len(rows), 'option')}: from {PERCENT.number(last.value('R@5'))} % ({code(last.name)}) to "
        f"{PERCENT.sentence(best.metric('R@5'))} ({code(best.name)}). Whiskers are each row’s own 95 % interval; "
        "differences are judged by the paired test, not by overlap. Hollow: cannot win."
    )
    if reference is None:
        return text
    above = sum((row.value("R@5") or 0) > (reference.value("R@5") or 0) for row in rows)
    verb = "lies" if above == 1 else "lie"
    return f"{text} Dashed: {code('copy-last')}; {above or 'none'} of the points {verb} to its right."


def recall_figure(comparison: Comparison) -> Figure | None:
    """Recall against k: four or five lines that matter, the rest as a grey field."""
    curves = {row.name: points for row in comparison.rows if len(points := recall_curve(row)[0]) > 1}
    if not curves:
        return None
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(6.2)
        axes = tidy(figure.subplots(), "y")
        ends = [_recall_line(axes, row, comparison) for row in comparison.rows if row.name in curves]
        ks = sorted({int(k) for row in comparison.rows for k in recall_curve(row)[0]})
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ks, [count(k) for k in ks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(-2, 103)
        axes.set_xlim(ks[0] * 0.93, ks[-1] * 1.02)
        axes.set(xlabel="k, answers looked at (logarithmic)", ylabel="recall at k, % of windows")
        _end_labels(axes, [end for end in ends if end is not None])
        svg = to_svg(figure, "recall")
    return Figure("recall", svg, _recall_caption(comparison), "Recall against k")


def recall_curve(row: Row) -> tuple[list[float], list[float]]:
    """The points (k, recall in per cent) that are on record."""
    record = mapping(row.data.get("recall_curve"))
    pairs = zip(sequence(record.get("k")), sequence(record.get("value")), strict=False)
    numbers = [(number(k), number(value)) for k, value in pairs]
    kept = [(k, 100 * value) for k, value in numbers if k is not None and value is not None and k >= 1]
    return [k for k, _ in kept], [v for _, v in kept]


def _highlighted(row: Row, comparison: Comparison) -> str:
    """How a line of the recall plot is drawn: lead, reference, control or field."""
    if row.intent == "control":
        return "control"
    if comparison.leader is not None and row.name == comparison.leader.name:
        return "lead"
    return "reference" if row.name in ("copy-last", "ar-cosine", "infonce-projected") else "field"


_LINES = {"lead": (3.0, "-"), "reference": (2.0, "-"), "control": (1.0, "--"), "field": (1.0, "-")}


def _recall_line(axes: Axes, row: Row, comparison: Comparison) -> tuple[float, float, str, str, bool] | None:
    kind = _highlighted(row, comparison)
    width, dashes = _LINES[kind]
    shade = colour({"control": "control", "field": "faint"}.get(kind, row.family))
    ks, values = recall_curve(row)
    axes.plot(ks, values, linestyle=dashes, linewidth=width, color=shade, zorder=1 if kind == "field" else 3)
    return None if kind == "field" else (ks[-1], values[-1], label_of(row, comparison), shade, kind == "lead")


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str, bool]]) -> None:
    """Names at the right end of their lines, moved apart where lines end together."""
    if not ends:
        return
    heights = spread(np.array([end[1] for end in ends], dtype=np.float64), 4.3)
    for (_, value, text, shade, bold), height in zip(ends, heights, strict=True):
        axes.annotate(
            text, xy=(1.0, value), xytext=(1.025, height), xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"), color=shade, va="center", annotation_clip=False,
            fontweight="bold" if bold else "normal",
            arrowprops={"arrowstyle": "-", "color": shade, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 1},
        )  # fmt: skip


def _recall_caption(comparison: Comparison) -> str:
    rows = [comparison.leader, comparison.measured("copy-last"), comparison.measured("ar-cosine")]
    parts = []
    for row in {row.name: row for row in rows if row is not None}.values():
        ks, values = recall_curve(row)
        shown = [f"{values[ks.index(k)]:.1f} % at {k}" for k in (1, 10, 100) if k in ks]
        parts += [f"{code(row.name)} {', '.join(shown)}"] if shown else []
    grey = sum(_highlighted(row, comparison) == "field" and len(recall_curve(row)[0]) > 1 for row in comparison.rows)
    field = f" Grey: the other {of_things(grey, 'option')}; dashed: controls." if grey else ""
    return f"Recall against the number of answers looked at: {'; '.join(parts)}.{field}" if parts else field.strip()


def scatter_figure(comparison: Comparison) -> Figure | None:
    """Cosine to the target against R@5, one labelled point per option."""
    rows = [row for row in contestants(comparison) if row.value("cosine") is not None]
    if len(rows) < 3:
        return None
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(6.6)
        axes = tidy(figure.subplots(), "both")
        xs = [row.value("cosine") or 0.0 for row in rows]
        ys = [100 * (row.value("R@5") or 0.0) for row in rows]
        for row, x, y in zip(rows, xs, ys, strict=True):
            axes.plot(x, y, "o", markersize=8, color=colour(row.family), markerfacecolor=fill_of(row))
        axes.margins(0.12, 0.1)
        axes.set(xlabel="mean cosine of query and target", ylabel="R@5, % of windows")
        figure.draw_without_rendering()
        _scatter_labels(axes, rows, list(zip(xs, ys, strict=True)), comparison)
        svg = to_svg(figure, "scatter")
    candidates = [row for row in rows if row.can_win]
    caption = f"Cosine to the target against R@5, {of_things(len(rows), 'option')}; hollow: cannot win."
    caption += f" {highest_cosine(candidates)}" if len(candidates) > 2 else ""
    return Figure("scatter", svg, caption, "Cosine against R@5 over the options")


def _scatter_labels(
    axes: Axes, rows: Sequence[Row], points: Sequence[tuple[float, float]], comparison: Comparison
) -> None:
    pixels = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    texts = [label_of(row, comparison) for row in rows]
    sizes = [(6.3 * len(text) + 2, 13.0) for text in texts]
    box = axes.get_window_extent()
    boxes = place_labels(pixels, sizes, (box.x0 + 4, box.y0 + 4, box.x1, box.y1))
    for row, text, pixel, label in zip(rows, texts, pixels, boxes, strict=True):
        _scatter_label(axes, text, pixel, label, shade=colour(row.family), bold=comparison.won(row))


def _scatter_label(axes: Axes, text: str, pixel: Point, box: Box, *, shade: str, bold: bool) -> None:
    """Write a label into its box, held at the side that faces its point, with a line where the two are apart."""
    left, bottom, right, top = box
    side = "left" if left > pixel[0] else "right" if right < pixel[0] else "center"
    x = {"left": left, "right": right, "center": (left + right) / 2}[side]
    y = (bottom + top) / 2
    gap = float(np.hypot(min(max(pixel[0], left), right) - pixel[0], min(max(pixel[1], bottom), top) - pixel[1]))
    line = {"arrowstyle": "-", "color": colour("faint"), "linewidth": 0.8, "shrinkA": 1, "shrinkB": 5}
    to_data = axes.transData.inverted()
    axes.annotate(
        text, xy=tuple(to_data.transform(pixel)), xytext=tuple(to_data.transform((x, y))), ha=side, va="center",
        fontsize=10.5, color=shade, fontweight="bold" if bold else "normal", arrowprops=line if gap > 14 else None,
    )  # fmt: skip
