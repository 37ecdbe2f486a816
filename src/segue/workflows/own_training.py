"""Trainings of the user's own: the data of a recipe for a loop outside Segue, and its predictor as a run of Segue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import as_retriever, keep_training
from segue.comparison.scoring import score_on_validation
from segue.errors import InputError
from segue.evaluation.experiment import Experiment, lock_split
from segue.files import exclusive
from segue.hardware import limit_threads
from segue.models import Predictor
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe
from segue.storage import on_storage
from segue.training.losses.loss import Loss
from segue.training.state import Record, selection_score
from segue.training.train import TrainingResult, still_rising
from segue.workflows.check_record import CheckPolicy, check_data
from segue.workflows.prepare import as_recipe, case_of_recipe, experiment_of, make_job, open_bank, recipe_option
from segue.workflows.train import add_to_plan


def experiment(recipe: AnyRecipe, *, stages: Stages = quiet) -> Experiment:
    """Return the bank of a recipe and its folds of windows, as ``segue.train`` uses them; the bank is built if needed.

    Train on ``experiment.folds[0].train``, choose on ``.validation`` (``segue.score``), and leave ``.test`` to
    ``segue.evaluate``.

    Raises:
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    recipe = as_recipe(recipe)
    return experiment_of(recipe, open_bank(recipe, stages=stages))


@on_storage("out")
def record_training(
    recipe: AnyRecipe,
    out: Path | str,
    predictor: nn.Module,
    *,
    loss: nn.Module,
    curve: Sequence[Mapping[str, Any]],
    seconds: float = 0.0,
    stages: Stages = quiet,
) -> Path:
    """Write the run folder of a training of your own, as ``segue.train`` would have; evaluate, audit, bundle read it.

    The run's [model] and [loss] are those of ``predictor`` and ``loss``; the other tables are the recipe's, so
    [training] should state what your loop did (``batch_size``, ``seed``, ``learning_rate``).

    Args:
        recipe: its split has one fold.
        out: the run folder, which holds no training yet.
        predictor: trained on the training windows of ``segue.experiment(recipe)``, with the weights that you chose.
        loss: what it was trained with; its learnt weights are kept.
        curve: a record for each evaluation, in order: ``step``, ``MRR`` (``segue.score`` on validation windows) and
            what else you measured: ``loss``, ``learning_rate``, ``R@5``, …
        seconds: seconds that it took.
        stages: shows progress.

    Returns:
        The run folder.

    Raises:
        BlockedError: a check of the data failed.
        InputError: ``predictor`` or ``loss`` is a bare module, the predictor does not fit the bank or the windows, the
            curve lacks ``step`` or ``MRR`` or holds something else than numbers, the recipe has several folds, or the
            folder holds a training.
        StorageError: another process works on the folder, or it cannot be written.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    recipe, out = as_recipe(recipe), Path(out)
    predictor, loss = _require_own(predictor, loss)
    recipe = recipe.model_copy(update={"model": predictor.settings, "loss": loss.settings})
    option = recipe_option(recipe)
    found = experiment(recipe, stages=stages)
    _require_fit(predictor, found)
    points = _points(curve)
    check_data(case_of_recipe(recipe, found), CheckPolicy(), stages=stages)
    with exclusive(out):
        job = make_job(recipe, found.bank, (option,), out, experiment=found)
        lock_split(found, out / "split.json")
        (fold,) = found.folds
        folder = job.folder(option, fold)
        if (folder / "training.json").exists():
            raise InputError(f"{out} holds a training already", fix="choose another folder, or delete it")
        steps = max(1, cast(int, points[-1]["step"]))
        add_to_plan(out / "plan.json", steps, budget_minutes=recipe.triage.budget_minutes)
        unit = OptionOnFold(job, option, fold, Baselines(job), "recipe", steps)
        with stages("Scoring on validation documents"):
            scores: Record = {**score_on_validation(as_retriever(unit, predictor), job, fold)}
        early = [point for point in points if cast(int, point["step"]) <= 0.8 * steps]
        result = TrainingResult(cast(int, max(points, key=selection_score)["step"]), scores, steps, points,
                                under_trained=bool(early) and still_rising(points), stopped_early=False,
                                seconds=seconds)  # fmt: skip
        keep_training(unit, predictor, loss, result, folder, own_loop=True)
    return out


def _require_own(predictor: nn.Module, loss: nn.Module) -> tuple[Predictor, Loss]:
    """Return what was trained, if it is what Segue builds from a recipe and not a bare module."""
    if not isinstance(predictor, Predictor):
        raise InputError("this is no predictor", got=type(predictor).__name__, expected="a segue.models.Predictor",
                         fix='name your net in [model] (name = "module:Class") and train '
                             "segue.models.build_model(recipe.model, dimension=…, context=…)")  # fmt: skip
    if not isinstance(loss, Loss):
        raise InputError("this is no loss of Segue", got=type(loss).__name__, expected="a segue.training.Loss",
                         fix='name your loss in [loss] (terms = [{kind = "module:Class"}]) and train with '
                             "segue.training.build_loss(recipe.loss, dimension)")  # fmt: skip
    return predictor, loss


def _require_fit(predictor: Predictor, found: Experiment) -> None:
    """Refuse a predictor of other vectors or other windows than the experiment's, and several folds."""
    if len(found.folds) > 1:
        raise InputError("a training of your own is recorded on one split", got=f"{len(found.folds)} folds",
                         expected="1", fix="set [split] folds = 1")  # fmt: skip
    shape = (found.context, found.bank.dimension)
    if (predictor.context, predictor.dimension) != shape:
        raise InputError("the predictor does not fit the recipe's windows and bank",
                         got=f"a context of {predictor.context} passages in {predictor.dimension} dimensions",
                         expected=f"{shape[0]} passages in {shape[1]} dimensions",
                         fix="build it with the experiment's `context` and its bank's `dimension`")  # fmt: skip


def _points(curve: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Return the curve as it is kept."""
    for place, point in enumerate(curve):
        lacking = [name for name in ("step", "MRR") if point.get(name) is None]
        if lacking:
            raise InputError(f"point {place} of the curve is not complete", got=f"no {' and no '.join(lacking)}",
                             fix="add `step` and what `segue.score` returns on validation windows")  # fmt: skip
    if not curve:
        raise InputError("the curve is empty", expected="a point for each evaluation",
                         fix="give at least one, with `step` and what `segue.score` returns on validation windows",
                         )  # fmt: skip
    try:
        numbers = [{name: None if value is None else float(value) for name, value in point.items()} for point in curve]
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor of several numbers
        raise InputError("the curve holds something else than numbers", got=str(error),
                         fix="give numbers, or tensors of one number") from error  # fmt: skip
    return [{**point, "step": int(cast(float, point["step"]))} for point in numbers]
