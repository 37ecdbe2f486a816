"""The linear map: next vector ≈ W · (all context vectors, one after the other) + bias, with a penalty on W.

The normal equations are summed up over blocks of windows, so that memory holds two [features, features] matrices and
never all windows; products are float32, sums and the solution float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from segue.errors import InputError, explain
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.selection import BATCH, normalise, validation_mrr
from segue.types import Bank, Contexts, Windows
from segue.windows.windows import gather_contexts

ALPHAS = (1.0, 10.0, 100.0, 1000.0)
"""Candidates for the penalty: minimised is Σ ‖W x + b − y‖² + alpha · ‖W‖² over windows of unit vectors."""


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map.

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
                explain(
                    "the linear map was fitted on other contexts",
                    got=f"{features.shape[1] - 1} components per context",
                    expected=str(len(self.weights) - 1),
                    fix="fit it again on windows of this length",
                )
            )
        return normalise(features @ self.weights)

    @classmethod
    def fit(cls, bank: Bank, windows: Windows, alpha: float) -> Ridge:
        """Fit on training windows with one penalty."""
        return NormalEquations.sum_up(bank, windows).solve(alpha)


@dataclass(frozen=True)
class NormalEquations:
    """The sums Xᵀ X and Xᵀ Y over windows, float64; ``X`` holds the features of a window in a row.

    Attributes:
        gram: Xᵀ X.
        moment: Xᵀ Y.
    """

    gram: Float[np.ndarray, "feature feature"]
    moment: Float[np.ndarray, "feature dim"]

    @classmethod
    def sum_up(cls, bank: Bank, windows: Windows) -> NormalEquations:
        """Go over the windows block by block.

        Raises:
            InputError: there is no window.
        """
        if len(windows) == 0:
            raise InputError(explain("the linear map has no training window", fix="add training documents"))
        size = windows.context.shape[1] * bank.dimension + 1
        gram, moment = np.zeros((size, size)), np.zeros((size, bank.dimension))
        for start in range(0, len(windows), BATCH):
            batch = windows.take(slice(start, start + BATCH))
            features = _features(gather_contexts(bank, batch))
            gram += features.T @ features
            moment += features.T @ bank.gather(batch.target)
        return cls(gram, moment)

    def solve(self, alpha: float) -> Ridge:
        """Solve (Xᵀ X + alpha · I) W = Xᵀ Y; the bias is not penalised."""
        penalised = self.gram.copy()
        penalised[np.diag_indices(len(penalised) - 1)] += alpha
        weights = scipy.linalg.solve(penalised, self.moment, assume_a="pos")
        return Ridge(weights.astype(np.float32), alpha)


def fit_ridge(
    bank: Bank, train: Windows, validation: Windows, *, pool: Pool | None = None, alphas: Sequence[float] = ALPHAS
) -> Ridge:
    """Fit with every penalty and keep the one with the best MRR on validation windows.

    Args:
        bank: where the vectors stand.
        train: what the map is fitted on.
        validation: what the penalty is chosen on.
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
    """Lay the context vectors one after the other, zeros for padding, and a 1 for the bias."""
    vectors = np.where(contexts.mask[:, :, None], contexts.vectors, np.float32(0))
    flat = vectors.reshape(len(vectors), -1)  # [batch, context * dim]
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=np.float32)], axis=1)
