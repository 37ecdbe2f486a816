"""Forms (b) and (c) of the replay: the report's models on a clean split, and on a leaked one.

Both use the same windows with the same models, seeds and steps. In (b) 91.5 % of the evaluated documents stand in the
training documents, in the place of as many others, so the difference is the leak and not more data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from benchmarks.phase1.as_done import CUTOFF, REPORTED
from segue.bank.bank import PassageBank
from segue.checks import DIAGNOSIS, Effort
from segue.checks.build_case import case_of_job
from segue.checks.run import run_checks
from segue.comparison.job import FoldResult, Job, finished_results
from segue.comparison.options import Option, choose_options
from segue.comparison.record import read_record, write_record
from segue.evaluation.experiment import Experiment, Fold
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import per_window
from segue.evaluation.result import Evaluation
from segue.progress import Stages
from segue.recipe import Recipe
from segue.reports import write_report
from segue.windows.windows import make_windows
from segue.workflows.check_record import CheckPolicy, checked
from segue.workflows.prepare import experiment_of
from segue.workflows.triage import run_comparison

FIXED = ("infonce-ar", "infonce")
"""What the report proposed instead."""
LEFT_OUT = "encoder-context"
"""The slowest baseline, and no part of the story."""
SHARE_LEAKED = 0.915
CONFLICT = "SG204"
"""The slow check that the report's diagnosis is about."""
COMPARED_WITH = ("ar-cosine", "infonce-projected", "copy-last")
TABLE = ("R@1", CUTOFF, "R@10", "Contain@50", "MRR", "cosine")


def options_of(trained: tuple[str, ...]) -> tuple[Option, ...]:
    """Return some trained options and every control and baseline but the slowest."""
    return tuple(option for option in choose_options(trained) if option.name != LEFT_OUT)


def run_clean(recipe: Recipe, bank: PassageBank, out: Path, *, stages: Stages) -> dict[str, Any]:
    """Compare the report's models with its first and third option, on documents that nobody was trained on."""
    found = run_comparison(
        recipe, options_of(REPORTED + FIXED), out, experiment=experiment_of(recipe, bank), stages=stages
    ).record.to_json()
    rows = {
        row["name"]: {
            "intent": row["intent"],
            "status": row["status"],
            "metrics": {name: row["metrics"][name] for name in TABLE if name in row["metrics"]},
            "validation": row["validation"],
            "compatibility": row["compatibility"],
            "delta": {name: row["delta"][name][CUTOFF] for name in COMPARED_WITH if name in row["delta"]},
        }
        for row in found["entries"]
        if row["metrics"]
    }
    return _outcome(found) | {"documents": found["documents"], "windows": found["windows"], "pool": found["pool"],
                              "rows": rows}  # fmt: skip


def measure_conflict(job: Job, effort: Effort, *, stages: Stages) -> dict[str, Any] | None:
    """Add the check of gradients, which is too slow for every triage, to the clean form's report.

    Returns:
        The finding; None where there is no such check.
    """
    checks = [check for check in DIAGNOSIS if check.code == CONFLICT]
    case = replace(case_of_job(job, finished_results(job), subject=REPORTED[1]), effort=effort)
    with stages("(c) gradients along training") as progress:
        findings = run_checks(checks, case, progress=progress)
    if not findings:
        return None
    record = read_record(job.out / "triage.json")
    others = [finding for finding in record.diagnosis if finding.code != CONFLICT]
    diagnosis = sorted([*others, *findings], key=lambda finding: finding.code)
    found = checked(record.audit, diagnosis, unsafe=False, subject=record.subject)
    write_record(job.out / "triage.json", record.model_copy(update=dict(found)))
    write_report(job.out)
    (finding,) = findings
    return {"outcome": finding.outcome, "statement": finding.statement, "details": dict(finding.details)}


def run_leaked(recipe: Recipe, bank: PassageBank, out: Path, *, honest: Job, stages: Stages) -> dict[str, Any]:
    """Train the report's models on a leaked split, and set what they seem to reach beside what they reach.

    Args:
        recipe: of this form.
        bank: of both forms.
        out: run folder of this form.
        honest: the clean form's job, whose results are on disk.
        stages: shows progress.
    """
    (fold,) = honest.experiment.folds
    leaked = leak(honest.experiment, SHARE_LEAKED, recipe)
    record = run_comparison(  # the checks of the data would end it before training; the report below is blocked
        recipe, options_of(REPORTED), out, experiment=leaked, policy=CheckPolicy(unsafe=True), stages=stages
    ).record
    found = checked(record.audit, record.diagnosis, unsafe=False, subject=record.subject)
    record = record.model_copy(update=dict(found))
    write_record(out / "triage.json", record)
    write_report(out)
    evaluated = np.unique(bank.document_of[fold.test.target])
    known = int(np.isin(evaluated, leaked.folds[0].split.train).sum())
    rows = {name: _pair(honest.out / "options" / name, out / "options" / name) for name in REPORTED}
    sizes = {"training_windows": {"leaked": len(leaked.folds[0].train), "honest": len(fold.train)}}
    return _outcome(record.to_json()) | sizes | {"evaluated": len(evaluated), "trained_on": known, "rows": rows}


def leak(experiment: Experiment, share: float, recipe: Recipe) -> Experiment:
    """Return the experiment with a share of its evaluated documents among those that are trained on.

    As many other training documents leave, so that there is no more to learn from.
    """
    bank, (fold,) = experiment.bank, experiment.folds
    generator = np.random.default_rng(recipe.split.seed)
    tested = generator.permutation(np.unique(bank.document_of[fold.test.target]).astype(np.int64))
    leaked = tested[: round(share * len(tested))]
    others = generator.permutation(fold.split.train)[: max(0, len(fold.split.train) - len(leaked))]
    documents: Int[np.ndarray, "train"] = np.sort(np.concatenate([leaked, others]))
    train = make_windows(bank, documents, recipe.windows)
    return replace(experiment, folds=(Fold(replace(fold.split, train=documents), train, fold.validation, fold.test),))


def _outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"blocked": record["blocked"], "causes": [cause["name"] for cause in record["causes"]]}


def _pair(honest: Path, leaked: Path) -> dict[str, Any]:
    """Return R@5 of one option trained with and without the leak, and the paired difference, over documents."""
    without, with_leak = (_evaluation(folder) for folder in (honest, leaked))
    values = [per_window(evaluation.ranks)[CUTOFF] for evaluation in (with_leak, without)]
    test = paired(values[0], values[1], without.groups, resamples=without.resamples, seed=without.seed)
    return {
        "leaked": asdict(with_leak.metrics[CUTOFF]),
        "honest": asdict(without.metrics[CUTOFF]),
        "difference": asdict(test.difference) | {"p": test.p_value},
    }


def _evaluation(option: Path) -> Evaluation:
    evaluation = FoldResult.load(option / "fold-0").evaluation
    assert evaluation is not None, "a comparison evaluates what it trains"
    return evaluation
