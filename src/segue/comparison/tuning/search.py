"""Search an option's settings on one fold: a few short trainings, hopeless ones stopped, the best kept.

Enters: a job, an option, a fold, and the steps that the plan gives each trial. Leaves: ``tuning/OPTION/fold-N/`` in the
run folder with ``trials.jsonl`` (a line a trial) and ``best.json``, and the job under which the option is then trained.

Decisions. Every fold is searched by itself, on its own training and validation documents; test windows are not read.
Every option gets the same number of trials and steps, whatever the clock says. The first trial has the recipe's own
settings and ties go to the earlier trial, so on validation and at the trials' steps tuning cannot lose. Settings are
proposed by a tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter optimization); a
trial stops when its best validation MRR so far is below the median of the finished ones at the same evaluation
(Golovin et al. 2017, Google Vizier, section 3.2.2). After a kill the finished trials are told to a fresh sampler of the
same seed in order, which then proposes what it would have proposed; the trial that was running goes on where it was.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segue.comparison.entries.trained import (
    Baselines,
    as_retriever,
    build_entrant,
    entrant_training,
    score_on_validation,
)
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.tuning.space import Choice, own_choice, suggest, with_choice
from segue.errors import InputError, MissingExtraError, SegueError, StorageError, explain
from segue.evaluation.experiment import Fold
from segue.files import append_jsonl, read_json, read_jsonl, write_json
from segue.old_names import option_folder
from segue.training.loop import TrainingLoop
from segue.training.state import selection_score
from segue.training.train import assemble
from segue.types import Progress, no_progress

DRAWN = 4
"""Trials, the first included, before the sampler learns from those it has seen."""
BEFORE_PRUNING = 2
"""Trials that must have finished before one may be stopped, and evaluations that every trial gets."""


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        job: the comparison.
        option: a trained one.
        fold: of the job.
        loss: the preset that the option is trained under; ``recipe`` is the recipe's own.
        steps: of every trial, from the plan.
        baselines: the job's.
        progress: told of every step.
    """

    job: Job
    option: Option
    fold: Fold
    loss: str | None
    steps: int
    baselines: Baselines
    progress: Progress = no_progress

    @property
    def folder(self) -> Path:
        """Where trials and the best settings are kept."""
        return _folder(self.job, self.option, self.fold)

    @functools.cached_property
    def own(self) -> Choice:
        """The recipe's own settings."""
        return own_choice(self.job, self.option, loss=self.loss)


def tune(search: Search) -> Job:
    """Search an option's settings, or read back what was found, and return the job that has the best ones.

    Raises:
        InputError: no trial could be trained, or the folder holds trials of another search.
        MissingExtraError: Optuna is not installed.
        StorageError: the folder cannot be written.
    """
    if _is_open(search.job, search.option, search.fold):
        records = _trials(search)
        write_json(search.folder / "best.json", _summary(search, records))
    return tuned(search.job, search.option, search.fold, loss=search.loss)


def tuned(job: Job, option: Option, fold: Fold, *, loss: str | None) -> Job:
    """Return the job with the settings that tuning found for an option on a fold; where it was not tuned, the job."""
    path = _folder(job, option, fold) / "best.json"
    if not path.exists():
        return job
    return with_choice(job, option, Choice(**read_json(path)["settings"]), loss=loss)


def tuning_record(job: Job) -> list[dict[str, Any]]:
    """Return what tuning came to, an entry for each option and fold that was tuned, in reading order."""
    paths = [_folder(job, option, fold) / "best.json" for option in job.options for fold in job.experiment.folds]
    return [read_json(path) for path in paths if path.exists()]


def require_extra(job: Job) -> None:
    """Tell before anything is trained that Optuna is missing, where something is still to be tuned.

    Raises:
        MissingExtraError: as said.
    """
    if any(_is_open(job, option, fold) for option in job.searched for fold in job.experiment.folds):
        require_optuna()


def _is_open(job: Job, option: Option, fold: Fold) -> bool:
    """Whether settings are still to be searched; what was trained without a search stays as it is."""
    trained = job.folder(option, fold) / "training.json"
    return not (_folder(job, option, fold) / "best.json").exists() and not trained.exists()


def require_optuna() -> Any:
    """Import Optuna where it is used, and let it say warnings only.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(explain("[tuning] needs optuna, which is not installed",
                                        fix="pip install 'segue[tune]'")) from error  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _folder(job: Job, option: Option, fold: Fold) -> Path:
    return option_folder(job.out / "tuning", option.name) / f"fold-{fold.number}"


def _trials(search: Search) -> list[dict[str, Any]]:
    """Run the trials that are not there yet; return all, in order."""
    path = search.folder / "trials.jsonl"
    study = _study(search)
    records = read_jsonl(path)
    for number, record in enumerate(records):
        _replay(search, study, record, number=number)
    for number in range(len(records), search.job.tuning.trials):
        records.append(_trial(search, study, number))
        append_jsonl(path, records[-1])
        shutil.rmtree(search.folder / "work", ignore_errors=True)
    return records


def _study(search: Search) -> Any:
    """Return a fresh search, whose first proposal is the recipe's own settings."""
    optuna = require_optuna()
    seed = search.job.training.seed + search.fold.number
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=DRAWN),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=BEFORE_PRUNING),
    )
    study.enqueue_trial({name: value for name, value in asdict(search.own).items() if value is not None})
    return study


def _replay(search: Search, study: Any, record: dict[str, Any], *, number: int) -> None:
    """Tell a fresh search of a finished trial.

    Raises:
        InputError: it would not have proposed that trial.
    """
    trial = study.ask()
    expected = _about(search, number, suggest(trial, search.own))
    found = {name: record.get(name) for name in expected}
    if found != expected:
        raise InputError(
            explain(
                f"trial {number} in {search.folder} is of another search",
                got=found,
                expected=expected,
                fix="delete that folder and run again",
            )
        )
    for place, value in enumerate(record["curve"]):
        trial.report(value, place)
    _tell(study, trial, record)


def _trial(search: Search, study: Any, number: int) -> dict[str, Any]:
    """Run one trial, and tell the search of it."""
    trial = study.ask()
    choice = suggest(trial, search.own)
    record = _about(search, number, choice) | {"state": "failed", "reason": None, "curve": [], "seconds": 0.0}
    try:
        loop = _loop(search, choice, number)
        record["state"] = _watched_training(search, loop, trial, number)
        record |= {"curve": _curve(loop), "seconds": loop.state.seconds}
    except StorageError:
        raise  # a full disk says nothing about the settings
    except SegueError as error:  # a rate so high that the loss diverged, a width that the heads do not divide
        record["reason"] = str(error)
    _tell(study, trial, record)
    return record


def _about(search: Search, number: int, choice: Choice) -> dict[str, Any]:
    """Return what tells one trial from others."""
    return {"number": number, "loss": search.loss, "steps": search.steps, "settings": asdict(choice)}


def _tell(study: Any, trial: Any, record: dict[str, Any]) -> None:
    states = require_optuna().trial.TrialState
    if record["state"] == "complete":
        study.tell(trial, max(record["curve"]))
    else:
        study.tell(trial, state=states.PRUNED if record["state"] == "pruned" else states.FAIL)


def _loop(search: Search, choice: Choice, number: int) -> TrainingLoop:
    """Build a trial's training, or go on with the one that a kill interrupted."""
    option, fold = search.option, search.fold
    job = with_choice(search.job, option, choice, loss=search.loss)
    predictor, loss = build_entrant(job, option, fold, loss=search.loss, baselines=search.baselines)
    settings = entrant_training(job, option, fold, steps=search.steps)
    batches, optimisation = assemble(predictor, loss, job.experiment.bank, fold.train, settings)
    return TrainingLoop(
        batches,
        optimisation,
        settings,
        score=lambda model: score_on_validation(as_retriever(job, option, model, search.baselines), job, fold),
        folder=search.folder / "work" / f"trial-{number}",
    )


def _watched_training(search: Search, loop: TrainingLoop, trial: Any, number: int) -> str:
    """Train until the end, or until the trial is hopeless; say which."""
    reported = 0
    while True:
        for place, value in enumerate(_curve(loop)[reported:], start=reported):
            trial.report(value, place)
            reported += 1
            ended = loop.state.stopped_early or loop.state.step >= loop.steps
            if not ended and trial.should_prune():
                return "pruned"
        if loop.state.finished:
            return "complete"
        note = f"trial {number + 1} of {search.job.tuning.trials}, {loop.note()}"
        search.progress(loop.state.step, loop.steps, note)
        loop.advance()


def _curve(loop: TrainingLoop) -> list[float]:
    return [selection_score(record) for record in loop.state.curve]


def _summary(search: Search, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the trials came to.

    Raises:
        InputError: every trial failed.
    """
    scores = {record["number"]: max(record["curve"]) for record in records if record["state"] == "complete"}
    if not scores:
        raise InputError(explain(f"no trial of {search.option.name} could be trained", got=records[0]["reason"]))
    best = max(scores, key=scores.__getitem__)  # the earliest of equals
    states = [record["state"] for record in records]
    return {
        "format": 1,
        "option": search.option.name,
        "fold": search.fold.number,
        "loss": search.loss,
        "steps": search.steps,
        "trials": len(records),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
        "best_trial": best,
        "settings": records[best]["settings"],
        "own": asdict(search.own),
        "validation_mrr": {"before": scores.get(0), "after": scores[best]},
        "seconds": sum(record["seconds"] for record in records),
    }
