"""The pictures of a confidence: share answered against share right, and what was said against what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from segue.reports.document import Figure, Gallery
from segue.reports.plots.small import DASHED, End, Words, draw_line, end_labels, small_figure
from segue.reports.plots.svg import colour
from segue.reports.record import interval, mapping, number, sequence
from segue.reports.text.numbers import PERCENT
from segue.types import Interval

CUTOFFS = {"R@5": ("within the first five", "loss"), "R@1": ("at rank 1", "architecture")}
"""What a confidence is about, in words, and the colour of its line."""
MARKED = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Thresholds that are written beside their points."""
DRAWN = 0.02
"""Smallest share answered that is drawn or listed: below it a handful of questions decides."""


def curve(found: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """The thresholds on record with their intervals, the first one (answer everything) among them."""
    steps = []
    for entry in sequence(mapping(found.get(kind)).get("curve")):
        threshold, answered = number(mapping(entry).get("threshold")), interval(mapping(entry).get("answered"))
        if threshold is not None and answered is not None:
            right = interval(mapping(entry).get("right"))
            steps.append({"threshold": threshold, "answered": answered, "right": right})
    return steps


def confidence_gallery(judged: Mapping[str, Any]) -> Gallery | None:
    """Both pictures side by side, as far as there is something to draw."""
    found = [figure for figure in (_curve_figure(judged), _reliability_figure(judged)) if figure is not None]
    return Gallery(tuple(found)) if found else None


def _drawn(found: Mapping[str, Any], kind: str) -> list[tuple[float, Interval]]:
    """Share answered in per cent and share right of a curve, where enough is answered."""
    steps = [step for step in curve(found, kind) if step["answered"].value >= DRAWN and step["right"] is not None]
    return [(100 * step["answered"].value, step["right"]) for step in steps]


def _curve_figure(judged: Mapping[str, Any]) -> Figure | None:
    """Share answered against share right."""
    lines = {name: _drawn(found, "together") for name, found in judged.items()}
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        (axes,) = panels
        for name, line in lines.items():
            _curve_line(axes, line, _drawn(judged[name], "answerable"), colour(CUTOFFS[name][1]))
        _thresholds(axes, judged[next(iter(lines))])
        axes.set(xlim=(0, 100), ylim=(0, None), xlabel="answered, % of questions", ylabel="right, % of the answered")
        end_labels(axes, [End(100 * line[0][1].value, name, colour(CUTOFFS[name][1]), True)
                          for name, line in lines.items()])  # fmt: skip

    name, line = next(iter(lines.items()))
    half = min(line, key=lambda point: abs(point[0] - 50))
    title = f"Answering the surest {half[0]:.0f} %: {100 * half[1].value:.0f} % right {CUTOFFS[name][0]}, "
    title += f"instead of {100 * line[0][1].value:.0f} %"
    caption = (
        "Answered only from some confidence on: share answered against share right of those, each point a threshold "
        f"(0 at the right, then steps of 0.05, as far as {PERCENT.number(DRAWN)} % are answered), shaded: its 95 % "
        "interval. Dashed: answerable questions alone."
    )
    return small_figure(Words("confidence-curve", title, caption), draw)


def _curve_line(
    axes: Axes, line: Sequence[tuple[float, Interval]], alone: Sequence[tuple[float, Interval]], shade: str
) -> None:
    """Draw one cutoff: the mix with its interval, and the answerable questions alone."""
    known = [(x, right.low, right.high) for x, right in line if right.low is not None and right.high is not None]
    if known:
        places, low, high = zip(*known, strict=True)
        axes.fill_between(places, [100 * v for v in low], [100 * v for v in high], color=shade, alpha=0.15, linewidth=0)
    axes.plot([x for x, _ in alone], [100 * y.value for _, y in alone], color=shade, linestyle=DASHED, linewidth=1.2)
    draw_line(axes, [x for x, _ in line], [100 * right.value for _, right in line], shade=shade, bold=False)
    axes.plot([x for x, _ in line], [100 * right.value for _, right in line], "o", color=shade, markersize=4)


def _thresholds(axes: Axes, found: Mapping[str, Any]) -> None:
    """Write some thresholds above their points."""
    for step in curve(found, "together"):
        if step["threshold"] in MARKED and step["answered"].value >= DRAWN and step["right"] is not None:
            place = (100 * step["answered"].value, 100 * step["right"].value)
            axes.annotate(f"{step['threshold']:g}", place, xytext=(0, 7), textcoords="offset points", ha="center",
                          fontsize=9.5, color=colour("soft"))  # fmt: skip


def _reliability_figure(judged: Mapping[str, Any]) -> Figure | None:
    """Confidence against what came true, bin by bin."""
    bins = {name: _bins(mapping(found.get("together"))) for name, found in judged.items()}
    bins = {name: points for name, points in bins.items() if len(points) > 1}
    if not bins:
        return None
    most = max(max(said, 100 * right.value) for points in bins.values() for said, right in points)
    most = min(100.0, 1.15 * most)

    def draw(panels: Sequence[Axes]) -> None:
        (axes,) = panels
        axes.plot([0, most], [0, most], color=colour("soft"), linestyle=DASHED, linewidth=0.9)
        for name, points in bins.items():
            shade = colour(CUTOFFS[name][1])
            for said, right in points:
                if right.low is not None and right.high is not None:
                    axes.plot([said, said], [100 * right.low, 100 * right.high], color=shade, linewidth=1.2)
            axes.plot([said for said, _ in points], [100 * right.value for _, right in points], "o", color=shade,
                      markersize=5)  # fmt: skip
        axes.set(xlim=(0, most), ylim=(0, None), xlabel="confidence, %", ylabel="right, %")
        end_labels(axes, [End(100 * points[-1][1].value, name, colour(CUTOFFS[name][1]), True)
                          for name, points in bins.items()])  # fmt: skip

    name, points = next(iter(bins.items()))
    title = f"Where it says {points[-1][0]:.0f} %, {100 * points[-1][1].value:.0f} % are right {CUTOFFS[name][0]}"
    caption = (
        "Questions in ten bins of equal weight by confidence: what was said against what came true, with its 95 % "
        "interval. On the dashed line the confidence is calibrated; its mean distance is the calibration error."
    )
    return small_figure(Words("confidence-reliability", title, caption), draw)


def _bins(together: Mapping[str, Any]) -> list[tuple[float, Interval]]:
    """Mean confidence in per cent and share right of each bin."""
    entries = [mapping(entry) for entry in sequence(together.get("reliability"))]
    found = [(number(entry.get("confidence")), interval(entry.get("right"))) for entry in entries]
    return [(100 * said, right) for said, right in found if said is not None and right is not None]
