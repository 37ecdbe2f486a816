"""Query functions that need no gradient: copying what was read, a linear map, and the oracle.

Each takes ``Contexts`` and returns unit vectors; a ``VectorRetriever`` searches with them. A model that does not beat
them is not worth serving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Int
from safetensors.numpy import load_file

from segue.errors import InputError
from segue.models.tensors import save_tensors
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.saving import RIDGE, Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Windows
from segue.windows.windows import gather_contexts

BATCH = 1024
"""Windows whose vectors are in memory at once."""


def normalise(vectors: Float[np.ndarray, "batch dim"]) -> Float[np.ndarray, "batch dim"]:
    """Return the vectors at length 1, float32; a zero vector stays zero.

    >>> normalise(np.array([[3.0, 4.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def validation_mrr(
    query: Callable[[Contexts], Float[np.ndarray, "batch dim"]], bank: Bank, windows: Windows, *, pool: Pool
) -> float:
    """Return the mean reciprocal rank of the targets over the whole pool, context excluded."""
    total = 0.0
    for batch in windows.batches(BATCH):
        contexts = gather_contexts(bank, batch)
        ranks = target_ranks(query(contexts), pool, batch.target, exclude=contexts.exclude)
        total += float((1.0 / ranks).sum())
    return total / max(1, len(windows))


DECAYS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Decays to try for the exponential mean; 0 would be copy-last and 1 the mean."""


@dataclass(frozen=True)
class CopyLast:
    """Answers with the last passage read: the next one is expected to resemble it."""

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the vectors of the last passages, unit float32."""
        return contexts.vectors[:, -1].astype(np.float32)

    def save_part(self, writer: PartWriter) -> Description:
        """Return the description."""
        return {"kind": "copy-last"}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> CopyLast:
        """Read what ``save_part`` wrote."""
        return copy_last


@dataclass(frozen=True)
class ExponentialMean:
    """Answers with a weighted mean: the passage n places before the last has the weight decayⁿ.

    Attributes:
        decay: weight factor in (0, 1]; 1 is the plain mean.

    >>> vectors = np.array([[[1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)
    >>> contexts = Contexts(vectors, np.ones((1, 2), dtype=bool), np.array([[0, 1]]), np.array([[0, 1]]))
    >>> ExponentialMean(0.75)(contexts).round(2).tolist()  # (0.75, 1) at length 1
    [[0.6000000238418579, 0.800000011920929]]
    """

    decay: float

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the weighted means, unit float32."""
        length = contexts.mask.shape[1]
        weights = self.decay ** np.arange(length - 1, -1, -1.0) * contexts.mask
        return normalise(np.einsum("bc,bcd->bd", weights, contexts.vectors))

    def save_part(self, writer: PartWriter) -> Description:
        """Return the description."""
        return {"kind": "exp-mean", "decay": self.decay}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> ExponentialMean:
        """Read what ``save_part`` wrote."""
        return cls(float(about["decay"]))


@dataclass(frozen=True)
class Mean:
    """Answers with the mean of the passages read."""

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the means at length 1, float32."""
        return ExponentialMean(1.0)(contexts)

    def save_part(self, writer: PartWriter) -> Description:
        """Return the description."""
        return {"kind": "mean"}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Mean:
        """Read what ``save_part`` wrote."""
        return mean


copy_last, mean = CopyLast(), Mean()


def fit_decay(
    bank: Bank, windows: Windows, *, pool: Pool | None = None, decays: Sequence[float] = DECAYS
) -> ExponentialMean:
    """Choose the decay with the best MRR on validation windows; the smaller one on ties."""
    candidates = [ExponentialMean(decay) for decay in decays]
    chosen = pool or Pool(bank)
    return max(candidates, key=lambda query: validation_mrr(query, bank, windows, pool=chosen))


class Oracle:
    """Answers with the true next vector: a control that shows whether targets can be found.

    Args:
        bank: the bank that holds the vectors.
        windows: windows of the later queries; a context is known by its last row.
    """

    def __init__(self, bank: Bank, windows: Windows) -> None:
        self._bank = bank
        self._target_after = dict(zip(windows.context[:, -1].tolist(), windows.target.tolist(), strict=True))

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the true vectors.

        Raises:
            InputError: a context is of none of the windows.
        """
        last = contexts.rows[:, -1].tolist()
        unknown = [row for row in last if row not in self._target_after]
        if unknown:
            raise InputError(
                "the oracle does not know the passage after",
                got=f"a context that ends with row {unknown[0]}",
                expected="one of the windows it was made with",
                fix="make the oracle with the windows that are evaluated",
            )
        targets: Int[np.ndarray, "batch"] = np.array([self._target_after[row] for row in last], dtype=np.int64)
        return self._bank.gather(targets)


ALPHAS = (1.0, 10.0, 100.0, 1000.0)
"""Penalties to try: alpha in Σ ‖W x + b − y‖² + alpha · ‖W‖² over windows of unit vectors."""


@dataclass(frozen=True)
class Ridge:
    """Linear map: next vector ≈ W · (all context vectors, one after the other) + bias, with a penalty on W.

    Attributes:
        weights: [context · dim + 1, dim] float32; the last row is the bias.
        alpha: the penalty it was fitted with.
    """

    weights: Float[np.ndarray, "feature dim"]
    alpha: float

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the mapped contexts at length 1, float32.

        Raises:
            InputError: the contexts have another length or dimension than those it was fitted on.
        """
        features = _features(contexts)
        if features.shape[1] != len(self.weights):
            raise InputError(
                "the linear map was fitted on other contexts",
                got=f"{features.shape[1] - 1} components per context",
                expected=str(len(self.weights) - 1),
                fix="fit it again on windows of this length",
            )
        return normalise(features @ self.weights)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the weights."""
        save_tensors(writer.folder / RIDGE, {"weights": torch.from_numpy(self.weights)})
        return {"kind": "ridge", "alpha": self.alpha}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Ridge:
        """Read what ``save_part`` wrote."""
        return cls(load_file(reader.folder / RIDGE)["weights"], float(about["alpha"]))

    @classmethod
    def fit(cls, bank: Bank, windows: Windows, alpha: float) -> Ridge:
        """Fit on training windows with one penalty."""
        return NormalEquations.sum_up(bank, windows).solve(alpha)


@dataclass(frozen=True)
class NormalEquations:
    """Sums Xᵀ X and Xᵀ Y over windows; ``X`` holds the features of a window in a row.

    They are summed over blocks of windows, so that memory holds two [features, features] matrices. Products are
    float32, sums and the solution float64.

    Attributes:
        gram: Xᵀ X.
        moment: Xᵀ Y.
    """

    gram: Float[np.ndarray, "feature feature"]
    moment: Float[np.ndarray, "feature dim"]

    @classmethod
    def sum_up(cls, bank: Bank, windows: Windows) -> NormalEquations:
        """Sum over the windows, block by block.

        Raises:
            InputError: there is no window.
        """
        if len(windows) == 0:
            raise InputError("the linear map has no training window", fix="add training documents")
        size = windows.context.shape[1] * bank.dimension + 1
        gram, moment = np.zeros((size, size)), np.zeros((size, bank.dimension))
        for batch in windows.batches(BATCH):
            features = _features(gather_contexts(bank, batch))
            gram += features.T @ features
            moment += features.T @ bank.gather(batch.target)
        return cls(gram, moment)

    def solve(self, alpha: float) -> Ridge:
        """Solve (Xᵀ X + alpha · I) W = Xᵀ Y; the bias is not penalised."""
        penalised = self.gram.copy()
        penalised[np.diag_indices(len(penalised) - 1)] += alpha
        weights = scipy.linalg.cho_solve(scipy.linalg.cho_factor(penalised, overwrite_a=True), self.moment)
        return Ridge(weights.astype(np.float32), alpha)


def fit_ridge(
    bank: Bank, train: Windows, validation: Windows, *, pool: Pool | None = None, alphas: Sequence[float] = ALPHAS
) -> Ridge:
    """Fit with every penalty and return the map with the best MRR on validation windows.

    Args:
        bank: the bank that holds the vectors.
        train: windows to fit on.
        validation: windows that choose the penalty.
        pool: the candidates; the whole bank by default.
        alphas: penalties to try, all > 0.
    """
    equations = NormalEquations.sum_up(bank, train)
    chosen = pool or Pool(bank)
    return max(
        (equations.solve(alpha) for alpha in alphas),
        key=lambda query: validation_mrr(query, bank, validation, pool=chosen),
    )


def _features(contexts: Contexts) -> Float[np.ndarray, "batch feature"]:
    """Return the context vectors one after the other, zeros for padding, and a 1 for the bias."""
    vectors = np.where(contexts.mask[:, :, None], contexts.vectors, np.float32(0))
    flat = vectors.reshape(len(vectors), -1)  # [batch, context * dim]
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=np.float32)], axis=1)
