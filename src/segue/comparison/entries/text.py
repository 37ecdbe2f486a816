"""Options that fine-tune the bank's encoder on text; an option that costs more than its share of the budget is skipped.

A step costs hundreds of times as much as a step of other options, so these have steps of their own ([text]), beside
those of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, model_used
from segue.comparison.entries.trained import build_predictor_and_loss, training_settings
from segue.comparison.job import FoldTraining, spread
from segue.comparison.options import OPTIONS
from segue.comparison.plan import require_affordable
from segue.comparison.scoring import score_on_validation
from segue.encoders import Encoder
from segue.evaluation.score import score_retriever
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.fusion import Diversified
from segue.retrieval.rerank.lists import TrainingLists
from segue.retrieval.retrievers import Retriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.text_encoder import dual_encoder_retriever
from segue.text_models import cross_encoder, dual_encoder
from segue.text_models.settings import CrossEncoderSettings, DualEncoderSettings
from segue.training.train import TrainingResult, steps_per_second
from segue.training.watch import Follow, watching

MEASURED_SECONDS = 1.0
"""Seconds for which a training step is timed."""
CHEAPER = "use fewer [text] steps"
READING = 1 / 3
"""Cost of reading a text relative to training on it: one of three passes."""
POOLS = 3
"""Cost of reranking the several, overlapping pools of an evaluation, in single pools."""


def train_text_option(unit: OptionOnFold) -> tuple[Retriever, FoldTraining]:
    """Fine-tune a text option on one fold, or read it back; return it with the record of its training.

    Raises:
        InputError: it would take more than its share of the budget, or the bank has no texts.
    """
    dual_encoder.require_texts(unit.job.experiment.bank)
    unit.job.load_encoder()  # refuses a bank whose vectors the recipe's encoder did not make
    record = _train_dual_encoder(unit) if unit.option.text == "dual-encoder" else _train_cross_encoder(unit)
    return load_text_option(unit), record


def with_own_steps(unit: OptionOnFold) -> OptionOnFold:
    """Return an option that reads tokens with the steps of [text].

    Raises:
        InputError: it would take more than its share of the budget, or the bank has no texts or no such encoder.
    """
    job, fold, text = unit.job, unit.fold, unit.job.recipe.text
    steps = text.tokens.steps

    def cost() -> float:
        predictor, loss = build_predictor_and_loss(unit)
        settings = training_settings(job, unit.option, fold, steps=steps)
        rate = steps_per_second(
            predictor, loss, job.experiment.bank, fold.train, settings=settings, seconds=MEASURED_SECONDS
        )
        windows = (settings.evaluations + 1) * len(job.validation_windows(fold)) + len(fold.test)
        return len(job.experiment.folds) * (steps + READING * windows / settings.batch_size) / rate

    require_affordable(job, unit.option.name, share=text.share, cost=cost, fix=CHEAPER)
    return replace(unit, steps=steps)


def load_text_option(unit: OptionOnFold) -> Retriever:
    """Return the retriever of a text option that was trained on a fold."""
    training = unit.folder / "training"
    if unit.option.text == "dual-encoder":
        return _dual_encoder(unit, dual_encoder.load_dual_encoder(training, unit.job.recipe.encoder))
    return _cross_encoder(unit, cross_encoder.load_cross_encoder(training), _reranked(unit).build()[0])


def _dual_encoder(unit: OptionOnFold, encoder: Encoder) -> Retriever:
    return dual_encoder_retriever(encoder, unit.job.experiment.pool, name=unit.option.name,
                                  documents=unit.job.recipe.text.dual_encoder.documents,
                                  folder=unit.folder / "encoded", progress=unit.progress)  # fmt: skip


def _reranked(unit: OptionOnFold) -> CascadeBuilder:
    """Return the builder of the option whose first candidates are read."""
    name = model_used(unit.folder)
    return CascadeBuilder(replace(unit, option=next(option for option in OPTIONS if option.name == name)))


def _cross_encoder(unit: OptionOnFold, model: cross_encoder.CrossEncoder, cascade: Cascade) -> Cascade:
    """Return a reranked option whose first candidates are read; variety, where it is wanted, comes last."""
    bank, count, reranker = unit.job.experiment.bank, unit.job.recipe.text.candidates, cascade.reranker
    inner = reranker.reranker if isinstance(reranker, Diversified) else reranker
    read: Reranker = CrossEncoderReranker(inner, model, bank, count)
    if isinstance(reranker, Diversified):
        read = replace(reranker, reranker=read)
    return replace(cascade, name=unit.option.name, intent=unit.option.intent, reranker=read)


def _train_dual_encoder(unit: OptionOnFold) -> FoldTraining:
    job, fold = unit.job, unit.fold
    bank, text, encoder = job.experiment.bank, job.recipe.text, job.recipe.encoder
    steps = text.dual_encoder_steps
    settings = text.dual_encoder.model_copy(update={"seed": job.seed(fold)})

    def cost() -> float:
        second = dual_encoder.seconds_per_step(
            bank, fold.train, encoder=encoder, settings=settings, seconds=MEASURED_SECONDS
        )
        read = READING * second / settings.batch_size
        windows = settings.evaluations * len(job.validation_windows(fold)) + len(fold.test)
        encoded = len(bank) * (settings.evaluations + 1) if settings.documents == "trained" else 0
        return len(job.experiment.folds) * (steps * second + (windows + encoded) * read)

    require_affordable(job, unit.option.name, share=text.share, cost=cost, fix=CHEAPER)
    with _watching(unit, settings, steps) as follow:
        result = dual_encoder.train_dual_encoder(
            bank, fold.train, encoder=encoder, settings=settings, steps=steps, folder=unit.folder / "training",
            score=lambda tuned: score_on_validation(_dual_encoder(unit, tuned), job, fold),
            progress=unit.progress, follow=follow,
        )  # fmt: skip
    documents = "documents learn too" if settings.documents == "trained" else "documents as they are"
    return _record(result, settings, f"InfoNCE (τ {settings.temperature:g}), {documents}", steps)


def _train_cross_encoder(unit: OptionOnFold) -> FoldTraining:
    job, fold = unit.job, unit.fold
    bank, text, encoder = job.experiment.bank, job.recipe.text, job.recipe.encoder
    steps = text.cross_encoder_steps
    settings = text.cross_encoder.model_copy(update={"seed": job.seed(fold)})
    builder = _reranked(unit)
    cascade, _ = builder.build()
    windows = spread(job.validation_windows(fold), settings.validation_lists)

    def cost() -> float:
        some = _first(builder.training_lists()[0], text.candidates)
        second = cross_encoder.seconds_per_step(
            bank, some, encoder=encoder, settings=settings, seconds=MEASURED_SECONDS
        )
        pair = READING * second / (settings.batch_size * (1 + settings.negatives))
        scored = settings.evaluations * len(windows) + len(job.validation_windows(fold)) + POOLS * len(fold.test)
        return len(job.experiment.folds) * (steps * second + scored * text.candidates * pair)

    def score(model: cross_encoder.CrossEncoder) -> Mapping[str, float]:
        return score_retriever(_cross_encoder(unit, model, cascade), bank, windows,
                               exclude=job.recipe.evaluation.exclude, batch_size=256)[0]  # fmt: skip

    require_affordable(job, unit.option.name, share=text.share, cost=cost, fix=CHEAPER)
    lists = _first(builder.scored_lists(steps * settings.batch_size, unit.folder), text.candidates)
    with _watching(unit, settings, steps) as follow:
        result = cross_encoder.train_cross_encoder(
            bank, lists, encoder=encoder, settings=settings, steps=steps, folder=unit.folder / "training", score=score,
            progress=unit.progress, follow=follow,
        )  # fmt: skip
    return _record(result, settings, f"softmax over 1 + {settings.negatives} candidates of {cascade.name}", steps)


def _first(lists: TrainingLists, count: int) -> cross_encoder.ScoredLists:
    """Return the best candidates of each list, best first."""
    found = lists.candidates
    order = np.argsort(-found.first, axis=1, kind="stable")[:, :count]
    rows, first = (np.take_along_axis(values, order, axis=1) for values in (found.rows, found.first))
    return cross_encoder.ScoredLists(lists.windows, rows, np.where(rows >= 0, first, 0.0))


def _watching(
    unit: OptionOnFold, settings: DualEncoderSettings | CrossEncoderSettings, steps: int
) -> AbstractContextManager[Follow]:
    facts = {"model": "text encoder", "batch_size": settings.batch_size, "steps": steps, "seed": settings.seed}
    return watching(unit.job.recipe.training.report_to, unit.job.out, unit.name_in_run(unit.folder), facts)


def _record(
    result: TrainingResult, settings: DualEncoderSettings | CrossEncoderSettings, loss: str, steps: int
) -> FoldTraining:
    return FoldTraining(
        model="text encoder",
        size=f"{'first' if isinstance(settings, CrossEncoderSettings) else 'last'} {settings.layers} layers learn",
        anchor=False,
        parameters=None,
        loss_name=None,
        loss=loss,
        batch_size=settings.batch_size,
        seed=settings.seed,
        planned_steps=steps,
        steps=result.steps,
        best_step=result.best_step,
        seconds=result.seconds,
        under_trained=result.under_trained,
        curve=result.curve,
    )
