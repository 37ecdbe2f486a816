"""Scores of many queries against many candidates, a block at a time.

A block is ``QUERIES_PER_BLOCK`` × ``ROWS_PER_BLOCK`` scores, small enough to stay in the cache while it is counted.
Memory does not grow with the bank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from segue.arithmetic import choices
from segue.ranking import bfloat16
from segue.ranking.pool import Pairs, Pool, best_of_runs

QUERIES_PER_BLOCK = 256
ROWS_PER_BLOCK = 4096


@dataclass(frozen=True)
class ScoreBlock:
    """Scores of consecutive queries and consecutive candidates; excluded candidates score -inf.

    ``scores[i, j]`` belongs to query ``first_query + i`` and candidate ``first_candidate + j``. The array is a buffer
    that the next block overwrites.

    Attributes:
        first_query: number of the first query.
        first_candidate: number of the first candidate.
        scores: score of each pair.
        error: error bound of each query's scores before they were rounded to bfloat16; None for float32 scores.
        vectors: vectors of the candidates, to compute scores near a line again; None for float32 scores.
    """

    first_query: int
    first_candidate: int
    scores: Float32[np.ndarray, "batch candidate"]
    error: Float[np.ndarray, "batch"] | None = None
    vectors: Float[np.ndarray, "candidate dim"] | None = None

    @property
    def queries(self) -> slice:
        """The queries of this block."""
        return slice(self.first_query, self.first_query + len(self.scores))


def score_blocks(
    queries: Float[np.ndarray, "batch dim"], pool: Pool, removed: Pairs, *, rounded: bool = False
) -> Iterator[ScoreBlock]:
    """Yield the scores of all queries against all candidates, every pair once, reading the bank once.

    Args:
        queries: vectors of any length; rounded to float32.
        pool: the candidates.
        removed: (query, candidate) pairs that get the score -inf.
        rounded: compute scores of bfloat16 vectors, with their error, for candidates with one row.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    by_candidate = np.argsort(removed[1], kind="stable")
    query, candidate = removed[0][by_candidate], removed[1][by_candidate]
    short = bfloat16.Rounded.of(queries) if rounded else None
    multiply = _by_torch if choices()["ranks"] == "float32" else _by_numpy
    buffer = np.empty((min(len(queries), QUERIES_PER_BLOCK), ROWS_PER_BLOCK), dtype=np.float32)
    for first, vectors, count in _candidate_blocks(pool):
        last = first + (len(vectors) if count is None else len(count))
        here = slice(*np.searchsorted(candidate, [first, last]))
        gone_query, gone_column = query[here], candidate[here] - first
        short_rows = bfloat16.Rounded.of(vectors) if rounded and count is None else None
        for begin in range(0, len(queries), QUERIES_PER_BLOCK):
            some, error = queries[begin : begin + QUERIES_PER_BLOCK], None
            if short is not None and short_rows is not None:
                scores = _in_buffer(len(some), len(vectors), buffer)
                error = bfloat16.product(short.take(slice(begin, begin + len(some))), short_rows, out=scores)
            elif count is None:
                scores = multiply(some, vectors, _in_buffer(len(some), len(vectors), buffer))
            else:
                scores = np.ascontiguousarray(best_of_runs(vectors @ some.T, count).T)
            inside = (gone_query >= begin) & (gone_query < begin + len(scores))
            scores[gone_query[inside] - begin, gone_column[inside]] = -np.inf
            yield ScoreBlock(begin, first, scores, error, None if error is None else vectors)


Queries = Float32[np.ndarray, "batch dim"]
Scores = Float32[np.ndarray, "batch rows"]


def _by_numpy(queries: Queries, rows: Float[np.ndarray, "rows dim"], out: Scores) -> Scores:
    return np.matmul(queries, rows.T, out=out)


def _by_torch(queries: Queries, rows: Float[np.ndarray, "rows dim"], out: Scores) -> Scores:
    writable = np.require(rows, np.float32, ["C", "W"])  # copies vectors mapped from disk
    torch.mm(torch.from_numpy(queries), torch.from_numpy(writable).T, out=torch.from_numpy(out))
    return out


def _in_buffer(
    queries: int, rows: int, buffer: Float32[np.ndarray, "most_queries most_rows"]
) -> Float32[np.ndarray, "batch rows"]:
    """Return a view of the buffer, so that all blocks use the same memory."""
    return buffer.reshape(-1)[: queries * rows].reshape(queries, rows)


def _candidate_blocks(pool: Pool) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"], Int[np.ndarray, "c"] | None]]:
    """Yield (first candidate, vectors of its and the following candidates' members, members per candidate).

    The last is None where every candidate has one row.
    """
    first = 0
    for vectors in _single_blocks(pool):
        yield first, vectors, None
        first += len(vectors)
    while first < pool.size:
        begin = pool.start[first]
        last = max(first + 1, int(np.searchsorted(pool.start + pool.count, begin + ROWS_PER_BLOCK, side="right")))
        end = pool.start[last - 1] + pool.count[last - 1]
        yield first, pool.bank.gather(pool.members[begin:end]), pool.count[first:last]
        first = last


def _single_blocks(pool: Pool) -> Iterator[Float[np.ndarray, "rows dim"]]:
    """Yield the vectors of the candidates with one row, in order; the whole bank is read unless they are few."""
    rows = pool.single_rows
    if 2 * len(rows) < len(pool.bank):
        for begin in range(0, len(rows), ROWS_PER_BLOCK):
            yield pool.bank.gather(rows[begin : begin + ROWS_PER_BLOCK])
        return
    for start, vectors in pool.bank.blocks(rows_per_block=ROWS_PER_BLOCK):
        inside = rows[slice(*np.searchsorted(rows, [start, start + len(vectors)]))]
        if len(inside):
            yield vectors if len(inside) == len(vectors) else vectors[inside - start]
