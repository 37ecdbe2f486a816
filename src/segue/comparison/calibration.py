"""Measure what a step of every trained option costs, and turn the recipe's minutes into a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic

import numpy as np

from segue.comparison.entries.reranked_cost import extra_trainings, reranking_seconds
from segue.comparison.entries.trained import (
    Baselines,
    build_entrant,
    entrant_training,
    model_settings,
    score_on_validation,
    watched,
)
from segue.comparison.job import Job
from segue.comparison.options import WINNING_LOSS, Option
from segue.comparison.plan import Plan, make_plan, plan_trials
from segue.comparison.tuning.space import widest
from segue.evaluation.experiment import Fold
from segue.hardware import choose_device
from segue.retrieval.retrievers.predictor import PredictorDocuments
from segue.training.losses.loss import LOSSES
from segue.training.train import steps_per_second
from segue.types import Progress

CALIBRATION_SHARE = 0.01
"""Timing the options takes at most about this share of the budget."""
ROUNDS = 2
"""Each kind of step is timed this often, some time apart, and the faster counts: other work only ever slows it."""
Work = tuple[str, str, bool, str, str]
"""Architecture, its options, anchor, document tower, and terms of the loss."""
FALLBACK_LOSS = "infonce"
"""Stands for the winning loss before it is known, and where no loss option takes part."""
WHOLE_BANK_LOSS = "infonce-bank"
LOOK_COST = 2.0
"""A look at test windows costs as much as scoring this many times as many of them, and once more for each condition."""
ENCODED = 2048
"""Passages that are encoded anew to see what a document tower costs."""
ENCODINGS = 2
"""A bank is encoded anew before the first step and for the look at the test windows, beside once an evaluation."""
LEAST_SHARE = 0.5
"""Training gets this share of the budget whatever baselines and rerankers take: a model of no steps says nothing."""
FIXED_SECONDS = 0.5
"""Building, saving and loading a model, timing its answers."""


def calibrate(job: Job, baselines: Baselines, *, seconds_spent: float, progress: Progress) -> Plan:
    """Time a few steps of every kind of training on the first fold, and one validation scoring, and make a plan.

    Args:
        job: the comparison.
        baselines: for building the options.
        seconds_spent: what the untrained options took already; it comes out of the budget.
        progress: told of each option.
    """
    began = monotonic()
    fold = job.experiment.folds[0]
    trained = [option for option in job.options if option.trained]
    alike: dict[Work, list[Option]] = {}
    for option in trained:
        alike.setdefault(_work(job, option), []).append(option)
    seconds = min(3.0, CALIBRATION_SHARE * 60 * job.settings.budget_minutes / (ROUNDS * len(alike)))
    fastest: dict[Work, float] = {}
    for number, (work, options) in enumerate(list(alike.items()) * ROUNDS):
        progress(number, ROUNDS * len(alike), f"calibrating {options[0].name}")
        rate = _rate(job, options[0], fold, baselines, seconds=seconds)
        fastest[work] = max(rate, fastest.get(work, 0.0))
    rates = {option.name: fastest[_work(job, option)] for option in trained}
    score_seconds = _score_seconds(job, fold, baselines)
    budget = 60 * job.settings.budget_minutes - seconds_spent
    aside = _encoding_seconds(job, trained, baselines) + reranking_seconds(job, baselines)
    left = budget - aside - (monotonic() - began)
    trial_steps, spent = _plan_trials(job, rates, baselines, seconds=job.tuning.share * left, score=score_seconds)
    plan = make_plan(
        rates,
        most_steps=most_steps(job),
        folds=len(job.experiment.folds),
        seconds=max(left - spent, LEAST_SHARE * 60 * job.settings.budget_minutes),
        score_seconds=score_seconds,
        scorings=job.training.evaluations + 2 + _look_cost(job, fold, score_seconds),
        budget_minutes=job.settings.budget_minutes,
        more=extra_trainings(job, rates),
    )
    return replace(plan, trial_steps=trial_steps)


def _plan_trials(
    job: Job, rates: Mapping[str, float], baselines: Baselines, *, seconds: float, score: float
) -> tuple[int, float]:
    """Return the steps of each trial of tuning, and the seconds of all trials; 0 and 0 where nothing is tuned."""
    if not job.searched:
        return 0, 0.0
    encoding = job.tuning.trials * _encoding_seconds(job, job.searched, baselines)
    steps, spent = plan_trials(
        {option.name: rates[option.name] for option in job.searched},
        most_steps=most_steps(job),
        trainings=job.tuning.trials * len(job.experiment.folds),
        seconds=seconds - encoding,
        scoring=(job.training.evaluations + 1) * score,
    )
    return steps, spent + encoding


def most_steps(job: Job) -> int:
    """Return the steps that the recipe's [training] table allows, on the fold with the most training windows."""
    if job.training.steps is not None:
        return job.training.steps
    windows = max(len(fold.train) for fold in job.experiment.folds)
    return max(1, round(job.training.epochs * max(1, windows // job.training.batch_size)))


def _work(job: Job, option: Option) -> Work:
    """Say what a step of an option consists of: options that share it take equally long."""
    loss = LOSSES[stand_in(job, option) or FALLBACK_LOSS]
    kinds = ",".join([*(f"{term.kind} {term.space}" for term in loss.terms), *(one.kind for one in loss.negatives)])
    model = model_settings(_timed(job, option), option)
    return model.name, str(model.options), option.anchor, model.documents, kinds


def _timed(job: Job, option: Option) -> Job:
    """Return the job under which an option is timed: at its widest where tuning may choose that."""
    return widest(job, option) if option in job.searched else job


def stand_in(job: Job, option: Option) -> str | None:
    """Return the preset an option is timed under: its own, or for the winning loss the dearest that may win; or None.

    Whole-bank InfoNCE is the dearest; a plan that reckons with it never runs over when it wins.
    """
    if option.loss != WINNING_LOSS:
        return option.loss if option.loss in LOSSES else None
    may_win = {other.loss for other in job.options if other.may_give_loss}
    return WHOLE_BANK_LOSS if WHOLE_BANK_LOSS in may_win else FALLBACK_LOSS


def _rate(job: Job, option: Option, fold: Fold, baselines: Baselines, *, seconds: float) -> float:
    loss = stand_in(job, option) or option.loss
    predictor, built = build_entrant(_timed(job, option), option, fold, loss=loss, baselines=baselines)
    settings = entrant_training(job, option, fold, steps=most_steps(job))
    return steps_per_second(predictor, built, job.experiment.bank, fold.train, settings=settings, seconds=seconds)


def _encoding_seconds(job: Job, trained: Sequence[Option], baselines: Baselines) -> float:
    """Return what it costs to encode the bank anew wherever an option with a document tower is scored."""
    bank, folds = job.experiment.bank, job.experiment.folds
    seconds = 0.0
    for option in trained:
        if model_settings(job, option).documents != "identity":
            predictor, _ = build_entrant(job, option, folds[0], loss=FALLBACK_LOSS, baselines=baselines)
            encoder = PredictorDocuments(predictor, choose_device(job.training.device))
            vectors = bank.gather(np.arange(min(len(bank), ENCODED)))
            encoder.encode(vectors[:1])  # the first call of a net pays for more than its work
            began = monotonic()
            encoder.encode(vectors)
            seconds += (monotonic() - began) * len(bank) / len(vectors)
    return seconds * len(folds) * (job.training.evaluations + ENCODINGS)


def _look_cost(job: Job, fold: Fold, score_seconds: float) -> int:
    """Return the cost of one option's look at the test documents, in validation scorings."""
    share = len(fold.test) / len(watched(job, fold))
    passes = LOOK_COST + len(job.evaluation.conditions)
    return round(passes * share + FIXED_SECONDS / max(score_seconds, 1e-3))


def _score_seconds(job: Job, fold: Fold, baselines: Baselines) -> float:
    began = monotonic()
    score_on_validation(baselines.retriever("copy-last", fold), job, fold)
    return monotonic() - began
