"""Steps that all verbs share: from a recipe to a bank, an experiment and a job in a run folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from segue.bank.bank import PassageBank
from segue.bank.build import build_bank
from segue.bank.import_vectors import import_vectors
from segue.bank.manifest import MANIFEST, SOURCE_PATHS, read_manifest
from segue.checks.build_case import case_of_experiment
from segue.checks.case import Case
from segue.comparison.job import Job
from segue.comparison.options import OPTIONS, RECIPE_OPTION, Option
from segue.comparison.plan import load_plan
from segue.comparison.settings import OWN_TABLES
from segue.corpus import BankCorpus, VectorsCorpus
from segue.encoders import Encoder, load_encoder
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.evaluation.experiment import Experiment, build_experiment, require_same_bank
from segue.evaluation.gates import load_gate
from segue.evaluation.own_metrics import own_metrics
from segue.files import read_json, write_json
from segue.hardware import Device, choose_device
from segue.old_names import current_name
from segue.parts import is_own, load_part
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe, Recipe, load_recipe, parse_recipe
from segue.runs.bank import FRESH, SPLIT, record_bank
from segue.settings import Settings
from segue.storage import is_url, place_of, pull, writing
from segue.types import Bank

AnyCorpus = TypeVar("AnyCorpus", bound=Settings)

RESULT_TABLES = ("corpus", "passages", "encoder", "bank", "split", "windows", "model", "loss", "training", "rerank",
           "tuning", "evaluation")  # fmt: skip
"""The tables that determine results; a run folder keeps those it began with."""
IGNORED_KEYS = {"encoder": ("batch_size", "endpoint"), "corpus": ("processes", *SOURCE_PATHS), "bank": ("path",),
                "training": ("report_to",)}  # fmt: skip
"""Their keys that change no result, or that name a place: the bank's hash is compared instead."""


def as_recipe(recipe: AnyRecipe) -> Recipe:
    """Return a recipe: as it is, of its tables, or read from the file of that path.

    Where ``[corpus]`` is a bank and there is no ``[encoder]``, it is the one that made the bank.
    """
    if isinstance(recipe, Mapping):
        recipe = parse_recipe(recipe)
    elif not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    if not isinstance(recipe.corpus, BankCorpus) or "encoder" in recipe.model_fields_set:
        return recipe
    encoder = read_manifest(pull(recipe.corpus.path, whole=False)).encoder
    return recipe if encoder is None else recipe.model_copy(update={"encoder": encoder})


def on_device(recipe: Recipe, device: Device | None) -> Recipe:
    """Return the recipe with its encoder and its models on ``device``; None leaves it as it is.

    Raises:
        InputError: this machine has no such device.
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


def built_bank(recipe: Recipe, given: Path | str | None = None) -> PassageBank:
    """Open the bank of a recipe for a verb that builds none; ``given`` is its folder, instead of the recipe's.

    Raises:
        InputError: there is no bank.
    """
    if given is not None:
        return PassageBank.open(given)
    folder = pull(recipe.corpus.path if isinstance(recipe.corpus, BankCorpus) else recipe.bank.path, whole=False)
    if not (folder / MANIFEST).is_file():
        raise InputError("the recipe's bank is not built", got=f"no bank at {place_of(folder.absolute())}",
                         fix="run `segue bank build` with this recipe, or name its folder with --bank")  # fmt: skip
    return open_bank(recipe)


def open_bank(recipe: Recipe, *, out: Path | str | None = None, stages: Stages = quiet) -> PassageBank:
    """Open the recipe's bank; build it, or resume building it, where it is not complete.

    Raises:
        InputError: the corpus cannot be read, or the folder holds a bank of other settings.
        StorageError: it cannot be written.
    """
    if isinstance(recipe.corpus, BankCorpus):
        return PassageBank.open(recipe.corpus.path)
    place = out if out is not None else recipe.bank.path
    found = pull(place, whole=False)
    corpus = fetched(recipe.corpus)
    with nullcontext(found) if (found / MANIFEST).is_file() else writing(place) as folder:
        if isinstance(corpus, VectorsCorpus):
            with stages("Importing vectors") as progress:
                return import_vectors(corpus, folder, bank=recipe.bank, progress=progress)
        with stages("Reading and encoding") as progress:
            return build_bank(
                corpus,
                recipe.encoder,
                folder,
                passages=recipe.passages,
                settings=recipe.bank,
                compute=recipe.compute,
                progress=progress,
            )


def fetched(corpus: AnyCorpus) -> AnyCorpus:
    """Return a corpus whose URLs are files of the cache, equal to what is in the bucket now.

    Raises:
        StorageError: they cannot be read whole.
    """
    given = {key: paths for key in SOURCE_PATHS if (paths := getattr(corpus, key, None)) is not None}
    found = {key: tuple(map(pull, paths)) if isinstance(paths, tuple) else type(paths)(pull(paths))
             for key, paths in given.items()
             if any(map(is_url, paths if isinstance(paths, tuple) else [paths]))}  # fmt: skip
    return corpus.model_copy(update=found) if found else corpus


@contextmanager
def opened_vectors(corpus: VectorsCorpus | BankCorpus) -> Iterator[PassageBank]:
    """Yield the bank of vectors that are given as a corpus; imported ones are there as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(corpus, BankCorpus):
            yield PassageBank.open(corpus.path)
        else:
            yield import_vectors(fetched(corpus), folder)


def make_job(
    recipe: Recipe,
    bank: Bank,
    options: tuple[Option, ...],
    out: Path,
    *,
    experiment: Experiment | None = None,
) -> Job:
    """Bind a recipe, its bank and some options to a run folder, and record the recipe there.

    ``experiment``, where given, is used instead of the recipe's own folds.

    Raises:
        InputError: the folder holds a run of another recipe, or of another bank.
    """
    job = bind_job(recipe, experiment or experiment_of(recipe, bank), options, out)
    record_job(job)
    return job


def bind_job(recipe: Recipe, experiment: Experiment, options: tuple[Option, ...], out: Path) -> Job:
    """Bind a recipe, its experiment and some options to a run folder, in which nothing is written.

    Raises:
        InputError: the folder holds a run of another recipe, or of another bank.
    """
    _require_same_recipe(recipe, out)
    choose_device(recipe.training.device)
    if isinstance(experiment.bank, PassageBank) and not (out / FRESH).exists():
        require_same_bank(experiment.bank, out / SPLIT)
    return Job(recipe, experiment, options, EncoderLoader(recipe, experiment.bank), out)


def record_job(job: Job) -> None:
    """Record the recipe and the bank of a job in its run folder."""
    if isinstance(job.experiment.bank, PassageBank) and not (job.out / FRESH).exists():
        record_bank(job.out, job.experiment.bank)
    recipe = job.recipe.model_dump(mode="json")
    write_json(job.out / "recipe.json", recipe)  # last: a recipe that failed may be changed


def require_own_parts(recipe: Recipe) -> None:
    """Load the parts of your own that a recipe names, so that one that is missing is refused before any work.

    Raises:
        SegueError: one of them cannot be loaded, or is no metric or gate.
    """
    own_metrics(recipe.evaluation.metrics)
    for gate in recipe.gate_family():
        load_gate(gate)
    for retriever in recipe.retrievers.values():
        load_part("retriever", retriever.part)
    for reranker in recipe.rerankers.values():
        load_part("reranker", reranker.part)
    for model in (recipe.model, *recipe.models.values()):
        if is_own("model", model.name):
            load_part("model", model.name)
    for loss in (recipe.loss, *recipe.losses.values()):
        for term in loss.terms:
            if term.is_own:
                load_part("loss", term.kind)


def experiment_of(recipe: Recipe, bank: Bank) -> Experiment:
    """Build the recipe's folds of windows over a bank."""
    return build_experiment(bank, recipe.split, recipe.windows)


def case_of_recipe(recipe: Recipe, experiment: Experiment) -> Case:
    """Return what checks examine before anything is trained: the bank and the windows of an experiment."""
    bank = experiment.bank
    return case_of_experiment(experiment, encoder=None if bank.space.declared else EncoderLoader(recipe, bank),
                              exclude=recipe.evaluation.exclude, seed=recipe.evaluation.seed)  # fmt: skip


@dataclass
class EncoderLoader:
    """Loads the bank's encoder once, and checks that it made the bank's vectors.

    A process that it is sent to loads the encoder again.
    """

    recipe: Recipe
    bank: Bank
    _loaded: Encoder | None = field(default=None, repr=False)

    def __call__(self) -> Encoder:
        """Return the encoder.

        Raises:
            InputError: the vectors were made elsewhere, or by another encoder.
        """
        if self.bank.space.declared:
            raise InputError("the bank's vectors were made elsewhere, so there is no encoder",
                             fix="leave out options that encode text")  # fmt: skip
        if self._loaded is None:
            encoder = load_encoder(self.recipe.encoder)
            require_same(self.bank.space, encoder.space, "the bank and the recipe's encoder")
            self._loaded = encoder
        return self._loaded

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}


def recorded_recipe(run: Path) -> Recipe:
    """Return the recipe that a run folder was made with.

    Raises:
        InputError: ``run`` is not a run folder.
    """
    path = run / "recipe.json"
    if not path.exists():
        raise InputError(f"{run} is not a run folder", got="no recipe.json in it",
                         fix="name a folder that `segue train` or `segue triage` wrote")  # fmt: skip
    return parse_recipe(read_json(path), where=str(path))


def options_of_run(run: Path) -> tuple[Option, ...]:
    """Return the baselines and the options that took part in a run.

    Raises:
        InputError: there are none.
    """
    if not (run / "options").is_dir():
        raise InputError(f"nothing was compared in {run}", fix="run `segue train` or `segue triage` first")
    plan = run / "plan.json"
    trained = load_plan(plan, options=()).steps if plan.exists() else ()
    recipe = recorded_recipe(run)
    known = (*OPTIONS, *recipe.own_options(), recipe_option(recipe))
    took_part = {current_name(folder.name) for folder in (run / "options").glob("*")} | set(trained)
    return tuple(option for option in known if option.always or option.name in took_part)


def recipe_option(recipe: Recipe) -> Option:
    """Return the option that ``segue train`` trains; a recipe with a projection head makes it ``projected``."""
    if recipe.loss.projected:
        return replace(RECIPE_OPTION, intent="projected")
    return RECIPE_OPTION


def _require_same_recipe(recipe: Recipe, run: Path) -> None:
    """Refuse a recipe that would give other results than the run folder's; device and speed may differ.

    A key that is missing from the folder's recipe, of an older version, has its default.
    """
    if not (run / "recipe.json").exists():
        return
    before, now = (_result_tables(one) for one in (recorded_recipe(run), recipe))
    changed = [name for name in RESULT_TABLES if before[name] != now[name]]
    for table in OWN_TABLES:  # entries may be added
        old = recorded_recipe(run).model_dump(mode="json", include={table})[table]
        new = recipe.model_dump(mode="json", include={table})[table]
        changed += [f"{table}.{name}" for name in old if name in new and old[name] != new[name]]
    if changed:
        raise InputError(
            f"{run} holds a run of another recipe",
            got=f"changes in {', '.join(f'[{name}]' for name in changed)}",
            expected="the recipe it began with",
            fix="choose a new --out folder, or restore those tables",
        )


def _result_tables(recipe: Recipe) -> Mapping[str, object]:
    """Return the tables that determine results, without places and the keys that change speed alone."""
    without = {name: {"device", *IGNORED_KEYS.get(name, ())} for name in RESULT_TABLES}
    tables = recipe.model_dump(mode="json", include=set(RESULT_TABLES), exclude=without)
    name = recipe.encoder.name
    return tables | {"encoder": {**tables["encoder"], "name": Path(name).name if Path(name).is_dir() else name}}
