"""``segue train``: train the recipe's own model with the recipe's own loss, on the first fold."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from segue.checks.own import load_checks
from segue.comparison.calibration import most_steps
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import anchor_start, ensure_trained, read_training
from segue.comparison.job import Job
from segue.comparison.options import RECIPE_OPTION
from segue.comparison.plan import Plan, load_plan
from segue.comparison.scoring import score_on_validation
from segue.evaluation.experiment import lock_split
from segue.files import exclusive
from segue.hardware import choose_device, limit_threads
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe, Recipe
from segue.storage import writing
from segue.training.ranks import joined
from segue.training.watch import begin_watching, require_tools, watch_table
from segue.workflows.check_record import CheckPolicy, check_data
from segue.workflows.prepare import (
    as_recipe,
    built_bank,
    case_of_recipe,
    experiment_of,
    make_job,
    open_bank,
    recipe_option,
)


def train(recipe: AnyRecipe, out: Path | str, *, stages: Stages = quiet) -> Mapping[str, Any]:
    """Train and write a checkpoint, without reading a test document. A killed training is resumed.

    Processes that ``torchrun`` started train together, with the results of one up to rounding: each calls this with the
    same arguments, the first one reads and writes the run folder, and each gets the record. The bank has to be built.

    Returns:
        The record of the training (``steps``, ``best_step``, ``seconds``, ...) with the folder ``checkpoint``, its
        model ``card``, the scores on ``validation`` windows of ``model`` and of ``copy-last``, the number of those
        windows, and ``anchor``: the baseline that the model starts as, or None.

    Raises:
        BlockedError: a check of the data failed, so nothing was trained.
        StorageError: another process works on the run folder, or it cannot be written.
        MissingExtraError: a tool of [training] report_to is not installed.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    recipe = as_recipe(recipe)
    with joined(choose_device(recipe.training.device)) as ranks, ExitStack() as held:
        stages = stages if ranks.first else quiet
        alone = ranks.size == 1
        folder = ranks.once(lambda: held.enter_context(writing(out)))  # the first rank alone reads and writes there
        job, steps = ranks.once(lambda: _prepare(recipe, folder, held, may_build=alone, stages=stages))
        (option,), fold = job.options, job.experiment.folds[0]
        with stages(f"Training {recipe.model.name}") as progress:
            unit = OptionOnFold(job, option, fold, Baselines(job), "recipe", steps, progress)
            ensure_trained(unit, unit.folder, ranks)
        record = ranks.once(lambda: _record(unit, stages=stages))
        ranks.once(held.close)
        return record


def _prepare(recipe: Recipe, out: Path, held: ExitStack, *, may_build: bool, stages: Stages) -> tuple[Job, int]:
    """Open the bank, check the data, lock the run folder, record the run in it; return the job and its steps."""
    require_tools(recipe.training.report_to)
    option = recipe_option(recipe)
    bank = open_bank(recipe, stages=stages) if may_build else built_bank(recipe)
    experiment = experiment_of(recipe, bank)
    own = load_checks(recipe.checks.own)
    check_data(case_of_recipe(recipe, experiment), CheckPolicy(), own=own, stages=stages)
    held.enter_context(exclusive(out))
    job = make_job(recipe, bank, (option,), out, experiment=experiment)
    lock_split(job.experiment, out / "split.json")
    begin_watching(recipe.training.report_to, out)
    steps = most_steps(job)
    add_to_plan(out / "plan.json", steps, budget_minutes=recipe.triage.budget_minutes)
    return job, steps


def _record(unit: OptionOnFold, *, stages: Stages) -> Mapping[str, Any]:
    """Return the record of a training, with its scores beside those of copying the last passage."""
    job, fold = unit.job, unit.fold
    record = read_training(unit.folder)
    with stages("Scoring on validation documents"):
        copied = score_on_validation(unit.baselines.retriever("copy-last", fold), job, fold)
    best = next(point for point in record["curve"] if point["step"] == record["best_step"])
    checkpoint = unit.folder / "checkpoint"
    validation = {"model": {name: best[name] for name in copied}, "copy-last": copied}
    watch_table(job.recipe.training.report_to, job.out, [{"name": name, **scores} for name, scores in
                validation.items()], {"measured on": "validation documents"})  # fmt: skip
    return {
        **record,
        "validation": validation,
        "validation_windows": len(job.validation_windows(fold)),
        "anchor": anchor_start(unit),
        "checkpoint": str(checkpoint),
        "card": str(checkpoint / "README.md"),
    }


def add_to_plan(path: Path, steps: int, *, budget_minutes: float) -> None:
    """Add the recipe's own model to the plan of the folder, if a triage has planned others there."""
    plan = load_plan(path, options=()) if path.exists() else Plan({}, {}, 0.0, budget_minutes)
    replace(plan, steps={**plan.steps, RECIPE_OPTION.name: steps}).save(path)
