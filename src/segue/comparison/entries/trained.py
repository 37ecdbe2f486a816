"""Trained options: one goes through the training loop on a fold, or its checkpoint is read back.

Only training and validation windows are read here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch

from segue.comparison.entries.baselines import Arrays
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.job import FoldTraining, Job
from segue.comparison.options import RECIPE_MODEL, Option
from segue.comparison.scoring import score_on_validation
from segue.evaluation.compatibility import compatibility
from segue.evaluation.experiment import Fold
from segue.files import hashes_of, read_json, require_hashes, write_json
from segue.hardware import choose_device
from segue.models import (
    ModelCard,
    ModelSettings,
    Predictor,
    anchor_weights,
    build_model,
    hash_documents,
    load_predictor,
    num_parameters,
    reader_of,
    save_predictor,
)
from segue.models.checkpoint import CONFIG
from segue.models.document_tower import weights_hash
from segue.models.tensors import copy_weights, save_tensors
from segue.retrieval.retrievers import QueryFunction, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last, mean, validation_mrr
from segue.retrieval.retrievers.predictor import PredictorQuery, predictor_retriever
from segue.retrieval.retrievers.vector import QueryCache
from segue.training.losses.loss import Loss, build_loss, describe_loss
from segue.training.optimiser import resolve_precision
from segue.training.random_streams import seed_generators
from segue.training.ranks import ALONE, ProcessGroup
from segue.training.state import LOSS_FILE
from segue.training.train import ShortRun, TrainingResult, TrainingSettings, assemble, train
from segue.training.watch import watching

ANCHOR_STARTS = ("copy-last", "mean", "exp-mean")
"""Baselines that an anchor may start as."""


def train_option(unit: OptionOnFold, *, folder: Path | None = None) -> tuple[Retriever, FoldTraining]:
    """Train an option on a fold, or read its checkpoint back; return it with the record of its training.

    Args:
        unit: option, fold, loss and steps.
        folder: where checkpoint and record are kept; None: the option's folder on that fold.
    """
    folder = folder or unit.folder
    ensure_trained(unit, folder)
    return load_trained(unit, folder), read_training(folder)


def read_training(folder: Path, *, compare: bool = True) -> FoldTraining:
    """Read the record of a training.

    Args:
        folder: holds the record and the checkpoint.
        compare: whether the checkpoint has to be that of the record; checks say themselves what is wrong with another.

    Raises:
        InputError: it is missing or broken.
        StorageError: the checkpoint beside it is another one.
    """
    record = read_json(folder / "training.json")
    files = record.pop("files", None)
    if compare:
        require_hashes(folder, files, fix="copy the run again, or delete the option's folder")
    return cast(FoldTraining, record)


def ensure_trained(unit: OptionOnFold, folder: Path, ranks: ProcessGroup = ALONE) -> None:
    """Train an option on a fold unless that was done; ``ranks`` train it together, and the first one writes."""
    if not ranks.once((folder / "training.json").exists):
        _train(unit, folder, ranks)


def load_trained(unit: OptionOnFold, folder: Path) -> Retriever:
    """Return a trained option of a folder; what it predicts from text is kept there, since reading takes long."""
    predictor, _ = load_predictor(folder / "checkpoint")
    retriever, bank = as_retriever(unit, predictor), unit.job.experiment.bank
    if not predictor.reads_text or bank.hash is None:
        return retriever
    return replace(retriever, cache=QueryCache(folder / "queries.npz", key=f"{bank.hash}, {weights_hash(predictor)}"))


def _train(unit: OptionOnFold, folder: Path, ranks: ProcessGroup) -> None:
    """Train an option, and write checkpoint and record."""
    job, fold, bank = unit.job, unit.fold, unit.job.experiment.bank
    predictor, loss = ranks.once(lambda: build_predictor_and_loss(unit))
    settings = training_settings(job, unit.option, fold, steps=unit.steps)
    if unit.like is not None:
        best_step = read_training(unit.like / folder.relative_to(unit.folder))["best_step"]
        keep_training(unit, predictor, loss, _take_steps(unit, predictor, loss, settings, best_step), folder)
        return
    facts = {"model": predictor.settings.name, "size": predictor.settings.size, "loss": describe_loss(loss.settings),
             "batch_size": settings.batch_size, "steps": unit.steps, "seed": settings.seed}  # fmt: skip
    with watching(settings.report_to if ranks.first else (), job.out, unit.name_in_run(folder), facts) as follow:
        result = train(
            predictor,
            loss,
            bank,
            fold.train,
            settings=settings,
            score=lambda model: score_on_validation(as_retriever(unit, model), job, fold, ranks),
            folder=folder / "training",
            progress=unit.progress,
            follow=follow,
            others=(job.out / "options").glob(f"*/{unit.folder.name}/training"),
            ranks=ranks,
        )
    ranks.once(lambda: keep_training(unit, predictor, loss, result, folder))


def _take_steps(
    unit: OptionOnFold, predictor: Predictor, loss: Loss, settings: TrainingSettings, best_step: int
) -> TrainingResult:
    """Take the first steps of a training without validation, and return a result without scores."""
    began = perf_counter()
    batches, optimisation = assemble(predictor, loss, unit.job.experiment.bank, unit.fold.train, settings)
    run = ShortRun(batches, optimisation, settings)
    while run.done < best_step:
        unit.progress(run.done, best_step, "")
        run.advance(run.done + 1)
    return TrainingResult(best_step, {}, best_step, [], under_trained=False, stopped_early=False,
                          seconds=perf_counter() - began)  # fmt: skip


def keep_training(
    unit: OptionOnFold,
    predictor: Predictor,
    loss: Loss,
    result: TrainingResult,
    folder: Path,
    *,
    own_loop: bool = False,
) -> None:
    """Write checkpoint, weights of the loss, and record of an option that was trained on a fold.

    Args:
        unit: option and fold.
        predictor: with its best weights.
        loss: what it was trained with.
        result: its curve and counters.
        folder: where checkpoint and record are kept.
        own_loop: it was trained outside Segue, so it cannot be trained again.
    """
    job, fold, bank = unit.job, unit.fold, unit.job.experiment.bank
    settings = training_settings(job, unit.option, fold, steps=unit.steps)
    device = choose_device(settings.device)
    record = FoldTraining(
        model=predictor.settings.name,
        size=predictor.settings.size,
        anchor=predictor.settings.anchor,
        documents=predictor.settings.documents,
        parameters=num_parameters(predictor),
        loss_name=unit.loss,
        loss=describe_loss(loss.settings),
        batch_size=settings.batch_size,
        seed=settings.seed,
        planned_steps=unit.steps,
        steps=result.steps,
        best_step=result.best_step,
        seconds=result.seconds,
        under_trained=result.under_trained,
        curve=result.curve,
        precision=resolve_precision(settings.precision, device),
    )
    if loss.projection is not None and unit.like is None:
        query = PredictorQuery(predictor, device)
        record["compatibility"] = compatibility(query, loss, bank, job.validation_windows(fold))
    if own_loop:
        record["own_loop"] = True
    card = ModelCard(
        name=unit.option.name,
        space=bank.space.to_json(),
        training_documents=hash_documents(bank.document_ids[number] for number in fold.split.train),
        loss=record["loss"],
        loss_space=loss.space,
        metrics={f"validation {name}": value for name, value in result.best_score.items()},
        training={"steps": result.steps, "best step": result.best_step, "fold": fold.number},
        seed=settings.seed,
    )
    save_tensors(folder / "training" / LOSS_FILE, copy_weights(loss))
    save_predictor(predictor, folder / "checkpoint", card=card)
    write_json(folder / "training.json", {**record, "files": hashes_of(folder, (f"checkpoint/{CONFIG}",))})


def build_predictor_and_loss(unit: OptionOnFold) -> tuple[Predictor, Loss]:
    """Build an option's untrained predictor, its anchor at the best of the three simple means, and its loss."""
    experiment, seed = unit.job.experiment, unit.job.seed(unit.fold)
    with torch.random.fork_rng(devices=[]):
        seed_generators(seed)
        settings = model_settings(unit.job, unit.option)
        reader = reader_of(unit.job.load_encoder()) if settings.name == "tokens" else None
        predictor = build_model(
            settings, dimension=experiment.bank.dimension, context=experiment.context, reader=reader
        )
    if predictor.anchor is not None:
        predictor.start_anchor(_best_anchor(unit)[1])
    return predictor, build_loss(unit.job.loss_settings(unit.loss), experiment.bank.dimension, seed=seed)


def model_settings(job: Job, option: Option) -> ModelSettings:
    """Return the settings of an option's model: the recipe's size, the option's architecture, anchor and tower."""
    if option.loss == "recipe":
        return job.recipe.model
    if option.name in job.recipe.models:
        return job.recipe.models[option.name]
    name = job.recipe.model.name if option.model == RECIPE_MODEL else str(option.model)
    keep = job.recipe.model.options if name == job.recipe.model.name else {}
    own = {"name": name, "anchor": option.anchor, "documents": option.documents, "options": keep}
    return job.recipe.model.model_copy(update=own)


def training_settings(job: Job, option: Option, fold: Fold, *, steps: int) -> TrainingSettings:
    """Return the recipe's training settings, or those of [text] tokens, with an option's steps and the fold's seed."""
    own = {} if option.planned else job.recipe.text.tokens.model_dump()
    return job.recipe.training.model_copy(update={**own, "steps": steps, "seed": job.seed(fold)})


def anchor_start(unit: OptionOnFold) -> str | None:
    """Return the baseline that an option's anchor starts as; None without an anchor."""
    return ANCHOR_STARTS[_best_anchor(unit)[0]] if model_settings(unit.job, unit.option).anchor else None


def _best_anchor(unit: OptionOnFold) -> tuple[int, torch.Tensor]:
    """Return number and weights of the simple mean that did best on the fold's validation windows."""
    job, fold, baselines = unit.job, unit.fold, unit.baselines
    experiment = job.experiment
    decay = baselines.decay(fold)
    context = experiment.context
    starts: list[tuple[QueryFunction, torch.Tensor]] = [
        (copy_last, anchor_weights("copy-last", context)),
        (mean, anchor_weights("mean", context)),
        (decay, anchor_weights("exp-mean", context, decay=decay.decay)),
    ]  # in the order of ANCHOR_STARTS
    windows = job.validation_windows(fold)

    def fit() -> Arrays:
        scores = [validation_mrr(query, experiment.bank, windows, pool=experiment.pool) for query, _ in starts]
        return {"start": np.array(int(np.argmax(scores)))}

    best = int(baselines.fitted("anchor", fold, (windows,), fit)["start"])
    return best, starts[best][1]


def as_retriever(unit: OptionOnFold, predictor: Predictor) -> VectorRetriever:
    """Return a trained option as it is evaluated; a document tower encodes the bank again."""
    job, option = unit.job, unit.option
    return predictor_retriever(
        option.name,
        option.intent,
        predictor,
        pool=job.experiment.pool,
        index=unit.baselines.index,
        device=choose_device(job.recipe.training.device),
    )
