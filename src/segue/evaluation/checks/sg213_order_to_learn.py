"""SG213: is there an order to learn, or only likeness?"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from segue.evaluation.checks.arms import ARMS, Arms, make_arms, neighbours
from segue.evaluation.checks.case import Case
from segue.evaluation.checks.interface import Check, Verdict
from segue.evaluation.checks.short_runs import CUTOFF, ranks_of_query
from segue.evaluation.intervals import bootstrap, paired
from segue.retrieval.retrievers.ridge import Ridge
from segue.types import Bank, Interval

PENALTY = 10.0
TRAIN_PER_WINDOW = 20
"""Training windows for each window that is asked: a linear map of all context vectors needs many."""
WORTH = 0.05
"""A gain in R@5 that would be worth having; an issue has to exclude it."""
FEWEST_WINDOWS = 20
TRUE, SHUFFLED = "true order", "passages shuffled"


def examine(case: Case) -> Verdict:
    """Fit a linear map to the same targets in four orders, and tell next from previous."""
    fold, generator = case.folds[0], case.generator("SG213")
    train = case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows)
    learnt = make_arms(case.bank, train, generator)
    asked = make_arms(case.bank, case.answerable(case.sample(fold, "validation")), generator)
    if min(len(learnt), len(asked)) < FEWEST_WINDOWS:
        return Verdict("tip", f"Too few windows with as many passages after the target as before it to tell: "
                       f"{len(learnt)} for training, {len(asked)} for validation.")  # fmt: skip
    hits = {name: _hits(case, learnt, asked, name) for name in ARMS}
    groups = case.groups_of(asked.windows[TRUE])
    arms = {name: _share(case, values, groups) for name, values in hits.items()}
    gains = {name: _gain(case, hits[TRUE], hits[name], groups) for name in ARMS if name != TRUE}
    probe, likeness = _probe(case)
    return _judge(arms, gains, probe=probe, likeness=likeness, num_windows=len(asked))


def _hits(case: Case, learnt: Arms, asked: Arms, name: str) -> Float[np.ndarray, "window"]:
    ridge = Ridge.fit(case.bank, learnt.windows[name], PENALTY)
    return (ranks_of_query(case, ridge, asked.windows[name], exclude=asked.exclude) <= CUTOFF).astype(np.float64)


def _gain(
    case: Case,
    ours: Float[np.ndarray, "window"],
    theirs: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
) -> Interval:
    return paired(ours, theirs, groups, resamples=case.effort.resamples, seed=case.seed).difference


def _probe(case: Case) -> tuple[Interval | None, Interval | None]:
    """Return how often a linear classifier tells next from previous, and how often likeness does; on validation."""
    fold = case.folds[0]
    train = neighbours(case.bank, case.sample(fold, "train", most=TRAIN_PER_WINDOW * case.effort.windows))
    asked = neighbours(case.bank, case.sample(fold, "validation"))
    if min(len(train), len(asked)) == 0:
        return None, None
    right = told_apart(case.bank, train, asked)
    middle, before, after = (case.bank.gather(asked[:, column]) for column in (1, 0, 2))
    alike = _right(np.einsum("td,td->t", middle, after - before))
    documents = case.bank.document_of[asked[:, 2]].astype(np.int64)
    groups = documents if case.groups is None else case.groups[documents]
    return _share(case, right, groups), _share(case, alike, groups)


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


def _judge(
    arms: dict[str, Interval],
    gains: dict[str, Interval],
    *,
    probe: Interval | None,
    likeness: Interval | None,
    num_windows: int,
) -> Verdict:
    near = any(_above(gains[name], 0.0) for name in (SHUFFLED, "context permuted"))
    backwards = gains["document reversed"]
    directed = probe is not None and _above(probe, 0.5)
    directed = directed or _above(backwards, 0.0) or (backwards.high is not None and backwards.high < 0)
    high = gains[SHUFFLED].high
    outcome, said = _outcome(directed=directed, near=near, hopeless=high is not None and high < WORTH)
    details = {
        "arms": {name: {"R@5": found.value, "low": found.low, "high": found.high} for name, found in arms.items()},
        "gain_of_true_order": {name: _ends(found) for name, found in gains.items()},
        "probe": None if probe is None else {"accuracy": probe.value, "low": probe.low, "high": probe.high},
        "likeness_alone": None if likeness is None else _ends(likeness),
        "windows": num_windows,
    }
    statement = f"{_say(arms, gains, probe, likeness)}: {said}."
    return Verdict(outcome, statement, gains[SHUFFLED].value, 0.0, details)


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


def _above(interval: Interval, line: float) -> bool:
    return interval.low is not None and interval.low > line


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _say(
    arms: dict[str, Interval], gains: dict[str, Interval], probe: Interval | None, likeness: Interval | None
) -> str:
    others = ", ".join(f"{arms[name].value:.1%} with {name} ({_points(gain)})" for name, gain in gains.items())
    said = f"A linear map has R@5 {arms[TRUE].value:.1%} in the true order, {others}"
    if probe is None or likeness is None:
        return said
    return (f"{said}; next is told from previous in {probe.value:.1%} {_range(probe)} of the cases, by likeness alone "
            f"in {likeness.value:.1%}, by chance in 50 %")  # fmt: skip


def _points(gain: Interval) -> str:
    ends = "" if gain.low is None or gain.high is None else f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"the true order gains {100 * gain.value:+.1f} points{ends}"


def _range(interval: Interval) -> str:
    return "" if interval.low is None or interval.high is None else f"[{interval.low:.1%}, {interval.high:.1%}]"


CHECK = Check(
    code="SG213",
    title="Order to learn",
    question="Is there an order to learn, or only likeness? Are sequence prediction and similarity orthogonal?",
    detection="A linear map (ridge, penalty 10) is fitted to training windows and asked on validation windows in four "
    "arms: true order, context permuted, document reversed, passages shuffled within the document. All ask for the "
    "same targets and exclude the same passages; differences are paired over groups of documents. And a probe: from "
    "one passage a classifier linear in products of components tells the next from the previous one, to which likeness "
    "is blind. An issue: neither the true order nor the probe does better than shuffled, respectively chance, and a "
    f"gain of {WORTH:.0%} is excluded. A tip: shuffling or permuting hurts, since near passages are alike, but "
    "reversing does not and the probe is at chance: then sequence prediction is similarity. (A mean difference of "
    "neighbouring cosines cannot show this: it telescopes to zero for any text.) "
    "What only a curved map could learn is not seen.",
    why="Where passages have no order, no model of sequences can beat copying: a larger model and another loss are "
    "wasted on it.",
    healthy="the true order beats the shuffled one, and next is told from previous more often than by chance",
    mend="use text whose passages follow from each other, or aim at similarity and say so",
    unit="gain in R@5",
    examine=examine,
    needs=("windows",),
    slow=True,
)
