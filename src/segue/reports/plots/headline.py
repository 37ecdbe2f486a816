"""Plots of the comparison: intervals of R@5, recall against k, cosine against R@5, training curves, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from segue.comparison.record import Entry, Record
from segue.reports.contrasts import leader, measured, won
from segue.reports.document import Figure
from segue.reports.plots.small import DASHED, End, end_labels, logarithmic, shortened
from segue.reports.svg import colour, tidy
from segue.reports.text import PERCENT, SCORE, code, listing, of_things, plain

FAMILY_WORDS = {"baseline": "baselines", "loss": "losses", "architecture": "architectures", "towers": "two towers",
                "rerank": "rerankers", "own": "own retrievers"}  # fmt: skip
WIDTH, HALF = 12.0, 7.5
"""Widths in inches of 72 points, of a plot and of one beside another. A point is a pixel at the plot's own size."""
PANELS, PANEL_LETTERS = 5, 22
"""Training curves side by side, and the letters of their titles."""


def _contestants(record: Record) -> list[Entry]:
    """Return the measured entries that are not controls, best last."""
    entries = [entry for entry in record.entries if entry.intent != "control" and entry.measured]
    return sorted(entries, key=lambda entry: entry.value("R@5") or 0.0)


def _label(entry: Entry, record: Record) -> str:
    star, late = "★ " if won(record, entry) else "", " ᵘ" if entry.under_trained else ""
    return f"{star}{shortened(entry.name)}{late}"


def _fill(entry: Entry) -> str:
    """Return the fill colour of an entry's mark; marks of entries that cannot win are hollow."""
    return colour(entry.family) if entry.intent == "candidate" else colour("paper")


def _names_at_the_left(axes: Axes, entries: Sequence[Entry], record: Record) -> None:
    axes.set_yticks(range(len(entries)), [_label(entry, record) for entry in entries])
    for tick, entry in zip(axes.get_yticklabels(), entries, strict=True):
        tick.set_color(colour(entry.family))
        tick.set_fontweight("bold" if won(record, entry) else "normal")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def intervals_figure(record: Record) -> Figure | None:
    """Draw R@5 of each entry with its interval, sorted, with a line at copy-last."""
    entries = _contestants(record)
    if len(entries) < 2:
        return None

    def draw(canvas: Canvas) -> None:
        axes = tidy(canvas.subplots(), "x")
        for place, entry in enumerate(entries):
            _whisker(axes, entry, place, bold=won(record, entry))
        _copy_line(axes, record, len(entries))
        _names_at_the_left(axes, entries, record)
        axes.set(ylim=(-0.6, len(entries) + 0.3), xlabel="R@5, % of windows")
        for place, entry in enumerate(entries):
            axes.annotate(PERCENT.number(entry.value("R@5")), (1.01, place), xycoords=("axes fraction", "data"),
                          va="center", fontsize=10, color=colour("soft"), annotation_clip=False)  # fmt: skip
        _family_words(axes, entries)

    return Figure("intervals", draw, (HALF, 1.0 + 0.3 * len(entries)), _intervals_caption(record, entries),
                  "R@5 of every option with its interval")  # fmt: skip


def _whisker(axes: Axes, entry: Entry, place: int, *, bold: bool) -> None:
    found, shade = entry.metrics["R@5"], colour(entry.family)
    if found.low is not None and found.high is not None:
        axes.plot([100 * found.low, 100 * found.high], [place, place], color=shade, linewidth=3 if bold else 1.6)
    axes.plot(100 * found.value, place, "o", color=shade, markersize=9 if bold else 6.5, markerfacecolor=_fill(entry))


def _copy_line(axes: Axes, record: Record, top: int) -> None:
    reference = measured(record, "copy-last")
    if reference is not None:
        value, ink = 100 * (reference.value("R@5") or 0.0), colour("ink")
        axes.vlines(value, -0.6, top - 0.45, color=ink, linewidth=1, linestyle=DASHED, zorder=0.5)
        axes.annotate(f"copy-last {value:.1f}", (value, top - 0.4), color=ink, ha="center", va="bottom", fontsize=10)


def _family_words(axes: Axes, entries: Sequence[Entry]) -> None:
    """Write family names in their own colours instead of a legend."""
    present = [family for family in FAMILY_WORDS if any(entry.family == family for entry in entries)]
    for place, family in enumerate(reversed(present)):
        height = 0.03 + 0.045 * place * 20 / max(len(entries), 8)
        axes.annotate(f"● {FAMILY_WORDS[family]}", (0.99, height), xycoords="axes fraction", ha="right", fontsize=11,
                      color=colour(family), fontweight="bold")  # fmt: skip


def _intervals_caption(record: Record, entries: Sequence[Entry]) -> str:
    notes = {
        "hollow: cannot win": any(entry.intent != "candidate" for entry in entries),
        "ᵘ: under-trained": any(entry.under_trained for entry in entries),
        f"dashed: {code('copy-last')}": measured(record, "copy-last") is not None,
    }
    text = f"R@5 of {of_things(len(entries), 'option')}, each with its own 95 % interval"
    return "; ".join([text, *(note for note, applies in notes.items() if applies)]) + "."


def recall_figure(record: Record) -> Figure | None:
    """Draw recall against k: the entries that matter in colour, the rest in grey."""
    curves = {entry.name: points for entry in record.entries if len(points := recall_points(entry)) > 1}
    if not curves:
        return None

    def draw(canvas: Canvas) -> None:
        axes = tidy(canvas.subplots(), "y")
        ends = []
        for entry in record.entries:
            if entry.name in curves:
                ends += _recall_line(axes, entry, curves[entry.name], record)
        ks = sorted({k for points in curves.values() for k in points})
        logarithmic(axes, ks)
        axes.set(ylim=(-2, 103), xlim=(ks[0] * 0.93, ks[-1] * 1.02), xlabel="k, number of answers",
                 ylabel="recall at k, % of windows")  # fmt: skip
        end_labels(axes, ends)

    return Figure("recall", draw, (HALF, 4.6), _recall_caption(record, curves), "Recall against k")


def recall_points(entry: Entry) -> dict[int, float]:
    """Return recall in per cent by k."""
    curve = entry.recall_curve
    return {k: 100 * value for k, value in zip(curve.k, curve.value, strict=True) if value is not None} if curve else {}


_LINES = {"lead": (3.0, "-"), "reference": (2.0, "-"), "control": (1.0, "--"), "field": (1.0, "-")}
"""Width and dashes of a line by its part in the plot."""


def _part(entry: Entry, record: Record) -> str:
    if entry.intent == "control":
        return "control"
    chosen = leader(record)
    if chosen is not None and entry.name == chosen.name:
        return "lead"
    return "reference" if entry.name in ("copy-last", "ar-cosine", "infonce-projected") else "field"


def _recall_line(axes: Axes, entry: Entry, points: Mapping[int, float], record: Record) -> list[End]:
    part = _part(entry, record)
    width, dashes = _LINES[part]
    shade = colour({"control": "control", "field": "faint"}.get(part, entry.family))
    axes.plot(list(points), list(points.values()), linestyle=dashes, linewidth=width, color=shade,
              zorder=1 if part == "field" else 3)  # fmt: skip
    return [] if part == "field" else [End([*points.values()][-1], _label(entry, record), shade, part == "lead")]


def _recall_caption(record: Record, curves: Mapping[str, Mapping[int, float]]) -> str:
    grey = sum(_part(entry, record) == "field" for entry in record.entries if entry.name in curves)
    field = f" Grey: the other {of_things(grey, 'option')}; dashed: controls." if grey else ""
    return f"Share of windows whose next passage is among the first k answers.{field}"


def scatter_figure(record: Record) -> Figure | None:
    """Draw cosine to the target against R@5; the entries that matter are labelled."""
    points = {
        entry.name: (cosine, 100 * (entry.value("R@5") or 0.0))
        for entry in _contestants(record)
        if (cosine := entry.value("cosine")) is not None
    }
    entries = [entry for entry in _contestants(record) if entry.name in points]
    if len(entries) < 3:
        return None
    chosen, highest = leader(record), max(points, key=lambda name: points[name][0])
    named = {(chosen or entries[-1]).name, highest, "copy-last", "ar-cosine"}  # two good ones would overlap

    def draw(canvas: Canvas) -> None:
        axes = tidy(canvas.subplots(), "both")
        for entry in entries:
            axes.plot(*points[entry.name], "o", markersize=8, color=colour(entry.family), markerfacecolor=_fill(entry))
        axes.margins(0.14, 0.1)
        axes.set(xlabel="mean cosine of query and target", ylabel="R@5, % of windows")
        for entry in entries:
            if entry.name in named:
                below = entry.name in ("copy-last", "ar-cosine") and not won(record, entry)
                axes.annotate(_label(entry, record), points[entry.name], xytext=(0, -8 if below else 8),
                              textcoords="offset points", ha="center", va="top" if below else "bottom", fontsize=10.5,
                              color=colour(entry.family),
                              fontweight="bold" if won(record, entry) else "normal")  # fmt: skip

    caption = "Cosine to the target, which the losses raise, against R@5, which counts."
    return Figure("scatter", draw, (HALF, 4.6), caption, "Cosine against R@5 over the options")


def validation_curves(entry: Entry) -> list[tuple[list[int], list[float]]]:
    """Return steps and validation MRR of each fold with at least two points."""
    curves = entry.training.curves if entry.training else ()
    found = []
    for curve in curves:
        known = [(point.step, score) for point in curve if (score := point.scores.get("MRR")) is not None]
        found += [([step for step, _ in known], [score for _, score in known])] if len(known) > 1 else []
    return found


def curves_figure(record: Record) -> Figure | None:
    """Draw validation MRR over steps: one panel per trained option, one line per fold, all on one scale."""
    entries = [entry for entry in record.entries if entry.measured and validation_curves(entry)]
    if not entries:
        return None
    lines, across = math.ceil(len(entries) / PANELS), min(PANELS, len(entries))
    reference = record.entry("copy-last")
    level = reference.validated("MRR") if reference else None

    def draw(canvas: Canvas) -> None:
        grid = canvas.subplots(lines, across, sharex=True, sharey=True, squeeze=False).ravel()
        for place, entry in enumerate(entries):
            _panel(tidy(grid[place], "y"), entry, record, level)
            grid[place].tick_params(labelbottom=place + across >= len(entries))
        if level is not None:
            _note(grid[0], "copy-last", (0.98, level), "data", colour("soft"))
        for axes in grid[len(entries) :]:
            axes.set_visible(False)
        canvas.supxlabel("optimiser steps", color=colour("soft"), fontsize=11)
        canvas.supylabel("validation MRR", color=colour("soft"), fontsize=11)

    return Figure("curves", draw, (WIDTH, 0.8 + 1.7 * lines), _curves_caption(entries, level),
                  "Validation MRR over training steps per option")  # fmt: skip


def _panel(axes: Axes, entry: Entry, record: Record, level: float | None) -> None:
    if level is not None:
        axes.axhline(level, color=colour("soft"), linewidth=0.9, linestyle=DASHED, zorder=1)
    curves = validation_curves(entry)
    for steps, scores in curves:
        axes.plot(steps, scores, color=colour(entry.family), linewidth=1.4)
        best = max(range(len(scores)), key=scores.__getitem__)
        axes.plot(steps[best], scores[best], "o", color=colour(entry.family), markersize=4)
    weight = "bold" if won(record, entry) else "normal"
    title = f"{'★ ' if won(record, entry) else ''}{shortened(entry.name, PANEL_LETTERS)}"
    axes.set_title(title, loc="left", fontsize=10, color=colour("ink"), fontweight=weight)
    if entry.under_trained:
        low = level is not None and max(max(scores) for _, scores in curves) < 0.35 * level
        _note(axes, "under-trained", (0.98, 0.45 if low else 0.04), "axes fraction", colour("ink"))


def _note(axes: Axes, text: str, place: tuple[float, float], vertical: str, shade: str) -> None:
    axes.annotate(text, place, xycoords=("axes fraction", vertical), xytext=(0, 3), textcoords="offset points",
                  ha="right", va="bottom", fontsize=9.5, color=shade)  # fmt: skip


def _curves_caption(entries: Sequence[Entry], level: float | None) -> str:
    reached = {entry.name: max(max(scores) for _, scores in validation_curves(entry)) for entry in entries}
    best = max(reached, key=lambda name: reached[name])
    late = [code(entry.name) for entry in entries if entry.under_trained]
    text = (
        "Validation MRR during training, one line per fold; the dot marks the step that was kept. The highest point is "
        f"{SCORE.number(reached[best])} ({code(best)})."
    )
    text += f" Dashed: {code('copy-last')} at {SCORE.number(level)}." if level is not None else ""
    return text + (f" Not yet flat at the end: {listing(late)}." if late else "")


def ranks_figure(record: Record) -> Figure | None:
    """Draw where the target is ranked: one stacked bar per option, sorted by R@5."""
    entries = [entry for entry in _contestants(record) if entry.rank_histogram and entry.rank_histogram.labels]
    if not entries:
        return None
    bins = {entry.name: dict(zip(entry.rank_histogram.labels, entry.rank_histogram.share, strict=True))
            for entry in entries if entry.rank_histogram}  # fmt: skip

    def draw(canvas: Canvas) -> None:
        axes = tidy(canvas.subplots())
        for place, entry in enumerate(entries):
            _bar(axes, bins[entry.name], place)
        _names_at_the_left(axes, entries, record)
        axes.set(xlim=(0, 100), ylim=(-0.6, len(entries) + 0.5), xlabel="% of windows")
        _key(axes, list(bins[entries[-1].name]), len(entries) - 0.1)

    best = entries[-1]
    ends = [f"{PERCENT.number(share)} % at rank {plain(label)}"
            for label, share in bins[best.name].items() if label in ("1", ">1000")]  # fmt: skip
    caption = (
        f"Rank of the true next passage, {of_things(len(entries), 'option')} sorted by R@5, best at the top. "
        f"{code(best.name)}{f': {listing(ends)}' if ends else ''}."
    )
    return Figure("ranks", draw, (WIDTH, 1.2 + 0.32 * len(entries)), caption,
                  "Distribution of the target's rank per option")  # fmt: skip


def _shade(place: int) -> tuple[str, str]:
    """Return fill and text colour of the rank range at this place."""
    role = min(place, 6) + 1
    return colour(f"rank-{role}"), colour("on-strong") if role <= 3 else colour("ink")


def _bar(axes: Axes, shares: Mapping[str, float], place: int) -> None:
    left = 0.0
    for index, share in enumerate(shares.values()):
        fill, ink = _shade(index)
        axes.barh(place, 100 * share, left=left, height=0.8, color=fill)
        if share >= 0.045:
            axes.text(left + 50 * share, place, f"{100 * share:.0f}", ha="center", va="center", fontsize=9.5, color=ink,
                      clip_on=True)  # fmt: skip
        left += 100 * share


def _key(axes: Axes, labels: Sequence[str], height: float) -> None:
    """Draw a line of little squares above the bars, in the order of the bars."""
    left = 0.0
    for index, label in enumerate(labels):
        text, middle, edge = shortened(f"rank {label}" if index == 0 else label, 12), height + 0.15, colour("faint")
        axes.barh(middle, 1.4, left=left, height=0.42, color=_shade(index)[0], edgecolor=edge, linewidth=0.5)
        axes.text(left + 2.0, middle, text, va="center", fontsize=10, color=colour("soft"))
        left += 4.5 + 0.95 * len(text)
