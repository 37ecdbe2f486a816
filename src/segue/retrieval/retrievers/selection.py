"""What fitting a baseline shares: unit length, and the validation score that chooses its one setting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
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
    for start in range(0, len(windows), BATCH):
        batch = windows.take(slice(start, start + BATCH))
        contexts = gather_contexts(bank, batch)
        ranks = target_ranks(query(contexts), pool, batch.target, exclude=contexts.exclude)
        total += float((1.0 / ranks).sum())
    return total / max(1, len(windows))
