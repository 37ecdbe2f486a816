"""Comparison of results: metrics with intervals, paired differences, the winner, its gates.

Input: a job and the results of its options on every fold. Output: the results part of the record. With folds, one
fold's validation documents are another's test documents, so the winner's own test number would be a little too good:
gates judge the *procedure*, which takes on each fold the candidate that is chosen on that fold's validation documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segue.comparison.choice import choose, chosen_by_fold
from segue.comparison.job import FINISHED, FoldResult, Job, Results
from segue.comparison.options import ARCHITECTURE_OPTIONS, Option
from segue.comparison.record import (
    ArticleDropout,
    Compared,
    Compatibility,
    CurvePoint,
    Differences,
    Entry,
    GateRecord,
    OwnMetric,
    PairedDifference,
    Procedure,
    RankHistogram,
    RecallCurve,
    TrainingRecord,
    TuningRecord,
)
from segue.comparison.tuning import tuning_record
from segue.evaluation.evaluate import Evaluation, merge
from segue.evaluation.gates import Judged, judge
from segue.evaluation.intervals import PairedTest, holm, paired
from segue.evaluation.metrics import per_window, rank_histogram, recall_curve, summarise
from segue.evaluation.own_metrics import own_metrics

REFERENCES = ("copy-last", "ar-cosine", "infonce-projected", "infonce", "copy-last-rerank")
"""Options that others are compared with: the baseline to beat, the report's two models, pure InfoNCE without anchor."""
COMPARED = ("R@5", "MRR")
"""Metrics of the paired comparisons."""
WORST_FIRST = ("failed", "aborted", "skipped", "under-trained", "done")
"""Statuses of a fold; an option has the worst of its folds."""
CURVE = (1, 2, 3, 5, 10, 20, 50, 100)
"""Cutoffs of the recall curve."""


def compare(job: Job, results: Results) -> Compared:
    """Summarise the results; only the numbers that are shown are computed from test documents."""
    evaluations = merged(results)
    choice = choose(job, results)
    winner = None if choice is None else choice.winner
    chosen = chosen_by_fold(job, results)
    procedure = _procedure(results, chosen)
    deltas = paired_differences(evaluations)
    return Compared(
        winner=winner,
        choice=choice,
        own_metrics={
            name: OwnMetric(larger_is_better=metric.larger_is_better, description=metric.description)
            for name, metric in own_metrics(job.recipe.evaluation.metrics).items()
        },
        winning_losses=_winning_losses(results),
        article_dropout=ArticleDropout(
            anchored=job.recipe.training.dropout(anchored=True), bare=job.recipe.training.dropout(anchored=False)
        ),
        procedure=procedure
        and Procedure(
            chosen=tuple(chosen), metrics=procedure.metrics, delta=procedure_differences(procedure, evaluations)
        ),
        tuning=tuple(TuningRecord.model_validate(found) for found in tuning_record(job)),
        gates=tuple(_gates(job, results, evaluations, procedure, winner)),
        entries=tuple(
            _entry(option, results[option.name], evaluations.get(option.name), deltas.get(option.name, {}))
            for option in job.options
        ),
    )


def merged(results: Results) -> dict[str, Evaluation]:
    """Return one evaluation over all folds for each option that finished every fold."""
    return {
        name: merge([result.evaluation for result in folds if result.evaluation is not None])
        for name, folds in results.items()
        if folds and all(result.status in FINISHED and result.evaluation is not None for result in folds)
    }


def _procedure(results: Results, chosen: Sequence[str]) -> Evaluation | None:
    """Merge, fold by fold, the evaluation of what validation chose there."""
    if not chosen:
        return None
    parts = [results[name][fold].evaluation for fold, name in enumerate(chosen)]
    assert all(part is not None for part in parts), "only finished options are chosen"
    return merge([replace(part, name="procedure", intent="candidate") for part in parts if part is not None])


def _gates(
    job: Job,
    results: Results,
    evaluations: Mapping[str, Evaluation],
    procedure: Evaluation | None,
    winner: str | None,
) -> list[GateRecord]:
    if procedure is None or winner is None:
        return []
    judged = {
        name: as_judged(evaluation, under_trained=any(fold.status == "under-trained" for fold in results[name]))
        for name, evaluation in evaluations.items()
    }
    judged[procedure.name] = as_judged(procedure)
    how = {"resamples": job.recipe.evaluation.resamples, "seed": job.recipe.evaluation.seed}
    outcomes = judge(job.recipe.gate_family(), judged, procedure.name, **how)
    return [GateRecord.model_validate(outcome.to_json() | {"candidate": winner}) for outcome in outcomes]


def as_judged(evaluation: Evaluation, *, under_trained: bool = False) -> Judged:
    """Return what gates need to know of an evaluation."""
    own = {name: values for name, values in evaluation.values().items() if name not in per_window(evaluation.ranks[:1])}
    return Judged(evaluation.ranks, evaluation.groups, evaluation.targets, own, evaluation.scalars, under_trained,
                  evaluation.limits)  # fmt: skip


def paired_differences(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, dict[str, PairedDifference]]]:
    """Compare every option with each reference on the same windows.

    Returns:
        option → reference → metric → difference; p is adjusted by Holm over all options that were compared with that
        reference in that metric.
    """
    found: dict[str, dict[str, dict[str, PairedDifference]]] = {name: {} for name in evaluations}
    for reference in REFERENCES:
        if reference not in evaluations:
            continue
        others = [name for name in evaluations if name != reference and evaluations[name].intent != "control"]
        for metric in COMPARED:
            tests = [_paired(evaluations[name], evaluations[reference], metric) for name in others]
            adjusted = holm([test.p_value for test in tests])
            for name, test, p in zip(others, tests, adjusted, strict=True):
                found[name].setdefault(reference, {})[metric] = _difference(test, p)
    return found


def procedure_differences(
    procedure: Evaluation, evaluations: Mapping[str, Evaluation]
) -> dict[str, dict[str, PairedDifference]]:
    """Compare the procedure with copy-last and ar-cosine: reference → metric → difference.

    Each p-value is that of one test named beforehand: nothing was chosen by it, so it is not adjusted.
    """
    found: dict[str, dict[str, PairedDifference]] = {}
    for reference in ("copy-last", "ar-cosine"):
        if reference in evaluations:
            tests = {metric: _paired(procedure, evaluations[reference], metric) for metric in COMPARED}
            found[reference] = {metric: _difference(test, test.p_value) for metric, test in tests.items()}
    return found


def _difference(test: PairedTest, p: float) -> PairedDifference:
    return PairedDifference(value=test.difference.value, low=test.difference.low, high=test.difference.high, p=p)


def _paired(ours: Evaluation, theirs: Evaluation, metric: str) -> PairedTest:
    assert np.array_equal(ours.targets, theirs.targets), "options of one run answer the same windows"
    a, b = per_window(ours.ranks)[metric], per_window(theirs.ranks)[metric]
    return paired(a, b, ours.groups, resamples=ours.resamples, seed=ours.seed)


def _winning_losses(results: Results) -> list[str] | None:
    """Return, fold by fold, the winning loss, under which architectures were trained."""
    for name, folds in results.items():
        if name in ARCHITECTURE_OPTIONS and all(result.training for result in folds):
            return [str(result.training["loss_name"]) for result in folds if result.training]
    return None


def _entry(option: Option, folds: Sequence[FoldResult], evaluation: Evaluation | None, delta: Differences) -> Entry:
    about: dict[str, Any] = {
        "name": option.name,
        "intent": option.intent,
        "family": option.family,
        "description": option.description,
        "question": option.question,
        "risk": option.risk,
        "status": min((fold.status for fold in folds), key=WORST_FIRST.index),
        "reason": next((fold.reason for fold in folds if fold.reason), None),
        "validation": _mean_validation(folds),
        "training": _training(folds),
        "compatibility": _compatibility(folds),
    }
    return Entry(**about) if evaluation is None else Entry(**about, **_measured(evaluation), delta=delta)


def _measured(evaluation: Evaluation) -> dict[str, Any]:
    """Return the fields of an entry that follow from its evaluation."""
    by_pool = {name.replace("-", "_"): summarise(ranks) for name, ranks in evaluation.ranks_by_pool.items()}
    histogram = rank_histogram(evaluation.ranks) or {}
    return {
        "metrics": evaluation.metrics,
        "macro": evaluation.macro(),
        **by_pool,
        "latency": evaluation.latency,
        "recall_curve": RecallCurve(k=CURVE, value=tuple(recall_curve(evaluation.ranks, CURVE))),
        "rank_histogram": RankHistogram(labels=tuple(histogram), share=tuple(histogram.values())),
    }


def _mean_validation(folds: Sequence[FoldResult]) -> dict[str, float] | None:
    scored = [fold.validation for fold in folds if fold.validation]
    if len(scored) < len(folds):
        return None
    return {name: float(np.mean([scores[name] for scores in scored])) for name in scored[0]}


def _training(folds: Sequence[FoldResult]) -> TrainingRecord | None:
    records = [fold.training for fold in folds if fold.training]
    if not records or len(records) < len(folds):
        return None
    first = records[0]
    same = {name: first[name] for name in ("model", "size", "anchor", "parameters", "loss", "batch_size")}
    return TrainingRecord(
        **same,
        documents=first.get("documents", "identity"),  # text options have no document tower
        losses=tuple(record["loss"] for record in records),
        steps=max(record["steps"] for record in records),
        planned_steps=first["planned_steps"],
        best_steps=tuple(record["best_step"] for record in records),
        seconds=sum(record["seconds"] for record in records),
        under_trained=any(record["under_trained"] for record in records),
        curves=tuple(tuple(CurvePoint.of(point) for point in record["curve"]) for record in records),
    )


def _compatibility(folds: Sequence[FoldResult]) -> Compatibility | None:
    """Return the mean over folds of the projection-head compatibility test, for options that have a head."""
    found = [fold.training["compatibility"] for fold in folds if fold.training and "compatibility" in fold.training]
    if not found or len(found) < len(folds):
        return None
    mean = {
        part: {name: float(np.mean([one[part][name] for one in found])) for name in found[0][part]} for part in found[0]
    }
    return Compatibility.of(mean)
