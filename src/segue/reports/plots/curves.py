"""The plots of the details: training curves as small multiples, where the truth is ranked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes

from segue.reports.document import Figure
from segue.reports.plots.headline import contestants, label_of, shortened
from segue.reports.plots.svg import STYLE, canvas, colour, tidy, to_svg
from segue.reports.record import Comparison, Row, mapping, number, sequence
from segue.reports.text.markup import code, plain
from segue.reports.text.numbers import PERCENT, SCORE, listing, of_things

PANELS = 5
"""Small multiples side by side."""


def curves(row: Row) -> list[tuple[list[float], list[float]]]:
    """Steps and validation MRR, one pair per fold."""
    found = []
    for fold in sequence(row.training.get("curves")):
        points = [(number(mapping(point).get("step")), number(mapping(point).get("MRR"))) for point in sequence(fold)]
        kept = [(step, score) for step, score in points if step is not None and score is not None]
        found += [([step for step, _ in kept], [score for _, score in kept])] if len(kept) > 1 else []
    return found


def curves_figure(comparison: Comparison) -> Figure | None:
    """Validation MRR over steps: one panel per trained option, one line per fold, all on one scale."""
    rows = [row for row in comparison.trained if curves(row)]
    if not rows:
        return None
    lines, across = math.ceil(len(rows) / PANELS), min(PANELS, len(rows))
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(0.8 + 1.7 * lines)
        grid = figure.subplots(lines, across, sharex=True, sharey=True, squeeze=False).ravel()
        for place, row in enumerate(rows):
            _panel(tidy(grid[place], "y"), row, comparison, first=place == 0)
            grid[place].tick_params(labelbottom=place + across >= len(rows))
        for axes in grid[len(rows) :]:
            axes.set_visible(False)
        figure.supxlabel("optimiser steps", color=colour("soft"), fontsize=11)
        figure.supylabel("validation MRR", color=colour("soft"), fontsize=11)
        svg = to_svg(figure, "curves")
    return Figure("curves", svg, _curves_caption(comparison, rows), "Validation MRR over training steps per option")


def _panel(axes: Axes, row: Row, comparison: Comparison, *, first: bool) -> None:
    level = _copying(comparison)
    if level is not None:
        axes.axhline(level, color=colour("soft"), linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    if level is not None and first:
        _note(axes, "copy-last", (0.98, level), "data", colour("soft"))
    for steps, scores in curves(row):
        axes.plot(steps, scores, color=colour(row.family), linewidth=1.4)
        best = max(range(len(scores)), key=scores.__getitem__)
        axes.plot(steps[best], scores[best], "o", color=colour(row.family), markersize=4)
    weight = "bold" if comparison.won(row) else "normal"
    axes.set_title(label_of(row, comparison), loc="left", fontsize=10, color=colour("ink"), fontweight=weight)
    if row.under_trained:
        low = level is not None and max(max(scores) for _, scores in curves(row)) < 0.35 * level
        _note(axes, "under-trained", (0.98, 0.45 if low else 0.04), "axes fraction", colour("ink"))


def _note(axes: Axes, text: str, place: tuple[float, float], vertical: str, shade: str) -> None:
    """A small remark at the right of a panel."""
    axes.annotate(
        text, place, xycoords=("axes fraction", vertical), xytext=(0, 3), textcoords="offset points",
        ha="right", va="bottom", fontsize=9.5, color=shade,
    )  # fmt: skip


def _copying(comparison: Comparison) -> float | None:
    """Validation MRR of copy-last."""
    reference = comparison.row("copy-last")
    return reference.part("validation", "MRR") if reference else None


def _curves_caption(comparison: Comparison, rows: Sequence[Row]) -> str:
    reached = {row.name: max(max(scores) for _, scores in curves(row)) for row in rows}
    best, level = max(reached, key=lambda name: reached[name]), _copying(comparison)
    late = [code(row.name) for row in rows if row.under_trained]
    text = (
        "Validation MRR while training, one line per fold, the dot at the step that was kept. The highest point is "
        f"{SCORE.number(reached[best])} ({code(best)})."
    )
    text += f" Dashed: {code('copy-last')} at {SCORE.number(level)}." if level is not None else ""
    return text + (f" Not yet flat at the end: {listing(late)}." if late else "")


def histogram(row: Row) -> list[tuple[str, float]]:
    """Rank range and share of windows."""
    record = mapping(row.data.get("rank_histogram"))
    pairs = zip(sequence(record.get("labels")), sequence(record.get("share")), strict=False)
    return [(str(label), share) for label, value in pairs if (share := number(value)) is not None]


def ranks_figure(comparison: Comparison) -> Figure | None:
    """Where the truth is ranked: one stacked bar per option, sorted by R@5."""
    rows = sorted((row for row in contestants(comparison) if histogram(row)), key=lambda row: row.value("R@5") or 0.0)
    if not rows:
        return None
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = canvas(1.2 + 0.32 * len(rows))
        axes = tidy(figure.subplots())
        for place, row in enumerate(rows):
            _bar(axes, row, place)
        axes.set_yticks(range(len(rows)), [label_of(row, comparison) for row in rows])
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(colour(row.family))
            tick.set_fontweight("bold" if comparison.won(row) else "normal")
        axes.set(xlim=(0, 100), ylim=(-0.6, len(rows) + 0.5), xlabel="% of windows")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        _key(axes, [label for label, _ in histogram(rows[-1])], len(rows) - 0.1)
        svg = to_svg(figure, "ranks")
    return Figure("ranks", svg, _ranks_caption(rows), "Distribution of the target's rank per option")


def _shade(place: int) -> tuple[str, str]:
    """Fill and text colour of the rank range at this place."""
    role = min(place, 6) + 1
    return colour(f"rank-{role}"), colour("on-strong") if role <= 3 else colour("ink")


def _bar(axes: Axes, row: Row, place: int) -> None:
    left = 0.0
    for index, (_, share) in enumerate(histogram(row)):
        fill, ink = _shade(index)
        axes.barh(place, 100 * share, left=left, height=0.8, color=fill)
        if share >= 0.045:
            shown = f"{100 * share:.0f}"
            axes.text(left + 50 * share, place, shown, ha="center", va="center", fontsize=9.5, color=ink, clip_on=True)
        left += 100 * share


def _key(axes: Axes, labels: Sequence[str], height: float) -> None:
    """A row of little squares above the bars, in the bars' order."""
    left = 0.0
    for index, label in enumerate(labels):
        text, middle, edge = shortened(f"rank {label}" if index == 0 else label, 12), height + 0.15, colour("faint")
        axes.barh(middle, 1.4, left=left, height=0.42, color=_shade(index)[0], edgecolor=edge, linewidth=0.5)
        axes.text(left + 2.0, middle, text, va="center", fontsize=10, color=colour("soft"))
        left += 4.5 + 0.95 * len(text)


def _ranks_caption(rows: Sequence[Row]) -> str:
    best = rows[-1]
    ends = [(label, share) for label, share in histogram(best) if label in ("1", ">1000")]
    shown = listing([f"{PERCENT.number(share)} % at rank {plain(label)}" for label, share in ends])
    return (
        f"Where the true next passage is ranked, {of_things(len(rows), 'option')} sorted by R@5, best at the top. "
        f"{code(best.name)}{f': {shown}' if shown else ''}."
    )
