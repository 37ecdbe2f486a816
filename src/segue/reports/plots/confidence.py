"""Plots of a confidence: share answered against share right, and the confidence against what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from segue.comparison.record import CutoffQuality, ThresholdPoint
from segue.reports.document import Figure, Gallery
from segue.reports.plots.small import DASHED, End, draw_line, end_labels, small_plot
from segue.reports.svg import colour
from segue.reports.text import PERCENT
from segue.types import Interval

CUTOFFS = {"R@5": ("within the first five", "loss"), "R@1": ("at rank 1", "architecture")}
"""Cutoffs in words, with the colour of their line."""
MARKED = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Thresholds that are printed next to their points."""
DRAWN = 0.02
"""Smallest share answered that is drawn or listed: below it a handful of queries decides."""
Line = list[tuple[float, Interval]]


def confidence_gallery(judged: Mapping[str, CutoffQuality]) -> Gallery | None:
    """Return both plots side by side, as far as there is something to draw."""
    found = [figure for figure in (_curve_figure(judged), _reliability_figure(judged)) if figure is not None]
    return Gallery(tuple(found)) if found else None


def _drawn(curve: Sequence[ThresholdPoint]) -> Line:
    """Return share answered in per cent and share right, where enough is answered."""
    return [
        (100 * point.answered.value, point.right)
        for point in curve
        if point.answered is not None and point.answered.value >= DRAWN and point.right is not None
    ]


def _in_per_cent(line: Line) -> list[tuple[float, float]]:
    return [(x, 100 * right.value) for x, right in line]


def _curve_figure(judged: Mapping[str, CutoffQuality]) -> Figure | None:
    lines = {name: _drawn(found.together.curve) for name, found in judged.items()}
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        (axes,) = panels
        for name, line in lines.items():
            _curve_line(axes, line, _drawn(judged[name].answerable.curve), colour(CUTOFFS[name][1]))
        _thresholds(axes, judged[next(iter(lines))].together.curve)
        axes.set(xlim=(0, 100), ylim=(0, None), xlabel="answered, % of queries", ylabel="right, % of the answered")
        end_labels(axes, [End(100 * line[0][1].value, name, colour(CUTOFFS[name][1]), True)
                          for name, line in lines.items()])  # fmt: skip

    name, line = next(iter(lines.items()))
    half = min(line, key=lambda point: abs(point[0] - 50))
    title = f"Answering the surest {half[0]:.0f} %: {100 * half[1].value:.0f} % right {CUTOFFS[name][0]}, "
    title += f"instead of {100 * line[0][1].value:.0f} %"
    caption = (
        "Share answered against share right of those. Each point is a threshold (0 at the right, then steps of 0.05, "
        f"as long as {PERCENT.number(DRAWN)} % are answered); shaded: its 95 % interval. Dashed: answerable queries "
        "alone."
    )
    return small_plot("confidence-curve", title, caption, draw)


def _curve_line(axes: Axes, line: Line, alone: Line, shade: str) -> None:
    """Draw one cutoff: the mix with its interval, and the answerable queries alone."""
    known = [(x, right.low, right.high) for x, right in line if right.low is not None and right.high is not None]
    if known:
        places, low, high = zip(*known, strict=True)
        axes.fill_between(places, [100 * v for v in low], [100 * v for v in high], color=shade, alpha=0.15, linewidth=0)
    if alone:
        axes.plot(*zip(*_in_per_cent(alone), strict=True), color=shade, linestyle=DASHED, linewidth=1.2)
    draw_line(axes, _in_per_cent(line), shade, bold=False)
    axes.plot(*zip(*_in_per_cent(line), strict=True), "o", color=shade, markersize=4)


def _thresholds(axes: Axes, curve: Sequence[ThresholdPoint]) -> None:
    """Write some thresholds above their points."""
    for point in curve:
        for place in _in_per_cent(_drawn([point])) if point.threshold in MARKED else ():
            axes.annotate(f"{point.threshold:g}", place, xytext=(0, 7), textcoords="offset points", ha="center",
                          fontsize=9.5, color=colour("soft"))  # fmt: skip


def _reliability_figure(judged: Mapping[str, CutoffQuality]) -> Figure | None:
    bins: dict[str, Line] = {
        name: [(100 * one.confidence, one.right) for one in found.together.reliability if one.right is not None]
        for name, found in judged.items()
    }
    bins = {name: line for name, line in bins.items() if len(line) > 1}
    if not bins:
        return None
    most = min(100.0, 1.15 * max(max(point) for line in bins.values() for point in _in_per_cent(line)))

    def draw(panels: Sequence[Axes]) -> None:
        (axes,) = panels
        axes.plot([0, most], [0, most], color=colour("soft"), linestyle=DASHED, linewidth=0.9)
        for name, line in bins.items():
            shade = colour(CUTOFFS[name][1])
            for confidence, right in line:
                if right.low is not None and right.high is not None:
                    axes.plot([confidence] * 2, [100 * right.low, 100 * right.high], color=shade, linewidth=1.2)
            axes.plot(*zip(*_in_per_cent(line), strict=True), "o", color=shade, markersize=5)
        axes.set(xlim=(0, most), ylim=(0, None), xlabel="confidence, %", ylabel="right, %")
        end_labels(axes, [End(100 * line[-1][1].value, name, colour(CUTOFFS[name][1]), True)
                          for name, line in bins.items()])  # fmt: skip

    name, line = next(iter(bins.items()))
    title = f"At a confidence of {line[-1][0]:.0f} %, {100 * line[-1][1].value:.0f} % are right {CUTOFFS[name][0]}"
    caption = (
        "Queries in ten bins of equal weight by confidence, against the share right, with its 95 % interval. On the "
        "dashed line the confidence is calibrated; the mean distance to it is the calibration error."
    )
    return small_plot("confidence-reliability", title, caption, draw)
