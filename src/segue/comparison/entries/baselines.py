"""Untrained options: each becomes a retriever, fitted on training and validation windows where it has settings.

Expensive fits are kept in ``cache/`` of the run folder and read back by every later command.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from segue.bank.pieces import PieceVectors, pieces_folder
from segue.comparison.job import Job, spread
from segue.comparison.plan import require_affordable
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.files import read_npz, write_npz
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.own import OwnPart
from segue.retrieval.rerank.features import PIECES, Features, Group, neighbour_cosines
from segue.retrieval.retrievers import QueryFunction, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import (
    ALPHAS,
    ExponentialMean,
    Oracle,
    Ridge,
    copy_last,
    fit_decay,
    fit_ridge,
    mean,
)
from segue.retrieval.retrievers.bm25 import Bm25, require_texts
from segue.retrieval.retrievers.chance import Chance
from segue.retrieval.retrievers.own import own_retriever
from segue.retrieval.retrievers.text_encoder import EncoderOnContext
from segue.retrieval.retrievers.vector import QueryCache
from segue.training.state import windows_hash
from segue.types import Intent, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

TIMED_CONTEXTS = 32
"""Contexts encoded to estimate what encoding all of them takes."""
Arrays = dict[str, np.ndarray]


class Baselines:
    """Builds the retrievers that are not trained; what is expensive to build is built once.

    Args:
        job: the comparison.
        penalties: those of ``ridge``, among which validation windows choose.
    """

    def __init__(self, job: Job, *, penalties: Sequence[float] = ALPHAS) -> None:
        self.job, self.penalties = job, penalties

    @functools.cached_property
    def index(self) -> ExactIndex:
        """The exact index over the whole bank."""
        return ExactIndex(self.job.experiment.pool)

    def vector(self, name: str, query: QueryFunction, **more: Any) -> VectorRetriever:
        """Return a retriever that searches the index with the vectors that ``query`` returns."""
        intent: Intent = "control" if name == "oracle" else "candidate"
        return VectorRetriever(name, intent, query, self.job.experiment.pool, self.index, **more)

    def retriever(self, name: str, fold: Fold) -> Retriever:
        """Return an untrained option, fitted on the fold's training and validation windows where it has settings.

        Raises:
            InputError: the option needs texts and the bank has none.
        """
        bank, pool = self.job.experiment.bank, self.job.experiment.pool
        if name in self.job.recipe.retrievers:
            own = OwnPart.make("retriever", name, self.job.recipe.retrievers[name])
            return own_retriever(own.fitted(bank, fold.train), pool, self.index)
        makers: dict[str, Callable[[], Retriever]] = {
            "chance": lambda: Chance(pool, self.job.recipe.evaluation.seed),
            "oracle": lambda: self.vector(name, Oracle(bank, _joined(fold.validation, fold.test))),
            "copy-last": lambda: self.vector(name, copy_last),
            "mean": lambda: self.vector(name, mean),
            "exp-mean": lambda: self.vector(name, self.decay(fold)),
            "ridge": lambda: self.vector(name, self.ridge(fold)),
            "bm25": lambda: self._words.with_query("last"),
            "bm25-context": lambda: self._words.with_query("context"),
            "encoder-context": lambda: self._encoder_on_context,
        }
        return makers[name]()

    def decay(self, fold: Fold) -> ExponentialMean:
        """Return the exponential mean with the decay that did best on validation."""
        experiment, windows = self.job.experiment, self.job.validation_windows(fold)

        def fit() -> Arrays:
            return {"decay": np.array(fit_decay(experiment.bank, windows, pool=experiment.pool).decay)}

        return ExponentialMean(float(self.fitted("decay", fold, (windows,), fit)["decay"]))

    def ridge(self, fold: Fold) -> Ridge:
        """Return the linear map of the training windows, with the penalty that did best on validation."""
        experiment, windows = self.job.experiment, self.job.validation_windows(fold)

        def fit() -> Arrays:
            chosen = fit_ridge(experiment.bank, fold.train, windows, pool=experiment.pool, alphas=self.penalties)
            return {"weights": chosen.weights, "alpha": np.array(chosen.alpha)}

        kept = self.fitted("ridge", fold, (fold.train, windows), fit)
        return Ridge(kept["weights"], float(kept["alpha"]))

    def fitted(self, name: str, fold: Fold, windows: tuple[Windows, ...], fit: Callable[[], Arrays]) -> Arrays:
        """Fit a baseline on some windows of a fold, or read back what an earlier command fitted."""
        key = " ".join([str(self.job.experiment.bank.hash), *map(windows_hash, windows)])
        return read_or_fit(self.job.out / "cache" / f"{name}-fold-{fold.number}.npz", key=key, fit=fit)

    @functools.cached_property
    def features(self) -> Features:
        """The features that a reranker reads of candidates, over the whole bank."""
        experiment, groups = self.job.experiment, self.job.recipe.rerank.features
        bank, pool = experiment.bank, experiment.pool
        words = self._words.words if bank.has_texts else None
        density = None
        if "density" in groups:
            path, key = self.job.out / "cache" / "density.npz", str(experiment.bank.hash)
            kept = read_or_fit(
                path, key=key, fit=lambda: {"density": neighbour_cosines(experiment.bank, experiment.pool)}
            )
            density = kept["density"]
        pieces = {name: self.pieces(name) for name in PIECES if name in groups}
        return Features(bank, pool, context=experiment.context, groups=groups, words=words,
                        density=density, pieces=pieces)  # fmt: skip

    def pieces(self, name: Group, progress: Progress = no_progress) -> PieceVectors:
        """Encode the sentences or the tokens of the bank's passages, or open them where that was done."""
        bank = self.job.experiment.bank
        folder = pieces_folder(bank, name, self.job.out / "cache")
        return PIECES[name](bank, self.job.load_encoder, folder, progress=progress)

    @functools.cached_property
    def _words(self) -> Bm25:
        return Bm25(self.job.experiment.bank, self.job.experiment.pool)

    @functools.cached_property
    def _encoder_on_context(self) -> VectorRetriever:
        bank, share = self.job.experiment.bank, self.job.recipe.triage.encoder_share
        require_texts(bank, "encoder-context")
        limit = self.job.recipe.evaluation.context_tokens
        query = EncoderOnContext(self.job.load_encoder(), bank, maximum_tokens=limit)
        cache = QueryCache(self.job.out / "cache" / "encoder-context.npz", key=f"{bank.hash}, {limit} tokens")
        if share is not None:
            require_affordable(self.job, "encoder-context", share=share, cost=lambda: self._encoding_seconds(query),
                               fix="leave [triage] encoder_share out")  # fmt: skip
        return self.vector("encoder-context", query, stage="encode", cache=cache)

    def _encoding_seconds(self, query: QueryFunction) -> float:
        """Return what encoding the contexts of all folds' windows will take."""
        experiment = self.job.experiment
        windows = [_joined(self.job.validation_windows(fold), fold.test) for fold in experiment.folds]
        encoded = np.unique(np.concatenate([part.target for part in windows]))  # each context is encoded once
        some = spread(windows[0], TIMED_CONTEXTS)
        contexts = gather_contexts(experiment.bank, some, texts=True)
        query(contexts.take(slice(0, 1)))  # the first call pays for more than its work
        began = monotonic()
        query(contexts)
        return (monotonic() - began) * len(encoded) / len(some)


def _joined(first: Windows, second: Windows) -> Windows:
    return Windows(np.concatenate([first.context, second.context]), np.concatenate([first.target, second.target]))


def read_or_fit(path: Path, *, key: str, fit: Callable[[], Arrays]) -> Arrays:
    """Return the arrays stored at ``path`` under ``key``, or fit them and store them.

    Args:
        path: an ``.npz`` file without pickle; a broken one, or one of another key, is written again.
        key: names what the result depends on.
        fit: computes the arrays.
    """
    if path.exists():
        with contextlib.suppress(InputError):
            arrays = read_npz(path)
            if str(arrays.pop("key", None)) == key:
                return arrays
    arrays = fit()
    write_npz(path, {"key": np.array(key), **arrays})
    return arrays
