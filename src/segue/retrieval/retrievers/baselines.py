"""Query functions that need no gradient: copying what was read, a linear map, the encoder, and the oracle.

Each takes ``Contexts`` and returns unit vectors; a ``VectorRetriever`` searches with them. They are never optional:
a model that does not beat them has learnt nothing worth serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError, explain
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.encoding import EncoderOnContext
from segue.retrieval.retrievers.ridge import Ridge, fit_ridge
from segue.retrieval.retrievers.selection import normalise, validation_mrr
from segue.types import Bank, Contexts, Windows

__all__ = [
    "DECAYS",
    "EncoderOnContext",
    "ExponentialMean",
    "Oracle",
    "Ridge",
    "copy_last",
    "fit_decay",
    "fit_ridge",
    "mean",
]

DECAYS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Candidates for the decay of the exponential mean; 0 would be copy-last and 1 the mean, rows of their own."""


def copy_last(contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
    """Answer with the last passage read: the next one is expected to resemble it."""
    return contexts.vectors[:, -1].astype(np.float32)


def mean(contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
    """Answer with the mean of the passages read, at length 1."""
    return ExponentialMean(1.0)(contexts)


@dataclass(frozen=True)
class ExponentialMean:
    """Answers with a weighted mean: a passage read n places before the last weighs decayⁿ.

    Attributes:
        decay: in (0, 1]; 1 is the plain mean.

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


def fit_decay(
    bank: Bank, windows: Windows, *, pool: Pool | None = None, decays: Sequence[float] = DECAYS
) -> ExponentialMean:
    """Choose the decay with the best MRR on validation windows; the smaller one on ties."""
    candidates = [ExponentialMean(decay) for decay in decays]
    chosen = pool or Pool(bank)
    return max(candidates, key=lambda query: validation_mrr(query, bank, windows, pool=chosen))


class Oracle:
    """Answers with the true next vector: the control that shows whether targets can be found at all.

    Args:
        bank: where the vectors stand.
        windows: those it may be asked about; they name the target of each last context row.
    """

    def __init__(self, bank: Bank, windows: Windows) -> None:
        self._bank = bank
        self._target_after = dict(zip(windows.context[:, -1].tolist(), windows.target.tolist(), strict=True))

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the true vectors.

        Raises:
            InputError: it was asked about a context that it was not told of.
        """
        asked = contexts.rows[:, -1].tolist()
        unknown = [row for row in asked if row not in self._target_after]
        if unknown:
            raise InputError(
                explain(
                    "the oracle does not know what follows",
                    got=f"a context that ends with row {unknown[0]}",
                    expected="one of the windows it was made with",
                    fix="make the oracle with the windows that are evaluated",
                )
            )
        targets: Int[np.ndarray, "batch"] = np.array([self._target_after[row] for row in asked], dtype=np.int64)
        return self._bank.gather(targets)
