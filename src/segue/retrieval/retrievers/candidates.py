"""Candidates of a reranker: the best of several sources, each text once.

Which passages are drawn may not depend on the order of the bank's rows. So a source whose cutoff falls into a tie (BM25
without shared words) draws none of the tied, and where the members of a duplicate group differ, the one that represents
the group is chosen by its vector, not by its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.ranking.pool import Pool
from segue.retrieval.rerank import CandidateLists
from segue.retrieval.retrievers.interface import Scores
from segue.types import Rankings

Source = tuple[Scores, int]
"""Scores of a batch by one source, and the number of candidates drawn by them."""
OfPairs = Callable[[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]], Float[np.ndarray, "pair"]]

SLACK = 1e-6
"""Relative difference below which scores at the cutoff are tied."""


@dataclass(frozen=True)
class Drawn:
    """Candidates of a batch.

    Attributes:
        numbers: each candidate's number in the pool, -1 at the pads; in the order of ``candidates.rows``.
        candidates: input of the reranker, best of the first stage first.
        ranking: of the first stage, for the places after the reranked; None within a document.
    """

    numbers: Int[np.ndarray, "batch candidate"]
    candidates: CandidateLists
    ranking: Rankings | None = None


def draw(sources: Sequence[Source], pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"], k: int = 0) -> Drawn:
    """Draw from each source its best candidates of ``pool``; the first source is the first stage.

    Args:
        sources: scores of the batch by each source.
        pool: drawn from.
        exclude: rows that are left out with their duplicates, padded with -1.
        k: fewest places of the first stage's ranking.
    """
    found = []
    for number, (scores, count) in enumerate(sources):
        ranking = scores.top(pool, max(count + 1, k if number == 0 else 0), exclude=exclude)
        drawn = _before_the_cut(ranking.scores, count)
        found.append((ranking, np.where(drawn, pool.candidates_of(ranking.rows), -1)))
    union = _union([numbers for _, numbers in found], pool.size)
    by_source = np.full((len(union), len(sources), union.shape[1]), -np.inf)
    for source, (ranking, numbers) in enumerate(found):
        query, place = np.nonzero(numbers >= 0)
        column = _columns(union, query, numbers[query, place], pool.size)
        by_source[query, source, column] = ranking.scores[query, place]
    return _drawn(union, by_source, pool, sources[0][0].of_pairs, found[0][0])


def draw_within(
    sources: Sequence[Source],
    pool: Pool,
    *,
    which: Int[np.ndarray, "chosen"],
    exclude: Int[np.ndarray, "chosen excluded"],
) -> Drawn:
    """Draw from a small pool (one document) for some contexts of the batch, scoring all of it.

    Args:
        sources: scores of the whole batch by each source.
        pool: few candidates.
        which: the contexts.
        exclude: rows that are left out, for each of them.
    """
    numbers = np.tile(np.arange(pool.size), (len(which), 1))
    numbers[pool.removed_pairs(exclude)] = -1
    by_source = np.full((len(which), len(sources), pool.size), -np.inf)
    for source, (scores, count) in enumerate(sources):
        _, values = best_members(of_some(scores, which), pool, numbers)
        falling = -np.sort(-values, axis=1)
        cut = falling[:, count, None] if count < pool.size else np.full((len(which), 1), -np.inf)
        by_source[:, source] = np.where(_above(values, cut), values, -np.inf)
    numbers = np.where(np.isneginf(by_source).all(axis=1), -1, numbers)
    return _drawn(numbers, by_source, pool, of_some(sources[0][0], which), None)


def of_some(scores: Scores, which: Int[np.ndarray, "chosen"]) -> OfPairs:
    """Return a function that scores pairs whose contexts are numbered among the chosen ones."""
    return lambda query, rows: scores.of_pairs(which[query], rows)


def _drawn(
    numbers: Int[np.ndarray, "batch candidate"],
    by_source: Float[np.ndarray, "batch source candidate"],
    pool: Pool,
    of_pairs: OfPairs,
    ranking: Rankings | None,
) -> Drawn:
    """Find each candidate's row and put the lists in the first stage's order, pads at the end."""
    rows, first = best_members(of_pairs, pool, numbers)
    order = np.lexsort((-first, rows < 0), axis=1)
    order = order[:, : max(1, int((numbers >= 0).sum(axis=1).max(initial=0)))]
    lists = np.arange(len(order))[:, None]  # plain indexing: np.take_along_axis takes three times as long here
    sources = np.arange(by_source.shape[1])[:, None]
    by_source = by_source[lists[:, :, None], sources, order[:, None, :]]
    return Drawn(
        numbers[lists, order], CandidateLists(rows[lists, order], first[lists, order], sources=by_source), ranking
    )


def _before_the_cut(scores: Float[np.ndarray, "batch k"], count: int) -> Bool[np.ndarray, "batch k"]:
    """Return which of the first ``count`` places are not tied with the first one that is left out.

    >>> _before_the_cut(np.array([[3.0, 2.0, 2.0, 1.0], [3.0, 2.0, -np.inf, -np.inf]]), 2).tolist()
    [[True, False, False, False], [True, True, False, False]]
    """
    drawn = _above(scores, scores[:, count, None])
    drawn[:, count:] = False
    return drawn


def _above(scores: Float[np.ndarray, "batch k"], cut: Float[np.ndarray, "batch 1"]) -> Bool[np.ndarray, "batch k"]:
    slack = SLACK * np.maximum(1.0, np.abs(np.where(cut == -np.inf, 0.0, cut)))
    return scores > cut + slack


def _union(numbers: Sequence[Int[np.ndarray, "batch _"]], size: int) -> Int[np.ndarray, "batch candidate"]:
    """Return the distinct numbers of each context, rising, padded with -1.

    >>> _union([np.array([[4, 2]]), np.array([[2, -1, 7]])], 9).tolist()
    [[2, 4, 7]]
    """
    both = np.concatenate(numbers, axis=1)
    both = np.sort(np.where(both < 0, size, both), axis=1)
    both[:, 1:][both[:, 1:] == both[:, :-1]] = size
    both = np.sort(both, axis=1)[:, : max(1, int((both < size).sum(axis=1).max(initial=0)))]
    return np.where(both == size, -1, both)


def _columns(
    union: Int[np.ndarray, "batch candidate"],
    query: Int[np.ndarray, "pair"],
    numbers: Int[np.ndarray, "pair"],
    size: int,
) -> Int[np.ndarray, "pair"]:
    """Return the place of each number in its context's union."""
    rising = np.where(union < 0, size, union) + np.arange(len(union))[:, None] * (size + 1)
    return np.searchsorted(rising.ravel(), query * (size + 1) + numbers) - query * union.shape[1]


def best_members(
    of_pairs: OfPairs, pool: Pool, numbers: Int[np.ndarray, "batch some"]
) -> tuple[Int[np.ndarray, "batch some"], Float[np.ndarray, "batch some"]]:
    """Return the row that represents each candidate and its score; -1 and -inf where the number is -1.

    It is the member with the best score; among equals the one whose vector is smaller in its first components.
    """
    rows, scores = np.full(numbers.shape, -1, dtype=np.int64), np.full(numbers.shape, -np.inf)
    query, place = np.nonzero(numbers >= 0)
    pair, members = pool.expand(numbers[query, place])
    values = of_pairs(query[pair], members)
    leader = _leaders(pool, pair, members, values)
    rows[query, place], scores[query, place] = members[leader], values[leader]
    return rows, scores


def _leaders(
    pool: Pool, pair: Int[np.ndarray, "member"], rows: Int[np.ndarray, "member"], values: Float[np.ndarray, "member"]
) -> Int[np.ndarray, "pair"]:
    """Return the best member of each pair; the members of a pair are adjacent."""
    count = np.bincount(pair)
    leader = np.cumsum(count) - count
    shared = np.flatnonzero(count[pair] > 1)
    if len(shared):
        components = pool.bank.gather(rows[shared])[:, :2].T
        order = shared[np.lexsort((rows[shared], *components, -values[shared], pair[shared]))]
        distinct, first = np.unique(pair[order], return_index=True)
        leader[distinct] = order[first]
    return leader
