"""SG208: are a few passages retrieved for everything?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, spread
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, percent
from segue.evaluation.geometry import HUBS, lorenz, most_retrieved, num_hubs, occurrences, share_of_slots, skewness
from segue.evaluation.intervals import MINIMUM_GROUPS_FOR_LIMIT, lower_limit
from segue.evaluation.result import Evaluation
from segue.ranking.exact import top_k

SLOTS = 10
ISSUE_SHARE, TIP_SHARE = 0.08, 0.04
"""Shares of the slots that hubs chosen on other documents may hold; evenly shared they would hold 0.01."""
TIMES_COPY_LAST = 2.0
OWN_VECTORS = "queries = bank vectors"


@dataclass(frozen=True)
class Hubness:
    """Concentration of the first places on few passages: skewness of N_10, shares of the slots, Lorenz curve.

    ``share_of_hubs_of_other_documents`` has ``low`` as its lower limit; both are None with too few documents.
    """

    skew: float
    share_of_top_1_percent: float
    share_of_hubs_of_other_documents: float | None
    low: float | None
    curve: dict[str, list[float]]


def examine(case: Case) -> Verdict:
    """Measure how unevenly the first ten places are shared, on the subject and other entries."""
    evaluated = [(entry, entry.evaluation) for entry in (*case.subject_entries, *case.shown)]
    measured = [(entry, _of_evaluation(case, found)) for entry, found in evaluated if found is not None]
    own = [found for entry, found in measured if entry.name == case.subject]
    if not own:
        return not_applicable("the subject was not evaluated")
    worst = max(own, key=lambda found: found.share_of_hubs_of_other_documents or 0.0)
    rows = {entry.name: found for entry, found in measured if entry.fold == case.folds[0].number}
    rows[OWN_VECTORS] = _of_own_vectors(case, next(found for _, found in evaluated if found is not None))
    share, details = worst.share_of_hubs_of_other_documents, {"rows": rows, "even_share": HUBS}
    return Verdict(_outcome(worst, rows.get(COPY_LAST)), _statement(worst, rows), share, ISSUE_SHARE, details)


def _outcome(found: Hubness, copied: Hubness | None) -> Judgement:
    """Judge by the lower limit; hubs of copy-last are the bank's, not the model's."""
    if found.low is None or found.low < TIP_SHARE:
        return "passed"
    reference = 0.0 if copied is None else copied.share_of_hubs_of_other_documents or 0.0
    worse = (found.share_of_hubs_of_other_documents or 0.0) >= TIMES_COPY_LAST * reference
    return "issue" if found.low >= ISSUE_SHARE and worse else "tip"


def _statement(found: Hubness, rows: Mapping[str, Hubness]) -> str:
    share = found.share_of_hubs_of_other_documents
    if share is None or found.low is None:
        return (f"The 1 % most retrieved passages hold {percent(found.share_of_top_1_percent)} of the first {SLOTS} "
                "places; there are too few documents to distinguish hubs from a shared subject.")  # fmt: skip
    controls = {"copy-last's": rows.get(COPY_LAST), "those of queries that are passages of the bank": rows[OWN_VECTORS]}
    said = [f"; {name} {percent(other.share_of_hubs_of_other_documents)} (skewness {other.skew:.2f})"
            for name, other in controls.items()
            if other is not None and other.share_of_hubs_of_other_documents is not None]  # fmt: skip
    return (f"The 1 % of the passages that are retrieved most for some documents hold {percent(share)} of the first "
            f"{SLOTS} places for others (skewness of N_{SLOTS} {found.skew:.2f}){''.join(said)}; evenly shared it "
            "would be 1.0 %.")  # fmt: skip


def _of_evaluation(case: Case, evaluation: Evaluation) -> Hubness:
    which = spread(len(evaluation), 4 * case.effort.windows)
    return _hubness(case, evaluation.rankings[which, :SLOTS], evaluation.groups[which])


def _of_own_vectors(case: Case, evaluation: Evaluation) -> Hubness:
    """Measure with the targets' own vectors as queries, themselves excluded: the effect of the bank's geometry."""
    which = spread(len(evaluation), 4 * case.effort.windows)
    targets = evaluation.targets[which]
    ranking = top_k(case.bank.gather(targets), case.pool, SLOTS, exclude=targets[:, None])
    return _hubness(case, ranking.rows, evaluation.groups[which])


def _hubness(case: Case, rows: Int[np.ndarray, "window slot"], groups: Int[np.ndarray, "window"]) -> Hubness:
    found = case.pool.candidates_of(rows.astype(np.int64))
    counts = occurrences(found, case.pool.size)
    top = np.sort(counts)[::-1][: num_hubs(len(counts))].sum() / max(1, counts.sum())
    held, share, low = _held_for_others(case, found, groups), None, None
    if held is not None:
        share, low = float(held.mean()), lower_limit(held, groups, resamples=case.effort.resamples)
    return Hubness(skewness(counts), float(top), share, low, lorenz(counts))


def _held_for_others(
    case: Case, found: Int[np.ndarray, "window slot"], groups: Int[np.ndarray, "window"]
) -> Float[np.ndarray, "window"] | None:
    """Return the share of each window's slots held by hubs that were chosen on other documents.

    If hubs were chosen and counted on the same windows, the most retrieved 1 % would always look crowded, and the
    passages of one subject like hubs. A hub is a passage that comes first for unrelated documents.
    """
    numbers = np.unique(groups)
    if len(numbers) < MINIMUM_GROUPS_FOR_LIMIT:
        return None
    first = np.isin(groups, case.generator("SG208 halves").permutation(numbers)[: len(numbers) // 2])
    held = np.empty(len(groups))
    for half in (first, ~first):
        held[half] = share_of_slots(found[half], most_retrieved(found[~half], case.pool.size))
    return held


CHECK = Check(
    code="SG208",
    title="Hubs",
    question="Are a few passages retrieved for most queries?",
    detection=f"How often each passage is among the first {SLOTS} of the test windows (N_{SLOTS}, Radovanović et al., "
    "2010): its skewness, the Lorenz curve, the share of the slots that the most retrieved 1 % hold. The outcome is "
    "cross-fitted: the most retrieved 1 % for half of the documents, counted on the other half. An issue where the "
    f"lower limit of their share (bootstrap over groups of documents) is {ISSUE_SHARE:.0%} or more and "
    f"{TIMES_COPY_LAST:g} times copy-last's, a tip from {TIP_SHARE:.0%}. For comparison: copy-last, and the targets' "
    "own vectors as queries.",
    why="A passage that is near to every query takes a place from the right one in every ranking: boilerplate, a "
    "vector near the mean of the bank, a row that was not normalised.",
    healthy="about 1 %, and no more than copy-last",
    fix="read the hubs; correct for hubness when ranking, or train against the whole bank",
    unit="share of the first ten places",
    examine=examine,
    needs=("windows", "evaluations"),
)
