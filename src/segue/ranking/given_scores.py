"""Exact ranks and best candidates where all scores are known: BM25 over the whole bank, passages of one document.

The ranking rule is that of ``exact.py``: one candidate per duplicate group, excluded passages are removed with their
duplicates but never the target's own group, and scores within 1e-6 of the target's count against it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError
from segue.ranking.ordering import empty_rankings
from segue.ranking.pool import TIE, Pairs, Pool, among_pairs, best_of_runs, require_queries, require_targets
from segue.types import Bank, Rankings

_QUERIES_AT_ONCE = 64


def ranks_of_scores(
    scores: Float[np.ndarray, "batch bank"],
    pool: Pool,
    targets: Int[np.ndarray, "batch"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch"]:
    """Return the exact rank of each target, given the scores of all rows (any scale; -inf: no candidate).

    Raises:
        InputError: a score is NaN, or a target is not among the candidates.
    """
    require_targets(targets, pool.mask)
    return ranks_of_several_scores(scores, pool, targets[:, None], exclude=exclude)[:, 0]


def ranks_of_several_scores(
    scores: Float[np.ndarray, "batch bank"],
    pool: Pool,
    targets: Int[np.ndarray, "batch several"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch several"]:
    """Return the exact rank of each of several targets, -1 for a target of -1, given the scores of all rows.

    Raises:
        InputError: a score is NaN, or a target is not among the candidates.
    """
    _require_scores(scores, pool.bank)
    require_targets(targets[targets >= 0], pool.mask)
    own = pool.candidates_of(targets)
    ranks = np.empty(targets.shape, dtype=np.int64)
    for begin in range(0, len(targets), _QUERIES_AT_ONCE):
        part = slice(begin, begin + _QUERIES_AT_ONCE)
        shared = best_of_runs(scores[part][:, pool.shared_rows].T, pool.count[pool.num_single :]).T
        by_candidate = np.concatenate([scores[part][:, pool.single_rows], shared], axis=1)
        ranks[part] = _ranks(by_candidate, own[part], pool.removed_pairs(exclude[part]))
    return ranks


def _ranks(
    scores: Float[np.ndarray, "batch candidate"], own: Int[np.ndarray, "batch several"], removed: Pairs
) -> Int[np.ndarray, "batch several"]:
    """Count the other candidates above each target's score - 1e-6, from scores that may be overwritten."""
    place = np.maximum(own, 0)
    line = np.take_along_axis(scores, place, axis=1).astype(np.float64) - TIE
    scores[removed] = -np.inf
    left = np.take_along_axis(scores, place, axis=1)
    above = np.stack([(scores > one[:, None]).sum(axis=1) for one in line.T], axis=1) - (left > line)
    # A target that scores -inf ranks after everything else, other candidates with -inf included.
    gone = np.bincount(removed[0], minlength=len(own))[:, None]
    never = scores.shape[1] - gone - ~among_pairs(own, removed)
    return np.where(own < 0, -1, 1 + np.where(np.isneginf(line), never, above))


def top_k_of_scores(
    scores: Float[np.ndarray, "batch bank"], pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]
) -> Rankings:
    """Return the k best candidates of each query, given the scores of all rows; equal scores by rising row.

    Raises:
        InputError: a score is NaN, or ``k`` is below 1.
    """
    _require_scores(scores, pool.bank)
    if k < 1:
        raise InputError("a ranking needs at least one place", got=k, expected="1 or more")
    rankings = empty_rankings(len(scores), k)
    for begin in range(0, len(scores), _QUERIES_AT_ONCE):
        part = slice(begin, begin + _QUERIES_AT_ONCE)
        leaders = _leaders(scores[part], pool, pool.removed_pairs(exclude[part]))
        for query, row_scores in enumerate(leaders, start=begin):
            rows = _best_rows(row_scores, k)
            rankings.rows[query, : len(rows)] = rows
            rankings.scores[query, : len(rows)] = row_scores[rows]
    return rankings


def _leaders(scores: Float[np.ndarray, "batch bank"], pool: Pool, removed: Pairs) -> Float[np.ndarray, "batch bank"]:
    """Copy the scores, with -inf everywhere except at the best member (lowest row among equals) of each candidate."""
    leaders = np.full(scores.shape, -np.inf, dtype=scores.dtype)
    leaders[:, pool.single_rows] = scores[:, pool.single_rows]
    if pool.num_single < pool.size:
        shared, count = pool.shared_rows, pool.count[pool.num_single :]
        by_member = scores[:, shared]
        is_best = by_member == np.repeat(best_of_runs(by_member.T, count).T, count, axis=1)
        start = np.cumsum(count) - count
        first = np.minimum.reduceat(np.where(is_best, shared, scores.shape[1]), start, axis=1)
        here = np.arange(len(scores))[:, None]
        leaders[here, first] = scores[here, first]
    pair, rows = pool.expand(removed[1])
    leaders[removed[0][pair], rows] = -np.inf
    return leaders


def _best_rows(scores: Float[np.ndarray, "bank"], k: int) -> Int[np.ndarray, "found"]:
    """Return the rows of the k best scores above -inf, best first, equal ones by rising row.

    >>> _best_rows(np.array([0.5, 0.9, 0.5, -np.inf]), 2)
    array([1, 0])
    """
    if k < len(scores):
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > worst)
        rows = np.concatenate([above, np.flatnonzero(scores == worst)[: k - len(above)]])
    else:
        rows = np.arange(len(scores))
    rows = rows[~np.isneginf(scores[rows])]
    return rows[np.lexsort((rows, -scores[rows]))]


def _require_scores(scores: Float[np.ndarray, "batch bank"], bank: Bank) -> None:
    if scores.shape[1] != len(bank):
        raise InputError("scores must cover the whole bank", got=f"{scores.shape[1]} scores", expected=f"{len(bank)}")
    broken = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(broken):
        raise InputError(f"scores of query {broken[0]} hold NaN", got=f"{len(broken)} such queries")


def in_document_ranks(
    queries: Float[np.ndarray, "batch dim"],
    bank: Bank,
    targets: Int[np.ndarray, "batch"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch"]:
    """Return the exact rank of each target among the live passages of its own document.

    Raises:
        InputError: a query is not finite or of another dimension, or a target was deleted.
    """
    require_queries(queries, bank)
    require_targets(targets, bank.alive)
    ranks = np.empty(len(targets), dtype=np.int64)
    documents = bank.document_of[targets]
    by_document = np.argsort(documents, kind="stable")
    for which in np.split(by_document, np.flatnonzero(np.diff(documents[by_document])) + 1):
        if len(which):
            ranks[which] = _ranks_in_one_document(queries[which], bank, targets[which], exclude[which])
    return ranks


def _ranks_in_one_document(
    queries: Float[np.ndarray, "batch dim"],
    bank: Bank,
    targets: Int[np.ndarray, "batch"],
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch"]:
    document = bank.document_of[targets[0]]
    rows = bank.first_row[document] + np.arange(bank.num_rows[document])
    rows = rows[bank.alive[rows]]
    groups, candidate = np.unique(bank.duplicate_group[rows], return_inverse=True)
    order = np.argsort(candidate, kind="stable")

    vectors = bank.gather(rows[order]).astype(np.float64)
    scores = best_of_runs(vectors @ queries.T.astype(np.float64), np.bincount(candidate)).T.copy()
    own = np.searchsorted(groups, bank.duplicate_group[targets])
    excluded = np.where(exclude >= 0, bank.duplicate_group[exclude], -1)
    place = np.minimum(np.searchsorted(groups, excluded), len(groups) - 1)
    query, column = np.nonzero(groups[place] == excluded)
    pairs = np.unique(np.stack([query, place[query, column]]), axis=1)
    return _ranks(scores, own[:, None], (pairs[0], pairs[1]))[:, 0]
