"""SG208: are a few passages retrieved for everything?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import FEWEST_GROUPS, lower_limit, percent
from segue.evaluation.result import Evaluation
from segue.ranking.exact import top_k

SLOTS = 10
HUBS = 0.01
"""Share of the passages that are called the most retrieved."""
CROWDED, NOTABLE = 0.08, 0.04
"""Shares of the slots that passages chosen on other documents may hold; evenly shared they would hold 0.01."""
TIMES_COPY_LAST = 2.0
POINTS = 101
"""Of a Lorenz curve."""
OWN_VECTORS = "queries = bank vectors"


def examine(case: Case) -> Verdict:
    """Measure how unevenly the first ten places are shared, on the subject and beside it."""
    own = [_of_row(case, row) for row in case.subject_entries if row.evaluation is not None]
    if not own:
        return not_applicable("the row in question was not evaluated")
    worst = max(own, key=lambda found: found["share_of_hubs_of_other_documents"] or 0.0)
    rows = {row.name: _of_row(case, row) for row in case.shown if row.evaluation is not None}
    rows[OWN_VECTORS] = _of_own_vectors(case)
    outcome = _outcome(worst, rows.get("copy-last"))
    measured = worst["share_of_hubs_of_other_documents"]
    return Verdict(outcome, _statement(worst, rows), measured, CROWDED, {"rows": rows, "even_share": HUBS})


def _outcome(found: Mapping[str, Any], copied: Mapping[str, Any] | None) -> Any:
    """Judge by the lower limit; hubs that copy-last meets as well are the bank's, not the model's."""
    if found["low"] is None or found["low"] < NOTABLE:
        return "passed"
    reference = (copied or {}).get("share_of_hubs_of_other_documents") or 0.0
    worse = found["share_of_hubs_of_other_documents"] >= TIMES_COPY_LAST * reference
    return "issue" if found["low"] >= CROWDED and worse else "tip"


def _statement(found: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    if found["low"] is None:
        return (f"The 1 % most retrieved passages hold {percent(found['share_of_top_1_percent'])} of the first {SLOTS} "
                "places; too few documents to tell hubs from a shared subject.")  # fmt: skip
    controls = {
        "copy-last's": rows.get("copy-last"),
        "those of queries that are passages of the bank": rows[OWN_VECTORS],
    }
    said = [f"{name} {percent(other['share_of_hubs_of_other_documents'])} (skewness {other['skew']:.2f})"
            for name, other in controls.items()
            if other is not None and other["share_of_hubs_of_other_documents"] is not None]  # fmt: skip
    beside = f"; {', '.join(said)}" if said else ""
    return (f"The 1 % of the passages that are retrieved most for some documents hold "
            f"{percent(found['share_of_hubs_of_other_documents'])} of the first {SLOTS} places for others "
            f"(skewness of N_{SLOTS} {found['skew']:.2f}){beside}; evenly shared it would be 1.0 %.")  # fmt: skip


def _of_row(case: Case, row: CaseEntry) -> dict[str, Any]:
    """Return the figures of what was measured, over evenly spread windows."""
    evaluation = row.evaluation
    assert evaluation is not None
    which = _spread(len(evaluation), case)
    found = case.pool.candidates_of(evaluation.rankings[which, :SLOTS].astype(np.int64))
    return _hubness(case, found, evaluation.groups[which])


def _spread(count: int, case: Case) -> Int[np.ndarray, "chosen"]:
    most = min(count, 4 * case.effort.windows)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def _of_own_vectors(case: Case) -> dict[str, Any]:
    """Return the figures where the targets' own vectors ask, themselves excluded: what the bank's geometry gives."""
    evaluation = _any_evaluation(case)
    which = _spread(len(evaluation), case)
    targets = evaluation.targets[which]
    ranking = top_k(case.bank.gather(targets), case.pool, SLOTS, exclude=targets[:, None])
    found = case.pool.candidates_of(ranking.rows.astype(np.int64))
    return _hubness(case, found, evaluation.groups[which])


def _any_evaluation(case: Case) -> Evaluation:
    rows = (*case.subject_entries, *case.shown)
    return next(row.evaluation for row in rows if row.evaluation is not None)


def _hubness(case: Case, found: Int[np.ndarray, "window slot"], groups: Int[np.ndarray, "window"]) -> dict[str, Any]:
    counts = occurrences(found, case.pool.size)
    share = _share_for_others(case, found, groups)
    return {
        "skew": skewness(counts),
        "share_of_top_1_percent": top_share(counts),
        "share_of_hubs_of_other_documents": None if share is None else share[0],
        "low": None if share is None else share[1],
        "curve": lorenz(counts),
    }


def occurrences(found: Int[np.ndarray, "window slot"], size: int) -> Int[np.ndarray, "candidate"]:
    """Count how often each candidate holds a slot: N_k of Radovanović et al. (2010); -1 is an empty slot.

    >>> occurrences(np.array([[0, 2], [2, -1]]), 3).tolist()
    [1, 0, 2]
    """
    return np.bincount(found[found >= 0], minlength=size)


def skewness(counts: Int[np.ndarray, "candidate"]) -> float:
    """Return the third standardised moment; 0 where all counts are equal.

    >>> round(skewness(np.array([0, 0, 0, 4])), 3)
    1.155
    """
    centred = counts - counts.mean()
    spread = centred.std()
    return 0.0 if spread == 0 else float((centred**3).mean() / spread**3)


def num_hubs(size: int) -> int:
    """Return how many candidates are the most retrieved ones: 1 %, at least one."""
    return max(1, round(HUBS * size))


def top_share(counts: Int[np.ndarray, "candidate"]) -> float:
    """Return the share of all slots that the most retrieved 1 % hold."""
    return float(np.sort(counts)[::-1][: num_hubs(len(counts))].sum() / max(1, counts.sum()))


def lorenz(counts: Int[np.ndarray, "candidate"]) -> dict[str, list[float]]:
    """Return which share of the slots the most retrieved share of the passages holds.

    >>> lorenz(np.array([3, 1]))["slots"][50]
    0.75
    """
    total = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])]) / max(1, counts.sum())
    passages = np.linspace(0, 1, POINTS)
    return {"passages": passages.tolist(), "slots": np.interp(passages * len(counts), np.arange(len(total)), total)
            .tolist()}  # fmt: skip


def _share_for_others(
    case: Case, found: Int[np.ndarray, "window slot"], groups: Int[np.ndarray, "window"]
) -> tuple[float, float | None] | None:
    """Return which share of the slots goes to hubs that were chosen on other documents, and its lower limit.

    Chosen and counted on the same windows, the most retrieved 1 % would always look crowded, and the passages of one
    subject like hubs. Passages that come first for unrelated documents are what the word means.
    """
    numbers = np.unique(groups)
    if len(numbers) < FEWEST_GROUPS:
        return None
    first = np.isin(groups, case.generator("SG208 halves").permutation(numbers)[: len(numbers) // 2])
    held = np.empty(len(groups))
    for half in (first, ~first):
        hubs = most_retrieved(found[~half], case.pool.size)
        held[half] = share_of_slots(found[half], hubs)
    return float(held.mean()), lower_limit(held, groups, resamples=case.effort.resamples)


def most_retrieved(found: Int[np.ndarray, "window slot"], size: int) -> Int[np.ndarray, "hub"]:
    """Return the 1 % of the candidates that hold the most slots."""
    return np.argsort(-occurrences(found, size), kind="stable")[: num_hubs(size)]


def share_of_slots(found: Int[np.ndarray, "window slot"], hubs: Int[np.ndarray, "hub"]) -> Float[np.ndarray, "window"]:
    """Return the share of each window's filled slots that hubs hold."""
    return np.isin(found, hubs).sum(axis=1) / np.maximum(1, (found >= 0).sum(axis=1))


CHECK = Check(
    code="SG208",
    title="Hubs",
    question="Are a few passages retrieved for everything?",
    detection=f"How often each passage is among the first {SLOTS} of the test windows (N_{SLOTS}, Radovanović et al., "
    "2010): its skewness, the Lorenz curve, the share of the slots that the most retrieved 1 % hold. What decides is "
    "cross-fitted: the most retrieved 1 % for half of the documents, counted on the other half. An issue where the "
    f"lower limit of their share (bootstrap over groups of documents) is {CROWDED:.0%} or more and "
    f"{TIMES_COPY_LAST:g} times copy-last's, a tip from {NOTABLE:.0%}. Beside it: copy-last, and the targets' own "
    "vectors as queries.",
    why="A passage that is near to every query takes a place from the right answer in every ranking: boilerplate, a "
    "vector near the mean of the bank, a row that was never normalised.",
    healthy="about 1 %, and no more than copy-last",
    fix="look at the hubs; correct for hubness when ranking, or train against the whole bank",
    unit="share of the first ten places",
    examine=examine,
    needs=("windows", "evaluations"),
)
