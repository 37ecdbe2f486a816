"""SG213: is there an order to learn, or only likeness?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.checks.diagnosis.orders import ARMS, Arms, make_arms, neighbours
from segue.checks.diagnosis.short_runs import CUTOFF, ranks_of_query
from segue.checks.statistics import interval_json, paired_json, percent, points, side
from segue.evaluation.intervals import PairedTest, bootstrap, holm, paired
from segue.retrieval.retrievers.baselines import Ridge
from segue.types import Bank, Interval

PENALTY = 10.0
TRAIN_PER_WINDOW = 20
"""Training windows for each window that is asked: a linear map of all context vectors needs many."""
WORTH = 0.05
"""A gain in R@5 that would be worth having; an issue has to exclude it."""
FEWEST_WINDOWS = 20
TRUE, SHUFFLED = "true order", "passages shuffled"


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        arms: R@5 by arm.
        tests: the true order against each other arm.
        probe: share of next told from previous, less ½.
        likeness: the same share by cosine alone.
    """

    arms: dict[str, Interval]
    tests: dict[str, PairedTest]
    probe: PairedTest
    likeness: Interval

    @property
    def accuracy(self) -> Interval:
        """The probe's share."""
        off = self.probe.difference
        low, high = (None if end is None else min(1.0, max(0.0, 0.5 + end)) for end in (off.low, off.high))
        return Interval(0.5 + off.value, low, high)

    @property
    def sides(self) -> dict[str, int]:
        """On which side of nothing each test lies: by interval, and by p-value adjusted for all four of them."""
        family = {**self.tests, "probe": self.probe}
        adjusted = holm([test.p_value for test in family.values()])
        return {name: side(test, p) for (name, test), p in zip(family.items(), adjusted, strict=True)}


def examine(case: Case) -> Verdict:
    """Fit a linear map to the same targets in four orders, and tell next from previous."""
    fold, generator = case.folds[0], case.generator("SG213")
    train = case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows)
    learnt = make_arms(case.bank, train, generator)
    asked = make_arms(case.bank, case.answerable(case.sample(fold, "validation")), generator)
    if min(len(learnt), len(asked)) < FEWEST_WINDOWS:
        return Verdict("tip", f"Too few windows with as many passages after the target as before it to tell: "
                       f"{len(learnt)} for training, {len(asked)} for validation.")  # fmt: skip
    groups = case.groups_of(asked.windows[TRUE])
    hits = {name: _hits(case, learnt, asked, name) for name in ARMS}
    tests = {name: _against(case, hits[TRUE], hits[name], groups) for name in ARMS if name != TRUE}
    probe, likeness = _probe(case)
    arms = {name: _share(case, values, groups) for name, values in hits.items()}
    return _judge(Found(arms, tests, probe, likeness), num_windows=len(asked))


def _hits(case: Case, learnt: Arms, asked: Arms, name: str) -> Float[np.ndarray, "window"]:
    ridge = Ridge.fit(case.bank, learnt.windows[name], PENALTY)
    return (ranks_of_query(case, ridge, asked.windows[name], exclude=asked.exclude) <= CUTOFF).astype(np.float64)


def _against(
    case: Case,
    ours: Float[np.ndarray, "window"],
    theirs: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
) -> PairedTest:
    return paired(ours, theirs, groups, resamples=case.effort.resamples, seed=case.seed)


def _probe(case: Case) -> tuple[PairedTest, Interval]:
    """Return how often, less ½, a linear classifier tells next from previous on validation; and how often likeness "
    "does.

    Every window of two context passages has such neighbours, so where there are windows there is an answer.
    """
    fold = case.folds[0]
    train = neighbours(case.bank, case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows))
    asked = neighbours(case.bank, case.sample(fold, "validation"))
    if min(len(train), len(asked)) == 0:  # a context of one passage
        nothing = np.array([0.5])
        return _against(case, nothing, nothing, np.zeros(1, dtype=np.int64)), Interval(0.5)
    right = told_apart(case.bank, train, asked)
    middle, before, after = (case.bank.gather(asked[:, column]) for column in (1, 0, 2))
    alike = _right(np.einsum("td,td->t", middle, after - before))
    documents = case.bank.document_of[asked[:, 2]].astype(np.int64)
    groups = documents if case.groups is None else case.groups[documents]
    return _against(case, right, np.full_like(right, 0.5), groups), _share(case, alike, groups)


def _share(case: Case, values: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"]) -> Interval:
    """Return the mean of values between 0 and 1 with its interval; the name says that it is bounded."""
    return bootstrap({"R@5": values}, groups, resamples=case.effort.resamples, seed=case.seed)["R@5"]


def told_apart(
    bank: Bank, train: Int[np.ndarray, "train 3"], asked: Int[np.ndarray, "asked 3"]
) -> Float[np.ndarray, "asked"]:
    """Return 1 where next is told from previous, given the passage between them.

    Both stand next to the middle, so that likeness alone says nothing. The classifier is linear in the products of the
    middle's components (and 1) and those of next − previous; least squares with a penalty.
    """
    features, moved = _middle(bank, train), bank.gather(train[:, 2]) - bank.gather(train[:, 0])
    gram = (features.T @ features).astype(np.float64)
    gram[np.diag_indices(len(gram) - 1)] += PENALTY
    weights = scipy.linalg.solve(gram, features.T @ moved, assume_a="pos").astype(np.float32)
    direction = bank.gather(asked[:, 2]) - bank.gather(asked[:, 0])
    return _right(np.einsum("td,td->t", _middle(bank, asked) @ weights, direction))


def _middle(bank: Bank, triples: Int[np.ndarray, "triple 3"]) -> Float[np.ndarray, "triple feature"]:
    vectors = bank.gather(triples[:, 1])
    return np.concatenate([vectors, np.ones((len(vectors), 1), dtype=np.float32)], axis=1)


def _right(margins: Float[np.ndarray, "triple"]) -> Float[np.ndarray, "triple"]:
    """Count a positive margin as right, and none as half: a coin.

    >>> _right(np.array([0.3, 0.0, -0.1])).tolist()
    [1.0, 0.5, 0.0]
    """
    return 0.5 + 0.5 * np.sign(margins).astype(np.float64)


def _judge(found: Found, *, num_windows: int) -> Verdict:
    sides = found.sides
    high = found.tests[SHUFFLED].difference.high
    outcome, said = _outcome(
        directed=sides["probe"] > 0 or sides["document reversed"] != 0,
        near=max(sides[SHUFFLED], sides["context permuted"]) > 0,
        hopeless=high is not None and high < WORTH,
    )
    details = {
        "arms": {name: {"R@5": arm.value, "low": arm.low, "high": arm.high} for name, arm in found.arms.items()},
        "gain_of_true_order": {name: paired_json(test) for name, test in found.tests.items()},
        "probe": {"accuracy": found.accuracy.value, "low": found.accuracy.low, "high": found.accuracy.high},
        "likeness_alone": interval_json(found.likeness),
        "windows": num_windows,
    }
    gain = found.tests[SHUFFLED].difference.value
    return Verdict(outcome, f"{_say(found)}: {said}.", gain, 0.0, details)


def _outcome(*, directed: bool, near: bool, hopeless: bool) -> tuple[Any, str]:
    """Say what the text offers: a direction, nearness alone, or nothing."""
    if directed:
        return "passed", "there is an order to learn beyond likeness"
    if near:
        return "tip", ("nearness is what helps, no direction can be seen: read backwards the document serves as well, "
                       "so predicting the next passage is here a matter of likeness")  # fmt: skip
    if hopeless:
        return "issue", "no order can be seen"
    return "tip", "no order can be seen, and there are too few documents to exclude one"


def _say(found: Found) -> str:
    others = ", ".join(
        f"{percent(found.arms[name].value)} with {name} (the true order gains {points(test.difference)})"
        for name, test in found.tests.items()
    )
    accuracy = found.accuracy
    ends = "" if accuracy.low is None or accuracy.high is None else (
        f" (95 % {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})")  # fmt: skip
    return (f"A linear map has R@5 {percent(found.arms[TRUE].value)} in the true order, {others}; next is told from "
            f"previous in {percent(accuracy.value)}{ends} of the cases, by likeness alone in "
            f"{percent(found.likeness.value)}, by chance in 50 %")  # fmt: skip


CHECK = Check(
    code="SG213",
    title="Order to learn",
    question="Is there an order to learn, or only likeness? Are sequence prediction and similarity orthogonal?",
    detection="A linear map (ridge, penalty 10) is fitted to training windows and asked on validation windows in "
    "four arms: true order, context permuted, document reversed, passages shuffled within the document. All ask "
    "for the same targets and exclude the same passages; differences are paired over groups of documents, and all "
    "tests share one level (Holm). And a probe: from one passage a classifier linear in products of components "
    "tells the next from the previous one, to which likeness is blind. An issue: neither the true order nor the "
    f"probe does better than shuffled, respectively chance, and a gain of {100 * WORTH:.0f} % is excluded. A tip: "
    "shuffling or permuting hurts, since near passages are alike, but reversing does not and the probe is at "
    "chance: then sequence prediction is similarity. (A mean difference of neighbouring cosines cannot show this: "
    "it telescopes to zero for any text.) What only a curved map could learn is not seen.",
    why="Where passages have no order, no model of sequences can beat copying: a larger model and another loss are "
    "wasted on it.",
    healthy="the true order beats the shuffled one, and next is told from previous more often than by chance",
    fix="use text whose passages follow from each other, or aim at similarity and say so",
    unit="gain in R@5",
    examine=examine,
    needs=("windows",),
    slow=True,
)
