"""Plots of the diagnosis, drawn from the details of its findings, in the order of the codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from segue.comparison.record import Finding, Record
from segue.reports.document import Figure, Gallery
from segue.reports.plots.small import (
    DASHED,
    Details,
    End,
    Points,
    bar_value,
    draw_line,
    end_labels,
    interval,
    logarithmic,
    mapping,
    name_of,
    number,
    points,
    sequence,
    shade_of,
    shortened,
    small_plot,
    subject_of,
)
from segue.reports.svg import colour
from segue.reports.text import PERCENT, RATIO, Scale, code, count, listing, of_things
from segue.types import Interval

ALWAYS = 0.999
"""Share of windows from which predictions count as always copying; such an entry is named, since it would flatten the
others."""
IMPOSTORS = ("read already", "same document later", "same document earlier", "near-duplicate", "other document")
MAXIMUM_PANELS = 4
ARMS = ("true order", "context permuted", "document reversed", "passages shuffled")
RANK = Scale(places=0)
Lines = Mapping[str, Points]


def diagnosis_gallery(record: Record) -> Gallery | None:
    """Draw what the details of the diagnosis hold; None where there is nothing to draw."""
    known = {finding.code: finding for finding in record.diagnosis}
    drawn = [draw(record, known[code]) for code, draw in PLOTS if code in known]
    figures = tuple(figure for figure in drawn if figure is not None)
    return Gallery(figures) if figures else None


def _by_entry(finding: Finding) -> dict[str, Details]:
    """Return the details of each entry."""
    found = mapping(finding.details.get("entries", finding.details.get("rows")))
    return {name: mapping(entry) for name, entry in found.items()}


def _lines(finding: Finding, *keys: str, inner: str = "") -> Lines:
    """Return the lines of the entries that have at least two points."""
    read = {
        name: points(mapping(entry.get(inner)) if inner else entry, *keys) for name, entry in _by_entry(finding).items()
    }
    return {name: found for name, found in read.items() if len(found) > 1}


def _percent(share: float | None) -> str:
    return f"{PERCENT.number(share)} %"


def _in_per_cent(line: Points) -> Points:
    """Return a line with its second values in per cent."""
    return [(x, *(100 * y for y in rest)) for x, *rest in line]


def _draw_entries(axes: Axes, record: Record, lines: Lines, about: str) -> list[End]:
    """Draw one line for each entry and return the labels of their ends."""
    ends = []
    for name, line in lines.items():
        shade, bold = shade_of(record, name), name == about
        draw_line(axes, line, shade, bold=bold)
        ends.append(End(line[-1][1], name_of(name), shade, bold))
    return ends


@dataclass(frozen=True)
class Pull:
    """Relation of the gradients of two loss terms during one entry's training."""

    entry: str
    pair: str
    line: Points
    control: Points


def gradients_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw the cosine between the gradients of each pair of loss terms along training, with interval and control."""
    pulls = [pull for name, entry in _by_entry(finding).items() for pull in _pulls(name, entry)]
    if not pulls:
        return None
    shown = sorted(pulls, key=lambda pull: pull.line[0][1])[:MAXIMUM_PANELS]  # the most opposed first
    values = [value for pull in shown for point in (*pull.line, *pull.control) for value in point[1:]]
    ends = min(-0.1, *values) - 0.08, max(0.1, *values) + 0.22

    def draw(panels: Sequence[Axes]) -> None:
        for axes, pull in zip(panels, shown, strict=True):
            _pull_panel(axes, pull, shade_of(record, pull.entry))
            axes.set(ylabel="cosine", ylim=ends)
            axes.tick_params(labelbottom=pull is shown[-1])
        panels[-1].set_xlabel("optimiser steps")

    _, cosine, low, high = shown[0].line[0]  # near the end of training opposition is natural
    meaning = "oppose each other" if high < 0 else "agree" if low > 0 else "neither clearly agree nor oppose"
    title = f"{name_of(shown[0].entry)}: {shown[0].pair} {meaning} early on (cosine {RATIO.signed(cosine)})"
    left_out = f" {of_things(len(pulls) - len(shown), 'more pair')} not drawn." if len(pulls) > len(shown) else ""
    caption = (
        "Cosine between the gradients of two loss terms on the shared parameters, on held-out batches, with its 95 % "
        f"interval; below 0 they oppose each other. Dashed: two halves of a batch under the whole loss.{left_out}"
    )
    height = 1.5 + 1.75 * len(shown)
    return small_plot("gradients", title, caption, draw, height=height, panels=len(shown))


def _pulls(name: str, entry: Details) -> list[Pull]:
    control = points(mapping(entry.get("control")), "steps", "cosine", "low", "high")
    found = []
    for pair, values in mapping(entry.get("pairs")).items():
        line = points(mapping(values), "steps", "cosine", "low", "high")
        found += [Pull(name, pair, line, control)] if line else []
    return found


def _pull_panel(axes: Axes, pull: Pull, shade: str) -> None:
    axes.axhline(0, color=colour("ink"), linewidth=0.8)
    for text, line, ink in (("control", pull.control, colour("soft")), (pull.pair, pull.line, shade)):
        if line:
            dashed = line is pull.control
            xs, ys, lows, highs = zip(*line, strict=True)
            axes.plot(xs, ys, color=ink, linewidth=1.4 if dashed else 2.2, linestyle=DASHED if dashed else "-",
                      marker="" if dashed else "o", markersize=4)  # fmt: skip
            axes.vlines(xs, lows, highs, color=ink, linewidth=1.0 if dashed else 1.4)
            axes.annotate(text, (xs[-1], ys[-1]), xytext=(0, 4), textcoords="offset points", ha="right", va="bottom",
                          fontsize=10, color=ink)  # fmt: skip
    axes.set_title(name_of(pull.entry), loc="left", fontsize=10, color=colour("ink"))


def weights_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw R@5 of a mixed loss against the share of one of its terms."""
    front = [mapping(entry) for entry in sequence(finding.details.get("pareto"))]
    line = [
        (weight, score)
        for entry in front
        if (weight := number(entry.get("weight"))) is not None and (score := interval(entry, "R@5")) is not None
    ]
    if len(line) < 2:
        return None
    terms = [str(term) for term in mapping(front[0].get("losses"))] or ["one term"]
    term = next((name for name in terms if not name.lower().startswith("infonce")), terms[-1])
    best, highest = max(line, key=lambda point: point[1].value)

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        _draw_scores(axes, [(100 * weight, score) for weight, score in line], shift=5)
        axes.set(xlabel=f"share of {shortened(term)} in the loss, %", ylabel="validation R@5, %")

    details = finding.details
    name = str(details.get("pareto_entry", details.get("pareto_row")) or "the loss")
    title = f"{name_of(name)}: R@5 is highest ({_percent(highest.value)}) with {100 * best:.0f} % {term}"
    caption = (
        f"R@5 on validation with its 95 % interval when {code(name)} is trained with another share of {code(term)}. "
        "If the terms hurt each other, a mixture lies below the ends."
    )
    return small_plot("weights", title, caption, draw, height=3.2)


def _draw_scores(axes: Axes, line: Sequence[tuple[float, Interval]], *, shift: int) -> None:
    """Draw scores in per cent with intervals, and their numbers ``shift`` points to the right (negative: left)."""
    shade = colour("loss")
    axes.plot([x for x, _ in line], [100 * score.value for _, score in line], "o-", color=shade, linewidth=2.2)
    for x, score in line:
        if score.low is not None and score.high is not None:
            axes.vlines(x, 100 * score.low, 100 * score.high, color=shade, linewidth=1.4)
        axes.annotate(PERCENT.number(score.value), (x, 100 * score.value), xytext=(shift, 4), fontsize=10,
                      textcoords="offset points", ha="left" if shift > 0 else "right", color=colour("ink"))  # fmt: skip


def spectrum_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw how many directions predictions use, against the targets'."""
    entries = _by_entry(finding)
    lines = {name: line for name, entry in entries.items()
             if len(line := _spectrum(entry, "spectrum_predictions")) > 1}  # fmt: skip
    if not lines:
        return None
    about = subject_of(record, list(lines))
    ranks = {name: number(entries[name].get("rank_predictions")) for name in lines}
    targets, rank_targets = _spectrum(entries[about], "spectrum_targets"), number(entries[about].get("rank_targets"))

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = _draw_entries(axes, record, lines, about)
        if len(targets) > 1:
            axes.plot(*zip(*targets, strict=True), color=colour("ink"), linewidth=1.6, linestyle=DASHED, zorder=4)
            ends += [End(targets[-1][1], "targets", colour("ink"))]
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="direction, strongest first", ylabel="share of variance, % (log.)")
        end_labels(axes, ends)

    used, wanted = (RANK.number(rank) for rank in (ranks[about], rank_targets))
    title = f"Predictions of {name_of(about)} use {used} directions, targets {wanted}"
    shown = [f"{code(name)} {rank:.0f}" for name, rank in ranks.items() if rank is not None]
    caption = "Variance along each direction, predictions against targets (dashed), at the same number of samples."
    caption += f" Effective rank: {', '.join(shown)}." if shown else ""
    return small_plot("spectrum", title, caption, draw)


def _spectrum(entry: Details, key: str) -> Points:
    shares = [number(value) for value in sequence(entry.get(key))]
    return [(float(place), 100 * share) for place, share in enumerate(shares, 1) if share is not None and share > 0]


def hubs_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw how evenly the answers are spread over the passages."""
    read = _lines(finding, "passages", "slots", inner="curve")
    lines: Lines = {name: [(100 * x, 100 * y) for x, y in line] for name, line in read.items()}
    if not lines:
        return None
    about, entries = subject_of(record, list(lines)), _by_entry(finding)
    tops = {name: number(entries[name].get("share_of_top_1_percent")) for name in lines}

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        axes.plot([0, 100], [0, 100], color=colour("soft"), linewidth=0.9, linestyle=DASHED)
        _draw_entries(axes, record, lines, about)
        axes.set(xlabel="passages, % of the bank", ylabel="places in the top 10, %", xlim=(0, 100), ylim=(0, 102))
        _names_in_the_free_corner(axes, record, lines, about)

    elsewhere = number(entries[about].get("share_of_hubs_of_other_documents"))
    title = f"{name_of(about)}: the 1 % most retrieved passages fill {_percent(tops[about])} of its answers"
    title += f", {_percent(elsewhere)} if picked on other documents" if elsewhere is not None else ""
    shown = [f"{code(name)} {_percent(top)}" for name, top in tops.items() if top is not None]
    caption = "How the places of all top-10 lists are shared among the passages, most retrieved first; dashed: evenly."
    caption += f" Share of the most retrieved 1 %: {', '.join(shown)}." if shown else ""
    return small_plot("hubs", title, caption, draw, grid="both")


def _names_in_the_free_corner(axes: Axes, record: Record, lines: Lines, about: str) -> None:
    """Write names in their colours where no curve runs, in the order of the curves' bulges."""
    area = {name: sum(y - x for x, y in line) / len(line) for name, line in lines.items()}
    below = sum(area.values()) < 0
    order = sorted(lines, key=lambda name: area[name])
    for place, name in enumerate(order):
        height = (0.97 - 0.075 * (len(order) - 1 - place)) if below else 0.03 + 0.075 * place
        axes.annotate(name_of(name), (0.03 if below else 0.97, height), xycoords="axes fraction", fontsize=10,
                      ha="left" if below else "right", va="top" if below else "bottom",
                      color=shade_of(record, name), fontweight="bold" if name == about else "normal")  # fmt: skip


def offsets_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw which neighbour of the last passage each prediction lies nearest to."""
    known = {name: _in_per_cent(line) for name, line in _lines(finding, "offsets", "nearest").items()}
    copying = [name for name, line in known.items() if max(share for _, share in line) > 100 * ALWAYS]
    lines = {name: line for name, line in known.items() if name not in copying} or known
    if not lines:
        return None
    about = subject_of(record, list(lines))
    shares = {x: y / 100 for x, y in lines[about]}

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = _draw_entries(axes, record, lines, about)
        xs = sorted({x for line in lines.values() for x, _ in line})
        axes.set_xticks(xs, [f"{x:+.0f}".replace("-", "−") if x else "0" for x in xs])
        axes.set_ylim(0, 1.08 * max(y for line in lines.values() for _, y in line))
        for place, text, side in ((0.0, "last read ", "right"), (1.0, " the truth", "left")):
            axes.axvline(place, color=colour("soft"), linewidth=0.9, linestyle=DASHED, zorder=1)
            axes.annotate(text, (place, 1.0), xycoords=("data", "axes fraction"), ha=side, va="bottom",
                          fontsize=10, color=colour("soft"))  # fmt: skip
        axes.set(xlabel="offset from the last passage read, passages", ylabel="nearest at this offset, % of windows")
        end_labels(axes, ends)

    title = f"{name_of(about)} is nearest to the next passage in {_percent(shares.get(1.0))} of windows, "
    title += f"to the last one read in {_percent(shares.get(0.0))}"
    left_out = [code(name) for name in copying if name not in lines]
    caption = (
        "Passage of the document that a prediction lies nearest to, by its offset from the last passage read: +1 is "
        "the truth, 0 means copying."
    )
    caption += f" Not drawn, always at the same offset: {listing(left_out)}." if left_out else ""
    return small_plot("offsets", title, caption, draw)


def truth_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw where the truth is ranked, and what is ranked first instead."""
    entries = {name: entry for name, entry in _by_entry(finding).items() if _histogram(entry) and _impostors(entry)}
    if not entries:
        return None
    about = subject_of(record, list(entries))
    entry, shade = entries[about], shade_of(record, about)
    other = "copy-last" if "copy-last" in entries and about != "copy-last" else ""

    def draw(panels: Sequence[Axes]) -> None:
        _columns(panels[0], _histogram(entry), shade)
        panels[0].set(xlabel="rank of the truth", ylabel="% of windows")
        _impostor_bars(panels[1], _impostors(entry), shade)
        if other:
            shares = [100 * share for share in _impostors(entries[other]).values()]
            panels[1].plot(shares, range(len(shares) - 1, -1, -1), "o", markersize=6, color=colour("ink"),
                           markerfacecolor=colour("paper"))  # fmt: skip

    most = max(_impostors(entry).items(), key=lambda pair: pair[1])
    median = number(entry.get("median_rank"))
    title = f"{name_of(about)}: half of the truths rank {count(median)} or better; " if median is not None else ""
    title += f"the best impostor is mostly “{most[0]}” ({_percent(most[1])})" if most[1] > 0 else "no impostor"
    caption = f"Above: where {code(about)} ranks the truth. Below: what is first where the truth is not"
    caption += f"; hollow: {code(other)}." if other else "."
    return small_plot("truth", title, caption, draw, height=5.2, panels=2)


def _histogram(entry: Details) -> list[tuple[str, float]]:
    """Return rank ranges and their shares, from edges where each range begins."""
    values = mapping(entry.get("histogram"))
    edges, shares = sequence(values.get("edges")), sequence(values.get("share"))
    begins = [number(edge) for edge in [*edges, *[None] * len(shares)][: len(shares) + 1]]
    found = []
    for first, following, value in zip(begins, begins[1:], shares, strict=False):
        share = number(value)
        found += [(_range(first, following), share)] if first is not None and share is not None else []
    return found


def _range(first: float, following: float | None) -> str:
    """Name the ranks from one edge to before the next.

    >>> _range(1.0, 2.0), _range(2.0, 6.0), _range(1001.0, None)
    ('1', '2–5', '≥1,001')
    """
    if following is None:
        return f"≥{count(first)}"
    return count(first) if following - first <= 1 else f"{count(first)}–{count(following - 1)}"


def _impostors(entry: Details) -> dict[str, float]:
    values = mapping(entry.get("impostors"))
    names = [*IMPOSTORS, *(name for name in values if name not in IMPOSTORS)]
    return {name: share for name in names if (share := number(values.get(name))) is not None}


def _columns(axes: Axes, shares: Sequence[tuple[str, float]], shade: str) -> None:
    axes.bar(range(len(shares)), [100 * share for _, share in shares], width=0.8, color=shade)
    for place, (_, share) in enumerate(shares):
        axes.annotate(f"{100 * share:.0f}", (place, 100 * share), xytext=(0, 2), textcoords="offset points",
                      ha="center", fontsize=10, color=colour("ink"))  # fmt: skip
    axes.set_xticks(range(len(shares)), [label for label, _ in shares], rotation=30 if len(shares) > 6 else 0)
    axes.margins(y=0.14)


def _impostor_bars(axes: Axes, shares: Mapping[str, float], shade: str) -> None:
    places = range(len(shares) - 1, -1, -1)
    axes.grid(visible=False)
    axes.barh(places, [100 * share for share in shares.values()], height=0.7, color=shade)
    for place, share in zip(places, shares.values(), strict=True):
        bar_value(axes, f"{100 * share:.0f}", (100 * share, float(place)), colour("ink"))
    axes.set_yticks(places, list(shares))
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="% of windows whose truth is not first")
    axes.margins(x=0.14)


def order_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw R@5 of the same model trained in four orders."""
    values = mapping(finding.details.get("arms"))
    names = [*ARMS, *(name for name in values if name not in ARMS)]
    arms = {name: score for name in names if (score := interval(mapping(values.get(name)), "R@5")) is not None}
    if len(arms) < 2:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        for place, (name, score) in enumerate(reversed(arms.items())):
            _whisker(axes, score, place, colour("loss" if name == ARMS[0] else "baseline"))
        axes.set_yticks(range(len(arms)), list(reversed(arms)))
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="R@5, % of windows, with 95 % interval", ylim=(-0.6, len(arms) - 0.4))
        axes.margins(x=0.2)

    first, *others = arms
    other = max(others, key=lambda name: abs(arms[name].value - arms[first].value))
    title = "R@5 is " + ", ".join(f"{_percent(arms[name].value)} with {name}" for name in (first, other))
    caption = "R@5 of one method on passages in their own order and in other orders."
    probe = interval(mapping(finding.details.get("probe")), "accuracy")
    if probe is not None:
        caption += f" A probe separates the next passage from the one before in {PERCENT.sentence(probe)} of pairs; "
        caption += "chance: 50 %."
    return small_plot("order", title, caption, draw, height=2.9, grid="x")


def _whisker(axes: Axes, score: Interval, place: int, shade: str) -> None:
    if score.low is not None and score.high is not None:
        axes.plot([100 * score.low, 100 * score.high], [place, place], color=shade, linewidth=2)
    axes.plot(100 * score.value, place, "o", color=shade, markersize=7)
    end = score.value if score.high is None else score.high
    bar_value(axes, PERCENT.number(score.value), (100 * end, place), shade)


def data_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw R@5 against the number of training documents."""
    line = points(finding.details, "documents", "R@5")
    if len(line) < 2:
        return None
    spans = {x: ends for x, *ends in points(finding.details, "documents", "low", "high")}

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        _draw_scores(axes, [(x, Interval(y, *spans.get(x, ()))) for x, y in line], shift=-6)
        axes.set_xticks([x for x, _ in line], [count(x) for x, _ in line])
        axes.set(xlabel="training documents", ylabel="R@5, % of windows", xlim=(0, 1.05 * line[-1][0]))

    (few, low), (before, half), (many, high) = line[0], line[-2], line[-1]
    title = f"R@5 goes from {_percent(low)} with {of_things(few, 'document')} to {_percent(high)} with {count(many)}"
    caption = (
        "R@5 of the same model trained on more and more documents, with its 95 % interval. The last step "
        f"({count(before)} to {count(many)} documents) brought {PERCENT.signed(high - half)} points."
    )
    return small_plot("data", title, caption, draw)


def ceiling_figure(record: Record, finding: Finding) -> Figure | None:
    """Draw what a reranker of k candidates could reach at most."""
    lines = {
        name: _in_per_cent([p for p in line if p[0] >= 1]) for name, line in _lines(finding, "k", "contain").items()
    }
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None
    about = subject_of(record, list(lines))
    contain = {k: share / 100 for k, share in lines[about]}
    ks = {"k": _by_entry(finding)[about].get("k"), "chance": finding.details.get("chance")}
    chance = _in_per_cent(points(ks, "k", "chance"))
    first, last = min(contain), 50.0 if 50.0 in contain else max(contain)

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = _draw_entries(axes, record, lines, about)
        if len(chance) > 1:
            axes.plot(*zip(*chance, strict=True), color=colour("soft"), linewidth=0.9, linestyle=DASHED)
            ends += [End(chance[-1][1], "chance", colour("soft"))]
        logarithmic(axes, sorted({k for line in lines.values() for k, _ in line}))
        axes.set(ylim=(0, 103), xlabel="k, candidates given to a reranker (log.)", ylabel="Contain@k, % of windows")
        end_labels(axes, ends)

    title = f"{name_of(about)}: the truth is among {count(last)} candidates in {_percent(contain[last])} of windows, "
    title += f"among {count(first)} in {_percent(contain[first])}"
    room = PERCENT.number(contain[last] - contain[first])
    caption = (
        "How often the truth is among k candidates: what a perfect reranker could reach. With "
        f"{count(last)} it could gain at most {room} points over R@{count(first)}."
    )
    return small_plot("ceiling", title, caption, draw)


PLOTS: tuple[tuple[str, Callable[[Record, Finding], Figure | None]], ...] = (
    ("SG204", gradients_figure),
    ("SG204", weights_figure),
    ("SG206", spectrum_figure),
    ("SG208", hubs_figure),
    ("SG209", offsets_figure),
    ("SG210", truth_figure),
    ("SG213", order_figure),
    ("SG215", data_figure),
    ("SG216", ceiling_figure),
)
