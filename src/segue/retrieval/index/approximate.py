"""Approximate search under the ranking rule: an engine finds members, which are ranked here.

The engine searches compressed vectors, then scores what it found with the members' own vectors in float32. Scores that
differ by more than the rounding error are in the right order; only nearer ones are computed again in float64. An
approximate index can miss candidates, but orders what it finds as the exact index does. It never gives the ranks of
targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from segue.errors import InputError
from segue.ranking.ordering import empty_rankings
from segue.ranking.pool import Pool, exact_scores, require_queries, rounding_bound
from segue.retrieval.index.engine import Effort, Engine
from segue.retrieval.index.members import Leaving, Members
from segue.types import Rankings

MARGIN = 8
"""Members fetched in addition, so that equal scores at the end do not depend on the engine."""
_DEEPER = 4
_NOWHERE = -4.0  # below every cosine, and far from it


VectorsOf = Callable[[Int[np.ndarray, "some"]], Float32[np.ndarray, "some dim"]]


@dataclass(frozen=True)
class FoundCandidates:
    """Candidates of queries with their best member so far; -1 = none, with a score below every cosine."""

    candidates: Int[np.ndarray, "batch fetched"]
    rows: Int[np.ndarray, "batch fetched"]
    scores: Float[np.ndarray, "batch fetched"]


class ApproximateIndex:
    """Searches a pool with an engine.

    Args:
        pool: the candidates.
        engine: built over ``pool.members``.
        effort: effort of every search.
    """

    def __init__(self, pool: Pool, engine: Engine, effort: Effort) -> None:
        self.pool = pool
        self.engine = engine
        self.effort = effort
        self._members = Members(pool)

    def facts(self) -> Mapping[str, object]:
        """Return the engine's settings and sizes, the effort, and the number of members."""
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
            raise InputError("a ranking needs at least one place", got=k, expected="1 or more")
        leaving = Leaving(self.pool, exclude)
        rankings = empty_rankings(len(queries), k)
        rounded = np.ascontiguousarray(queries, dtype=np.float32)
        which, depth = np.arange(len(queries)), min(k + MARGIN + leaving.most, len(self._members))
        while len(which):
            scores, members = self.engine.search(rounded[which], depth, effort=self.effort)
            candidates = self._members.candidates(members, which=which, leaving=leaving)
            found = ordered(
                queries[which], self.pool, candidates=candidates, members=members, scores=scores,
                vectors_of=self.engine.vectors_of,
            )  # fmt: skip
            width = min(k, found.rows.shape[1])
            there = found.candidates[:, :width] >= 0
            rankings.rows[which, :width] = np.where(there, found.rows[:, :width], -1)
            rankings.scores[which, :width] = np.where(there, found.scores[:, :width], -np.inf)
            short = (rankings.rows[which, -1] < 0) & (members[:, -1] >= 0)  # duplicates took the places
            which = which[short & (depth < len(self._members))]
            depth = min(_DEEPER * depth, len(self._members))
        return rankings


def ordered(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    *,
    candidates: Int[np.ndarray, "batch fetched"],
    members: Int[np.ndarray, "batch fetched"],
    scores: Float32[np.ndarray, "batch fetched"],
    vectors_of: VectorsOf,
) -> FoundCandidates:
    """Order candidates by falling score, then rising row, as exact arithmetic would.

    Args:
        queries: unit vectors.
        pool: the candidates.
        candidates: each once, -1 = none.
        members: which of its members was found.
        scores: scores of that member, best first; off by at most ``rounding_bound``. Float64 scores replace them where
            that leaves the order open, and for candidates with several members.
        vectors_of: the members' vectors.
    """
    there = candidates >= 0
    rough = np.where(there, scores, np.float32(_NOWHERE))
    if not there.all():
        order = np.argsort(-rough, axis=1, kind="stable")
        here = np.arange(len(queries))[:, None]
        candidates, members, rough, there = (part[here, order] for part in (candidates, members, rough, there))
    found = FoundCandidates(candidates, pool.members[members], rough)
    shared = there & (candidates >= pool.num_single)
    single = there & ~shared & _undecided(rough, 2 * rounding_bound(queries))
    if not (single.any() or shared.any()):
        return found
    exact = FoundCandidates(candidates, found.rows.copy(), rough.astype(np.float64))
    query, place = np.nonzero(single)
    if len(query):
        vectors = vectors_of(members[query, place])
        exact.scores[query, place] = np.einsum("pd,pd->p", queries[query], vectors, dtype=np.float64)
    if shared.any():
        _settle_shared(queries, pool, exact, shared)
    order = np.lexsort((exact.rows, -exact.scores), axis=1)
    here = np.arange(len(queries))[:, None]
    return FoundCandidates(*(part[here, order] for part in (exact.candidates, exact.rows, exact.scores)))


def _undecided(
    falling: Float[np.ndarray, "batch fetched"], bound: Float[np.ndarray, "batch"]
) -> Bool[np.ndarray, "batch fetched"]:
    """Return which scores are nearer to a neighbour than the bound.

    >>> _undecided(np.array([[0.9, 0.5, 0.45, 0.1]]), np.array([0.1])).tolist()
    [[False, True, True, False]]
    """
    near = falling[:, :-1] - falling[:, 1:] <= bound[:, None]
    undecided = np.zeros(falling.shape, dtype=bool)
    undecided[:, :-1] |= near
    undecided[:, 1:] |= near
    return undecided


def _settle_shared(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    found: FoundCandidates,
    shared: Bool[np.ndarray, "batch fetched"],
) -> None:
    """Score candidates with several members in float64, each as its best member, the lowest row among equals."""
    query, place = np.nonzero(shared)
    pair, rows = pool.expand(found.candidates[query, place])
    scores = exact_scores(queries, pool.bank, query=query[pair], rows=rows)
    best = np.lexsort((rows, -scores, pair))
    best = best[np.unique(pair[best], return_index=True)[1]]
    found.rows[query, place], found.scores[query, place] = rows[best], scores[best]
