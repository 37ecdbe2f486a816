"""Order fetched candidates exactly.

A fetching function (a product in blocks, FAISS) returns candidates by approximate scores. Here they are scored again in
float64, ordered and cut at k. If the k-th score of a query is within the rounding error of the worst fetched one, more
candidates are fetched. Equal scores are ordered by row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

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
