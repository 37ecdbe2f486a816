"""Search an option's settings on one fold: a few short trainings, poor ones stopped early, the best one kept.

Input: a job, an option, a fold, and the steps of each trial, from the plan. Output: ``tuning/OPTION/fold-N/`` in the
run folder with ``trials.jsonl`` (one line per trial) and ``best.json``, and the job under which the option is trained.

Seven settings around the recipe's own are searched:

==================  ==================================================================================
learning rate       a fifth to five times the recipe's, log scale
weight decay        0 to 0.2
dropout             0 to 0.3
temperature         0.02 to 0.2, log scale; InfoNCE terms only
width               half, once or twice the architecture's ``width`` and ``hidden``
article dropout     off, or on at the recipe's rate (0.2 where that is 0)
span corruption     off, or on at the recipe's rate (0.1 where that is 0)
==================  ==================================================================================

Ranges are widened to hold the recipe's own values. The anchor, the document tower, the batch size and the weights of
the terms stay: options differ in them, or they make costs comparable.

Every fold is searched by itself, on its own training and validation documents; test windows are not read. Every option
gets the same number of trials and steps, independent of the clock. The first trial has the recipe's own settings and
ties go to the earlier trial, so on validation and at the trials' steps tuning cannot lose. Settings are proposed by a
tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter optimization); a trial stops when
its best validation MRR is below the median of the finished ones at the same evaluation (Golovin et al. 2017, Google
Vizier, section 3.2.2). After a kill the finished trials are replayed, in order, into a new sampler of the same seed,
which then proposes what it would have proposed; the interrupted trial is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import as_retriever, build_predictor_and_loss, model_settings, training_settings
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.scoring import score_on_validation
from segue.errors import InputError, MissingExtraError, SegueError, StorageError
from segue.evaluation.experiment import Fold
from segue.files import append_jsonl, disk, read_json, read_jsonl, write_json
from segue.models import ModelSettings
from segue.models.build import ARCHITECTURES
from segue.old_names import option_folder
from segue.training.loop import TrainingLoop
from segue.training.settings import ORIGINAL_DROPOUT
from segue.training.state import selection_score
from segue.training.train import assemble
from segue.training.watch import Follow, watching

RANDOM_TRIALS = 4
"""Trials, the first included, before the sampler learns from those that have finished."""
BEFORE_PRUNING = 2
"""Trials that must have finished before one may be stopped, and evaluations that every trial gets."""
LEARNING_RATE_FACTOR = 5.0
MAXIMUM_WEIGHT_DECAY = 0.2
MAXIMUM_DROPOUT = 0.3
TEMPERATURES = (0.02, 0.2)
WIDTHS = (0.5, 1.0, 2.0)
SPAN_CORRUPTION = 0.1
WIDENED = ("width", "hidden")
"""Options of an architecture that its width multiplies."""


@dataclass(frozen=True)
class Choice:
    """The settings of one trial.

    Attributes:
        learning_rate: highest rate of AdamW.
        weight_decay: weight decay of matrices.
        dropout: share of activations dropped; None where the architecture is not known to have any.
        temperature: τ of the InfoNCE terms; None where there is none.
        width: factor of the architecture's width; None where it has none.
        article_dropout: whether last passages are zeroed.
        span_corruption: whether passages are swapped.
    """

    learning_rate: float
    weight_decay: float
    dropout: float | None
    temperature: float | None
    width: float | None
    article_dropout: bool
    span_corruption: bool


@dataclass(frozen=True)
class TuningTrial:
    """One line of ``trials.jsonl``.

    Attributes:
        number: counted from 0.
        loss: the preset that the option is trained under.
        steps: optimiser steps at most.
        settings: what the trial was trained with.
        state: ``complete``, ``pruned`` or ``failed``.
        reason: why it failed.
        curve: validation MRR of each evaluation.
        seconds: training time.
    """

    number: int
    loss: str | None
    steps: int
    settings: Choice
    state: str = "failed"
    reason: str | None = None
    curve: tuple[float, ...] = ()
    seconds: float = 0.0


def tune(unit: OptionOnFold) -> Job:
    """Search an option's settings, or read them back; return the job that has the best ones.

    Args:
        unit: a trained option on a fold; ``steps`` are those of every trial, from the plan.

    Raises:
        InputError: no trial could be trained, or the folder holds trials of another search.
        MissingExtraError: Optuna is not installed.
        StorageError: the folder cannot be written.
    """
    if _is_open(unit.job, unit.option, unit.fold):
        write_json(_folder(unit.job, unit.option, unit.fold) / "best.json", _summary(unit, _trials(unit)))
    return tuned(unit.job, unit.option, unit.fold, loss=unit.loss)


def tuned(job: Job, option: Option, fold: Fold, *, loss: str | None) -> Job:
    """Return the job with the settings that tuning found for an option on a fold; the job itself if there are none."""
    path = _folder(job, option, fold) / "best.json"
    if not path.exists():
        return job
    return with_choice(job, option, Choice(**read_json(path)["settings"]), loss=loss)


def tuning_record(job: Job) -> list[Mapping[str, Any]]:
    """Return the summary (``best.json``) of each option and fold that was tuned, in reading order."""
    paths = [_folder(job, option, fold) / "best.json" for option in job.options for fold in job.experiment.folds]
    return [read_json(path) for path in paths if path.exists()]


def require_extra(job: Job) -> None:
    """Check that Optuna is installed, if something is still to be tuned.

    Raises:
        MissingExtraError: it is not.
    """
    if any(_is_open(job, option, fold) for option in job.searched for fold in job.experiment.folds):
        require_optuna()


def require_optuna() -> Any:
    """Import Optuna, and let it log warnings only.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("[tuning] needs optuna, which is not installed",
                                fix="pip install 'segue[tune]'") from error  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _folder(job: Job, option: Option, fold: Fold) -> Path:
    return option_folder(job.out / "tuning", option.name) / f"fold-{fold.number}"


def _is_open(job: Job, option: Option, fold: Fold) -> bool:
    """Return whether settings are still to be searched; what was trained without a search stays as it is."""
    trained = job.folder(option, fold) / "training.json"
    return not (_folder(job, option, fold) / "best.json").exists() and not trained.exists()


def _trials(unit: OptionOnFold) -> list[TuningTrial]:
    """Run the trials that are missing; return all, in order."""
    folder = _folder(unit.job, unit.option, unit.fold)
    path = folder / "trials.jsonl"
    study = _study(unit)
    trials = [_replay(unit, study, record, number) for number, record in enumerate(read_jsonl(path))]
    for number in range(len(trials), unit.job.recipe.tuning.trials):
        trials.append(_run_trial(unit, study, number))
        append_jsonl(path, asdict(trials[-1]))
        disk.remove(folder / "work")
    return trials


def _study(unit: OptionOnFold) -> Any:
    """Return a new Optuna study, whose first proposal is the recipe's own settings."""
    optuna = require_optuna()
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=unit.job.seed(unit.fold), n_startup_trials=RANDOM_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=BEFORE_PRUNING),
    )
    study.enqueue_trial({name: value for name, value in asdict(_own(unit)).items() if value is not None})
    return study


def _replay(unit: OptionOnFold, study: Any, record: Mapping[str, Any], number: int) -> TuningTrial:
    """Replay a finished trial into a new study.

    Raises:
        InputError: the study would not have proposed that trial.
    """
    proposal = study.ask()
    proposed = asdict(TuningTrial(number, unit.loss, unit.steps, suggest(proposal, _own(unit))))
    expected = {name: proposed[name] for name in ("number", "loss", "steps", "settings")}
    found = {name: record.get(name) for name in expected}
    if found != expected:
        what = f"trial {number} in {_folder(unit.job, unit.option, unit.fold)} belongs to another search"
        raise InputError(what, got=found, expected=expected, fix="delete that folder and run again")
    settings = Choice(**record["settings"])
    trial = TuningTrial(**{**record, "settings": settings, "curve": tuple(record["curve"])})  # type: ignore[arg-type]
    for place, value in enumerate(trial.curve):
        proposal.report(value, place)
    _report(study, proposal, trial)
    return trial


def _run_trial(unit: OptionOnFold, study: Any, number: int) -> TuningTrial:
    """Run one trial, and report it to the study."""
    proposal = study.ask()
    trial = TuningTrial(number, unit.loss, unit.steps, suggest(proposal, _own(unit)))
    try:
        loop = _loop(unit, trial.settings, number)
        name = f"tuning/{unit.option.name}/fold-{unit.fold.number}/trial-{number}"
        with watching(unit.job.recipe.training.report_to, unit.job.out, name, asdict(trial.settings)) as follow:
            state = _train(unit, loop, proposal, number, follow)
        trial = replace(trial, state=state, curve=tuple(_curve(loop)), seconds=loop.state.seconds)
    except StorageError:
        raise  # a full disk is no fault of the settings
    except SegueError as error:  # a rate so high that the loss diverged, a width that the heads do not divide
        trial = replace(trial, reason=str(error))
    _report(study, proposal, trial)
    return trial


def _report(study: Any, proposal: Any, trial: TuningTrial) -> None:
    """Report the end of a trial to the study."""
    if trial.state == "complete":
        study.tell(proposal, max(trial.curve))
    else:
        states = require_optuna().trial.TrialState
        study.tell(proposal, state=states.PRUNED if trial.state == "pruned" else states.FAIL)


def _loop(unit: OptionOnFold, choice: Choice, number: int) -> TrainingLoop:
    """Build a trial's training, or resume the one that a kill interrupted."""
    fold = unit.fold
    job = with_choice(unit.job, unit.option, choice, loss=unit.loss)
    trial = replace(unit, job=job)
    predictor, loss = build_predictor_and_loss(trial)
    settings = training_settings(job, unit.option, fold, steps=unit.steps)
    batches, optimisation = assemble(predictor, loss, job.experiment.bank, fold.train, settings)
    return TrainingLoop(
        batches,
        optimisation,
        settings,
        score=lambda model: score_on_validation(as_retriever(trial, model), job, fold),
        folder=_folder(job, unit.option, fold) / "work" / f"trial-{number}",
    )


def _train(unit: OptionOnFold, loop: TrainingLoop, proposal: Any, number: int, follow: Follow) -> str:
    """Train until the end, or until the study prunes the trial; return the state."""
    reported = 0
    while True:
        follow(loop.state.curve)
        for place, value in enumerate(_curve(loop)[reported:], start=reported):
            proposal.report(value, place)
            reported += 1
            ended = loop.state.stopped_early or loop.state.step >= loop.steps
            if not ended and proposal.should_prune():
                return "pruned"
        if loop.state.finished:
            return "complete"
        note = f"trial {number + 1} of {unit.job.recipe.tuning.trials}, {loop.note()}"
        unit.progress(loop.state.step, loop.steps, note)
        loop.advance()


def _curve(loop: TrainingLoop) -> list[float]:
    return [selection_score(record) for record in loop.state.curve]


def _summary(unit: OptionOnFold, trials: list[TuningTrial]) -> dict[str, object]:
    """Return the content of ``best.json``.

    Raises:
        InputError: every trial failed.
    """
    scores = {trial.number: max(trial.curve) for trial in trials if trial.state == "complete"}
    if not scores:
        raise InputError(f"no trial of {unit.option.name} could be trained", got=trials[0].reason)
    best = max(scores, key=scores.__getitem__)  # the earliest of equals
    states = [trial.state for trial in trials]
    return {
        "format": 1,
        "option": unit.option.name,
        "fold": unit.fold.number,
        "loss": unit.loss,
        "steps": unit.steps,
        "trials": len(trials),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
        "best_trial": best,
        "settings": asdict(trials[best].settings),
        "own": asdict(_own(unit)),
        "validation_mrr": {"before": scores.get(0), "after": scores[best]},
        "seconds": sum(trial.seconds for trial in trials),
    }


def _own(unit: OptionOnFold) -> Choice:
    return own_choice(unit.job, unit.option, loss=unit.loss)


def own_choice(job: Job, option: Option, *, loss: str | None) -> Choice:
    """Return the recipe's own settings for an option trained under a loss."""
    model, training = model_settings(job, option), job.recipe.training
    temperatures = [term.temperature for term in job.loss_settings(loss).terms if term.kind.startswith("infonce")]
    dropout = float(model.options.get("dropout", model.dropout))
    return Choice(
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        dropout=dropout if dropout or model.name in ARCHITECTURES else None,
        temperature=temperatures[0] if temperatures else None,
        width=1.0 if _widths(model) else None,
        article_dropout=training.dropout(anchored=model.anchor) > 0,
        span_corruption=training.span_corruption > 0,
    )


def suggest(trial: Any, own: Choice) -> Choice:
    """Return the settings that an Optuna trial proposes, from ranges that include ``own``."""
    rate, factor, (low, high) = own.learning_rate, LEARNING_RATE_FACTOR, TEMPERATURES
    return Choice(
        learning_rate=trial.suggest_float("learning_rate", rate / factor, min(1.0, rate * factor), log=True),
        weight_decay=trial.suggest_float("weight_decay", 0.0, max(MAXIMUM_WEIGHT_DECAY, own.weight_decay)),
        dropout=None if own.dropout is None else trial.suggest_float("dropout", 0.0, max(MAXIMUM_DROPOUT, own.dropout)),
        temperature=None
        if own.temperature is None
        else trial.suggest_float("temperature", min(low, own.temperature), max(high, own.temperature), log=True),
        width=None if own.width is None else trial.suggest_categorical("width", WIDTHS),
        article_dropout=trial.suggest_categorical("article_dropout", (False, True)),
        span_corruption=trial.suggest_categorical("span_corruption", (False, True)),
    )


def with_choice(job: Job, option: Option, choice: Choice, *, loss: str | None) -> Job:
    """Return the job under which an option has a trial's settings; with the recipe's own, the job itself."""
    own = own_choice(job, option, loss=loss)
    if choice == own:
        return job
    training = job.recipe.training
    dropout = training.dropout(anchored=model_settings(job, option).anchor) or ORIGINAL_DROPOUT
    corruption = training.span_corruption or SPAN_CORRUPTION
    update = {
        "learning_rate": choice.learning_rate,
        "weight_decay": choice.weight_decay,
        "article_dropout": dropout if choice.article_dropout else 0.0,
        "span_corruption": corruption if choice.span_corruption else 0.0,
    }
    model, own_models = _model(job, option, choice), job.recipe.models
    changed = job.with_tables(training=training.model_copy(update=update))
    if option.name in own_models:
        changed = changed.with_tables(models={**own_models, option.name: model})
    else:
        changed = changed.with_tables(model=model)
    return changed if choice.temperature == own.temperature else _with_temperature(changed, choice.temperature, loss)


def widest(job: Job, option: Option) -> Job:
    """Return the job with the most expensive model that tuning may choose."""
    own = own_choice(job, option, loss=None)
    return job if own.width is None else with_choice(job, option, replace(own, width=max(WIDTHS)), loss=None)


def _model(job: Job, option: Option, choice: Choice) -> ModelSettings:
    """Return a table of a model under which ``model_settings`` gives the option the choice's model."""
    model = model_settings(job, option)
    options = {name: value for name, value in model.options.items() if name != "dropout" or choice.dropout is None}
    if choice.width not in (None, 1.0):
        options |= {name: _times(value, float(choice.width)) for name, value in _widths(model).items()}
    update = {"name": model.name, "options": options}
    table = job.recipe.models.get(option.name, job.recipe.model)
    return table.model_copy(update=update | ({} if choice.dropout is None else {"dropout": choice.dropout}))


def _widths(model: ModelSettings) -> Mapping[str, Any]:
    """Return the options that set how wide a model is, from its size or from the recipe."""
    size = ARCHITECTURES[model.name][1][model.size] if model.name in ARCHITECTURES else {}
    return {name: value for name, value in {**size, **model.options}.items() if name in WIDENED}


def _times(value: Any, factor: float) -> Any:
    """Multiply a width, or each of several.

    >>> _times((512, 3), 0.5)
    [256, 1]
    """
    if isinstance(value, int | float):
        return max(1, int(value * factor))
    return [_times(one, factor) for one in value]


def _with_temperature(job: Job, temperature: float | None, loss: str | None) -> Job:
    settings = job.loss_settings(loss)
    terms = tuple(
        term.model_copy(update={"temperature": temperature}) if term.kind.startswith("infonce") else term
        for term in settings.terms
    )
    changed = settings.model_copy(update={"terms": terms})
    if loss in (None, "recipe"):
        return job.with_tables(loss=changed)
    return replace(job, losses={**job.losses, str(loss): changed})
