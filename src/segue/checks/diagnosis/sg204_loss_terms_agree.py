"""SG204: do the loss terms oppose each other?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis.short_runs import answerable_validation, begin_like, hits_of_run
from segue.checks.statistics import paired_test, percent, share_interval
from segue.evaluation.intervals import t_interval
from segue.training.batches import Batch
from segue.training.gradients import BatchGradients, held_out_batches, measure, moments, term_values
from segue.training.losses.loss import varied_term, with_share
from segue.types import Interval, Windows

PREFERRED = ("infonce-projected", "infonce-ar")
"""Entries with mixed losses that are measured in addition to the subject."""
EARLY = 0.5
"""Share of the steps that the verdict rests on."""
NO_EFFECT_RATIO = 0.01
"""Share of the longer gradient's length below which a term moves nothing."""
RECALL_LOSS = 0.01
"""Loss of R@5 against a single term that counts."""
MINIMUM_BATCH_SIZE, MINIMUM_BATCHES = 8, 3
SHARES = (0.0, 0.3, 0.7, 1.0)
"""Shares of the varied term in the sum of weights."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class GradientCourse:
    """Gradients of the terms during one entry's short training.

    Attributes:
        steps: at which they were measured.
        early: how many of these steps are early.
        cosine, norm_ratio: by pair of terms; the ratio is that of the shorter to the longer gradient.
        control: cosine of the whole loss on two halves of a batch.
    """

    steps: list[int]
    early: int
    cosine: dict[Pair, Float[np.ndarray, "moment batch"]]
    norm_ratio: dict[Pair, Float[np.ndarray, "moment batch"]]
    control: Float[np.ndarray, "moment batch"]

    def of_early(self, values: Float[np.ndarray, "moment batch"]) -> Interval:
        """Average the early moments of each batch; the interval is over batches."""
        return t_interval(values[: self.early].mean(axis=0).tolist(), bounded=True)

    @property
    def worst(self) -> Pair:
        """The pair of terms that agrees least in early training."""
        return min(self.cosine, key=lambda pair: self.of_early(self.cosine[pair]).value)

    @property
    def opposed(self) -> bool:
        """Whether some pair's early cosine is below 0 with its whole interval."""
        return any(_below(self.of_early(values), 0.0) for values in self.cosine.values())

    @property
    def inert(self) -> bool:
        """Whether one term of some pair cannot act."""
        return any(_below(self.of_early(values), NO_EFFECT_RATIO) for values in self.norm_ratio.values())


@dataclass(frozen=True)
class FrontPoint:
    """A short training with one share (0 to 1) of the varied term in the sum of weights.

    ``losses`` are the terms' held-out values, unweighted; ``recall`` is R@5 on validation; ``hits`` are 1 or 0.
    """

    share: float
    steps: int
    losses: dict[str, float]
    recall: Interval
    hits: Float[np.ndarray, "window"]


def examine(case: Case) -> Verdict:
    """Train entries of several terms briefly, compare the terms' gradients, and vary the weights of the terms."""
    several = {e.name: e for e in case.first_entries
               if e.quick_to_train and len(e.training.loss_settings.terms) > 1}  # fmt: skip
    wanted = [several[name] for name in dict.fromkeys([case.subject or "", *PREFERRED]) if name in several]
    entries = wanted or list(several.values())[:1]
    if not entries:
        return not_applicable("no trained entry's loss has two terms")
    first = entries[0]
    validation = answerable_validation(case, first)
    if len(validation) == 0:
        return not_applicable("no validation window has its target among the candidates")
    batches = {entry.name: _batches(case, entry) for entry in entries}
    if min(len(found) for found in batches.values()) < MINIMUM_BATCHES:
        return Verdict("tip", f"Too few validation windows to tell: fewer than {MINIMUM_BATCHES} batches of "
                       f"{MINIMUM_BATCH_SIZE}.")  # fmt: skip
    courses = {entry.name: _course(case, entry, batches[entry.name]) for entry in entries}
    shares = sorted({*SHARES, own_share(first)})
    front = [_front_point(case, first, batches[first.name], share, validation) for share in shares]
    mixture = front[shares.index(own_share(first))]
    against = {f"{single.share:g}": paired_test(case, mixture.hits, single.hits, case.groups_of(validation)).difference
               for single in (front[0], front[-1])}  # fmt: skip
    details = {
        "rows": {name: _course_details(course) for name, course in courses.items()},
        "pareto": [{"weight": point.share, "losses": point.losses, "R@5": point.recall.value,
                    "low": point.recall.low, "high": point.recall.high} for point in front],
        "pareto_row": first.name,
        "mixture_against_single_terms": against,
    }  # fmt: skip
    own, costs = courses[first.name], any(_costs(one) for one in against.values())
    severe = first.name == case.subject and ((own.opposed and costs) or own.inert)
    loud = severe or costs or any(course.opposed or course.inert for course in courses.values())
    said = [*(_of_course(name, course) for name, course in courses.items()), _of_front(first, mixture, front, costs)]
    measured = own.of_early(own.cosine[own.worst]).value
    return Verdict("issue" if severe else "tip" if loud else "passed", " ".join(said), measured, 0.0, details)


def _batches(case: Case, entry: CaseEntry) -> list[Batch]:
    """Return held-out batches as large as the entry's own, if there are enough validation windows."""
    windows = case.fold_of(entry).validation
    size = max(MINIMUM_BATCH_SIZE, min(entry.training.settings.batch_size, len(windows) // case.effort.batches))
    return list(held_out_batches(case.bank, windows, size=size, most=case.effort.batches, seed=case.seed))


def _course(case: Case, entry: CaseEntry, batches: list[Batch]) -> GradientCourse:
    run, steps = begin_like(case, entry), moments(case.effort.steps)
    found: list[list[BatchGradients]] = []
    for step in steps:
        run.advance(step)
        found.append([measure(run.predictor, run.optimisation.loss, batch) for batch in batches])
    pairs = list(itertools.combinations(run.optimisation.loss.names, 2))
    return GradientCourse(
        steps,
        sum(step <= EARLY * case.effort.steps for step in steps),
        {pair: np.array([[one.cosine[pair] for one in at] for at in found]) for pair in pairs},
        {pair: np.array([[one.norm_ratio[pair] for one in at] for at in found]) for pair in pairs},
        np.array([[one.control for one in at] for at in found]),
    )


def _front_point(case: Case, entry: CaseEntry, batches: list[Batch], share: float, validation: Windows) -> FrontPoint:
    """Train the entry's configuration with one share of the varied term; its own loss is left as it is."""
    settings = entry.training.loss_settings
    loss = settings if share == own_share(entry) else with_share(settings, share)
    run = begin_like(case, entry, loss=loss).advance()
    values = [term_values(run.predictor, run.optimisation.loss, batch) for batch in batches]
    hits = hits_of_run(case, run, validation)
    means = {name: float(np.mean([value[name] for value in values])) for name in run.optimisation.loss.names}
    return FrontPoint(share, run.done, means, share_interval(case, hits, case.groups_of(validation)), hits)


def own_share(entry: CaseEntry) -> float:
    """Return the varied term's share in the entry's own loss."""
    settings = entry.training.loss_settings
    weights = [abs(term.weight) for term in settings.terms]
    return round(weights[varied_term(settings)] / sum(weights), 6)


def _costs(difference: Interval) -> bool:
    return _below(difference, 0.0) and difference.value <= -RECALL_LOSS


def _below(interval: Interval, line: float) -> bool:
    return interval.high is not None and interval.high < line


def _of_course(name: str, course: GradientCourse) -> str:
    pair = course.worst
    at, control = course.of_early(course.cosine[pair]), course.of_early(course.control)
    ratio = course.of_early(course.norm_ratio[pair]).value
    word = "oppose each other" if course.opposed else "agree" if (at.low or 0) > 0 else "are unrelated"
    smaller = f"{100 * ratio:.2f} %" if course.inert else percent(ratio)
    effect = " and has no effect" if course.inert else ""
    return (f"In early training of {name} the gradients of {pair[0]} and {pair[1]} {word}: cosine {at.value:.2f} "
            f"[{at.low:.2f}, {at.high:.2f}] where two halves of a batch under the whole loss have "
            f"{control.value:.2f}; the smaller one is {smaller} of the larger{effect}.")  # fmt: skip


def _of_front(entry: CaseEntry, own: FrontPoint, front: list[FrontPoint], costs: bool) -> str:
    settings = entry.training.loss_settings
    said = (f"After {own.steps} steps of {entry.name} R@5 on validation is {percent(own.recall.value)} with "
            f"{100 * own.share:.0f} % {settings.terms[varied_term(settings)].kind}, "
            f"{percent(front[0].recall.value)} without it and {percent(front[-1].recall.value)} with it "
            "alone")  # fmt: skip
    return f"{said}; {'the mixture costs recall' if costs else 'no single term is clearly better by over a point'}."


def _course_details(course: GradientCourse) -> dict[str, object]:
    curves = {pair: _curve(course.steps, cosines) for pair, cosines in course.cosine.items()}
    ratios = {pair: {"norm_ratio": ratio.mean(axis=1).tolist()} for pair, ratio in course.norm_ratio.items()}
    pairs = {" · ".join(pair): curve | ratios[pair] for pair, curve in curves.items()}
    return {"pairs": pairs, "control": _curve(course.steps, course.control)}


def _curve(steps: list[int], values: Float[np.ndarray, "moment batch"]) -> dict[str, object]:
    ends = [t_interval(moment.tolist(), bounded=True) for moment in values]
    return {"steps": steps, "cosine": [end.value for end in ends], "low": [end.low for end in ends],
            "high": [end.high for end in ends]}  # fmt: skip


CHECK = Check(
    code="SG204",
    title="Loss terms agree",
    question="Do the loss terms oppose each other?",
    detection="The configuration of each mixed loss (the subject's, the projected and the raw one) is trained again "
    "for some steps. At the start and at growing distances each term's weighted gradient on the predictor's weights "
    "is measured on held-out batches: the cosine of each pair (Yu et al. 2020, Gradient Surgery, definition 1) with a "
    "t-interval over batches, next to the cosine of the whole loss on two halves of a batch, and the ratio of the two "
    "lengths. Terms are opposed when the mean cosine of the first half of the steps lies below 0 with its interval; a "
    f"term has no effect below {100 * NO_EFFECT_RATIO:.0f} % of the other's length. Then the share of one term is "
    "varied from 0 to 1 at equal steps, and the mixture's R@5 on validation is compared with each single term's, "
    "paired over groups of documents. An issue: the subject's terms are opposed and its mixture loses a point or more "
    "to one of them, or one of them has no effect. There is one training each: the intervals do not include the "
    "seed's noise.",
    why="Two objectives that need opposite weights cancel each other; a term that is a hundred times smaller has no "
    "effect. Near a stationary point of their sum, two gradients are opposed for any task, so only early cosines are "
    "evidence.",
    healthy="a positive cosine in early training, near that of two halves of a batch; no single term beats the mixture",
    fix="drop the term that costs recall, or weight the terms by the length of their gradients",
    unit="cosine",
    examine=examine,
    needs=("windows", "trained"),
    slow=True,
)
