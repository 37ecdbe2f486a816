"""Form (a) of the replay: phase 1 as it was done, with every defect that a close reading found.

* The documents asked about are not in the index; questions are stored vectors under placeholder keys, repaired.
* Train and validation are dealt at random over overlapping windows.
* Nothing is excluded from the candidates, and the projected loss is not declared.
* The "AMN baseline" queries with the truth.

Leaves a blocked report, and the numbers that the original report printed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.phase1.phase1_numbers import numbers
from benchmarks.phase1.phase1_questions import AMN, REPORTED, AsDone
from benchmarks.phase1.stored_questions import TruthAsQuery, evaluate_questions, store_questions
from segue.checks import AUDIT, Case
from segue.checks.build_case import case_of_job
from segue.checks.run import run_checks
from segue.comparison.entries.trained import Baselines, score_on_validation, train_entrant
from segue.comparison.job import FoldResult, Results
from segue.files import write_json
from segue.progress import Stages
from segue.recipe import Recipe
from segue.reports import write_report
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.types import Progress
from segue.workflows.check_record import Refusal, findings_record
from segue.workflows.triage import comparison_record


def run_as_done(what: AsDone, recipe: Recipe, *, steps: int, stages: Stages) -> dict[str, Any]:
    """Train, ask, audit, write the blocked report, and return what the original report would have printed.

    Returns:
        ``blocked``, ``causes``, and by table: ``documents``, ``questions``, ``keys``, ``rows``, ``compatibility``.
    """
    out = what.job.out
    baselines = Baselines(what.job)
    with stages("(a) as it was done") as progress:
        retrievers, results = _results(what, baselines, steps=steps, progress=progress)
    case = _case(what, results, retrievers, baselines)
    with stages("(a) auditing") as progress:
        findings = run_checks(AUDIT, case, progress=progress)
    checked = findings_record(findings, [], Refusal())
    record = comparison_record(recipe, what.job, results, {}) | {"exclude": "none"} | checked
    write_json(out / "triage.json", record)
    write_report(out)
    return {
        "blocked": checked["blocked"],
        "causes": [cause["name"] for cause in checked["causes"]],
        **numbers(what, case, retrievers),
    }


def _results(
    what: AsDone, baselines: Baselines, *, steps: int, progress: Progress
) -> tuple[dict[str, Retriever], Results]:
    retrievers: dict[str, Retriever] = {}
    results: Results = {}
    for option in what.job.options:
        retriever: Retriever = _amn(what)
        training = None
        if option.trained:
            retriever, training = train_entrant(
                what.job, option, what.fold, loss=option.loss, steps=steps, baselines=baselines, progress=progress
            )
        evaluation = evaluate_questions(retriever, what.index, what.reader, what.job.evaluation)
        validation = score_on_validation(retriever, what.job, what.fold)
        status = "under-trained" if training and training["under_trained"] else "done"
        retrievers[option.name] = retriever
        results[option.name] = [FoldResult(status, None, validation, training, evaluation)]
    return retrievers, results


def _amn(what: AsDone) -> VectorRetriever:
    """Return the baseline that was told the answers, those of validation among them."""
    validation = store_questions(what.index, what.fold.validation)
    return VectorRetriever(
        AMN, "candidate", TruthAsQuery([what.reader.questions, validation]), what.job.experiment.pool
    )


def _case(what: AsDone, results: Results, retrievers: dict[str, Retriever], baselines: Baselines) -> Case:
    """Return the experiment for examination: questions from their file, nothing excluded, nothing declared."""
    case = case_of_job(what.job, results, subject=REPORTED[1], baselines=baselines)
    rows = tuple(replace(row, load=lambda: retrievers[AMN]) if row.name == AMN else row for row in case.entries)
    return replace(
        case,
        entries=rows,
        exclude="none",
        gather=what.reader.gather,
        truth=what.reader.truth,
        query_documents={what.fold.number: what.reader.questions.document_ids},
    )
