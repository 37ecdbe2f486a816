"""What all verbs share: a recipe becomes a bank, an experiment and a job in a run folder."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from segue.bank.bank import PassageBank
from segue.bank.build import build_bank
from segue.bank.import_vectors import import_vectors
from segue.comparison.job import Job
from segue.comparison.options import OPTIONS, RECIPE_OPTION, Option
from segue.comparison.plan import load_plan
from segue.corpus import VectorsCorpus
from segue.encoders import Encoder, load_encoder
from segue.encoders.space import require_same
from segue.errors import InputError, explain
from segue.evaluation.experiment import Experiment, build_experiment
from segue.files import read_json, write_json
from segue.hardware import Device, choose_device
from segue.old_names import current_name
from segue.progress import Stages, quiet
from segue.recipe import Recipe, load_recipe, parse_recipe
from segue.types import Bank

SHAPING = ("corpus", "passages", "encoder", "bank", "split", "windows", "model", "loss", "training", "rerank",
           "tuning", "evaluation")  # fmt: skip
"""The tables that shape results: a run folder cannot go on with others than it began with."""
CHANGES_NOTHING = {"encoder": ("batch_size",), "corpus": ("processes",)}
"""What in them is about speed alone."""


def as_recipe(recipe: Recipe | Path | str) -> Recipe:
    """Return a recipe, reading it where a path is given."""
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


def on_device(recipe: Recipe, device: Device | None) -> Recipe:
    """Return the recipe with its encoder and its models on ``device``; None leaves it as it is.

    Raises:
        InputError: the device is not there.
    """
    if device is None:
        return recipe
    choose_device(device)
    where = {"device": device}
    return recipe.model_copy(
        update={
            "encoder": recipe.encoder.model_copy(update=where),
            "training": recipe.training.model_copy(update=where),
        }
    )


def open_bank(recipe: Recipe, *, out: Path | str | None = None, stages: Stages = quiet) -> PassageBank:
    """Open the recipe's bank; build it, or go on building it, where it is not whole.

    Raises:
        InputError: the corpus cannot be read, or the folder holds a bank of other settings.
        StorageError: it cannot be written.
    """
    folder = Path(out if out is not None else recipe.bank.path)
    if isinstance(recipe.corpus, VectorsCorpus):
        with stages("Importing vectors") as progress:
            return import_vectors(recipe.corpus, folder, bank=recipe.bank, progress=progress)
    with stages("Reading and encoding") as progress:
        return build_bank(
            recipe.corpus,
            recipe.encoder,
            folder,
            passages=recipe.passages,
            settings=recipe.bank,
            progress=progress,
        )


def make_job(
    recipe: Recipe,
    bank: Bank,
    options: tuple[Option, ...],
    out: Path,
    *,
    experiment: Experiment | None = None,
) -> Job:
    """Bind a recipe, its bank and some options to a run folder, and record the recipe there.

    ``experiment`` replaces the recipe's own folds.

    Raises:
        InputError: the folder holds a run of another recipe.
    """
    tables = _require_same_recipe(recipe, out / "recipe.json")
    choose_device(recipe.training.device)
    experiment = experiment or experiment_of(recipe, bank)
    write_json(out / "recipe.json", tables)  # only now: a recipe that gives no run may be fixed
    return Job(
        experiment=experiment,
        options=options,
        model=recipe.model,
        loss=recipe.loss,
        training=recipe.training,
        evaluation=recipe.evaluation,
        settings=recipe.triage,
        gates=recipe.gate_family(),
        load_encoder=encoder_of(recipe, bank),
        out=out,
        rerank=recipe.rerank,
        tuning=recipe.tuning,
        text=recipe.text,
        encoder=recipe.encoder,
    )


def experiment_of(recipe: Recipe, bank: Bank) -> Experiment:
    """Make the recipe's folds of windows over a bank."""
    return build_experiment(bank, recipe.split, recipe.windows)


def encoder_of(recipe: Recipe, bank: Bank) -> Callable[[], Encoder]:
    """Return a function that loads the bank's encoder when it is first asked for, and compares the spaces."""

    @functools.cache
    def load() -> Encoder:
        if bank.space.declared:
            raise InputError(explain("the bank's vectors were made elsewhere, so there is no encoder to ask",
                                     fix="leave rows that encode text out"))  # fmt: skip
        encoder = load_encoder(recipe.encoder)
        require_same(bank.space, encoder.space, "the bank and the recipe's encoder")
        return encoder

    return load


def recorded_recipe(run: Path) -> Recipe:
    """Return the recipe that a run folder was made with.

    Raises:
        InputError: ``run`` is no run folder.
    """
    path = run / "recipe.json"
    if not path.exists():
        raise InputError(explain(f"{run} is no run folder", got="no recipe.json in it",
                                 fix="name a folder that `segue train` or `segue triage` wrote"))  # fmt: skip
    return parse_recipe(read_json(path), where=str(path))


def options_of_run(run: Path) -> tuple[Option, ...]:
    """Return the baselines and what was trained in a run.

    Raises:
        InputError: nothing was.
    """
    if not (run / "plan.json").exists():
        raise InputError(explain(f"nothing was trained in {run}", fix="run `segue train` or `segue triage` first"))
    trained = load_plan(run / "plan.json", options=()).steps
    known = (*OPTIONS, recipe_option(recorded_recipe(run)))
    took_part = {current_name(folder.name) for folder in (run / "options").glob("*")} | set(trained)
    return tuple(option for option in known if option.always or option.name in took_part)


def recipe_option(recipe: Recipe) -> Option:
    """Return the option that ``segue train`` trains; a recipe that asks for a head declares the row as projected."""
    if any(term.space == "projected" for term in recipe.loss.terms):
        return replace(RECIPE_OPTION, intent="projected")
    return RECIPE_OPTION


def _require_same_recipe(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Return the recipe's tables, having compared them with those that the run folder began with.

    A key that the folder's version did not know has its default there.
    """
    tables = _tables(recipe)
    if path.exists():
        before = _tables(recorded_recipe(path.parent))
        changed = [name for name in SHAPING if _shaping(name, before[name]) != _shaping(name, tables[name])]
        if changed:
            raise InputError(
                explain(
                    f"{path.parent} holds a run of another recipe",
                    got=f"changes in {', '.join(f'[{name}]' for name in changed)}",
                    expected="the recipe it began with",
                    fix="choose a new --out folder, or restore those tables",
                )
            )
    return tables


def _tables(recipe: Recipe) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(recipe.model_dump_json())
    return tables


def _shaping(name: str, table: Any) -> Any:
    """Leave out where and how fast things are done: a run may go on elsewhere."""
    if not isinstance(table, dict):
        return table
    return {key: value for key, value in table.items() if key not in ("device", *CHANGES_NOTHING.get(name, ()))}
