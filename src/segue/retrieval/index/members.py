"""Candidates of the members that an engine finds.

An engine knows neither duplicates nor exclusions: it searches *members*, the rows of a pool numbered as in
``pool.members``. Here the members found become candidates, each at most once, without those that are excluded.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from segue.ranking.pool import Pool


class Leaving:
    """Candidates that are excluded, by query.

    Attributes:
        most: members of the excluded candidates, for the query with most of them.
    """

    def __init__(self, pool: Pool, exclude: Int[np.ndarray, "batch excluded"]) -> None:
        query, candidate = pool.removed_pairs(exclude)
        self._size = pool.size
        self._removed = query * pool.size + candidate  # rising
        self.most = int(np.bincount(query, weights=pool.count[candidate]).max(initial=0))

    def among(
        self, which: Int[np.ndarray, "some"], candidates: Int[np.ndarray, "some fetched"]
    ) -> Bool[np.ndarray, "some fetched"]:
        """Return which candidates are excluded; ``which`` is the query of each list of candidates."""
        return _found_in(self._removed, which[:, None] * self._size + candidates)


class Members:
    """Members of a pool, and the candidate of each."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._candidate = np.repeat(np.arange(pool.size), pool.count)

    def __len__(self) -> int:
        return len(self._candidate)

    def candidates(
        self, members: Int[np.ndarray, "some fetched"], *, which: Int[np.ndarray, "some"], leaving: Leaving
    ) -> Int[np.ndarray, "some fetched"]:
        """Return the candidate of each member; -1 for -1, for repeated candidates and for excluded ones."""
        candidates = members
        if self._pool.num_single < self._pool.size:
            candidates = first_ones(np.where(members >= 0, self._candidate[members], -1))
        gone = leaving.among(which, candidates)
        return np.where(gone, -1, candidates)


def _found_in(rising: Int[np.ndarray, "known"], keys: Int[np.ndarray, "*any"]) -> Bool[np.ndarray, "*any"]:
    """Return which keys are in an ascending array.

    >>> _found_in(np.array([2, 5]), np.array([5, 3, 2, 9]))
    array([ True, False,  True, False])
    """
    if len(rising) == 0:
        return np.zeros(keys.shape, dtype=bool)
    return rising[np.minimum(np.searchsorted(rising, keys), len(rising) - 1)] == keys


def first_ones(candidates: Int[np.ndarray, "batch fetched"]) -> Int[np.ndarray, "batch fetched"]:
    """Replace repeated candidates of each query by -1.

    >>> first_ones(np.array([[4, 2, 4, 4]]))
    array([[ 4,  2, -1, -1]])
    """
    order = np.argsort(candidates, axis=1, kind="stable")
    in_order = np.take_along_axis(candidates, order, axis=1)
    in_order[:, 1:][in_order[:, 1:] == in_order[:, :-1]] = -1
    first = np.empty_like(candidates)
    np.put_along_axis(first, order, in_order, axis=1)
    return first
