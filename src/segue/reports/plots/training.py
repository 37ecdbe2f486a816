"""Pictures of training: do the loss terms agree, is there an order to learn, would more data help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from segue.reports.document import Figure
from segue.reports.findings import CheckFinding
from segue.reports.plots.headline import shortened
from segue.reports.plots.small import (
    DASHED,
    Words,
    bar_value,
    name_of,
    points,
    shade_of,
    small_figure,
)
from segue.reports.plots.svg import colour
from segue.reports.record import Comparison, interval, mapping, number, sequence
from segue.reports.text.markup import code, plain
from segue.reports.text.numbers import PERCENT, RATIO, count, of_things
from segue.types import Interval

MOST_PANELS = 4
ARMS = ("true order", "context permuted", "document reversed", "passages shuffled")


@dataclass(frozen=True)
class Pull:
    """How two terms' gradients stand to each other along one row's training."""

    row: str
    pair: str
    line: list[tuple[float, ...]]
    control: list[tuple[float, ...]]


def gradients_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """Cosine between the gradients of each pair of loss terms along training, with interval and control."""
    pulls = [pull for name, entry in finding.rows.items() for pull in _pulls(name, entry)]
    if not pulls:
        return None
    shown = sorted(pulls, key=lambda pull: pull.line[0][1])[:MOST_PANELS]  # the most opposed first

    def draw(panels: Sequence[Axes]) -> None:
        for axes, pull in zip(panels, shown, strict=True):
            _pull_panel(axes, pull, shade_of(comparison, pull.row), ylim=_reach(shown))
            axes.tick_params(labelbottom=pull is shown[-1])
        panels[-1].set_xlabel("optimiser steps")

    left_out = f" {of_things(len(pulls) - len(shown), 'more pair')} not drawn." if len(pulls) > len(shown) else ""
    caption = (
        "Cosine between the gradients of two loss terms on the shared parameters, on held-out batches, with its 95 % "
        f"interval; below 0 they pull against each other. Dashed: two halves of a batch under the whole loss.{left_out}"
    )
    height = 1.5 + 1.75 * len(shown)
    return small_figure(Words("gradients", _pull_title(shown[0]), caption), draw, height=height, panels=len(shown))


def _pulls(name: str, entry: Mapping[str, Any]) -> list[Pull]:
    control = points(mapping(entry.get("control")), "steps", "cosine", "low", "high")
    found = []
    for pair, record in mapping(entry.get("pairs")).items():
        line = points(mapping(record), "steps", "cosine", "low", "high")
        found += [Pull(name, str(pair), line, control)] if line else []
    return found


def _pull_title(pull: Pull) -> str:
    """Say how the gradients stand early on; near the end opposition is natural."""
    _, cosine, low, high = pull.line[0]
    meaning = "against each other" if high < 0 else "the same way" if low > 0 else "neither way for certain"
    return f"{name_of(pull.row)}: {pull.pair} pull {meaning} early on (cosine {RATIO.signed(cosine)})"


def _reach(pulls: Sequence[Pull]) -> tuple[float, float]:
    """One scale for all panels, 0 within."""
    values = [value for pull in pulls for point in (*pull.line, *pull.control) for value in point[1:]]
    return min(-0.1, *values) - 0.08, max(0.1, *values) + 0.22


def _pull_panel(axes: Axes, pull: Pull, shade: str, *, ylim: tuple[float, float]) -> None:
    axes.axhline(0, color=colour("ink"), linewidth=0.8)
    if pull.control:
        _banded(axes, pull.control, colour("soft"), dashed=True)
        _, cosine, *_ = pull.control[-1]
        _remark(axes, "control", (pull.control[-1][0], cosine), colour("soft"))
    _banded(axes, pull.line, shade)
    _remark(axes, pull.pair, (pull.line[-1][0], pull.line[-1][1]), shade)
    axes.set_title(name_of(pull.row), loc="left", fontsize=10, color=colour("ink"))
    axes.set(ylabel="cosine", ylim=ylim)


def _remark(axes: Axes, text: str, place: tuple[float, float], shade: str) -> None:
    axes.annotate(text, place, xytext=(0, 4), textcoords="offset points", ha="right", va="bottom", fontsize=10,
                  color=shade)  # fmt: skip


def _banded(axes: Axes, line: Sequence[tuple[float, ...]], shade: str, *, dashed: bool = False) -> None:
    """A line, its marks and its interval."""
    xs, ys, lows, highs = zip(*line, strict=True)
    axes.plot(xs, ys, color=shade, linewidth=1.4 if dashed else 2.2, linestyle=DASHED if dashed else "-",
              marker="" if dashed else "o", markersize=4)  # fmt: skip
    axes.vlines(xs, lows, highs, color=shade, linewidth=1.0 if dashed else 1.4)


def weights_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """R@5 of a mixed loss against the share of one of its terms."""
    record = [mapping(entry) for entry in sequence(finding.details.get("pareto"))]
    scores = {number(entry.get("weight")): interval({**entry, "value": entry.get("R@5")}) for entry in record}
    line = [(weight, score) for weight, score in scores.items() if weight is not None and score is not None]
    if len(line) < 2:
        return None
    term = _varied(list(mapping(record[0].get("losses"))))
    best, highest = max(line, key=lambda point: point[1].value)

    def draw(panels: Sequence[Axes]) -> None:
        axes, shade = panels[0], colour("loss")
        axes.plot(*zip(*[(100 * weight, 100 * score.value) for weight, score in line], strict=True), color=shade)
        for weight, score in line:
            _upright(axes, score, 100 * weight, shade)
        axes.set(xlabel=f"share of {shortened(term)} in the loss, %", ylabel="validation R@5, %")

    row = str(finding.details.get("pareto_row") or "the loss")
    title = f"{name_of(row)}: R@5 is highest ({PERCENT.number(highest.value)} %) with {100 * best:.0f} % {term}"
    caption = (
        f"R@5 on validation with its 95 % interval when {code(row)} is trained with another share of {code(term)}: "
        "terms that hurt each other leave a mixture below its ends."
    )
    return small_figure(Words("weights", title, caption), draw, height=3.2)


def _varied(terms: Sequence[Any]) -> str:
    """Name the term whose share is varied: the first that is no InfoNCE, else the last."""
    names = [str(term) for term in terms]
    return next((name for name in names if not name.lower().startswith("infonce")), (names or ["one term"])[-1])


def _upright(axes: Axes, score: Interval, place: float, shade: str) -> None:
    if score.low is not None and score.high is not None:
        axes.vlines(place, 100 * score.low, 100 * score.high, color=shade, linewidth=1.4)
    axes.plot(place, 100 * score.value, "o", color=shade, markersize=6)
    axes.annotate(PERCENT.number(score.value), (place, 100 * score.value), xytext=(5, 4), textcoords="offset points",
                  fontsize=10, color=colour("ink"))  # fmt: skip


def order_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """R@5 of the same model trained in four orders."""
    arms = _arms(finding)
    if len(arms) < 2:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        for place, (name, score) in enumerate(reversed(arms.items())):
            _whisker(axes, score, float(place), colour("loss" if name == ARMS[0] else "baseline"))
        axes.set_yticks(range(len(arms)), list(reversed(arms)))
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="R@5, % of windows, with 95 % interval", ylim=(-0.6, len(arms) - 0.4))
        axes.margins(x=0.2)

    probe = interval({**mapping(finding.details.get("probe")), "value": _accuracy(finding)})
    caption = "R@5 of one method on passages in their own order and in orders that lack something of it."
    if probe is not None:
        said = PERCENT.sentence(probe)
        caption += f" A probe tells the next passage from the one before in {said} of pairs; chance: 50 %."
    return small_figure(Words("order", _order_title(arms), caption), draw, height=2.9, grid="x")


def _accuracy(finding: CheckFinding) -> float | None:
    return number(mapping(finding.details.get("probe")).get("accuracy"))


def _arms(finding: CheckFinding) -> dict[str, Interval]:
    record = mapping(finding.details.get("arms"))
    names = [*ARMS, *(str(name) for name in record if name not in ARMS)]
    read = {name: interval({**mapping(record.get(name)), "value": mapping(record.get(name)).get("R@5")})
            for name in names}  # fmt: skip
    return {name: score for name, score in read.items() if score is not None}


def _order_title(arms: Mapping[str, Interval]) -> str:
    """Set the arm that differs most from the first beside it."""
    first, *others = arms
    other = max(others, key=lambda name: abs(arms[name].value - arms[first].value))
    shown = [f"{PERCENT.number(arms[name].value)} % with {name}" for name in (first, other)]
    return f"R@5 is {', '.join(shown)}"


def _whisker(axes: Axes, score: Interval, place: float, shade: str) -> None:
    if score.low is not None and score.high is not None:
        axes.plot([100 * score.low, 100 * score.high], [place, place], color=shade, linewidth=2)
    axes.plot(100 * score.value, place, "o", color=shade, markersize=7)
    end = score.value if score.high is None else score.high
    bar_value(axes, PERCENT.number(score.value), (100 * end, place), shade)


def data_figure(comparison: Comparison, finding: CheckFinding) -> Figure | None:
    """R@5 against the number of training documents."""
    line = points(finding.details, "documents", "R@5")
    if len(line) < 2:
        return None
    spans = points(finding.details, "documents", "low", "high")

    def draw(panels: Sequence[Axes]) -> None:
        axes, shade = panels[0], colour("loss")
        axes.plot(*zip(*[(x, 100 * y) for x, y in line], strict=True), "o-", color=shade, linewidth=2.2, markersize=6)
        axes.vlines([x for x, *_ in spans], [100 * low for _, low, _ in spans], [100 * high for *_, high in spans],
                    color=shade, linewidth=1.4)  # fmt: skip
        for x, y in line:
            axes.annotate(PERCENT.number(y), (x, 100 * y), xytext=(-6, 4), textcoords="offset points", ha="right",
                          fontsize=10, color=colour("ink"))  # fmt: skip
        axes.set_xticks([x for x, _ in line], [count(x) for x, _ in line])
        axes.set(xlabel="training documents", ylabel="R@5, % of windows", xlim=(0, 1.05 * line[-1][0]))

    (few, low), (many, high) = line[0], line[-1]
    title = f"R@5 goes from {PERCENT.number(low)} % with {of_things(few, 'document')} to {PERCENT.number(high)} % "
    title += f"with {count(many)}"
    half = [y for _, y in line][-2]
    caption = (
        "R@5 of the same model trained on more and more documents, with its 95 % interval; the last step "
        f"({plain(count(line[-2][0]))} to {plain(count(many))} documents) brought {PERCENT.signed(high - half)} points."
    )
    return small_figure(Words("data", title, caption), draw)
