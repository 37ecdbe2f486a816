"""SG216: what could a reranker gain at most?"""

from __future__ import annotations

from typing import Any

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import evaluation_of, interval_json, percent, points, shown_evaluations
from segue.evaluation.intervals import bootstrap, paired
from segue.evaluation.metrics import chance, recall_curve
from segue.evaluation.result import Evaluation
from segue.types import Interval

DEPTHS = (5, 10, 20, 50, 100, 200, 500)
DEPTH = 50
"""Candidates that a reranker is given: the Contain@50 of the gates."""
CONTAIN, RECALL = 0.60, 0.40
"""Of the report's gates, where the case has none for them."""


def examine(case: Case) -> Verdict:
    """Compare what the first places contain with R@5 and with the gates."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained row was evaluated")
    contain, gain = _mean(case, ours, DEPTH), _gain(case, ours)
    wanted = {name: _threshold(case, name, default) for name, default in (("Contain@50", CONTAIN), ("R@5", RECALL))}
    details = {
        "rows": {name: _curve(evaluation) for name, evaluation in shown_evaluations(case).items()},
        "chance": [min(1.0, depth / ours.pool_size) for depth in DEPTHS],
        "contain": interval_json(contain),
        "gain": interval_json(gain),
        "gates": wanted,
    }
    said = (f"The first {DEPTH} places of {ours.name} hold the target of {percent(contain.value)} of the windows "
            f"(chance {percent(chance(ours.pool_size)['Contain@50'])}), the first 5 of "
            f"{percent(float((ours.ranks <= 5).mean()))}: a reranker can add at most {points(gain)}")  # fmt: skip
    if contain.high is not None and contain.high < wanted["R@5"]:
        said += f", and not even a perfect one reaches R@5 {percent(wanted['R@5'])}."
        return Verdict("issue", said, contain.value, wanted["R@5"], details)
    if contain.high is not None and contain.high < wanted["Contain@50"]:
        said += f"; the gate asks for {percent(wanted['Contain@50'])} among the first {DEPTH}."
        return Verdict("tip", said, contain.value, wanted["Contain@50"], details)
    return Verdict("passed", f"{said}.", contain.value, wanted["Contain@50"], details)


def _threshold(case: Case, metric: str, default: float) -> float:
    """Return the least that a gate asks of this metric alone."""
    alone = [gate.any_of[0] for gate in case.gates if len(gate.any_of) == 1]
    asked = [c.at_least for c in alone if c.metric == metric and c.against is None and c.at_least is not None]
    return min(asked, default=default)


def _curve(evaluation: Evaluation) -> dict[str, Any]:
    return {"k": list(DEPTHS), "contain": recall_curve(evaluation.ranks, DEPTHS)}


def _mean(case: Case, evaluation: Evaluation, depth: int) -> Interval:
    """Return the share of targets in the first ``depth`` places, by exact ranks."""
    hits = {f"Contain@{depth}": (evaluation.ranks <= depth).astype(np.float64)}
    return bootstrap(hits, evaluation.groups, resamples=case.effort.resamples, seed=case.seed)[f"Contain@{depth}"]


def _gain(case: Case, evaluation: Evaluation) -> Interval:
    """Return Contain@50 − R@5, what a perfect reranker of 50 candidates would add."""
    deep, first = ((evaluation.ranks <= depth).astype(np.float64) for depth in (DEPTH, 5))
    return paired(deep, first, evaluation.groups, resamples=case.effort.resamples, seed=case.seed).difference


CHECK = Check(
    code="SG216",
    title="Reranker ceiling",
    question="What could a reranker gain at most?",
    detection=f"From exact ranks: the share of test windows whose target is in the first k places, k = {DEPTHS[0]} … "
    f"{DEPTHS[-1]}, beside chance (k / candidates). A reranker of k candidates cannot lift R@5 above it. Issue: the "
    f"95 % interval of Contain@{DEPTH} (over groups of documents) lies below the R@5 that the gates ask for. Tip: it "
    f"lies below the gate for Contain@{DEPTH}.",
    why="A reranker only reorders what it is given. Where the target is not among the first places, months of "
    "reranking gain nothing and the first stage is what has to improve; where it is, a reranker is the cheapest gain.",
    healthy="Contain@50 not below its gate, and well above R@5",
    fix="improve the first stage, or give the reranker candidates from several sources, before training a reranker",
    unit="share of targets in the first 50",
    examine=examine,
    needs=("evaluations",),
)
