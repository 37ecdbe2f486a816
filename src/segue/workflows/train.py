"""``segue train``: train the recipe's own model with the recipe's own loss, on the first fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from segue.comparison.calibration import most_steps
from segue.comparison.entries.trained import Baselines, train_entrant
from segue.comparison.options import RECIPE_OPTION
from segue.comparison.plan import Plan, load_plan
from segue.evaluation.experiment import lock_split
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.recipe import Recipe
from segue.workflows.prepare import as_recipe, make_job, open_bank, recipe_option


def train(recipe: Recipe | Path | str, out: Path | str, *, stages: Stages = quiet) -> dict[str, Any]:
    """Train and write a checkpoint; no test document is looked at. A killed training goes on where it was.

    Returns:
        What training did: ``steps``, ``best_step``, ``seconds``, ``curve``, and ``checkpoint``, the folder.

    Raises:
        SegueError: with what is wrong, what was expected and what to do.
    """
    limit_threads()
    recipe, out = as_recipe(recipe), Path(out)
    option = recipe_option(recipe)
    job = make_job(recipe, open_bank(recipe, stages=stages), (option,), out)
    lock_split(job.experiment, out / "split.json")
    steps = most_steps(job)
    _add_to_plan(out / "plan.json", steps, budget_minutes=recipe.triage.budget_minutes)
    fold = job.experiment.folds[0]
    with stages(f"Training {recipe.model.name}") as progress:
        _, record = train_entrant(
            job, option, fold, loss="recipe", steps=steps, baselines=Baselines(job), progress=progress
        )
    return record | {"checkpoint": str(job.folder(option, fold) / "checkpoint")}


def _add_to_plan(path: Path, steps: int, *, budget_minutes: float) -> None:
    """Plan the recipe's own model, beside what a triage in the same folder may have planned."""
    plan = load_plan(path, options=()) if path.exists() else Plan({}, {}, 0.0, budget_minutes, fits=True)
    replace(plan, steps={**plan.steps, RECIPE_OPTION.name: steps}).save(path)
