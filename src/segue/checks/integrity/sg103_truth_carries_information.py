"""SG103: does the truth carry information?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry, pair_cosines
from segue.checks.check import Check, Verdict, not_applicable
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.evaluation.intervals import elsewhere, group_sums
from segue.retrieval.retrievers.baselines import Ridge
from segue.types import Windows
from segue.windows.windows import excluded_rows

LEVEL = 0.001
"""Significance level of the sign test; halved, since two measures of similarity are tried."""
MINIMUM_GROUPS = 12
"""Groups of documents below which no sign test can reach the level: 2⁻¹¹ ≈ 0.0005."""
FEW_GROUPS, SUGGESTIVE = 30, 0.05
"""With fewer groups one unlucky document can miss the level; a p-value below the second number is then a tip."""
FEW_FIX = "evaluate on more documents, or with [split] folds: this test needs some 30 groups of documents"
PENALTY = 10.0
SHUFFLED = ("copy-last", "mean", "bm25", "ridge")
"""Baselines that are evaluated on a shuffled truth, in addition to every trained entry."""
CUTOFF = 5
MAXIMUM_SHUFFLED = 250
"""Windows of a shuffled truth."""


@dataclass(frozen=True)
class SignTest:
    """Mean cosines of matched and random pairs, and the p-value that matched ones are nearer."""

    matched: float
    random: float
    p: float


@dataclass(frozen=True)
class ShuffledRecall:
    """R@5 on a shuffled truth: value, 99.9 % lower limit, chance, and the best that blind answers can expect."""

    value: float
    low: float
    chance: float
    limit: float


def examine(case: Case) -> Verdict:
    """Compare matched with random pairs, and evaluate entries on a shuffled truth."""
    if not all(len(fold.test) for fold in case.folds):
        return not_applicable("a fold has no test window")
    groups_of_folds, pairs = zip(*(_pairs(case, fold) for fold in case.folds), strict=True)
    groups = np.concatenate(groups_of_folds)
    tests = {name: _sign_test(np.concatenate([part[name] for part in pairs], axis=1), groups) for name in pairs[0]}
    name, best = min(tests.items(), key=lambda item: item[1].p)
    chosen = [entry for entry in case.non_controls if entry.name in SHUFFLED or entry.trained is not None]
    shuffled = {entry.name: _shuffled(case, entry) for entry in chosen}
    high = [name for name, found in shuffled.items() if found.low > found.limit]
    num_groups = len(np.unique(groups))
    said = (f"The truth's cosine with the {name} is {best.matched:.3f}, a random passage's {best.random:.3f} "
            f"(p = {best.p:.1g} over {num_groups} groups of documents){_of_shuffled(shuffled, high)}")  # fmt: skip
    details = {"groups": num_groups, "level": LEVEL, "pairs": tests, "shuffled_truth": shuffled}
    if not high and best.p < LEVEL / 2:
        return Verdict("passed", f"{said}.", best.p, LEVEL / 2, details)
    if not high and (num_groups < MINIMUM_GROUPS or (num_groups < FEW_GROUPS and best.p < SUGGESTIVE)):
        return Verdict("tip", f"{said}: too few documents to tell.", best.p, LEVEL / 2, details, fix=FEW_FIX)
    return Verdict("issue", f"{said}.", best.p, LEVEL / 2, details)


def _of_shuffled(shuffled: Mapping[str, ShuffledRecall], high: Sequence[str]) -> str:
    """Describe the result on the shuffled truth of the first entry above its limit, or of the highest one."""
    if not shuffled:
        return ""
    name = high[0] if high else max(shuffled, key=lambda entry: shuffled[entry].value)
    found = shuffled[name]
    who = name if high else f"no entry beats chance: {name}"
    return (f"; with a shuffled truth {who} scores R@{CUTOFF} {found.value:.1%}, where blind answers score "
            f"{found.chance:.1%} and at best {found.limit:.1%}")  # fmt: skip


def _pairs(case: Case, fold: Fold) -> tuple[Int[np.ndarray, "window"], dict[str, Float[np.ndarray, "two window"]]]:
    """Return the groups of some test windows, and the truth's and a random passage's cosines with each guess.

    The second guess, a linear map, is only made where every fold has training windows.

    Raises:
        InputError: a vector is not finite.
    """
    windows = case.sample(fold)
    contexts, truth, groups = case.read(windows), case.truth(case.bank, windows), case.groups_of(windows)
    if not (np.isfinite(contexts.vectors).all() and np.isfinite(truth).all()):
        raise InputError("some vectors of the windows are not finite", fix="see SG106")
    other = truth[elsewhere(groups, case.generator(f"SG103 pairs {fold.number}"))]
    guesses = {"last passage": contexts.vectors[:, -1]}
    if all(len(part.train) for part in case.folds):
        train = case.sample(fold, "train", most=4 * case.effort.windows)
        guesses["linear map"] = Ridge.fit(case.bank, train, PENALTY)(contexts)
    if case.query_documents is not None:
        names = np.unique(np.array(case.query_documents[fold.number]), return_inverse=True)[1]
        groups = names[np.isin(fold.test.target, windows.target)].astype(np.int64)
    return groups, {name: np.stack([pair_cosines(vectors, truth), pair_cosines(vectors, other)])
                    for name, vectors in guesses.items()}  # fmt: skip


def _sign_test(cosines: Float[np.ndarray, "two window"], groups: Int[np.ndarray, "window"]) -> SignTest:
    """Test that in more than half of the groups of documents matched pairs are nearer than random ones."""
    from scipy.stats import binomtest  # takes a second: imported where it is needed

    matched, random = cosines
    wins = group_sums((matched - random)[:, None], groups)[:, 0]
    decided = wins[wins != 0]
    p = float(binomtest(int((decided > 0).sum()), len(decided), alternative="greater").pvalue) if len(decided) else 1.0
    return SignTest(float(matched.mean()), float(random.mean()), p)


def _shuffled(case: Case, entry: CaseEntry) -> ShuffledRecall:
    """Measure R@5 when each window's truth is another document's target.

    Targets are not random candidates: none opens a document, all are of test documents, and a model may have learnt so.
    But five places hold at most five of the other documents' targets, and each is equally likely to be drawn: answers
    that do not know the truth can expect at most 5 / targets of other documents (more where targets are duplicates).
    """
    windows = case.answerable(case.sample(case.fold_of(entry), most=min(MAXIMUM_SHUFFLED, case.effort.windows)))
    groups = case.groups_of(windows)
    other = elsewhere(groups, case.generator("SG103 shuffled"))
    hits = (case.ranks_of(entry, Windows(windows.context, windows.target[other])) <= CUTOFF).astype(np.float64)
    query, _ = case.pool.removed_pairs(excluded_rows(case.bank, windows, case.exclude))
    left = np.maximum(1, case.pool.size - np.bincount(query, minlength=len(windows)))
    chance = float(np.minimum(1, CUTOFF / left).mean())
    sums = group_sums(np.stack([hits, np.ones_like(hits)], axis=1), groups)
    drawn = case.generator("SG103 bootstrap").integers(0, len(sums), (case.effort.resamples, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low = float(np.quantile(totals[:, 0] / totals[:, 1], 0.001))  # percentile bootstrap
    return ShuffledRecall(float(hits.mean()), low, chance, _best_blind(case, windows))


def _best_blind(case: Case, windows: Windows) -> float:
    """Return the highest R@5 that answers without knowledge of the truth can expect."""
    _, group, count = np.unique(case.groups_of(windows), return_inverse=True, return_counts=True)
    others = len(windows) - count[group]
    _, repeats = np.unique(case.pool.candidates_of(windows.target), return_counts=True)
    most = np.sort(repeats)[-CUTOFF:].sum()  # windows that the five most frequent answers are right for
    return float(np.minimum(1, most / np.maximum(1, others)).mean())


CHECK = Check(
    code="SG103",
    title="Truth carries information",
    question="Does the truth carry information, and does a shuffled truth score chance?",
    detection="On test windows the truth's cosine with the last passage, and with a linear map fitted on training "
    "windows, is compared with that of a random passage of another document: a sign test over groups of "
    f"near-duplicate documents, p < {LEVEL:g} halved for the two measures. Then each truth is exchanged for another "
    "document's target: the 99.9 % lower limit of R@5 must not lie above 5 / targets of other documents, the highest "
    "score that answers without knowledge of the truth can expect. A score below chance is not a fault, since the "
    "document that was read takes the first places.",
    why="Shuffled or placeholder keys make every model score chance, and a metric that does not depend on the truth "
    "makes every model look good.",
    healthy="p below the level, and chance for the shuffled truth",
    fix="trace how targets were joined to contexts: one of the two sides is shuffled, shifted or overwritten",
    unit="p-value",
    examine=examine,
    needs=("windows",),
)
