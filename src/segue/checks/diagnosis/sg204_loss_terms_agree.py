"""SG204: do the loss terms pull against each other?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis.loss_front import Point, loss_front, own_share, varied_term
from segue.checks.diagnosis.short_runs import answerable_validation, begin_like, bounded, t_interval
from segue.checks.statistics import percent
from segue.evaluation.intervals import paired
from segue.training.batches import Batch
from segue.training.gradients import BatchGradients, held_out_batches, measure
from segue.types import Interval

PREFERRED = ("infonce-projected", "infonce-ar")
MOMENTS = 7
EARLY = 0.5
"""Share of the steps that the verdict rests on."""
CANNOT_ACT = 0.01
"""Below this share of the longer gradient's length a term moves nothing."""
WORTH = 0.01
"""Loss of R@5 against a single term that counts."""
SMALLEST_BATCH, FEWEST_BATCHES = 8, 3

Pair = tuple[str, str]


@dataclass(frozen=True)
class Along:
    """What was measured along one row's short training.

    Attributes:
        steps: at which it was measured.
        early: how many of them are early.
        cosine: by pair of terms: [moment, batch].
        norm_ratio: likewise.
        control: [moment, batch].
    """

    steps: list[int]
    early: int
    cosine: dict[Pair, Float[np.ndarray, "moment batch"]]
    norm_ratio: dict[Pair, Float[np.ndarray, "moment batch"]]
    control: Float[np.ndarray, "moment batch"]

    def of_early(self, values: Float[np.ndarray, "moment batch"]) -> Interval:
        """Average the early moments of each batch; the interval is over batches."""
        return bounded(t_interval(values[: self.early].mean(axis=0).tolist()))

    @property
    def worst(self) -> Pair:
        """The pair of terms that agrees least in early training."""
        return min(self.cosine, key=lambda pair: self.of_early(self.cosine[pair]).value)

    @property
    def opposed(self) -> bool:
        """Whether some pair's early cosine is below 0 with its whole interval."""
        return any(_below(self.of_early(values), 0.0) for values in self.cosine.values())

    @property
    def inert(self) -> Pair | None:
        """A pair of which one term cannot act, or None."""
        found = [pair for pair, values in self.norm_ratio.items() if _below(self.of_early(values), CANNOT_ACT)]
        return found[0] if found else None


def examine(case: Case) -> Verdict:
    """Train rows of several terms briefly, compare the terms' gradients, and weigh the terms against each other."""
    rows = _rows(case)
    if not rows:
        return not_applicable("no trained row's loss has two terms")
    if len(answerable_validation(case, rows[0])) == 0:
        return not_applicable("no validation window has its target among the candidates")
    batches = {row.name: _batches(case, row) for row in rows}
    if min(len(found) for found in batches.values()) < FEWEST_BATCHES:
        return Verdict("tip", f"Too few validation windows to tell: fewer than {FEWEST_BATCHES} batches of "
                       f"{SMALLEST_BATCH}.")  # fmt: skip
    along = {row.name: _measure_along(case, row, batches[row.name]) for row in rows}
    front = loss_front(case, rows[0], batches[rows[0].name])
    losses = _losses(case, rows[0], front)
    details = {
        "rows": {name: _as_details(found) for name, found in along.items()},
        "pareto": [point.as_details() for point in front],
        "pareto_row": rows[0].name,
        "mixture_against_single_terms": losses,
    }
    return _judge(case, rows[0], along, front=front, losses=losses, details=details)


def _rows(case: Case) -> list[CaseEntry]:
    """Return the subject and the report's two mixtures, as far as their losses have several terms."""
    several = {row.name: row for row in case.first_entries if row.trained and len(row.trained.loss_settings.terms) > 1}
    wanted = [name for name in dict.fromkeys([case.subject, *PREFERRED]) if name in several]
    return [several[str(name)] for name in wanted or list(several)[:1]]


def _batches(case: Case, row: CaseEntry) -> list[Batch]:
    """Return held-out batches as large as the row's own, if the validation windows are enough."""
    assert row.trained is not None
    windows = case.fold_of(row).validation
    size = max(SMALLEST_BATCH, min(row.trained.settings.batch_size, len(windows) // case.effort.batches))
    return list(held_out_batches(case.bank, windows, size=size, most=case.effort.batches, seed=case.seed))


def moments(steps: int) -> list[int]:
    """Return the steps to measure at: the start, then ever rarer.

    >>> moments(120)
    [0, 1, 2, 5, 11, 24, 54, 120]
    """
    return [0, *np.unique(np.geomspace(1, steps, MOMENTS).round().astype(int)).tolist()]


def _measure_along(case: Case, row: CaseEntry, batches: list[Batch]) -> Along:
    run, steps = begin_like(case, row), moments(case.effort.steps)
    found: list[list[BatchGradients]] = []
    for step in steps:
        run.advance(step)
        found.append([measure(run.predictor, run.optimisation.loss, batch) for batch in batches])
    pairs = list(itertools.combinations(run.optimisation.loss.names, 2))
    early = sum(step <= EARLY * case.effort.steps for step in steps)
    return Along(
        steps,
        early,
        {pair: np.array([[one.cosine[pair] for one in at] for at in found]) for pair in pairs},
        {pair: np.array([[one.norm_ratio[pair] for one in at] for at in found]) for pair in pairs},
        np.array([[one.control for one in at] for at in found]),
    )


def _losses(case: Case, row: CaseEntry, front: list[Point]) -> dict[str, dict[str, float | None]]:
    """Compare the row's own mixture with each term alone: R@5, paired over documents."""
    groups = case.groups_of(answerable_validation(case, row))
    own = next(point for point in front if point.share == own_share(row))
    found = {}
    for single in (front[0], front[-1]):
        test = paired(own.hits, single.hits, groups, resamples=case.effort.resamples, seed=case.seed).difference
        found[f"{single.share:g}"] = {"difference": test.value, "low": test.low, "high": test.high}
    return found


def _judge(
    case: Case,
    first: CaseEntry,
    along: dict[str, Along],
    *,
    front: list[Point],
    losses: dict[str, dict[str, float | None]],
    details: dict[str, Any],
) -> Verdict:
    own = along[first.name]
    costs = any(_costs(one) for one in losses.values())
    is_subject = first.name == case.subject
    severe = is_subject and ((own.opposed and costs) or own.inert is not None)
    loud = severe or costs or any(found.opposed or found.inert for found in along.values())
    measured = own.of_early(own.cosine[own.worst]).value
    said = " ".join([*(_say(name, found) for name, found in along.items()), _say_front(first, front, costs=costs)])
    return Verdict("issue" if severe else "tip" if loud else "passed", said, measured, 0.0, details)


def _costs(difference: dict[str, float | None]) -> bool:
    value, high = difference["difference"], difference["high"]
    return value is not None and high is not None and high < 0 and value <= -WORTH


def _below(interval: Interval, line: float) -> bool:
    return interval.high is not None and interval.high < line


def _say(name: str, found: Along) -> str:
    pair = found.worst
    at, control = found.of_early(found.cosine[pair]), found.of_early(found.control)
    ratio = found.of_early(found.norm_ratio[pair])
    word = "pull against each other" if found.opposed else "agree" if (at.low or 0) > 0 else "are unrelated"
    silent = f"; the smaller one is {100 * ratio.value:.2f} % of the larger and cannot act" if found.inert else (
        f"; the smaller is {percent(ratio.value)} of the larger")  # fmt: skip
    return (f"In early training of {name} the gradients of {pair[0]} and {pair[1]} {word}: cosine {at.value:.2f} "
            f"[{at.low:.2f}, {at.high:.2f}] where two halves of a batch under the whole loss have "
            f"{control.value:.2f}{silent}.")  # fmt: skip


def _say_front(row: CaseEntry, front: list[Point], *, costs: bool) -> str:
    own, none, alone = (next(p for p in front if p.share == share) for share in (own_share(row), 0.0, 1.0))
    said = (f"After {own.steps} steps of {row.name} R@5 on validation is {percent(own.recall)} with "
            f"{100 * own.share:.0f} % {varied_term(row)}, {percent(none.recall)} without it and "
            f"{percent(alone.recall)} with nothing else")  # fmt: skip
    return f"{said}; {'the mixture costs recall' if costs else 'no single term does better beyond a point and chance'}."


def _as_details(found: Along) -> dict[str, Any]:
    pairs = {
        " · ".join(pair): {
            **_curve(found.steps, found.cosine[pair]),
            "norm_ratio": found.norm_ratio[pair].mean(axis=1).tolist(),
            "early_cosine": found.of_early(found.cosine[pair]).value,
            "early_norm_ratio": found.of_early(found.norm_ratio[pair]).value,
        }
        for pair in found.cosine
    }
    return {"pairs": pairs, "control": _curve(found.steps, found.control)}


def _curve(steps: list[int], values: Float[np.ndarray, "moment batch"]) -> dict[str, list[Any]]:
    intervals = [bounded(t_interval(row.tolist())) for row in values]
    return {
        "steps": steps,
        "cosine": [interval.value for interval in intervals],
        "low": [interval.low for interval in intervals],
        "high": [interval.high for interval in intervals],
    }


CHECK = Check(
    code="SG204",
    title="Loss terms agree",
    question="Do the loss terms pull against each other?",
    detection="The configuration of each mixed loss (the subject's, the projected and the raw one) is trained anew "
    "for some steps. At the start and at ever rarer steps each term's weighted gradient on the predictor's weights "
    "is taken on held-out batches: the cosine of each pair (Yu et al. 2020, Gradient Surgery, definition 1) with a "
    "t-interval over batches, beside the cosine of the whole loss on two halves of a batch, and the ratio of the "
    "two lengths. Terms are opposed when the mean cosine of the first half of the steps lies below 0 with its "
    f"interval; a term cannot act below {100 * CANNOT_ACT:.0f} % of the other's length. Then the share of one term "
    "is varied from 0 to 1 at equal steps (the head goes on learning at share 0), and the mixture's R@5 on "
    "validation is compared with each single term's, paired over groups of documents. An issue: the subject's "
    "terms are opposed and its mixture loses a point or more to one of them, or one of them cannot act. One "
    "training each: the seed's noise is not in the intervals.",
    why="Two objectives that want opposite weights cancel, and the model learns neither; a term that is a hundred "
    "times smaller is decoration. Near a stationary point of their sum two gradients are opposed whatever the "
    "task, so late cosines prove nothing: the original report read a conflict out of a cosine that had no control.",
    healthy="a positive cosine in early training, near that of two halves of a batch; no single term beats the mixture",
    fix="drop the term that costs recall, or weigh the terms by the length of their gradients",
    unit="cosine",
    examine=examine,
    needs=("windows", "trained"),
    slow=True,
)
