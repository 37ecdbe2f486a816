"""Order fetched candidates exactly.

A fetching function (a product in blocks, FAISS) returns candidates by approximate scores. Here they are scored again in
float64, ordered and cut at k. If the k-th score of a query is within the rounding error of the worst fetched one, more
candidates are fetched. Equal scores are ordered by row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import InputError
from segue.ranking.pool import Pool, exact_scores, rounding_bound
from segue.types import Rankings

Fetch = Callable[[Int[np.ndarray, "some"], int], tuple[np.ndarray, np.ndarray]]
"""``fetch(queries, count)`` → (candidates [some, any], each at most once, -1 = none; bound [some]). No candidate that
was not fetched has a float32 score above the bound, which is -inf where all were fetched. The size of the pool as count
fetches all."""

_MARGIN = 16  # candidates fetched beyond k, so that a second fetch is rare


def rank_exactly(queries: Float[np.ndarray, "batch dim"], pool: Pool, k: int, *, fetch: Fetch) -> Rankings:
    """Return the k best candidates of each query, fetching more where rounding errors could matter.

    Raises:
        InputError: ``k`` is below 1.
    """
    if k < 1:
        raise InputError("a ranking needs at least one place", got=k, expected="1 or more")
    rankings = empty_rankings(len(queries), k)
    bound = rounding_bound(queries)
    open_queries = np.arange(len(queries))
    count = min(k + _MARGIN, pool.size)
    while len(open_queries):
        candidates, worst_fetched = fetch(open_queries, count)
        found, last = _order(queries, pool, k, which=open_queries, candidates=candidates)
        rankings.rows[open_queries], rankings.scores[open_queries] = found.rows, found.scores
        settled = np.isneginf(worst_fetched) | (last - bound[open_queries] > worst_fetched)
        open_queries = open_queries[~settled & (count < pool.size)]
        count = min(4 * count, pool.size)
    return rankings


def empty_rankings(num_queries: int, k: int) -> Rankings:
    """Return rankings with empty places only."""
    return Rankings(np.full((num_queries, k), -1, dtype=np.int64), np.full((num_queries, k), -np.inf, dtype=np.float32))


def _order(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    k: int,
    *,
    which: Int[np.ndarray, "some"],
    candidates: Int[np.ndarray, "some fetched"],
) -> tuple[Rankings, Float[np.ndarray, "some"]]:
    """Order candidates (-1 = none) of some queries by falling exact score, then rising row.

    Returns:
        The rankings, each candidate by its best member, and the k-th score of each query, -inf where it has fewer.
    """
    query, place = np.nonzero(candidates >= 0)
    pair, rows = pool.expand(candidates[query, place])
    query = query[pair]
    scores = exact_scores(queries, pool.bank, query=which[query], rows=rows)
    order = np.lexsort((rows, -scores, query))
    order = order[np.sort(np.unique(pair[order], return_index=True)[1])]  # the best member of each candidate
    query = query[order]
    place = np.arange(len(order)) - np.searchsorted(query, np.arange(len(which)))[query]
    kept = order[place < k]
    query, place = query[place < k], place[place < k]
    rankings, last = empty_rankings(len(which), k), np.full(len(which), -np.inf)
    rankings.rows[query, place] = rows[kept]
    rankings.scores[query, place] = scores[kept]
    full = place == k - 1
    last[query[full]] = scores[kept[full]]
    return rankings, last


def differ_beyond_ties(one: Rankings, other: Rankings, *, tolerance: float) -> Bool[np.ndarray, "batch"]:
    """Mark the queries whose two rankings differ by more than close scores changing places.

    The row at each place must have the score of that place in the other ranking too, and what fell off the end must
    have been at the end.

    Args:
        one: rankings, empty places included.
        other: rankings of the same queries.
        tolerance: difference of close scores, relative to the largest score where that is above 1.

    >>> scores = np.array([[0.9, 0.5, 0.5]] * 2)
    >>> one = Rankings(np.array([[7, 3, 4], [7, 3, 4]]), scores)
    >>> other = Rankings(np.array([[7, 4, 3], [3, 7, 4]]), scores)
    >>> differ_beyond_ties(one, other, tolerance=1e-5).tolist()  # the first is a tie
    [False, True]
    """
    pairs = zip(one.rows, one.scores, other.rows, other.scores, strict=True)
    return np.array([_differs(*pair, tolerance=tolerance) for pair in pairs], dtype=bool)


def _differs(
    ours: Int[np.ndarray, "k"],
    scores: Float[np.ndarray, "k"],
    theirs: Int[np.ndarray, "k"],
    their_scores: Float[np.ndarray, "k"],
    *,
    tolerance: float,
) -> bool:
    known, known_too = ours >= 0, theirs >= 0
    if known.sum() != known_too.sum():
        return True
    if not known.any():
        return False
    ours, scores, theirs, their_scores = ours[known], scores[known], theirs[known], their_scores[known]
    slack = tolerance * max(1.0, float(np.abs(scores).max()))
    score_of = dict(zip(theirs.tolist(), their_scores.tolist(), strict=True))
    expected = np.array([score_of.get(name, float(their_scores[-1])) for name in ours.tolist()])
    return bool((np.abs(expected - scores) > slack).any())
