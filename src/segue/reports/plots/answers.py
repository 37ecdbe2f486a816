"""Pictures of what a row answers: offsets, ranks and impostors, hubs, spectrum, ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from segue.reports.document import Figure
from segue.reports.findings import CheckFinding
from segue.reports.plots.small import (
    DASHED,
    End,
    Words,
    bar_value,
    draw_line,
    end_labels,
    lead,
    name_of,
    points,
    shade_of,
    small_figure,
)
from segue.reports.plots.svg import colour
from segue.reports.record import Comparison, mapping, number, sequence
from segue.reports.text.markup import code
from segue.reports.text.numbers import PERCENT, count, listing

Lines = Mapping[str, list[tuple[float, ...]]]
ALWAYS = 0.999
"""A row whose predictions always lie at one place is told of, not drawn: it would flatten the others."""
IMPOSTORS = ("read already", "same document later", "same document earlier", "near-duplicate", "other document")


def _lines(finding: CheckFinding, *keys: str, inner: str = "") -> Lines:
    """The rows that have at least two points."""
    read = {name: points(mapping(entry.get(inner)) if inner else entry, *keys) for name, entry in finding.rows.items()}
    return {name: found for name, found in read.items() if len(found) > 1}


def offsets_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """Which neighbour of the last passage each prediction lies nearest to."""
    all_lines = _lines(finding, "offsets", "nearest")
    copying = [name for name, line in all_lines.items() if max(share for _, share in line) > ALWAYS]
    lines = {name: line for name, line in all_lines.items() if name not in copying} or all_lines
    if not lines:
        return None
    about = lead(comparison, list(lines))
    shares = {point[0]: point[1] for point in lines[about]}

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = [_row_line(axes, comparison, name, [(x, 100 * y) for x, y in line], bold=name == about)
                for name, line in lines.items()]  # fmt: skip
        xs = sorted({x for line in lines.values() for x, _ in line})
        axes.set_xticks(xs, [f"{x:+.0f}".replace("-", "−") if x else "0" for x in xs])
        axes.set_ylim(0, 1.08 * max(100 * y for line in lines.values() for _, y in line))
        for place, text, side in ((0.0, "last read ", "right"), (1.0, " the truth", "left")):
            axes.axvline(place, color=colour("soft"), linewidth=0.9, linestyle=DASHED, zorder=1)
            axes.annotate(text, (place, 1.0), xycoords=("data", "axes fraction"), ha=side, va="bottom",
                          fontsize=10, color=colour("soft"))  # fmt: skip
        axes.set(xlabel="offset from the last passage read, passages", ylabel="nearest there, % of windows")
        end_labels(axes, ends)

    title = f"{name_of(about)} lands on the next passage in {_percent(shares.get(1.0))} of windows, "
    title += f"on the last one read in {_percent(shares.get(0.0))}"
    caption = (
        "Which passage of the document a prediction lies nearest to, by its offset from the last passage read: +1 is "
        "the truth, 0 means copying."
    )
    left_out = [code(name) for name in copying if name not in lines]
    caption += f" Not drawn, always at one place: {listing(left_out)}." if left_out else ""
    return small_figure(Words("offsets", title, caption), draw)


def _percent(share: float | None) -> str:
    return f"{PERCENT.number(share)} %"


def _row_line(axes: Axes, comparison: Comparison, name: str, line: Sequence[tuple[float, ...]], *, bold: bool) -> End:
    """Draw a row's line and return the label of its end."""
    shade = shade_of(comparison, name)
    draw_line(axes, [point[0] for point in line], [point[1] for point in line], shade=shade, bold=bold)
    return End(line[-1][1], name_of(name), shade, bold)


def truth_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """How far down the truth is, and who stands in front of it."""
    rows = {name: entry for name, entry in finding.rows.items() if _histogram(entry) and _impostors(entry)}
    if not rows:
        return None
    about = lead(comparison, list(rows))
    entry, shade = rows[about], shade_of(comparison, about)
    other = "copy-last" if "copy-last" in rows and about != "copy-last" else ""

    def draw(panels: Sequence[Axes]) -> None:
        _columns(panels[0], _histogram(entry), shade)
        panels[0].set(xlabel="rank of the truth", ylabel="% of windows")
        _impostor_bars(panels[1], _impostors(entry), shade)
        if other:
            _impostor_dots(panels[1], _impostors(rows[other]))

    most = max(_impostors(entry).items(), key=lambda pair: pair[1])
    median = number(entry.get("median_rank"))
    title = f"{name_of(about)}: half of the truths rank {count(median)} or better; " if median is not None else ""
    title += f"the best impostor is mostly “{most[0]}” ({_percent(most[1])})" if most[1] > 0 else "no impostor"
    caption = f"Above: where {code(about)} ranks the truth. Below: what stands first where the truth does not"
    caption += f"; hollow: {code(other)}." if other else "."
    return small_figure(Words("truth", title, caption), draw, height=5.2, panels=2)


def _histogram(entry: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Rank ranges and their shares, from edges where each range begins."""
    record = mapping(entry.get("histogram"))
    edges, shares = sequence(record.get("edges")), sequence(record.get("share"))
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


def _impostors(entry: Mapping[str, Any]) -> dict[str, float]:
    record = mapping(entry.get("impostors"))
    names = [*IMPOSTORS, *(str(name) for name in record if name not in IMPOSTORS)]
    return {name: share for name in names if (share := number(record.get(name))) is not None}


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


def _impostor_dots(axes: Axes, shares: Mapping[str, float]) -> None:
    places = range(len(shares) - 1, -1, -1)
    axes.plot([100 * share for share in shares.values()], list(places), "o", markersize=6, color=colour("ink"),
              markerfacecolor=colour("paper"))  # fmt: skip


def hubs_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """How evenly the answers are spread over the passages."""
    lines = _lines(finding, "passages", "slots", inner="curve")
    if not lines:
        return None
    about = lead(comparison, list(lines))
    tops = {name: number(finding.rows[name].get("share_of_top_1_percent")) for name in lines}

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        axes.plot([0, 100], [0, 100], color=colour("soft"), linewidth=0.9, linestyle=DASHED)
        for name, line in lines.items():
            percent = [(100 * x, 100 * y) for x, y in line]
            draw_line(axes, *zip(*percent, strict=True), shade=shade_of(comparison, name), bold=name == about)
        axes.set(xlabel="passages, % of the bank", ylabel="places in the top 10, %", xlim=(0, 100), ylim=(0, 102))
        _in_the_free_corner(axes, comparison, lines, about)

    elsewhere = number(finding.rows[about].get("share_of_hubs_of_other_documents"))
    title = f"{name_of(about)}: the busiest 1 % of passages fill {_percent(tops[about])} of its answers"
    title += f", {_percent(elsewhere)} if picked on other documents" if elsewhere is not None else ""
    shown = [f"{code(name)} {_percent(top)}" for name, top in tops.items() if top is not None]
    caption = "How the places of all top-10 lists are shared among the passages, busiest first; dashed: all alike. "
    caption += f"Held by the busiest 1 %: {', '.join(shown)}." if shown else ""
    return small_figure(Words("hubs", title, caption.strip()), draw, grid="both")


def _in_the_free_corner(axes: Axes, comparison: Comparison, lines: Lines, about: str) -> None:
    """Names in their colours where no curve runs, in the order in which the curves bulge."""
    area = {name: sum(y - x for x, y in line) / len(line) for name, line in lines.items()}
    below = sum(area.values()) < 0
    order = sorted(lines, key=lambda name: area[name])
    for place, name in enumerate(order):
        height = (0.97 - 0.075 * (len(order) - 1 - place)) if below else 0.03 + 0.075 * place
        axes.annotate(name_of(name), (0.03 if below else 0.97, height), xycoords="axes fraction", fontsize=10,
                      ha="left" if below else "right", va="top" if below else "bottom",
                      color=shade_of(comparison, name), fontweight="bold" if name == about else "normal")  # fmt: skip


def spectrum_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """How many directions predictions use, against the targets'."""
    spectra = {name: _spectrum(entry, "spectrum_predictions") for name, entry in finding.rows.items()}
    spectra = {name: line for name, line in spectra.items() if len(line) > 1}
    if not spectra:
        return None
    about = lead(comparison, list(spectra))
    entry = finding.rows[about]
    ranks = {name: number(finding.rows[name].get("rank_predictions")) for name in spectra}
    targets, rank_targets = _spectrum(entry, "spectrum_targets"), number(entry.get("rank_targets"))

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = [_row_line(axes, comparison, name, line, bold=name == about) for name, line in spectra.items()]
        if len(targets) > 1:
            axes.plot(*zip(*targets, strict=True), color=colour("ink"), linewidth=1.6, linestyle=DASHED, zorder=4)
            ends += [End(targets[-1][1], "targets", colour("ink"))]
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="direction, strongest first", ylabel="share of variance, % (log.)")
        end_labels(axes, ends)

    title = f"Predictions of {name_of(about)} use {_places(ranks[about])} directions, targets {_places(rank_targets)}"
    shown = [f"{code(name)} {_places(rank)}" for name, rank in ranks.items() if rank is not None]
    caption = "Variance along each direction, predictions against targets (dashed), at the same number of samples. "
    caption += f"Effective rank: {', '.join(shown)}." if shown else ""
    return small_figure(Words("spectrum", title, caption.strip()), draw)


def _places(rank: float | None) -> str:
    return "an unknown number of" if rank is None else f"{rank:.0f}"


def _spectrum(entry: Mapping[str, Any], key: str) -> list[tuple[float, ...]]:
    shares = [number(value) for value in sequence(entry.get(key))]
    return [(float(place), 100 * share) for place, share in enumerate(shares, 1) if share is not None and share > 0]


def ceiling_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """What a reranker of k candidates could reach at most."""
    lines = {name: [p for p in line if p[0] >= 1] for name, line in _lines(finding, "k", "contain").items()}
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None
    about = lead(comparison, list(lines))
    contain = {point[0]: point[1] for point in lines[about]}
    chance = points({"k": finding.rows[about].get("k"), "chance": finding.details.get("chance")}, "k", "chance")
    first, last = min(contain), 50.0 if 50.0 in contain else max(contain)

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        ends = [_row_line(axes, comparison, name, [(k, 100 * y) for k, y in line], bold=name == about)
                for name, line in lines.items()]  # fmt: skip
        if len(chance) > 1:
            axes.plot([k for k, _ in chance], [100 * share for _, share in chance], color=colour("soft"),
                      linewidth=0.9, linestyle=DASHED)  # fmt: skip
            ends += [End(100 * chance[-1][1], "chance", colour("soft"))]
        _logarithmic(axes, sorted({k for line in lines.values() for k, _ in line}))
        axes.set(ylim=(0, 103), xlabel="k, candidates handed to a reranker (log.)", ylabel="Contain@k, % of windows")
        end_labels(axes, ends)

    title = f"{name_of(about)}: the truth is among {count(last)} candidates in {_percent(contain[last])} of windows, "
    title += f"among {count(first)} in {_percent(contain[first])}"
    room = PERCENT.number(contain[last] - contain[first])
    caption = (
        "How often the truth is among k candidates: what a perfect reranker could reach. With "
        f"{count(last)} it could gain at most {room} points over R@{count(first)}."
    )
    return small_figure(Words("ceiling", title, caption), draw)


def _logarithmic(axes: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic axis that names the points themselves."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(ticks, [count(tick) for tick in ticks])
