"""Measure what a step of every trained option costs, and turn the recipe's minutes into a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic

import numpy as np

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.comparison.entries.trained import (
    as_retriever,
    build_predictor_and_loss,
    model_settings,
    training_settings,
)
from segue.comparison.job import Job, spread
from segue.comparison.options import WINNING_LOSS, Option, Reranking
from segue.comparison.plan import Plan, make_plan, plan_trials
from segue.comparison.scoring import score_on_validation
from segue.comparison.tuning import widest
from segue.errors import InputError, SettingsError
from segue.evaluation.experiment import Fold
from segue.hardware import choose_device
from segue.retrieval.rerank.fusion import Fusion
from segue.retrieval.retrievers.predictor import PredictorDocuments
from segue.training.losses.loss import LOSSES
from segue.training.train import steps_per_second
from segue.types import Progress, no_progress
from segue.windows.windows import gather_contexts

CALIBRATION_SHARE = 0.01
"""Largest share of the budget that timing the options takes."""
ROUNDS = 2
"""Timings of each kind of step, some time apart; the fastest counts, since other work only slows a step down."""
Work = tuple[str, str, bool, str, str]
"""Architecture, its options, anchor, document tower, and terms of the loss."""
FALLBACK_LOSS = "infonce"
"""The winning loss before it is known, and where no loss option takes part."""
WHOLE_BANK_LOSS = "infonce-bank"
TEST_COST = 2.0
"""Cost of a test evaluation in scorings of as many windows, without the one for each condition."""
ENCODED = 2048
"""Passages that are encoded again to measure a document tower."""
ENCODINGS = 2
"""Encodings of the bank in addition to those at evaluations: before the first step and for the test evaluation."""
FAILED_RATE = 1e6
"""Steps per second planned for an option that cannot be trained: it takes no time, and fails in its own turn."""
FIXED_SECONDS = 0.5
"""Seconds to build, save and load a model and to time its answers."""
TIMED_LISTS = 64
"""Windows whose lists are drawn and read to measure what a list costs."""
FITTING = 1.5
"""Cost of fitting trees, relative to drawing and reading their lists."""
TEST_LISTS = 2
"""Lists that a test window needs, in addition to one for each condition: the declared one, and timing."""
HALVES = 2


def calibrate(
    job: Job, baselines: Baselines, *, seconds_spent: float, at_once: int = 1, progress: Progress = no_progress
) -> Plan:
    """Time a few steps of every kind of training on the first fold, and one validation scoring, and make a plan.

    Args:
        job: the comparison.
        baselines: builds the options without training.
        seconds_spent: what the untrained options took already; it is subtracted from the budget.
        at_once: tasks that will run side by side.
        progress: called for each option.

    Raises:
        SettingsError: the budget is too small.
    """
    began = monotonic()
    fold = job.experiment.folds[0]
    trained = [option for option in job.options if option.planned]
    alike: dict[Work, list[Option]] = {}
    for option in trained:
        alike.setdefault(_work(job, option), []).append(option)
    minutes = job.recipe.triage.budget_minutes
    seconds = min(3.0, CALIBRATION_SHARE * 60 * minutes / (ROUNDS * len(alike)))
    fastest: dict[Work, float] = {}
    for number, (work, options) in enumerate(list(alike.items()) * ROUNDS):
        progress(number, ROUNDS * len(alike), f"calibrating {options[0].name}")
        try:
            rate = _rate(job, options[0], fold, baselines, seconds=seconds)
        except (InputError, SettingsError):
            rate = FAILED_RATE
        fastest[work] = max(rate, fastest.get(work, 0.0))
    rates = {option.name: fastest[_work(job, option)] for option in trained}
    began_scoring = monotonic()
    score_on_validation(baselines.retriever("copy-last", fold), job, fold)
    score_seconds = monotonic() - began_scoring
    reserved = _encoding_seconds(job, trained, baselines) + _reading_seconds(job, trained, baselines)
    reserved = (reserved + reranking_seconds(job, baselines)) / at_once
    left = 60 * minutes - seconds_spent - reserved - (monotonic() - began)
    trial_steps, spent = _plan_trials(job, rates, baselines, seconds=job.recipe.tuning.share * left * at_once,
                                      score=score_seconds)  # fmt: skip
    plan = make_plan(
        rates,
        most_steps=most_steps(job),
        folds=len(job.experiment.folds),
        seconds=left - spent / at_once,
        score_seconds=score_seconds,
        scorings=job.recipe.training.evaluations + 2 + _test_cost(job, fold, score_seconds),
        budget_minutes=minutes,
        at_once=at_once,
        chain=1 + HALVES if any(option.crossfitted for option in trained) else 1,
        more=extra_trainings(job, rates),
    )
    return replace(plan, trial_steps=trial_steps)


def _plan_trials(
    job: Job, rates: Mapping[str, float], baselines: Baselines, *, seconds: float, score: float
) -> tuple[int, float]:
    """Return the steps of each trial of tuning, and the seconds of all trials; 0 and 0 where nothing is tuned."""
    if not job.searched:
        return 0, 0.0
    trials = job.recipe.tuning.trials
    encoding = trials * _encoding_seconds(job, job.searched, baselines)
    steps, spent = plan_trials(
        {option.name: rates[option.name] for option in job.searched},
        most_steps=most_steps(job),
        trainings=trials * len(job.experiment.folds),
        seconds=seconds - encoding,
        scoring=(job.recipe.training.evaluations + 1) * score,
    )
    return steps, spent + encoding


def most_steps(job: Job) -> int:
    """Return the steps that the recipe's [training] table allows, on the fold with the most training windows."""
    training = job.recipe.training
    if training.steps is not None:
        return training.steps
    windows = max(len(fold.train) for fold in job.experiment.folds)
    return max(1, round(training.epochs * max(1, windows // training.batch_size)))


def _work(job: Job, option: Option) -> Work:
    """Return what a step of an option consists of: options that share it take equally long."""
    loss = job.loss_settings(timed_loss(job, option) or FALLBACK_LOSS)
    kinds = ",".join([*(f"{term.kind} {term.space}" for term in loss.terms), *(one.kind for one in loss.negatives)])
    model = model_settings(_timed_job(job, option), option)
    return model.name, str(model.options), option.anchor, model.documents, kinds


def _timed_job(job: Job, option: Option) -> Job:
    """Return the job under which an option is timed: the widest model, where tuning may choose it."""
    return widest(job, option) if option in job.searched else job


def timed_loss(job: Job, option: Option) -> str | None:
    """Return the preset an option is timed under: its own, or the most expensive one that may win; or None.

    Whole-bank InfoNCE is the most expensive; a plan that assumes it is kept for any winning loss.
    """
    if option.loss != WINNING_LOSS:
        return option.loss if option.loss in {*LOSSES, *job.recipe.losses} else None
    may_win = {other.loss for other in job.options if other.loss_candidate}
    return WHOLE_BANK_LOSS if WHOLE_BANK_LOSS in may_win else FALLBACK_LOSS


def _rate(job: Job, option: Option, fold: Fold, baselines: Baselines, *, seconds: float) -> float:
    loss = timed_loss(job, option) or option.loss
    unit = OptionOnFold(_timed_job(job, option), option, fold, baselines, loss)
    predictor, built = build_predictor_and_loss(unit)
    settings = training_settings(job, option, fold, steps=most_steps(job))
    return steps_per_second(predictor, built, job.experiment.bank, fold.train, settings=settings, seconds=seconds)


def _encoding_seconds(job: Job, trained: Sequence[Option], baselines: Baselines) -> float:
    """Return what encoding the bank again costs wherever an option with a document tower is scored."""
    bank, folds, training = job.experiment.bank, job.experiment.folds, job.recipe.training
    seconds = 0.0
    for option in trained:
        if model_settings(job, option).documents != "identity":
            predictor, _ = build_predictor_and_loss(OptionOnFold(job, option, folds[0], baselines, FALLBACK_LOSS))
            encoder = PredictorDocuments(predictor, choose_device(training.device))
            vectors = bank.gather(np.arange(min(len(bank), ENCODED)))
            encoder.encode(vectors[:1])  # the first call of a net pays for more than its work
            began = monotonic()
            encoder.encode(vectors)
            seconds += (monotonic() - began) * len(bank) / len(vectors)
    return seconds * len(folds) * (training.evaluations + ENCODINGS)


def _reading_seconds(job: Job, trained: Sequence[Option], baselines: Baselines) -> float:
    """Return what reading contexts costs wherever an option whose model reads text is scored; once for each context."""
    fold, evaluations = job.experiment.folds[0], job.recipe.training.evaluations
    readers = [option for option in trained if model_settings(job, option).name == "tokens"]
    if not readers or not job.experiment.bank.has_texts:
        return 0.0
    unit = OptionOnFold(job, readers[0], fold, baselines, FALLBACK_LOSS)
    try:
        retriever = as_retriever(unit, build_predictor_and_loss(unit)[0])
    except InputError:  # of an option that fails in its own turn
        return 0.0
    windows = spread(job.validation_windows(fold), TIMED_LISTS)
    contexts = gather_contexts(job.experiment.bank, windows, texts=True)
    retriever.score(contexts.take(slice(0, 1)))  # the first call pays for more than its work
    began = monotonic()
    retriever.score(contexts)
    each, watched = (monotonic() - began) / len(windows), len(job.validation_windows(fold))
    scored = 0
    for option in readers:
        trainings, lists = (1 + HALVES, job.recipe.rerank.lists) if option.crossfitted else (1, 0)
        scored += trainings * (evaluations + 1) * watched + len(fold.test) + min(lists, len(fold.train))
    return len(job.experiment.folds) * scored * each


def _test_cost(job: Job, fold: Fold, score_seconds: float) -> int:
    """Return the cost of one option's test evaluation, in validation scorings."""
    share = len(fold.test) / len(job.validation_windows(fold))
    passes = TEST_COST + len(job.recipe.evaluation.conditions)
    return round(passes * share + FIXED_SECONDS / max(score_seconds, 1e-3))


def extra_trainings(job: Job, rates: Mapping[str, float]) -> dict[str, float]:
    """Return the steps per second of trainings that are not options: the halves of cross-fitted first stages."""
    return {
        f"{option.name}, half {half}": rates[option.name]
        for option in job.options
        if option.crossfitted
        for half in range(HALVES)
    }


def reranking_seconds(job: Job, baselines: Baselines) -> float:
    """Return what drawing lists, fitting on them and reranking test windows will take, all folds together.

    Options that rerank without a trained model are finished before the plan is made, and are left out.
    """
    planned = [option for option in job.options
               if option.crossfitted or (option.reuses_model and option.text is None)]  # fmt: skip
    if not planned:
        return 0.0
    fold = job.experiment.folds[0]
    watched = len(job.validation_windows(fold))
    drawing, reading = _seconds_per_list(job, fold, baselines)
    scored = (TEST_LISTS + len(job.recipe.evaluation.conditions)) * len(fold.test) + watched
    fitted = min(job.recipe.rerank.lists, len(fold.train)) + watched
    seconds = len(planned) * scored * drawing
    seconds += sum(option.crossfitted for option in planned) * (
        scored * reading + (1 + FITTING) * fitted * (drawing + reading)
    )
    return len(job.experiment.folds) * seconds


def _seconds_per_list(job: Job, fold: Fold, baselines: Baselines) -> tuple[float, float]:
    """Return what it takes to draw the candidates of a window, and to compute their features."""
    option = Option("copy-last", "rerank", "", "", reranking=Reranking("copy-last", "fitted"))
    builder = CascadeBuilder(OptionOnFold(job, option, fold, baselines))
    cascade = builder.cascade(baselines.retriever("copy-last", fold), Fusion())
    texts = baselines.features.reads_text or cascade.reads_text
    windows = spread(job.validation_windows(fold), TIMED_LISTS)
    contexts = gather_contexts(job.experiment.bank, windows, exclude=job.recipe.evaluation.exclude, texts=texts)
    cascade.candidates(contexts.take(slice(0, 1)))  # the first call pays for more than its work
    began = monotonic()
    candidates = cascade.candidates(contexts).candidates
    drawn = monotonic()
    baselines.features.compute(contexts, candidates)
    return (drawn - began) / len(windows), (monotonic() - drawn) / len(windows)
