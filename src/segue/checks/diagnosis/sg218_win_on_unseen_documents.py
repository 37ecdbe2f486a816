"""SG218: does the win survive a pool of unseen documents only, and the same reranker on copy-last?"""

from __future__ import annotations

from typing import Any

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, compare, evaluation_of, paired_json, points, side, values_in
from segue.evaluation.intervals import PairedTest, paired
from segue.evaluation.result import Evaluation

METRICS = ("R@5", "MRR")
RERANKED = "copy-last-rerank"
"""The row with the subject's reranker on top of copy-last."""


def examine(case: Case) -> Verdict:
    """Compare the subject with copy-last among all passages, among fresh ones, and under the same reranker."""
    ours, theirs = evaluation_of(case, case.subject), evaluation_of(case, COPY_LAST)
    if ours is None or theirs is None:
        return not_applicable("no trained row and copy-last were evaluated")
    found = {metric: _in_both_pools(case, ours, theirs, metric) for metric in METRICS}
    tests = found["R@5"]
    if tests is None:
        return not_applicable("the rows were not measured on the same windows in a pool of unseen documents")
    reranked = compare(case, ours, evaluation_of(case, RERANKED))
    details = _details(found, reranked)
    both = [tests for tests in found.values() if tests]
    if max(side(pair["all"]) for pair in both) <= 0:
        return not_applicable(f"{ours.name} does not clearly beat copy-last among all passages: no win to survive")
    said = _said(ours, tests) + _said_of_reranker(reranked)
    measured = tests["fresh"].difference.value
    survives = any(side(pair["fresh"]) > 0 for pair in both)
    beaten = 1 if reranked is None else side(reranked)
    if beaten < 0 or (not survives and any(_is_lost(pair) for pair in both)):
        return Verdict("issue", f"{said} The win does not survive.", measured, 0.0, details)
    if beaten == 0 or not survives:
        return Verdict("tip", f"{said} Whether the win survives cannot be told.", measured, 0.0, details)
    return Verdict("passed", f"{said} The win survives.", measured, 0.0, details)


def _in_both_pools(case: Case, ours: Evaluation, theirs: Evaluation, metric: str) -> dict[str, PairedTest] | None:
    """Test the lead over copy-last in both pools, and how much smaller it is among fresh passages."""
    everywhere = compare(case, ours, theirs, metric=metric)
    fresh = compare(case, ours, theirs, metric=metric, pool="fresh")
    if everywhere is None or fresh is None:
        return None
    leads = [_lead(ours, theirs, metric, pool) for pool in (None, "fresh")]
    shrink = paired(leads[0], leads[1], ours.groups, resamples=case.effort.resamples, seed=case.seed)
    return {"all": everywhere, "fresh": fresh, "shrink": shrink}


def _lead(ours: Evaluation, theirs: Evaluation, metric: str, pool: str | None) -> Any:
    a, b = values_in(ours, metric, pool), values_in(theirs, metric, pool)
    assert a is not None, "compared before"
    assert b is not None, "compared before"
    return np.asarray(a - b)


def _is_lost(tests: dict[str, PairedTest]) -> bool:
    """Tell whether a clear lead is clearly smaller among fresh passages."""
    return side(tests["all"]) > 0 and side(tests["shrink"]) > 0


def _details(found: dict[str, dict[str, PairedTest] | None], reranked: PairedTest | None) -> dict[str, Any]:
    pools = {
        metric: {name: paired_json(test) for name, test in tests.items()} for metric, tests in found.items() if tests
    }
    return {"pools": pools, "against_the_same_reranker": None if reranked is None else paired_json(reranked)}


def _said(ours: Evaluation, tests: dict[str, PairedTest]) -> str:
    sizes = ours.fresh_pool_sizes
    fresh = f" ({', '.join(f'{size:,}' for size in sizes)})" if sizes else ""
    leads = {pool: points(test.difference) for pool, test in tests.items()}
    return (f"R@5 of {ours.name} against copy-last: {leads['all']} among all {ours.pool_size:,} candidates, "
            f"{leads['fresh']} among those of unseen documents only{fresh}.")  # fmt: skip


def _said_of_reranker(reranked: PairedTest | None) -> str:
    if reranked is None:
        return " No row is reranked."
    return f" Against copy-last under the same reranker: {points(reranked.difference)}."


CHECK = Check(
    code="SG218",
    title="Win on unseen documents",
    question="Does the win survive a pool of unseen documents only, and the same reranker on copy-last?",
    detection="The subject's lead over copy-last in R@5 and MRR is measured among all candidates and among the "
    "passages of test documents alone (the fresh pool), paired over groups of documents. Issue: a clear lead is "
    f"clearly smaller in the fresh pool and no clear lead there. Where a row {RERANKED} was evaluated, the subject "
    "must beat it too.",
    why="A model that was trained against the bank's own passages can learn which of them are never asked for and push "
    "them down. That lifts its rank among the bank it was trained on and is worth nothing on documents of tomorrow.",
    healthy="a clear lead in both pools",
    fix="report the fresh pool, and train against negatives that the served bank will also hold",
    unit="difference of R@5 among unseen documents",
    examine=examine,
    needs=("evaluations",),
)
