"""An engine of your own: random hyperplanes; a query is compared with the members of the buckets nearest to its own."""

from __future__ import annotations

import numpy as np


class Hyperplanes:
    """Locality-sensitive hashing: a member's bucket is the signs of its products with random directions."""

    def __init__(self, vectors: np.ndarray, planes: int = 8, seed: int = 1) -> None:
        directions = np.random.default_rng(seed).standard_normal((planes, vectors.shape[1]))
        self.vectors, self.directions = vectors, directions.astype(np.float32)
        self.signs = vectors @ self.directions.T > 0  # [member, plane]

    def search(self, queries: np.ndarray, count: int, *, flips: int) -> np.ndarray:
        """Return the best members whose signs differ in at most `flips` places, -1 where there are fewer."""
        found = np.full((len(queries), count), -1, dtype=np.int64)
        for number, query in enumerate(queries):
            apart = (self.signs != (self.directions @ query > 0)).sum(axis=1)
            near = np.flatnonzero(apart <= flips)
            best = near[np.argsort(-(self.vectors[near] @ query), kind="stable")][:count]
            found[number, : len(best)] = best
        return found

    def efforts(self) -> list[dict[str, int]]:
        """Return what tuning may choose from, from the least to the greatest."""
        return [{"flips": flips} for flips in range(len(self.directions) + 1)]
