"""Probes of order: is the next passage distinguished from the previous one, given the passage between them?

Input: triples of rows (before, middle, after) as ``windows/orders.py`` makes them. Output: one number for each triple,
1 where next and previous are distinguished, else 0; ½ for a draw.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from segue.types import Bank

PENALTY = 10.0
"""Penalty of the least squares, against rows of length 1."""


def next_from_previous(
    bank: Bank, train: Int[np.ndarray, "train 3"], tested: Int[np.ndarray, "tested 3"]
) -> Float[np.ndarray, "tested"]:
    """Return 1 where next is distinguished from previous, given the passage between them.

    Both are next to the middle, so similarity alone cannot separate them. The classifier is linear in the products of
    the middle's components (and 1) and those of next − previous; least squares with a penalty.
    """
    features, moved = _middle(bank, train), bank.gather(train[:, 2]) - bank.gather(train[:, 0])
    gram = (features.T @ features).astype(np.float64)
    gram[np.diag_indices(len(gram) - 1)] += PENALTY
    weights = scipy.linalg.solve(gram, features.T @ moved, assume_a="pos").astype(np.float32)
    direction = bank.gather(tested[:, 2]) - bank.gather(tested[:, 0])
    return _right(np.einsum("td,td->t", _middle(bank, tested) @ weights, direction))


def next_by_similarity(bank: Bank, tested: Int[np.ndarray, "tested 3"]) -> Float[np.ndarray, "tested"]:
    """Return 1 where the middle is more similar to the next passage than to the previous one."""
    before, middle, after = (bank.gather(column) for column in tested.T)
    return _right(np.einsum("td,td->t", middle, after - before))


def _middle(bank: Bank, triples: Int[np.ndarray, "triple 3"]) -> Float[np.ndarray, "triple feature"]:
    vectors = bank.gather(triples[:, 1])
    return np.concatenate([vectors, np.ones((len(vectors), 1), dtype=np.float32)], axis=1)


def _right(margins: Float[np.ndarray, "triple"]) -> Float[np.ndarray, "triple"]:
    """Count a positive margin as right, and none as half: a coin.

    >>> _right(np.array([0.3, 0.0, -0.1])).tolist()
    [1.0, 0.5, 0.0]
    """
    return 0.5 + 0.5 * np.sign(margins).astype(np.float64)
