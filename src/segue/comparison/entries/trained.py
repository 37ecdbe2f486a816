"""An option becomes a retriever: untrained ones are fitted, trained ones go through the training loop.

Everything here looks at training and validation windows only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from segue.bank.sentences import SentenceVectors, build_sentences, sentences_folder
from segue.comparison.cost import require_affordable
from segue.comparison.entries.kept_fits import Arrays, fitted
from segue.comparison.halves import spread
from segue.comparison.job import Job
from segue.comparison.options import RECIPE_MODEL, Option
from segue.evaluation.compatibility import compatibility
from segue.evaluation.experiment import Fold
from segue.evaluation.metrics import summarise
from segue.files import read_json, write_json
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
    save_predictor,
)
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.rerank.features import Features, neighbour_cosines
from segue.retrieval.retrievers import QueryFunction, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import (
    ExponentialMean,
    Oracle,
    Ridge,
    copy_last,
    fit_decay,
    fit_ridge,
    mean,
    validation_mrr,
)
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.chance import Chance
from segue.retrieval.retrievers.predictor import PredictorQuery, predictor_retriever
from segue.retrieval.retrievers.text_encoder import EncoderOnContext
from segue.retrieval.retrievers.vector import QueryCache
from segue.training.losses.loss import Loss, build_loss, describe_loss
from segue.training.optimiser import resolve_precision
from segue.training.state import windows_hash
from segue.training.train import TrainingResult, TrainingSettings, train
from segue.types import Intent, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

TIMED_CONTEXTS = 64
"""Contexts that are encoded to see what encoding all will take."""
SCORED = ("R@1", "R@5", "R@10", "Contain@50", "MRR")
"""What is recorded of validation, besides the cosine."""


class Baselines:
    """Makes the retrievers that need no gradient; what is costly to build is built once."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @functools.cached_property
    def index(self) -> ExactIndex:
        """The exact index over the whole bank, which every query is searched in."""
        return ExactIndex(self.job.experiment.pool)

    def vector(self, name: str, query: QueryFunction, **more: Any) -> VectorRetriever:
        """Return a retriever that searches the index with what ``query`` answers."""
        intent: Intent = "control" if name == "oracle" else "candidate"
        return VectorRetriever(name, intent, query, self.job.experiment.pool, self.index, **more)

    def retriever(self, name: str, fold: Fold) -> Retriever:
        """Return an untrained option, fitted on the fold's training and validation windows where it has settings.

        Raises:
            InputError: the option needs texts and the bank has none.
        """
        bank, pool = self.job.experiment.bank, self.job.experiment.pool
        makers: dict[str, Callable[[], Retriever]] = {
            "chance": lambda: Chance(pool, self.job.evaluation.seed),
            "oracle": lambda: self.vector(name, Oracle(bank, _joined(fold.validation, fold.test))),
            "copy-last": lambda: self.vector(name, copy_last),
            "mean": lambda: self.vector(name, mean),
            "exp-mean": lambda: self.vector(name, self.decay(fold)),
            "ridge": lambda: self.vector(name, self._ridge(fold)),
            "bm25": lambda: self._words().with_query("last"),
            "bm25-context": lambda: self._words().with_query("context"),
            "encoder-context": self._encoder_on_context,
        }
        return makers[name]()

    def decay(self, fold: Fold) -> ExponentialMean:
        """Return the exponential mean with the decay that did best on validation."""
        experiment = self.job.experiment

        def fit() -> Arrays:
            chosen = fit_decay(experiment.bank, watched(self.job, fold), pool=experiment.pool)
            return {"decay": np.array(chosen.decay)}

        return ExponentialMean(float(self.fitted("decay", fold, (watched(self.job, fold),), fit)["decay"]))

    def _ridge(self, fold: Fold) -> Ridge:
        experiment = self.job.experiment

        def fit() -> Arrays:
            chosen = fit_ridge(experiment.bank, fold.train, watched(self.job, fold), pool=experiment.pool)
            return {"weights": chosen.weights, "alpha": np.array(chosen.alpha)}

        kept = self.fitted("ridge", fold, (fold.train, watched(self.job, fold)), fit)
        return Ridge(kept["weights"], float(kept["alpha"]))

    def fitted(self, name: str, fold: Fold, windows: tuple[Windows, ...], fit: Callable[[], Arrays]) -> Arrays:
        """Fit a baseline on some windows of a fold, or read back what an earlier command fitted."""
        key = " ".join([str(self.job.experiment.bank.hash), *map(windows_hash, windows)])
        return fitted(self.job.out / "cache" / f"{name}-fold-{fold.number}.npz", key=key, fit=fit)

    @functools.cached_property
    def features(self) -> Features:
        """What a reranker reads of candidates, over the whole bank; its neighbours are looked for once a run."""
        experiment, groups = self.job.experiment, self.job.rerank.features
        words = self._words().words if experiment.bank.has_texts else None
        density = self._density() if "density" in groups else None
        sentences = self.sentences() if "sentences" in groups else None
        return Features(experiment.bank, experiment.pool, context=experiment.context, groups=groups, words=words,
                        density=density, sentences=sentences)  # fmt: skip

    def sentences(self, progress: Progress = no_progress) -> SentenceVectors:
        """Encode the sentences of the bank's passages, or open them where that was done."""
        bank = self.job.experiment.bank
        folder = sentences_folder(bank, self.job.out / "cache")
        return build_sentences(bank, self.job.load_encoder, folder, progress=progress)

    def _density(self) -> Float[np.ndarray, "bank neighbour"]:
        bank, pool = self.job.experiment.bank, self.job.experiment.pool
        path, key = self.job.out / "cache" / "density.npz", str(bank.hash)
        return fitted(path, key=key, fit=lambda: {"density": neighbour_cosines(bank, pool)})["density"]

    @functools.cache  # noqa: B019  (lives as long as the run)
    def _words(self) -> Bm25:
        return Bm25(self.job.experiment.bank, self.job.experiment.pool)

    @functools.cache  # noqa: B019
    def _encoder_on_context(self) -> VectorRetriever:
        from segue.retrieval.retrievers.bm25 import require_texts

        require_texts(self.job.experiment.bank, "encoder-context")
        limit = self.job.evaluation.context_tokens
        query = EncoderOnContext(self.job.load_encoder(), self.job.experiment.bank, maximum_tokens=limit)
        key = f"{self.job.experiment.bank.hash}, {limit} tokens"
        cache = QueryCache(self.job.out / "cache" / "encoder-context.npz", key=key)
        if self.job.settings.encoder_share is not None:
            require_affordable(self.job, "encoder-context", share=self.job.settings.encoder_share,
                               cost=lambda: self._encoding_seconds(query),
                               fix="leave [triage] encoder_share out")  # fmt: skip
        return self.vector("encoder-context", query, stage="encode", cache=cache)

    def _encoding_seconds(self, query: QueryFunction) -> float:
        """Return what encoding the contexts of all folds' windows will take."""
        experiment = self.job.experiment
        windows = [_joined(watched(self.job, fold), fold.test) for fold in experiment.folds]
        asked = np.unique(np.concatenate([part.target for part in windows]))  # each context is encoded once
        some = spread(windows[0], TIMED_CONTEXTS)
        contexts = gather_contexts(experiment.bank, some, texts=True)
        query(contexts.take(slice(0, 1)))  # the first call pays for more than its work
        began = monotonic()
        query(contexts)
        return (monotonic() - began) * len(asked) / len(some)


def watched(job: Job, fold: Fold) -> Windows:
    """Return the validation windows that choices look at: all, or evenly spread ones up to the recipe's limit."""
    most = job.settings.validation_windows
    return fold.validation if most is None else spread(fold.validation, most)


def score_on_validation(retriever: Retriever, job: Job, fold: Fold) -> dict[str, float]:
    """Return R@1, R@5, R@10, Contain@50, MRR over the whole pool, and the cosine to the target where there is one."""
    bank, windows = job.experiment.bank, watched(job, fold)
    size = min(job.evaluation.batch_size, retriever.batch_limit or job.evaluation.batch_size)
    ranks, cosines = [], []
    for start in range(0, len(windows), size):
        batch = windows.take(slice(start, start + size))
        contexts = gather_contexts(bank, batch, exclude=job.evaluation.exclude, texts=retriever.reads_text)
        scores = retriever.score(contexts)
        ranks.append(scores.ranks(retriever.pool, batch.target, exclude=contexts.exclude))
        if scores.queries is not None:
            cosines.append(np.einsum("bd,bd->b", scores.queries, bank.gather(batch.target)))
    summary = summarise(np.concatenate(ranks))
    found = {name: float(value) for name in SCORED if (value := summary[name]) is not None}
    return found | ({"cosine": float(np.concatenate(cosines).mean())} if cosines else {})


def train_entrant(
    job: Job,
    option: Option,
    fold: Fold,
    *,
    loss: str | None,
    steps: int,
    baselines: Baselines,
    progress: Progress,
    folder: Path | None = None,
) -> tuple[Retriever, dict[str, Any]]:
    """Train one option on one fold (or read its checkpoint back), and return it with what training did.

    Args:
        job: the comparison.
        option: what to train.
        fold: its training windows are trained on, its validation windows select.
        loss: a preset of ``LOSSES``; ``recipe`` is the recipe's own.
        steps: from the plan.
        baselines: for the anchor's start and the index.
        progress: told of every step.
        folder: where checkpoint and record are kept; None: the option's folder on that fold.
    """
    folder = folder or job.folder(option, fold)
    if not (folder / "training.json").exists():
        predictor, built = build_entrant(job, option, fold, loss=loss, baselines=baselines)
        settings = entrant_training(job, option, fold, steps=steps)
        result = train(
            predictor,
            built,
            job.experiment.bank,
            fold.train,
            settings=settings,
            score=lambda model: score_on_validation(as_retriever(job, option, model, baselines), job, fold),
            folder=folder / "training",
            progress=progress,
        )
        record = _training_record(loss, built, predictor, result)
        record |= {"planned_steps": steps, "batch_size": settings.batch_size, "seed": settings.seed}
        record["precision"] = resolve_precision(settings.precision, choose_device(settings.device))
        if built.projection is not None:
            query = PredictorQuery(predictor, choose_device(job.training.device))
            record["compatibility"] = compatibility(query, built, job.experiment.bank, watched(job, fold))
        save_predictor(predictor, folder / "checkpoint", card=_card(job, option, fold, built, result))
        write_json(folder / "training.json", record)
    predictor, _ = load_predictor(folder / "checkpoint")
    return as_retriever(job, option, predictor, baselines), read_json(folder / "training.json")


def build_entrant(
    job: Job, option: Option, fold: Fold, *, loss: str | None, baselines: Baselines
) -> tuple[Predictor, Loss]:
    """Build an option's untrained predictor, its anchor at the best of the three simple means, and its loss."""
    experiment = job.experiment
    settings = model_settings(job, option)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.training.seed + fold.number)
        predictor = build_model(settings, dimension=experiment.bank.dimension, context=experiment.context)
    if predictor.anchor is not None:
        predictor.start_anchor(_best_anchor(job, fold, baselines))
    chosen = job.loss if loss in (None, "recipe") else job.losses[str(loss)]
    return predictor, build_loss(chosen, experiment.bank.dimension, seed=job.training.seed + fold.number)


def model_settings(job: Job, option: Option) -> ModelSettings:
    """Return the settings of an option's model: the recipe's size, the option's architecture, anchor and tower."""
    if option.loss == "recipe":
        return job.model
    name = job.model.name if option.model == RECIPE_MODEL else str(option.model)
    keep = job.model.options if name == job.model.name else {}
    own = {"name": name, "anchor": option.anchor, "documents": option.documents, "options": keep}
    return job.model.model_copy(update=own)


def entrant_training(job: Job, option: Option, fold: Fold, *, steps: int) -> TrainingSettings:
    """Return the recipe's training settings with the plan's steps and a seed of the fold's own."""
    return job.training.model_copy(update={"steps": steps, "seed": job.training.seed + fold.number})


def _best_anchor(job: Job, fold: Fold, baselines: Baselines) -> torch.Tensor:
    """Return the weights of the simple mean that did best on the fold's validation windows, chosen once a run."""
    experiment = job.experiment
    decay = baselines.decay(fold)
    context = experiment.context
    starts: list[tuple[QueryFunction, torch.Tensor]] = [
        (copy_last, anchor_weights("copy-last", context)),
        (mean, anchor_weights("mean", context)),
        (decay, anchor_weights("exp-mean", context, decay=decay.decay)),
    ]
    windows = watched(job, fold)

    def fit() -> Arrays:
        scores = [validation_mrr(query, experiment.bank, windows, pool=experiment.pool) for query, _ in starts]
        return {"start": np.array(int(np.argmax(scores)))}

    return starts[int(baselines.fitted("anchor", fold, (windows,), fit)["start"])][1]


def as_retriever(job: Job, option: Option, predictor: Predictor, baselines: Baselines) -> Retriever:
    """Return a trained option as it is evaluated; a document tower encodes the bank anew, once."""
    device = choose_device(job.training.device)
    return predictor_retriever(
        option.name, option.intent, predictor, pool=job.experiment.pool, index=baselines.index, device=device
    )


def _training_record(loss: str | None, built: Loss, predictor: Predictor, result: TrainingResult) -> dict[str, Any]:
    return {
        "model": predictor.settings.name,
        "size": predictor.settings.size,
        "anchor": predictor.settings.anchor,
        "documents": predictor.settings.documents,
        "parameters": num_parameters(predictor),
        "loss_name": loss,
        "loss": describe_loss(built.settings),
        "steps": result.steps,
        "best_step": result.best_step,
        "seconds": result.seconds,
        "under_trained": result.under_trained,
        "curve": result.curve,
    }


def _card(job: Job, option: Option, fold: Fold, loss: Loss, result: TrainingResult) -> ModelCard:
    bank = job.experiment.bank
    return ModelCard(
        name=option.name,
        space=bank.space.to_json(),
        training_documents=hash_documents(bank.document_ids[number] for number in fold.split.train),
        loss=describe_loss(loss.settings),
        loss_space=loss.space,
        metrics={f"validation {name}": value for name, value in result.best_score.items()},
        training={"steps": result.steps, "best step": result.best_step, "fold": fold.number},
        seed=job.training.seed + fold.number,
    )


def _joined(first: Windows, second: Windows) -> Windows:
    return Windows(np.concatenate([first.context, second.context]), np.concatenate([first.target, second.target]))
