"""Indexes: from query vectors to the best candidates of a pool.

One small Protocol, one file per engine. The others are measured against ``exact``; every index follows the ranking rule
of ``segue.ranking.exact.top_k``.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.pool import Pool
from segue.types import Rankings


@runtime_checkable
class Index(Protocol):
    """Searches one pool."""

    pool: Pool

    def search(
        self, queries: Float[np.ndarray, "batch dim"], k: int, *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Rankings:
        """Return the k best candidates of each query, best first.

        Args:
            queries: predicted unit vectors.
            k: places; empty ones hold row -1 and score -inf.
            exclude: rows that leave the candidates with their duplicates, padded with -1.
        """
        ...
