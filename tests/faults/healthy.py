"""A healthy experiment, run for real at toy size: what faults are injected into."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from story import StoryEncoder, story_world

from segue.checks import Case, Effort
from segue.checks.build_case import case_of_job
from segue.comparison.job import Job, Results
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings, TriageSettings
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.models import ModelSettings
from segue.training.train import TrainingSettings
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

TRAINED = ("ar-cosine", "infonce-projected", "infonce-ar", "infonce", "mlp")
EFFORT = Effort(windows=200, steps=30, batches=4, resamples=1000)
STEPS = 200


@dataclass(frozen=True)
class Healthy:
    """The experiment, its results, and the case that checks examine."""

    job: Job
    results: Results
    case: Case

    def with_case(self, **changes) -> Case:
        """Return the case with some fields replaced and nothing remembered."""
        return dataclasses.replace(self.case, **changes, _cache={})


def run_healthy(
    out: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    trained=TRAINED,
    documents: int = 60,
    bank=None,
    encoder=StoryEncoder,
    split=None,
    as_measured=False,
    **tables,
) -> Healthy:
    """Build the world (or take another bank with its encoder), run the comparison in ``out``, and return it all.

    ``split`` and ``tables`` stand for other tables of the recipe; ``as_measured`` keeps latencies as they were.
    """
    bank = story_world(seed, documents=documents) if bank is None else bank
    options = choose_options(list(trained))
    plan = out.parent / f"{out.name}-plan.json"
    plan.parent.mkdir(parents=True, exist_ok=True)
    record = {"steps": dict.fromkeys(trained, steps), "steps_per_second": {}, "score_seconds": 0.0}
    plan.write_text(json.dumps({"format": 1, **record, "budget_minutes": 1.0}))
    recipe = ComparisonSettings(
        model=ModelSettings(size="toy", name="mlp"),
        training=TrainingSettings(batch_size=128, steps=steps, evaluations=8, precision="float32", device="cpu"),
        evaluation=EvaluationSettings(resamples=500, latency_queries=20, run_depth=50),
        triage=TriageSettings(budget_minutes=1000, plan=str(plan)),
        gates="report",
    ).model_copy(update=tables)
    split = split or SplitSettings(test=0.3, validation=0.15, seed=seed + 1)
    job = Job(recipe, build_experiment(bank, split, WindowSettings(context=3)), options, encoder, out)
    results = run_triage(job)
    results = results if as_measured else calm(results)
    case = dataclasses.replace(case_of_job(job, results, subject=trained[-1] if trained else None), effort=EFFORT)
    return Healthy(job, results, case)


def calm(results: Results) -> Results:
    """Return the results with every stage of every query as fast as the next: a busy machine decides no test."""
    return {name: [dataclasses.replace(fold, evaluation=calm_timings(fold.evaluation)) for fold in folds]
            for name, folds in results.items()}  # fmt: skip


def calm_timings(evaluation, stage_ms=0.2):
    """Return an evaluation in which each stage took the same time for every query."""
    if evaluation is None:
        return None
    timings = {stage: np.full_like(times, stage_ms) for stage, times in evaluation.timings.items()}
    timings["total"] = stage_ms * (len(timings) - 1) * np.ones_like(timings["total"])
    return dataclasses.replace(evaluation, timings=timings, metrics={})


def with_row(case: Case, name: str, **changes) -> Case:
    """Return the case with one option's rows changed."""
    rows = tuple(dataclasses.replace(row, **changes) if row.name == name else row for row in case.entries)
    return dataclasses.replace(case, entries=rows, _cache={})


def with_fold(case: Case, **changes) -> Case:
    """Return the case with its only fold changed."""
    (fold,) = case.folds
    return dataclasses.replace(case, folds=(dataclasses.replace(fold, **changes),), _cache={})


def with_retriever(case: Case, name: str, retriever) -> Case:
    """Return the case with another retriever behind one option's rows; what was evaluated stays."""
    return with_row(case, name, load=lambda: retriever)


def copied_run(healthy: Healthy, folder: Path) -> Case:
    """Return the case over a copy of the run folder, whose files a fault may change."""
    shutil.copytree(healthy.job.out, folder)
    job = dataclasses.replace(healthy.job, out=folder)
    return dataclasses.replace(case_of_job(job, healthy.results, subject=healthy.case.subject), effort=EFFORT)
