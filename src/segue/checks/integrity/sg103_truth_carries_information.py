"""SG103: does the truth carry information?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binomtest

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.evaluation.intervals import group_sums
from segue.retrieval.retrievers.baselines import Ridge
from segue.types import Contexts, Windows
from segue.windows.windows import excluded_rows

LEVEL = 0.001
"""Of the sign test; halved, since two measures of likeness are tried."""
FEWEST_GROUPS = 12
"""Below so many groups of documents no sign test can reach the level: 2⁻¹¹ ≈ 0.0005."""
FEW_GROUPS, HOPEFUL = 30, 0.05
"""With fewer groups than this one unlucky document costs the level; a p-value below 0.05 is then a tip, no issue."""
PENALTY = 10.0
SHUFFLED = ("copy-last", "mean", "bm25", "ridge")
CUTOFF = 5
MEASURES = ("last passage", "linear map")
"""What the truth is compared with; the second only where there are training windows."""
MOST_SHUFFLED = 250
"""Windows that a row is asked about with a shuffled truth; every trained row is asked."""


def examine(case: Case) -> Verdict:
    """Compare matched with random pairs, and ask rows for a shuffled truth."""
    if not all(len(fold.test) for fold in case.folds):
        return not_applicable("a fold has no test window")
    pairs = [_pairs(case, fold) for fold in case.folds]
    groups = np.concatenate([part["groups"] for part in pairs])
    measures = {name: _sign_test(pairs, groups, name) for name in MEASURES if name in pairs[0]}
    best = min(measures, key=lambda name: measures[name]["p"])
    shuffled = {row.name: _shuffled(case, row) for row in _asked(case)}
    num_groups = len(np.unique(groups))
    details = {"groups": num_groups, "level": LEVEL, "pairs": measures, "shuffled_truth": shuffled}
    said = (f"The truth's cosine with the {best} is {measures[best]['matched']:.3f}, a random passage's "
            f"{measures[best]['random']:.3f} (p = {measures[best]['p']:.1g} over {num_groups} groups of "
            "documents)")  # fmt: skip
    high = [name for name, found in shuffled.items() if found["low"] > found["limit"]]
    said += _say_shuffled(shuffled, high)
    if high:
        return Verdict("issue", said + ".", measures[best]["p"], LEVEL / 2, details)
    if measures[best]["p"] < LEVEL / 2:
        return Verdict("passed", f"{said}.", measures[best]["p"], LEVEL / 2, details)
    hopeful = num_groups < FEW_GROUPS and measures[best]["p"] < HOPEFUL
    if num_groups < FEWEST_GROUPS or hopeful:
        return Verdict("tip", f"{said}: too few documents to tell.", measures[best]["p"], LEVEL / 2, details)
    return Verdict("issue", f"{said}.", measures[best]["p"], LEVEL / 2, details)


def _say_shuffled(shuffled: dict[str, dict[str, float]], high: list[str]) -> str:
    """Return what the shuffled truth came to, for the first row above its limit or the highest one."""
    if not shuffled:
        return ""
    name = high[0] if high else max(shuffled, key=lambda row: shuffled[row]["value"])
    found = shuffled[name]
    who = name if high else f"no row beats chance: {name}"
    return (f"; with a shuffled truth {who} scores R@{CUTOFF} {found['value']:.1%}, where blind answers score "
            f"{found['chance']:.1%} and at best {found['limit']:.1%}")  # fmt: skip


def _pairs(case: Case, fold: Fold) -> dict[str, Any]:
    """Return cosines of matched and of random pairs on some test windows, by measure.

    Raises:
        InputError: a vector is not finite.
    """
    windows = case.sample(fold)
    contexts = case.gather(case.bank, windows, exclude="none", texts=False)
    truth = case.truth(case.bank, windows)
    if not (np.isfinite(contexts.vectors).all() and np.isfinite(truth).all()):
        raise InputError("some vectors of the windows are not finite", fix="see SG106")
    other = truth[elsewhere(case.groups_of(windows), case.generator(f"SG103 pairs {fold.number}"))]
    guesses: dict[str, Callable[[Contexts], Float[np.ndarray, "batch dim"]]] = {
        "last passage": lambda asked: asked.vectors[:, -1]
    }
    if all(len(part.train) for part in case.folds):
        guesses["linear map"] = _linear_map(case, fold)
    found: dict[str, Any] = {
        "groups": case.groups_of(windows) if case.query_documents is None else _asked_groups(case, fold)
    }
    for name, guess in guesses.items():
        vectors = guess(contexts)
        found[name] = (np.einsum("bd,bd->b", vectors, truth), np.einsum("bd,bd->b", vectors, other))
    return found


def _asked_groups(case: Case, fold: Fold) -> Int[np.ndarray, "window"]:
    """Number the documents that stored questions are about."""
    assert case.query_documents is not None
    names = np.array(case.query_documents[fold.number])
    chosen = np.isin(fold.test.target, case.sample(fold).target)
    return np.unique(names, return_inverse=True)[1][chosen].astype(np.int64)


def _linear_map(case: Case, fold: Fold) -> Ridge:
    return Ridge.fit(case.bank, case.sample(fold, "train", most=4 * case.effort.windows), PENALTY)


def elsewhere(groups: Int[np.ndarray, "window"], generator: np.random.Generator) -> Int[np.ndarray, "window"]:
    """Draw for each window another one of another group (of its own only where there is a single group).

    >>> elsewhere(np.array([7, 7, 3]), np.random.default_rng(0)).tolist()[:2]
    [2, 2]
    """
    order = np.argsort(groups, kind="stable")
    _, first, count = np.unique(groups[order], return_index=True, return_counts=True)
    begin, own = np.repeat(first, count), np.repeat(count, count)  # of each window in order
    others = len(groups) - own
    drawn = generator.integers(0, np.maximum(others, 1))
    place = np.where(
        others > 0, drawn + np.where(drawn >= begin, own, 0), generator.integers(0, len(groups), len(groups))
    )
    answer = np.empty(len(groups), dtype=np.int64)
    answer[order] = order[place]
    return answer


def _sign_test(pairs: list[dict[str, Any]], groups: Int[np.ndarray, "window"], name: str) -> dict[str, float]:
    """Test that in more than half of the groups of documents matched pairs are nearer than random ones."""
    matched = np.concatenate([part[name][0] for part in pairs])
    random = np.concatenate([part[name][1] for part in pairs])
    wins = group_sums((matched - random)[:, None], groups)[:, 0]
    decided = wins[wins != 0]
    p = float(binomtest(int((decided > 0).sum()), len(decided), alternative="greater").pvalue) if len(decided) else 1.0
    return {"matched": float(matched.mean()), "random": float(random.mean()), "p": p}


def _asked(case: Case) -> list[CaseEntry]:
    """Return the rows that are asked for a shuffled truth: some baselines, and the trained ones."""
    return [row for row in case.non_controls if row.name in SHUFFLED or row.trained is not None]


def _shuffled(case: Case, row: CaseEntry) -> dict[str, float]:
    """Return R@5 when each window's truth is another document's, its 99.9 % lower limit, chance, and the best blind.

    Targets are no random candidates: none opens a document, all are of test documents, and a model may have learnt so.
    But five places hold at most five of the other documents' targets, of which each is as likely to be drawn: answers
    that do not know the truth can expect at most 5 / targets of other documents (more where targets are duplicates).
    """
    fold = case.fold_of(row)
    windows = case.answerable(case.sample(fold, most=min(MOST_SHUFFLED, case.effort.windows)))
    other = elsewhere(case.groups_of(windows), case.generator("SG103 shuffled"))
    asked = Windows(windows.context, windows.target[other])
    hits = (case.ranks_of(row, asked) <= CUTOFF).astype(np.float64)
    left = np.maximum(1, case.pool.size - _num_excluded(case, windows))
    low = _lower_limit(hits, case.groups_of(windows), case)
    return {
        "value": float(hits.mean()),
        "low": low,
        "chance": float(np.minimum(1, CUTOFF / left).mean()),
        "limit": _best_blind(case, windows),
    }


def _best_blind(case: Case, windows: Windows) -> float:
    """Return the highest R@5 that answers without knowledge of the truth can expect."""
    _, group, count = np.unique(case.groups_of(windows), return_inverse=True, return_counts=True)
    others = len(windows) - count[group]
    _, asked = np.unique(case.pool.candidates_of(windows.target), return_counts=True)
    most = np.sort(asked)[-CUTOFF:].sum()  # windows that the five most frequent answers are right for
    return float(np.minimum(1, most / np.maximum(1, others)).mean())


def _num_excluded(case: Case, windows: Windows) -> Int[np.ndarray, "window"]:
    query, _ = case.pool.removed_pairs(excluded_rows(case.bank, windows, case.exclude))
    return np.bincount(query, minlength=len(windows))


def _lower_limit(hits: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"], case: Case) -> float:
    """Return the 0.1 % quantile of the mean under resampling of groups (percentile bootstrap)."""
    sums = group_sums(np.stack([hits, np.ones_like(hits)], axis=1), groups)
    drawn = case.generator("SG103 bootstrap").integers(0, len(sums), (case.effort.resamples, len(sums)))
    totals = sums[drawn].sum(axis=1)
    return float(np.quantile(totals[:, 0] / totals[:, 1], 0.001))


CHECK = Check(
    code="SG103",
    title="Truth carries information",
    question="Does the truth carry information, and does a shuffled truth score chance?",
    detection="On test windows the truth's cosine with the last passage, and with a linear map fitted on training "
    "windows, is compared with that of a random passage of another document: a sign test over groups of "
    f"near-duplicate documents, p < {LEVEL:g} halved for the two measures. Then the truth is exchanged for another "
    "document's target and rows are asked for its exact rank: the 99.9 % lower limit of R@5 must not lie above "
    "5 / targets of other documents, the most that answers without knowledge of the truth can expect. (Below chance is "
    "no fault: the first places go to the document that was read.)",
    why="Shuffled or placeholder keys make every model score chance, and a metric that does not depend on the truth "
    "makes every model look good.",
    healthy="p below the level, and chance for the shuffled truth",
    fix="trace how targets were joined to contexts: one of the two sides is shuffled, shifted or overwritten",
    unit="p-value",
    examine=examine,
    needs=("windows",),
)
