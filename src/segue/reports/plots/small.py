"""Shared parts of plots: size and title of small ones, labels at the ends of lines, reading of a finding's details.

Small plots are narrow, so that a telephone shows them whole and a wide page shows two side by side.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullFormatter, NullLocator

from segue.comparison.record import Record
from segue.reports.contrasts import best_on_validation, leader
from segue.reports.document import Figure
from segue.reports.svg import colour, tidy, write_title
from segue.reports.text import count, one_line
from segue.types import Interval

NARROW = 5.6
"""Width in inches of 72 points: that of a telephone."""
TITLE_LETTERS, LONGEST_TITLE = 50, 120
LONGEST_NAME, SHORT_NAME = 32, 18
LINE_HEIGHT = 13.0
"""Points between labels."""
DASHED = (0, (4, 3))
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1, "relpos": (0.0, 0.5)}
"""Style of the hairline from a line's end to its label."""
Details = Mapping[str, object]
"""Details of a finding: JSON values whose shape each check decides."""
Points = list[tuple[float, ...]]


def number(value: object) -> float | None:
    """Return a finite number, or None for anything else.

    >>> number(1), number(float("nan")), number("1"), number(True)
    (1.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mapping(value: object) -> Details:
    """Return the value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[object]:
    """Return the value if it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def interval(values: Details, key: str) -> Interval | None:
    """Read the value under ``key`` with its ends ``low`` and ``high``."""
    value = number(values.get(key))
    return None if value is None else Interval(value, number(values.get("low")), number(values.get("high")))


def points(values: Details, *keys: str) -> Points:
    """Read several lists place by place; places where a number is missing are left out.

    >>> points({"k": [5, 10], "value": [0.1, None]}, "k", "value")
    [(5.0, 0.1)]
    """
    places = zip(*(sequence(values.get(key)) for key in keys), strict=False)
    read = [tuple(number(value) for value in place) for place in places]
    return [tuple(value for value in place if value is not None) for place in read if None not in place]


def shortened(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text from outside on one line of at most ``longest`` characters.

    >>> shortened("a b", 2)
    'a…'
    """
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def name_of(name: str) -> str:
    """Return an option's name, short enough for a small plot."""
    return shortened(name, SHORT_NAME)


def shade_of(record: Record, name: str) -> str:
    """Return the colour of an option's family."""
    entry = record.entry(name)
    return colour("soft" if entry is None else entry.family)


def subject_of(record: Record, names: Sequence[str]) -> str:
    """Return the option that a plot is about: the diagnosed one, the leader, or the best of these on validation."""
    chosen = leader(record)
    if record.subject in names:
        return str(record.subject)
    if chosen is not None and chosen.name in names:
        return chosen.name
    entries = [entry for name in names if (entry := record.entry(name)) is not None and entry.intent == "candidate"]
    best = best_on_validation([entry for entry in entries if entry.training] or entries)
    return names[0] if best is None else best.name


def small_plot(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Sequence[Axes]], None],
    *,
    height: float = 3.6,
    panels: int = 1,
    grid: str = "y",
) -> Figure:
    """Return a small plot: its title, then panels below each other that ``draw`` fills.

    Args:
        name: unique in the report.
        title: what is seen, drawn above the plot; plain text.
        caption: how to read it; a sentence with markup.
        draw: called with the panels.
        height: height in inches of 72 points.
        panels: their number.
        grid: axis of the hairline grid.
    """
    wrapped = textwrap.fill(shortened(title, LONGEST_TITLE).replace(" %", "\u00a0%"), TITLE_LETTERS)

    def fill(canvas: Canvas) -> None:
        write_title(canvas, wrapped)
        draw([tidy(axes, grid) for axes in canvas.subplots(panels, 1, squeeze=False).ravel()])

    return Figure(name, fill, (NARROW, height), caption, title)


def draw_line(axes: Axes, line: Sequence[tuple[float, ...]], shade: str, *, bold: bool) -> None:
    """Draw a line; the one that the plot is about is thick and has larger marks."""
    xs, ys = [point[0] for point in line], [point[1] for point in line]
    axes.plot(xs, ys, color=shade, linewidth=2.6 if bold else 1.3, marker="o" if len(xs) < 12 else "",
              markersize=5.0 if bold else 3.0, zorder=3 if bold else 2)  # fmt: skip


def logarithmic(axes: Axes, ticks: Sequence[int | float]) -> None:
    """Make the x axis logarithmic, with ticks at the points themselves."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(ticks, [count(tick) for tick in ticks])


@dataclass(frozen=True)
class End:
    """A label at the right end of a line."""

    value: float
    text: str
    shade: str
    bold: bool = False


def end_labels(axes: Axes, ends: Sequence[End]) -> None:
    """Write names at the right of their lines, moved apart where lines end together."""
    if not ends:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)  # the axes' height is not known before
    high = 72 * axes.get_window_extent().height / figure.dpi  # points
    low, top = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    heights = [(axes.transData.transform((axes.get_xlim()[1], end.value))[1] - low) / (top - low) for end in ends]
    places = spread(np.array(heights, dtype=np.float64), LINE_HEIGHT / high)
    places += max(0.0, 0.02 - float(places.min()))  # a pile that begins below the axis moves up as a whole
    for end, place in zip(ends, places, strict=True):
        axes.annotate(
            end.text, xy=(1.0, end.value), xytext=(1.06, place),
            xycoords=("axes fraction", "data"), textcoords="axes fraction", color=end.shade, va="center", fontsize=10,
            annotation_clip=False, fontweight="bold" if end.bold else "normal",
            arrowprops={"color": end.shade, **LEADER},
        )  # fmt: skip


def spread(heights: Float[np.ndarray, "label"], gap: float) -> Float[np.ndarray, "label"]:
    """Move heights apart until neighbours are ``gap`` apart, each as little as its pile allows.

    >>> spread(np.array([5.0, 5.0, 9.0]), 2.0).tolist()
    [4.0, 6.0, 9.0]
    """
    order = np.argsort(heights, kind="stable")
    piles: list[list[float]] = []  # sum of wanted positions of the pile's first label, number of labels
    for height in heights[order]:
        piles.append([float(height), 1.0])
        while len(piles) > 1 and piles[-1][0] / piles[-1][1] < piles[-2][0] / piles[-2][1] + gap * piles[-2][1]:
            wanted, many = piles.pop()
            piles[-1][0] += wanted - many * gap * piles[-1][1]
            piles[-1][1] += many
    result = np.empty_like(heights)
    result[order] = [total / many + gap * place for total, many in piles for place in range(int(many))]
    return result


def bar_value(axes: Axes, text: str, place: tuple[float, float], shade: str) -> None:
    """Write a value at the right of a point or bar."""
    axes.annotate(text, place, xytext=(6, 0), textcoords="offset points", va="center", fontsize=10, color=shade)
