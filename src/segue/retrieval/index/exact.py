"""Exact search with FAISS: the reference of all indexes, and fast enough to serve small banks.

Keeps the pool's vectors in memory as float32. FAISS knows neither duplicates nor exclusions, so it fetches k rows, one
for every row that may leave, and a margin; these are then ordered exactly. ``OMP_NUM_THREADS`` or
``faiss.omp_set_num_threads`` set the number of threads.
"""

from __future__ import annotations

import faiss
import numpy as np
from jaxtyping import Float, Int

from segue.ranking.ordering import rank_exactly
from segue.ranking.pool import Pool, require_queries
from segue.retrieval.index.members import Leaving, Members
from segue.types import Rankings

_ROWS_AT_ONCE = 16_384


class ExactIndex:
    """Flat inner-product index of all candidates of a pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._members = Members(pool)
        self._flat = faiss.IndexFlatIP(pool.bank.dimension)
        for begin in range(0, len(pool.members), _ROWS_AT_ONCE):
            self._flat.add(np.ascontiguousarray(pool.bank.gather(pool.members[begin : begin + _ROWS_AT_ONCE])))

    def search(
        self, queries: Float[np.ndarray, "batch dim"], k: int, *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Rankings:
        """Return the k best candidates of each query, exactly as ``segue.ranking.exact.top_k`` does.

        Raises:
            InputError: a query is not finite or of another dimension, or ``k`` is below 1.
        """
        require_queries(queries, self.pool.bank)
        rounded = np.ascontiguousarray(queries, dtype=np.float32)
        leaving = Leaving(self.pool, exclude)

        def fetch(which: Int[np.ndarray, "some"], count: int) -> tuple[np.ndarray, np.ndarray]:
            depth = self._flat.ntotal if count == self.pool.size else min(count + leaving.most, self._flat.ntotal)
            scores, members = self._flat.search(rounded[which], depth)
            candidates = self._members.candidates(members, which=which, leaving=leaving)
            worst = scores[:, -1] if depth < self._flat.ntotal else np.full(len(which), -np.inf, dtype=np.float32)
            return candidates, worst

        return rank_exactly(queries, self.pool, k, fetch=fetch)
