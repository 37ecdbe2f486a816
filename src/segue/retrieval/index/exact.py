"""Exact search with FAISS: the oracle of all indexes, and fast enough to serve small banks.

Keeps the pool's vectors in memory as float32. FAISS knows neither duplicates nor exclusions, so more rows are fetched
than asked for: k, one for every row that may leave, and a margin; what is fetched is then ordered exactly. Threads are
those that the caller allowed (``OMP_NUM_THREADS`` or ``faiss.omp_set_num_threads``).
"""

from __future__ import annotations

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from segue.data.pool import Pool, require_queries
from segue.data.ranking import rank_exactly
from segue.types import Rankings

_ROWS_AT_ONCE = 16_384


class ExactIndex:
    """All candidates of a pool in a flat inner-product index."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._candidate = np.repeat(np.arange(pool.size), pool.count)  # of each member, as FAISS numbers them
        self._flat = faiss.IndexFlatIP(pool.bank.dimension)
        for begin in range(0, len(pool.members), _ROWS_AT_ONCE):
            self._flat.add(np.ascontiguousarray(pool.bank.gather(pool.members[begin : begin + _ROWS_AT_ONCE])))

    def search(
        self, queries: Float[np.ndarray, "batch dim"], k: int, *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Rankings:
        """Return the k best candidates of each query, exactly as ``segue.data.scoring.top_k`` does.

        Raises:
            InputError: a query is not finite or of another dimension, or ``k`` is below 1.
        """
        require_queries(queries, self.pool.bank)
        rounded = np.ascontiguousarray(queries, dtype=np.float32)
        query, candidate = self.pool.removed_pairs(exclude)
        removed = query * self.pool.size + candidate  # rising
        leaving = int(np.bincount(query, weights=self.pool.count[candidate]).max(initial=0))

        def fetch(which: Int[np.ndarray, "some"], count: int) -> tuple[np.ndarray, np.ndarray]:
            depth = self._flat.ntotal if count == self.pool.size else min(count + leaving, self._flat.ntotal)
            scores, members = self._flat.search(rounded[which], depth)
            candidates = _first_ones(self._candidate[members]) if self.pool.num_single < self.pool.size else members
            candidates[_found_in(removed, which[:, None] * self.pool.size + candidates)] = -1
            worst = scores[:, -1] if depth < self._flat.ntotal else np.full(len(which), -np.inf, dtype=np.float32)
            return candidates, worst

        return rank_exactly(queries, self.pool, k, fetch=fetch)


def _found_in(rising: Int[np.ndarray, "known"], keys: Int[np.ndarray, "*any"]) -> Bool[np.ndarray, "*any"]:
    """Tell which keys stand in an ascending array.

    >>> _found_in(np.array([2, 5]), np.array([5, 3, 2, 9]))
    array([ True, False,  True, False])
    """
    if len(rising) == 0:
        return np.zeros(keys.shape, dtype=bool)
    return rising[np.minimum(np.searchsorted(rising, keys), len(rising) - 1)] == keys


def _first_ones(candidates: Int[np.ndarray, "batch fetched"]) -> Int[np.ndarray, "batch fetched"]:
    """Replace repeated candidates of each query by -1.

    >>> _first_ones(np.array([[4, 2, 4, 4]]))
    array([[ 4,  2, -1, -1]])
    """
    order = np.argsort(candidates, axis=1, kind="stable")
    in_order = np.take_along_axis(candidates, order, axis=1)
    in_order[:, 1:][in_order[:, 1:] == in_order[:, :-1]] = -1
    first = np.empty_like(candidates)
    np.put_along_axis(first, order, in_order, axis=1)
    return first
