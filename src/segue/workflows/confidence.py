"""Confidence of the winner of a comparison, measured once and kept in ``confidence.json`` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.comparison.record import ConfidenceRecord
from segue.comparison.scoring import log_test_evaluation
from segue.comparison.tasks import Worker, Workers
from segue.evaluation.confidence.fit import confidence_record
from segue.files import read_json, write_json
from segue.progress import Stages
from segue.workflows.check_record import kept_case

FILE = "confidence.json"


def winner_confidence(winner: str | None, *, workers: Workers, stages: Stages) -> ConfidenceRecord | None:
    """Return the confidence of the winner without the fitted models, or None if there is no winner.

    Each fold's test windows are evaluated once, which ``looks.jsonl`` logs; an earlier measurement is read back.

    Args:
        winner: the option that was chosen on validation, if any.
        workers: measure it.
        stages: shows progress.
    """
    if winner is None:
        return None
    with stages("Measuring the confidence of the winner"):
        known = workers.call(_known_or_measured, winner).result()
    if known is None:
        return None
    found = {name: value for name, value in known.items() if name not in ("models", "bank", "exclude")}
    return ConfidenceRecord.model_validate(found)


def _known_or_measured(worker: Worker, winner: str) -> Mapping[str, Any] | None:
    """Return what ``confidence.json`` holds of the winner, after measuring it if needed; None where a fold lacks it.

    Confidence is fitted on each fold's validation windows and judged on its test windows.
    """
    job, settings = worker.job, worker.job.recipe.evaluation
    key = {"option": winner, "bank": job.experiment.bank.hash, "exclude": settings.exclude}
    path = job.out / FILE
    known = read_json(path) if path.exists() else {}
    if {name: known.get(name) for name in key} == key:
        return known
    entries = kept_case(worker).entries_named(winner)
    if len(entries) < len(job.experiment.folds):
        return None
    for fold in job.experiment.folds:
        log_test_evaluation(job, winner, fold, **{"for": "confidence"})
    measured = confidence_record(
        job.experiment,
        [entry.retriever for entry in entries],
        exclude=settings.exclude,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    write_json(path, {**key, **measured})
    return {**key, **measured}
