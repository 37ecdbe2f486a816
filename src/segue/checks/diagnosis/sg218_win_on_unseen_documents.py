"""SG218: does the win survive a pool of unseen documents only, and the same reranker on copy-last?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, compare, evaluation_of, paired_json, paired_test, points, side, values_in
from segue.evaluation.intervals import PairedTest
from segue.evaluation.result import Evaluation

METRICS = ("R@5", "MRR")
RERANKED = "copy-last-rerank"
"""Name of the entry with the subject's reranker on top of copy-last."""


@dataclass(frozen=True)
class Leads:
    """The lead over copy-last among all and among fresh passages, and how much smaller it is there."""

    all: PairedTest
    fresh: PairedTest
    shrink: PairedTest


def examine(case: Case) -> Verdict:
    """Compare the subject with copy-last among all passages, among fresh ones, and under the same reranker."""
    ours, theirs = evaluation_of(case, case.subject), evaluation_of(case, COPY_LAST)
    if ours is None or theirs is None:
        return not_applicable("no trained entry and copy-last were evaluated")
    found = {metric: leads for metric in METRICS if (leads := _leads(case, ours, theirs, metric)) is not None}
    if "R@5" not in found:
        return not_applicable("the entries were not measured on the same windows in a pool of unseen documents")
    if max(side(leads.all) for leads in found.values()) <= 0:
        reason = f"{ours.name} does not clearly beat copy-last among all passages: there is no win to examine"
        return not_applicable(reason)
    leads = found["R@5"]
    reranked = compare(case, ours, evaluation_of(case, RERANKED))
    pools = {metric: {pool: paired_json(test) for pool, test in vars(one).items()} for metric, one in found.items()}
    details = {"pools": pools, "against_the_same_reranker": None if reranked is None else paired_json(reranked)}
    sizes = ", ".join(f"{size:,}" for size in ours.fresh_pool_sizes)
    said = (f"R@5 of {ours.name} against copy-last: {points(leads.all.difference)} among all {ours.pool_size:,} "
            f"candidates, {points(leads.fresh.difference)} among those of unseen documents only"
            f"{f' ({sizes})' if sizes else ''}.")  # fmt: skip
    said += (" No entry is reranked." if reranked is None
             else f" Against copy-last under the same reranker: {points(reranked.difference)}.")  # fmt: skip
    survives = any(side(one.fresh) > 0 for one in found.values())
    beaten = 1 if reranked is None else side(reranked)
    outcome: Judgement
    lost = any(side(one.all) > 0 and side(one.shrink) > 0 for one in found.values())  # clear, and clearly smaller
    if beaten < 0 or (lost and not survives):
        outcome, end = "issue", "The win does not survive."
    elif beaten == 0 or not survives:
        outcome, end = "tip", "There are too few documents to say whether the win survives."
    else:
        outcome, end = "passed", "The win survives."
    fixes = {"tip": "evaluate on more documents, or with [split] folds"}
    fix = f"serve {RERANKED}: its reranker does better without the model" if beaten < 0 else fixes.get(outcome, "")
    caveats = {} if survives else {ours.name: f"Among passages of unseen documents alone the lead over copy-last is "
                                              f"{points(leads.fresh.difference)}."}  # fmt: skip
    return Verdict(outcome, f"{said} {end}", leads.fresh.difference.value, 0.0, details, fix, caveats)


def _leads(case: Case, ours: Evaluation, theirs: Evaluation, metric: str) -> Leads | None:
    """Test the lead over copy-last in both pools, and how much smaller it is among fresh passages."""
    values = [values_in(one, metric, pool) for pool in (None, "fresh") for one in (ours, theirs)]
    known = [one for one in values if one is not None]
    if len(known) < len(values) or not np.array_equal(ours.targets, theirs.targets):
        return None
    pairs = ((known[0], known[1]), (known[2], known[3]), (known[0] - known[1], known[2] - known[3]))
    return Leads(*(paired_test(case, a, b, ours.groups) for a, b in pairs))


CHECK = Check(
    code="SG218",
    title="Win on unseen documents",
    question="Does the win survive a pool of unseen documents only, and the same reranker on copy-last?",
    detection="The subject's lead over copy-last in R@5 and MRR is measured among all candidates and among the "
    "passages of test documents alone (the fresh pool), paired over groups of documents. Issue: a clear lead is "
    f"clearly smaller in the fresh pool and no clear lead there. Where an entry {RERANKED} was evaluated, the subject "
    "must beat it too.",
    why="A model that was trained against the bank's own passages can learn which of them are never targets and rank "
    "them low. This improves its ranks in the bank it was trained on and does not help on new documents.",
    healthy="a clear lead in both pools",
    fix="report the fresh pool, and train against negatives that the served bank will also hold",
    unit="difference of R@5 among unseen documents",
    examine=examine,
    needs=("evaluations",),
)
