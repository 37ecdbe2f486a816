"""Regularisers of the original work: make some training contexts worse, on purpose and reproducibly.

Both are pure and draw from the generator they are given. ``drop_last`` zeroes vectors and leaves the mask alone, as
the original did: the model sees that a passage was there, not what it said. The target stays one step ahead, so
the order of places keeps its meaning. ``swap_one`` works on row numbers, before any vector is read.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

MOST_DROPPED = 3


def drop_last(
    vectors: Float[np.ndarray, "batch context dim"],
    mask: Bool[np.ndarray, "batch context"],
    *,
    rate: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "batch context dim"]:
    """Zero the last 1 to 3 vectors of a share of the contexts ("article dropout"); at least one passage is left.

    Args:
        vectors: contexts, oldest first, padded at the front.
        mask: True where there is a passage.
        rate: probability for each context, 0 to 1.
        generator: the only source of randomness; always advanced by the same amount.

    Returns:
        A copy, or ``vectors`` itself when nothing is dropped.

    >>> everything = np.ones((1, 4, 2), dtype=np.float32)
    >>> dropped = drop_last(everything, np.ones((1, 4), bool), rate=1.0, generator=np.random.default_rng(1))
    >>> dropped[0, :, 0].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    batch, places = mask.shape
    chosen = generator.random(size=(batch,)) < rate
    drawn = generator.integers(1, MOST_DROPPED + 1, size=batch)
    count = np.where(chosen, np.minimum(drawn, mask.sum(axis=1) - 1), 0)
    zeroed = np.arange(places) >= places - count[:, None]  # [batch, context]
    return np.where(zeroed[:, :, None], np.float32(0), vectors) if zeroed.any() else vectors


def swap_one(
    rows: Int[np.ndarray, "batch context"],
    documents: Int[np.ndarray, "batch"],
    *,
    rate: float,
    generator: np.random.Generator,
) -> Int[np.ndarray, "batch context"]:
    """Replace one passage of a share of the contexts by another document's ("span corruption").

    The replacement is the last context passage of another window of the batch, so it comes from training documents;
    each window of another document is equally likely. In a batch of a single document nothing is swapped.

    Args:
        rows: context rows, oldest first, padded at the front with −1.
        documents: the document of each window.
        rate: probability for each context, 0 to 1.
        generator: the only source of randomness; always advanced by the same amount.

    >>> swap_one(np.array([[-1, 3], [-1, 7]]), np.array([0, 1]), rate=1.0, generator=np.random.default_rng(0)).tolist()
    [[-1, 7], [-1, 3]]
    """
    batch, places = rows.shape
    chosen = generator.random(size=(batch,)) < rate
    place = places - 1 - np.floor(generator.random(size=(batch,)) * (rows >= 0).sum(axis=1)).astype(np.int64)
    donor = _of_another_document(documents, generator.random(size=(batch,)))
    chosen = chosen & (donor >= 0)
    swapped = rows.copy()
    swapped[chosen, place[chosen]] = rows[donor[chosen], -1]
    return swapped


def _of_another_document(
    documents: Int[np.ndarray, "batch"], draws: Float[np.ndarray, "batch"]
) -> Int[np.ndarray, "batch"]:
    """Turn a draw in [0, 1) into a window of another document, −1 where there is none.

    >>> _of_another_document(np.array([5, 9, 5]), np.array([0.9, 0.6, 0.0])).tolist()
    [1, 2, 1]
    """
    order = np.argsort(documents, kind="stable")
    ordered = documents[order]
    start = np.searchsorted(ordered, documents, side="left")
    size = np.searchsorted(ordered, documents, side="right") - start
    others = len(documents) - size
    place = np.floor(draws * others).astype(np.int64)
    place += np.where(place >= start, size, 0)  # jump over the window's own document
    return np.where(others > 0, order[np.minimum(place, len(order) - 1)], -1)
