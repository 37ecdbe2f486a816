"""``segue bundle``: put a run's winner into one folder that answers without the run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segue.bundles.build import Winner, build_bundle, require_absent
from segue.bundles.files import CONTRACT, MANIFEST, SEAL
from segue.comparison.job import FINISHED
from segue.comparison.options import Option
from segue.comparison.record import Record, read_record
from segue.comparison.refit import refit as refit_option
from segue.errors import BlockedError, InputError
from segue.evaluation.experiment import Fold, require_same_bank
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.recipe import Recipe
from segue.runs.bank import bank_of_run
from segue.storage import on_storage, place_of, pull, url_of
from segue.workflows.evaluate import experiment_of_run
from segue.workflows.prepare import bind_job, options_of_run, recorded_recipe


@dataclass(frozen=True)
class Built:
    """A bundle that was built."""

    path: Path
    version: str
    option: str
    size_bytes: int

    def to_json(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        return {"path": place_of(self.path), "version": self.version, "option": self.option, "bytes": self.size_bytes}


@on_storage("run", "out")
def bundle(
    run: Path | str,
    out: Path | str,
    *,
    option: str | None = None,
    fold: int = 0,
    name: str | None = None,
    index: Path | str | None = None,
    bank: Path | str | None = None,
    refit: bool = False,
    unsafe: bool = False,
    stages: Stages = quiet,
) -> Built:
    """Build a bundle from a run.

    Args:
        run: a folder that ``segue triage`` or ``segue evaluate`` wrote.
        out: the bundle's folder, which must not exist.
        option: the option to release; None: the winner.
        fold: the fold whose training is released, counted from 0.
        name: name of the bundle; None: the title of the run's recipe, or the folder's name.
        index: a folder that ``segue index build`` wrote over the run's bank; None: the bank is searched exactly.
        bank: folder of the run's bank; None: where the run recorded it.
        refit: train it again on all documents, test documents included, with the settings and steps that the run
            selected on that fold; the bundle states that no number was measured on these weights.
        unsafe: release it although an integrity check blocks the run's numbers; the card states it.
        stages: shows progress.

    Raises:
        InputError: the run has no comparison or no such option, its bank is not there or has changed, or the index
            is of another bank.
        BlockedError: an integrity check blocks its numbers.
        StorageError: the bundle cannot be written, or a file of the bank or the run is damaged.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    run, out = Path(run), Path(out)
    record = _comparison(run)
    if record.blocked and not (unsafe or record.unsafe):
        raise BlockedError(f"{run} is blocked by {', '.join(record.blocked)}",
                           fix="fix what its report names, or label it with --unsafe")  # fmt: skip
    recipe = recorded_recipe(run)
    opened = bank_of_run(run, given=bank)
    require_same_bank(opened, run / "split.json")
    known = (*options_of_run(run),) if (run / "plan.json").exists() else _untrained(record, recipe)
    experiment = experiment_of_run(run, recipe, opened)
    job = bind_job(recipe, experiment, known, run)
    chosen = _option(record, known, option)
    winner = Winner(job, chosen, _fold(job.experiment.folds, fold), record, name or recipe.title or out.name,
                    None if index is None else pull(index))  # fmt: skip
    interrupted = _take_interrupted(out)
    require_absent(out)
    with tempfile.TemporaryDirectory() as folder:
        if refit:
            with stages("Training on all documents") as progress:
                found = refit_option(job, chosen, winner.fold, recipe.windows, Path(folder), progress=progress)
            winner = replace(winner, job=found.job, fold=found.fold, refit=found.facts)
        with stages("Building the bundle"):
            manifest = build_bundle(winner, out)
    if others := interrupted - manifest.files.keys() - {MANIFEST}:
        shutil.rmtree(out)
        raise InputError(f"{place_of(out)} holds other files", got=min(others), expected="nothing, or this bundle",
                         fix="choose another folder, or delete it")  # fmt: skip
    size = sum(int(facts["bytes"]) for facts in manifest.files.values())
    return Built(out, manifest.version, chosen.name, size)


def _take_interrupted(out: Path) -> set[str]:
    """Remove from the cache what an interrupted upload of a bundle left, and return the names of its files.

    Its contract was uploaded first, and the seal, which comes last, is missing.
    """
    if url_of(out) is None or (out / SEAL).exists() or not (out / CONTRACT).exists():
        return set()
    names = {path.relative_to(out).as_posix() for path in out.rglob("*")
             if path.is_file() and not path.name.startswith(".")}  # fmt: skip
    shutil.rmtree(out)
    return names


def _comparison(run: Path) -> Record:
    path = run / "triage.json"
    if not path.exists():
        raise InputError(f"{run} holds no comparison", got="no triage.json in it",
                         fix="run `segue triage` or `segue evaluate` first")  # fmt: skip
    return read_record(path)


def _untrained(record: Record, recipe: Recipe) -> tuple[Option, ...]:
    """Return the options of a run in which nothing was trained."""
    from segue.comparison.options import OPTIONS

    names = {entry.name for entry in record.entries}
    return tuple(option for option in (*OPTIONS, *recipe.own_options()) if option.name in names)


def _option(record: Record, known: tuple[Option, ...], name: str | None) -> Option:
    """Return the option to release: a candidate that is finished."""
    wanted = name or record.winner
    finished = [entry.name for entry in record.entries
                if entry.intent == "candidate" and entry.status in FINISHED]  # fmt: skip
    option = next((option for option in known if option.name == wanted), None)
    if option is None or wanted not in finished:
        raise InputError("there is no such option to release", got=wanted or "no winner", expected=", ".join(finished))
    return option


def _fold(folds: tuple[Fold, ...], number: int) -> Fold:
    if not 0 <= number < len(folds):
        raise InputError("there is no such fold", got=number, expected=f"0 to {len(folds) - 1}")
    return folds[number]
