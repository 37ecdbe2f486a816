"""Approximate search under the ranking rule: an engine finds members, here they become a ranking.

The engine's scores are float32 inner products with the members' own vectors (it searches compressed ones, then computes
what it found again). So scores that are farther apart than the rounding error are in the right order, and only nearer
ones are computed again in float64: one query costs tens of microseconds beside the search. An approximate index can
miss candidates; what it answers is ordered as the exact index orders it. Ranks of targets never come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from segue.data.pool import Pool, exact_scores, require_queries, rounding_bound
from segue.data.ranking import empty_rankings
from segue.errors import InputError, explain
from segue.retrieval.index.engine import Effort, Engine
from segue.retrieval.index.members import Leaving, Members
from segue.types import Rankings

MARGIN = 8
"""Members fetched beyond those asked for, so that equal scores at the end do not depend on the engine."""
_DEEPER = 4
_NOWHERE = -4.0  # below every cosine, and far from it


@dataclass(frozen=True)
class Found:
    """Candidates of some queries with their best member so far; -1 = none, scored below every cosine."""

    candidates: Int[np.ndarray, "batch fetched"]
    rows: Int[np.ndarray, "batch fetched"]
    scores: Float[np.ndarray, "batch fetched"]


class ApproximateIndex:
    """A pool that is searched by an engine.

    Args:
        pool: the candidates.
        engine: built over ``pool.members``.
        effort: of every search; what tuning chose.
    """

    def __init__(self, pool: Pool, engine: Engine, effort: Effort) -> None:
        self.pool = pool
        self.engine = engine
        self.effort = effort
        self._members = Members(pool)

    def facts(self) -> dict[str, Any]:
        """Return what it is made of and how hard it tries."""
        return {**self.engine.facts(), "effort": dict(self.effort), "members": len(self._members)}

    def search(
        self, queries: Float[np.ndarray, "batch dim"], k: int, *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Rankings:
        """Return the k best candidates of each query that the engine finds.

        Raises:
            InputError: a query is not finite or of another dimension, or ``k`` is below 1.
        """
        require_queries(queries, self.pool.bank)
        if k < 1:
            raise InputError(explain("a ranking needs at least one place", got=k, expected="1 or more"))
        leaving = Leaving(self.pool, exclude)
        rankings = empty_rankings(len(queries), k)
        rounded = np.ascontiguousarray(queries, dtype=np.float32)
        which, depth = np.arange(len(queries)), min(k + MARGIN + leaving.most, len(self._members))
        while len(which):
            scores, members = self.engine.search(rounded[which], depth, effort=self.effort)
            candidates = self._members.candidates(members, which=which, leaving=leaving)
            found = ordered(queries[which], self.pool, candidates=candidates, scores=scores)
            _put(rankings, which, found, k)
            short = (rankings.rows[which, -1] < 0) & (members[:, -1] >= 0)  # duplicates took the places
            which = which[short & (depth < len(self._members))]
            depth = min(_DEEPER * depth, len(self._members))
        return rankings


def _put(rankings: Rankings, which: Int[np.ndarray, "some"], found: Found, k: int) -> None:
    width = min(k, found.rows.shape[1])
    there = found.candidates[:, :width] >= 0
    rankings.rows[which, :width] = np.where(there, found.rows[:, :width], -1)
    rankings.scores[which, :width] = np.where(there, found.scores[:, :width], -np.inf)


def ordered(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    *,
    candidates: Int[np.ndarray, "batch fetched"],
    scores: Float32[np.ndarray, "batch fetched"],
) -> Found:
    """Order candidates (-1 = none, each once) by falling score, then rising row, as exact arithmetic would.

    ``scores`` may be off by ``rounding_bound``: where that leaves the order open, and for candidates with several
    members, they are replaced by float64 ones.
    """
    there = candidates >= 0
    rough = np.where(there, scores, np.float32(_NOWHERE))
    order = np.argsort(-rough, axis=1, kind="stable")
    found = Found(*(np.take_along_axis(values, order, axis=1) for values in (candidates, candidates, rough)))
    rows = pool.members[pool.start[found.candidates]]
    open_order = _undecided(found.scores, 2 * rounding_bound(queries)) | (found.candidates >= pool.num_single)
    open_order &= found.candidates >= 0
    if not open_order.any():
        return Found(found.candidates, rows, found.scores)
    return _settled(queries, pool, Found(found.candidates, rows, found.scores), open_order)


def _undecided(
    falling: Float[np.ndarray, "batch fetched"], bound: Float[np.ndarray, "batch"]
) -> Bool[np.ndarray, "batch fetched"]:
    """Tell which scores are nearer to a neighbour than the bound.

    >>> _undecided(np.array([[0.9, 0.5, 0.45, 0.1]]), np.array([0.1])).tolist()
    [[False, True, True, False]]
    """
    near = falling[:, :-1] - falling[:, 1:] <= bound[:, None]
    undecided = np.zeros(falling.shape, dtype=bool)
    undecided[:, :-1] |= near
    undecided[:, 1:] |= near
    return undecided


def _settled(
    queries: Float[np.ndarray, "batch dim"], pool: Pool, found: Found, open_order: Bool[np.ndarray, "batch fetched"]
) -> Found:
    """Score the marked candidates in float64, each as its best member (the lowest row among equals), and sort again."""
    query, place = np.nonzero(open_order)
    pair, member_rows = pool.expand(found.candidates[query, place])
    exact = exact_scores(queries, pool.bank, query=query[pair], rows=member_rows)
    best = np.lexsort((member_rows, -exact, pair))
    best = best[np.unique(pair[best], return_index=True)[1]]
    rows, scores = found.rows.copy(), found.scores.astype(np.float64)
    rows[query, place], scores[query, place] = member_rows[best], exact[best]
    order = np.lexsort((rows, -scores), axis=1)
    return Found(*(np.take_along_axis(values, order, axis=1) for values in (found.candidates, rows, scores)))
