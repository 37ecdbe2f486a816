"""Confidence of the winner of a comparison, measured once and kept in ``confidence.json`` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.checks import Case
from segue.comparison.job import Job
from segue.comparison.record import ConfidenceRecord
from segue.comparison.scoring import log_test_evaluation
from segue.evaluation.confidence.fit import confidence_record
from segue.files import read_json, write_json
from segue.progress import Stages

FILE = "confidence.json"


def winner_confidence(job: Job, case: Case, winner: str | None, *, stages: Stages) -> ConfidenceRecord | None:
    """Return the confidence of the winner without the fitted models, or None if there is no winner.

    Each fold's test windows are evaluated once, which ``looks.jsonl`` logs; an earlier measurement is read back.

    Args:
        job: the comparison.
        case: the case of the job, whose entries hold the retrievers.
        winner: the option that was chosen on validation, if any.
        stages: shows progress.
    """
    entries = case.entries_named(winner) if winner else ()
    if winner is None or len(entries) < len(job.experiment.folds):
        return None
    key = {"option": winner, "bank": job.experiment.bank.hash, "exclude": job.recipe.evaluation.exclude}
    path = job.out / FILE
    known = read_json(path) if path.exists() else {}
    if {name: known.get(name) for name in key} != key:
        with stages("Measuring the confidence of the winner"):
            known = {**key, **_measured(job, case, winner)}
            write_json(path, known)
    found = {name: value for name, value in known.items() if name not in ("models", "bank", "exclude")}
    return ConfidenceRecord.model_validate(found)


def _measured(job: Job, case: Case, winner: str) -> Mapping[str, Any]:
    """Fit on each fold's validation windows and judge on its test windows, having logged the test evaluation."""
    for fold in job.experiment.folds:
        log_test_evaluation(job, winner, fold, **{"for": "confidence"})
    settings = job.recipe.evaluation
    return confidence_record(
        job.experiment,
        [entry.retriever for entry in case.entries_named(winner)],
        exclude=settings.exclude,
        resamples=settings.resamples,
        seed=settings.seed,
    )
