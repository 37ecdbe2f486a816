"""Exact ranks, cosines and best candidates of query vectors over the whole bank.

Input: query vectors and a ``Pool`` of candidates. Output: ranks or rankings under the ranking rule: one candidate per
duplicate group (score = best of its members), excluded passages are removed with their duplicates, ties count against
the target.

A rank is 1 + the number of other candidates above the target's score - 1e-6. ``counting.py`` counts them as in exact
arithmetic.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from segue.ranking.blocks import ScoreBlock, visit_blocks
from segue.ranking.counting import count_candidates_above
from segue.ranking.ordering import rank_exactly
from segue.ranking.pool import (
    TIE,
    Pairs,
    Pool,
    among_pairs,
    exact_candidate_scores,
    exact_scores,
    require_queries,
    require_targets,
)
from segue.types import Bank, Rankings


@runtime_checkable
class Count(Protocol):
    """Counts as ``count_above``."""

    def __call__(
        self,
        queries: Float[np.ndarray, "batch dim"],
        pool: Pool,
        line: Float[np.ndarray, "batch several"],
        /,
        *,
        exclude: Int[np.ndarray, "batch excluded"],
    ) -> Int[np.ndarray, "batch several"]:
        """Return the number of candidates above each line."""


def target_ranks(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    targets: Int[np.ndarray, "batch"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
    count: Count | None = None,
) -> Int[np.ndarray, "batch"]:
    """Return the exact rank of each target among the candidates, 1 = best.

    The rank is 1 + the number of other candidates with a score above the target's - 1e-6: ties count against.

    Args:
        queries: predicted vectors, unit length.
        pool: the candidates; any member of a duplicate group may be the target.
        targets: rows of the true passages.
        exclude: rows to exclude with their duplicates, padded with -1; the group of the target is never excluded.
        count: counts in place of ``count_above``, anywhere: ``over_shards`` (``shards.py``).

    Raises:
        InputError: a query is not finite or of another dimension, or a target is not among the candidates.
    """
    require_targets(targets, pool.mask)
    return ranks_of_several(queries, pool, targets[:, None], exclude=exclude, count=count)[:, 0]


def ranks_of_several(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    targets: Int[np.ndarray, "batch several"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
    count: Count | None = None,
) -> Int[np.ndarray, "batch several"]:
    """Return the exact rank of each of several targets of a query, as ``target_ranks``, in one pass over the bank.

    Args:
        queries: predicted vectors, unit length.
        pool: the candidates.
        targets: rows; -1 means that there is none, and gets the rank -1.
        exclude: rows to exclude with their duplicates, padded with -1; for its own rank no target is excluded.
        count: as in ``target_ranks``.

    Raises:
        InputError: a query is not finite or of another dimension, or a target is not among the candidates.
    """
    require_queries(queries, pool.bank)
    there = targets >= 0
    require_targets(targets[there], pool.mask)
    own, scores = pool.candidates_of(targets), np.full(targets.shape, -np.inf)
    scores[there] = exact_candidate_scores(queries, pool, query=np.nonzero(there)[0], candidates=own[there])
    line = np.where(there, scores - TIE, np.inf)
    removed = pool.removed_pairs(exclude)
    gone = np.concatenate([exclude, targets], axis=1)  # targets are compared with each other below, in float64
    above = (count or count_above)(queries, pool, line, exclude=gone)
    rivals = _first_of_each(own) & there & ~among_pairs(own, removed)
    before = rivals[:, None, :] & (own[:, None, :] != own[:, :, None]) & (scores[:, None, :] > line[:, :, None])
    return np.where(there, 1 + above + before.sum(axis=2), -1)


def count_above(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    line: Float[np.ndarray, "batch several"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch several"]:
    """Count the candidates that score above each line of each query, as in exact arithmetic.

    A rank is one more than such a count, and the counts of parts of a pool add up to that of the pool.

    Args:
        queries: vectors of any length.
        pool: the candidates.
        line: scores, float64; for infinity the count is 0.
        exclude: rows that do not count, nor their duplicates; padded with -1.
    """
    return count_candidates_above(queries, pool, line, removed=pool.removed_pairs(exclude))


def _first_of_each(own: Int[np.ndarray, "batch several"]) -> Bool[np.ndarray, "batch several"]:
    """Return which targets are the first of their candidate among a query's targets.

    >>> _first_of_each(np.array([[4, 9, 4]])).tolist()
    [[True, True, False]]
    """
    return ~np.tril(own[:, :, None] == own[:, None, :], -1).any(axis=2)


def target_cosines(
    queries: Float[np.ndarray, "batch dim"], bank: Bank, targets: Int[np.ndarray, "batch"]
) -> Float[np.ndarray, "batch"]:
    """Return the cosine of each query and its target, float64; 0 for a query of length 0."""
    require_queries(queries, bank)
    length = np.linalg.norm(queries.astype(np.float64), axis=1)
    scores = exact_scores(queries, bank, query=np.arange(len(queries)), rows=targets)
    return np.divide(scores, length, out=np.zeros_like(scores), where=length > 0)


def top_k(
    queries: Float[np.ndarray, "batch dim"], pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]
) -> Rankings:
    """Return the k best candidates of each query, best first.

    Args:
        queries: predicted vectors, unit length.
        pool: the candidates; each is represented by its best member, the lowest row among equals.
        k: number of places, at least 1; empty places hold row -1 and score -inf.
        exclude: rows to exclude with their duplicates, padded with -1.

    Raises:
        InputError: a query is not finite or of another dimension.
    """
    require_queries(queries, pool.bank)
    removed = pool.removed_pairs(exclude)

    def fetch(which: Int[np.ndarray, "some"], count: int) -> tuple[np.ndarray, np.ndarray]:
        return _fetch(queries[which], pool, count, _of_queries(removed, which, len(queries)))

    return rank_exactly(queries, pool, k, fetch=fetch)


def _of_queries(
    pairs: Pairs, which: Int[np.ndarray, "some"], total: int
) -> tuple[Int[np.ndarray, "kept"], Int[np.ndarray, "kept"]]:
    """Keep the pairs of the chosen queries, and number the queries by their place in ``which``."""
    place = np.full(total, -1, dtype=np.int64)
    place[which] = np.arange(len(which))
    query = place[pairs[0]]
    return query[query >= 0], pairs[1][query >= 0]


def _fetch(
    queries: Float[np.ndarray, "batch dim"], pool: Pool, count: int, removed: Pairs
) -> tuple[Int[np.ndarray, "batch count"], Float32[np.ndarray, "batch"]]:
    """Return the ``count`` candidates with the best float32 scores, in no order, and the worst of those scores."""
    candidates = np.full((len(queries), count), -1, dtype=np.int64)
    best = np.full((len(queries), count), -np.inf, dtype=np.float32)

    def keep_best(block: ScoreBlock) -> None:
        here = block.queries
        new, scores = _entering(block, best[here].min(axis=1))
        both = np.concatenate([best[here], scores], axis=1)
        kept = np.argpartition(both, both.shape[1] - count, axis=1)[:, both.shape[1] - count :]
        best[here] = np.take_along_axis(both, kept, axis=1)
        candidates[here] = np.take_along_axis(np.concatenate([candidates[here], new], axis=1), kept, axis=1)

    visit_blocks(queries, pool, removed, keep_best)
    return candidates, best.min(axis=1)


def _entering(
    block: ScoreBlock, worst: Float32[np.ndarray, "batch"]
) -> tuple[Int[np.ndarray, "batch most"], Float32[np.ndarray, "batch most"]]:
    """Return the candidates of a block that score above the worst of those kept so far."""
    place, column = np.divmod(np.flatnonzero(block.scores > worst[:, None]), block.scores.shape[1])
    count = np.bincount(place, minlength=len(worst))
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    candidates = np.full((len(worst), count.max(initial=0)), -1, dtype=np.int64)
    scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
    candidates[place, within] = block.first_candidate + column
    scores[place, within] = block.scores[place, column]
    return candidates, scores
