"""SG216: what could a reranker gain at most?"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import evaluation_of, paired_test, percent, points, share_interval, shown_evaluations
from segue.evaluation.metrics import chance, recall_curve

DEPTHS = (5, 10, 20, 50, 100, 200, 500)
DEPTH = 50
"""Candidates that a reranker is given: the Contain@50 of the gates."""
CONTAIN, RECALL = 0.60, 0.40
"""Thresholds where the case has no gate for these metrics."""


def examine(case: Case) -> Verdict:
    """Compare Contain@50 with R@5 and with the gates."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained entry was evaluated")
    deep, first = ((ours.ranks <= depth).astype(np.float64) for depth in (DEPTH, 5))
    contain = share_interval(case, deep, ours.groups)
    gain = paired_test(case, deep, first, ours.groups).difference
    wanted = {name: _threshold(case, name, default) for name, default in (("Contain@50", CONTAIN), ("R@5", RECALL))}
    details = {
        "rows": {name: {"k": list(DEPTHS), "contain": recall_curve(evaluation.ranks, DEPTHS)}
                 for name, evaluation in shown_evaluations(case).items()},
        "chance": [min(1.0, depth / ours.pool_size) for depth in DEPTHS],
        "contain": contain,
        "gain": gain,
        "gates": wanted,
    }  # fmt: skip
    said = (f"The first {DEPTH} places of {ours.name} hold the target of {percent(contain.value)} of the windows "
            f"(chance {percent(chance(ours.pool_size)['Contain@50'])}), the first 5 of {percent(first.mean())}: a "
            f"reranker can add at most {points(gain)}")  # fmt: skip
    if contain.high is not None and contain.high < wanted["R@5"]:
        said += f", and not even a perfect one reaches R@5 {percent(wanted['R@5'])}."
        return Verdict("issue", said, contain.value, wanted["R@5"], details)
    if contain.high is not None and contain.high < wanted["Contain@50"]:
        said += f"; the gate requires {percent(wanted['Contain@50'])} among the first {DEPTH}."
        return Verdict("tip", said, contain.value, wanted["Contain@50"], details)
    return Verdict("passed", f"{said}.", contain.value, wanted["Contain@50"], details)


def _threshold(case: Case, metric: str, default: float) -> float:
    """Return the least that a gate requires of this metric alone."""
    alone = [gate.any_of[0] for gate in case.gates if len(gate.any_of) == 1]
    required = [c.at_least for c in alone if c.metric == metric and c.against is None and c.at_least is not None]
    return min(required, default=default)


CHECK = Check(
    code="SG216",
    title="Reranker ceiling",
    question="What could a reranker gain at most?",
    detection=f"From exact ranks: the share of test windows whose target is in the first k places, k = {DEPTHS[0]} … "
    f"{DEPTHS[-1]}, compared with chance (k / candidates). A reranker of k candidates cannot raise R@5 above it. "
    f"Issue: the 95 % interval of Contain@{DEPTH} (over groups of documents) lies below the R@5 that the gates "
    f"require. Tip: it lies below the gate for Contain@{DEPTH}.",
    why="A reranker only reorders what it is given. Where the target is not among the first places, reranking gains "
    "nothing and the first stage has to improve; where it is, a reranker is the cheapest gain.",
    healthy="Contain@50 not below its gate, and well above R@5",
    fix="improve the first stage, or give the reranker candidates from several sources, before training a reranker",
    unit="share of targets in the first 50",
    examine=examine,
    needs=("evaluations",),
)
