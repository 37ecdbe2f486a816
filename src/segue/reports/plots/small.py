"""What the small pictures of the diagnosis share: their size, title, lines of rows and labels.

They are drawn narrow, so that a telephone shows them whole and a wide page shows two side by side.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from segue.reports.document import Figure
from segue.reports.plots.headline import shortened
from segue.reports.plots.label_places import spread
from segue.reports.plots.svg import STYLE, canvas, colour, tidy, to_svg
from segue.reports.record import Comparison, number, sequence

NARROW = 5.6
"""Inches of 72 points, as wide as a telephone."""
TITLE_LETTERS, LONGEST_TITLE = 50, 120
NAME_LETTERS = 18
LINE_HEIGHT = 13.0
DASHED = (0, (4, 3))
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1, "relpos": (0.0, 0.5)}
"""The hairline from a line's end to its label."""


@dataclass(frozen=True)
class Words:
    """What is said about a picture.

    Attributes:
        name: of its file; unique in the report.
        title: what is seen, drawn above the plot; plain text.
        caption: how it is read; a sentence with markup.
    """

    name: str
    title: str
    caption: str


def small_figure(
    words: Words, draw: Callable[[Sequence[Axes]], None], *, height: float = 3.6, panels: int = 1, grid: str = "y"
) -> Figure:
    """Return a picture: its title, then panels below each other that ``draw`` fills."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(height, NARROW)
        figure.suptitle(_wrapped(words.title), x=0.012, ha="left", fontsize=12, fontweight="bold", color=colour("ink"))
        draw([tidy(axes, grid) for axes in figure.subplots(panels, 1, squeeze=False).ravel()])
        svg = to_svg(figure, words.name)
    return Figure(words.name, svg, words.caption, words.title)


def _wrapped(title: str) -> str:
    """Break a title into lines, never between a number and its unit."""
    return textwrap.fill(shortened(title, LONGEST_TITLE).replace(" %", "\u00a0%"), TITLE_LETTERS)


def points(record: Mapping[str, Any], *keys: str) -> list[tuple[float, ...]]:
    """Return what several lists say together, place by place; places where a number is missing are left out.

    >>> points({"k": [5, 10], "value": [0.1, None]}, "k", "value")
    [(5.0, 0.1)]
    """
    places = zip(*(sequence(record.get(key)) for key in keys), strict=False)
    read = [tuple(number(value) for value in place) for place in places]
    return [place for place in read if None not in place]  # type: ignore[misc]


def shade_of(comparison: Comparison, name: str) -> str:
    """The colour of a row's family."""
    row = comparison.row(name)
    return colour("other" if row is None else row.family)


def lead(comparison: Comparison, names: Sequence[str]) -> str:
    """The row that a picture is about: the diagnosed one, the leader, or the best of these rows on validation."""
    if comparison.data.get("subject") in names:
        return str(comparison.data["subject"])
    if comparison.leader is not None and comparison.leader.name in names:
        return comparison.leader.name
    rows = [row for name in names if (row := comparison.row(name)) is not None and row.intent == "candidate"]
    trained = [row for row in rows if row.training] or rows
    best = max(trained, key=lambda row: row.part("validation", "MRR") or 0.0, default=None)
    return names[0] if best is None else best.name


def draw_line(axes: Axes, xs: Sequence[float], ys: Sequence[float], *, shade: str, bold: bool) -> None:
    """A row's line; the one that the picture is about is thick and has marks."""
    axes.plot(xs, ys, color=shade, linewidth=2.6 if bold else 1.3, marker="o" if len(xs) < 12 else "",
              markersize=5.0 if bold else 3.0, zorder=3 if bold else 2)  # fmt: skip


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
    figure.draw_without_rendering()  # the axes' height is not known before
    high = axes.get_window_extent().height
    low, top = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    heights = [(axes.transData.transform((axes.get_xlim()[1], end.value))[1] - low) / (top - low) for end in ends]
    places = spread(np.array(heights, dtype=np.float64), LINE_HEIGHT / high)
    for end, place in zip(ends, _inside(places), strict=True):
        axes.annotate(
            end.text, xy=(1.0, end.value), xytext=(1.06, place), xycoords=("axes fraction", "data"),
            textcoords="axes fraction", color=end.shade, va="center", fontsize=10, annotation_clip=False,
            fontweight="bold" if end.bold else "normal",
            arrowprops={"color": end.shade, **LEADER},
        )  # fmt: skip


def _inside(places: np.ndarray) -> np.ndarray:
    """Move a pile of labels that begins below the axis up as a whole."""
    return places + max(0.0, 0.02 - float(places.min()))


def name_of(name: str) -> str:
    """A row's name, short enough for a small picture."""
    return shortened(name, NAME_LETTERS)


def bar_value(axes: Axes, text: str, place: tuple[float, float], shade: str) -> None:
    """Write a value at the right of a point or bar."""
    axes.annotate(text, place, xytext=(6, 0), textcoords="offset points", va="center", fontsize=10, color=shade)
