"""SG213: is there an order to learn, or only similarity?

A linear map is fitted and evaluated on the same targets, with contexts in four orders.
"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.diagnosis.short_runs import CUTOFF, ranks_of_query
from segue.checks.statistics import paired_json, paired_test, percent, points, share_interval, side
from segue.evaluation.intervals import PairedTest, holm
from segue.evaluation.order import next_by_similarity, next_from_previous
from segue.retrieval.retrievers.baselines import Ridge
from segue.types import Interval
from segue.windows.orders import ARMS, PERMUTED, REVERSED, SHUFFLED, TRUE, make_arms, neighbours

PENALTY = 10.0
TRAIN_PER_WINDOW = 20
"""Training windows for each evaluated window: a linear map of all context vectors needs many."""
EXCLUDED_GAIN = 0.05
"""A gain in R@5 that would be worth having; an issue has to exclude it."""
MINIMUM_WINDOWS = 20


def examine(case: Case) -> Verdict:
    """Fit a linear map to the same targets in four orders, and distinguish next from previous."""
    fold, generator = case.folds[0], case.generator("SG213")
    train = case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows)
    learnt = make_arms(case.bank, train, generator)
    tested = make_arms(case.bank, case.answerable(case.sample(fold, "validation")), generator)
    if min(len(learnt), len(tested)) < MINIMUM_WINDOWS:
        return Verdict("tip", f"Too few windows have as many passages after the target as before it: {len(learnt)} for "
                       f"training, {len(tested)} for validation.")  # fmt: skip
    groups = case.groups_of(tested.windows[TRUE])
    hits = {}
    for name in ARMS:
        ridge = Ridge.fit(case.bank, learnt.windows[name], PENALTY)
        ranks = ranks_of_query(case, ridge, tested.windows[name], exclude=tested.exclude)
        hits[name] = (ranks <= CUTOFF).astype(np.float64)
    tests = {name: paired_test(case, hits[TRUE], hits[name], groups) for name in ARMS if name != TRUE}
    arms = {name: share_interval(case, values, groups) for name, values in hits.items()}
    probe, likeness = _probe(case)
    family = {**tests, "probe": probe}
    adjusted = holm([test.p_value for test in family.values()])  # all four tests share one level
    sides = {name: side(test, p) for (name, test), p in zip(family.items(), adjusted, strict=True)}
    gain, accuracy = tests[SHUFFLED].difference, _accuracy(probe.difference)
    outcome, said = _outcome(sides, excluded=gain.high is not None and gain.high < EXCLUDED_GAIN)
    others = ", ".join(f"{percent(arms[name].value)} with {name} (the true order gains {points(test.difference)})"
                       for name, test in tests.items())  # fmt: skip
    ends = "" if accuracy.low is None or accuracy.high is None else (
        f" (95 % {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})")  # fmt: skip
    said = (f"A linear map has R@5 {percent(arms[TRUE].value)} in the true order, {others}; next and previous are "
            f"distinguished in {percent(accuracy.value)}{ends} of the cases, by similarity alone in "
            f"{percent(likeness.value)}, by chance in 50 %: {said}.")  # fmt: skip
    details = {
        "arms": {name: {"R@5": arm.value, "low": arm.low, "high": arm.high} for name, arm in arms.items()},
        "gain_of_true_order": {name: paired_json(test) for name, test in tests.items()},
        "probe": {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high},
        "likeness_alone": likeness,
        "windows": len(tested),
    }
    return Verdict(outcome, said, gain.value, 0.0, details)


def _accuracy(over_chance: Interval) -> Interval:
    """Return the share in which next and previous are distinguished, from what it is above one half."""
    low, high = (None if end is None else min(1.0, max(0.0, 0.5 + end)) for end in (over_chance.low, over_chance.high))
    return Interval(0.5 + over_chance.value, low, high)


def _outcome(sides: dict[str, int], *, excluded: bool) -> tuple[Judgement, str]:
    """Judge what the text offers: a direction, nearness alone, or nothing (a gain that is worth having excluded)."""
    if sides["probe"] > 0 or sides[REVERSED] != 0:
        return "passed", "there is an order to learn beyond similarity"
    if max(sides[SHUFFLED], sides[PERMUTED]) > 0:
        return "tip", ("nearby passages help, but their direction does not: the reversed document gives the same "
                       "result, so here predicting the next passage is a matter of similarity")  # fmt: skip
    if excluded:
        return "issue", "no order was found"
    return "tip", "no order was found, and there are too few documents to exclude one"


def _probe(case: Case) -> tuple[PairedTest, Interval]:
    """Test a linear classifier of next against previous on validation, and measure similarity alone."""
    bank, fold = case.bank, case.folds[0]
    train = neighbours(bank, case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows))
    tested = neighbours(bank, case.sample(fold, "validation"))
    if min(len(train), len(tested)) == 0:  # a context of one passage
        nothing = np.array([0.5])
        return paired_test(case, nothing, nothing, np.zeros(1, dtype=np.int64)), Interval(0.5)
    right = next_from_previous(bank, train, tested)
    groups = case.document_groups[bank.document_of[tested[:, 2]]]
    alike = next_by_similarity(bank, tested)
    return paired_test(case, right, np.full_like(right, 0.5), groups), share_interval(case, alike, groups)


CHECK = Check(
    code="SG213",
    title="Order to learn",
    question="Is there an order to learn, or only similarity? Are sequence prediction and similarity orthogonal?",
    detection="A linear map (ridge, penalty 10) is fitted to training windows and evaluated on validation windows in "
    "four arms: true order, context permuted, document reversed, passages shuffled within the document. All have the "
    "same targets and exclude the same passages; differences are paired over groups of documents, and all tests share "
    "one level (Holm). In addition, a probe (a classifier that is linear in products of components) distinguishes the "
    "next passage from the previous one, which similarity cannot do. An issue: neither the true order nor the probe "
    f"beats its control (shuffled order, chance), and a gain of {100 * EXCLUDED_GAIN:.0f} % is excluded. A tip: "
    "shuffling or permuting hurts, since near passages are similar, but reversing does not and the probe is at "
    "chance: then sequence prediction is similarity. (A mean difference of neighbouring cosines cannot show this: it "
    "telescopes to zero for any text.) Order that only a non-linear map could learn is not detected.",
    why="Where passages have no order, no model of sequences can beat copying: a larger model and another loss are "
    "wasted on it.",
    healthy="the true order beats the shuffled one, and next is distinguished from previous better than by chance",
    fix="use text whose passages follow from each other, or optimise similarity and say so",
    unit="gain in R@5",
    examine=examine,
    needs=("windows",),
    slow=True,
)
