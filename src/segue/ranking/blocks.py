"""Scores of many queries against many candidates, a block at a time.

A block is ``QUERIES_PER_BLOCK`` × ``ROWS_PER_BLOCK`` scores, small enough to stay in the cache while it is counted.
Memory does not grow with the bank.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32

from segue.arithmetic import choices
from segue.hardware import threads
from segue.ranking.pool import Pairs, Pool, best_of_runs
from segue.ranking.rounded import Rounded, RoundedKind, RoundedScores, product

QUERIES_PER_BLOCK = 256
ROWS_PER_BLOCK = 4096
Queries = Float32[np.ndarray, "batch dim"]
Scores = Float32[np.ndarray, "batch rows"]


@dataclass(frozen=True)
class ScoreBlock:
    """Scores of consecutive queries and consecutive candidates; excluded candidates have the lowest score there is.

    ``scores[i, j]`` belongs to query ``first_query + i`` and candidate ``first_candidate + j``. The array is a buffer
    that the next block overwrites.

    Attributes:
        first_query: number of the first query.
        first_candidate: number of the first candidate.
        scores: score of each pair.
        rounded: what the scores of rounded vectors mean; None for float32 scores.
        vectors: vectors of the candidates, to compute scores near a line again; None for float32 scores.
    """

    first_query: int
    first_candidate: int
    scores: Float32[np.ndarray, "batch candidate"] | Int32[np.ndarray, "batch candidate"]
    rounded: RoundedScores | None = None
    vectors: Float[np.ndarray, "candidate dim"] | None = None

    @property
    def queries(self) -> slice:
        """The queries of this block."""
        return slice(self.first_query, self.first_query + len(self.scores))

    def float32_scores(
        self, queries: Float32[np.ndarray, "batch dim"], some: Int[np.ndarray, "some"]
    ) -> Float32[np.ndarray, "some candidate"]:
        """Return scores of vectors that were rounded, for some of the block's ``queries``."""
        assert self.vectors is not None, "the scores were rounded"
        scores = np.empty((len(some), len(self.vectors)), dtype=np.float32)
        scores = _product(queries[some], self.vectors, out=scores)
        scores[self.scores[some] == _lowest(self.scores.dtype)] = -np.inf
        return scores


def visit_blocks(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    removed: Pairs,
    visit: Callable[[ScoreBlock], None],
    *,
    rounded: RoundedKind | None = None,
) -> None:
    """Call ``visit`` with the scores of all queries against all candidates, every pair once, reading the bank once.

    Where there are more queries than a block holds, blocks of different queries are computed and visited side by side,
    one on each of torch's threads; blocks of the same queries are visited one after the other.

    Args:
        queries: vectors of any length; rounded to float32.
        pool: the candidates.
        removed: (query, candidate) pairs that get the lowest score.
        visit: called with each block, whose scores it must not keep.
        rounded: compute scores of vectors rounded to this, with their error, for candidates with one row.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    by_candidate = np.argsort(removed[1], kind="stable")
    query, candidate = removed[0][by_candidate], removed[1][by_candidate]
    buffers = threading.local()
    with _side_by_side(len(queries)) as mapped:
        short = Rounded.of(queries, rounded, mapped) if rounded else None
        for first, vectors, count in _candidate_blocks(pool):
            last = first + (len(vectors) if count is None else len(count))
            here = slice(*np.searchsorted(candidate, [first, last]))
            short_rows = Rounded.of(vectors, rounded, mapped, one_step=True) if rounded and count is None else None
            some = _Candidates(first, vectors, count, short_rows, query[here], candidate[here] - first)
            score = partial(_visit, queries, some, visit=visit, rounded=short, buffers=buffers)
            for _ in mapped(score, range(0, len(queries), QUERIES_PER_BLOCK)):
                pass


@dataclass(frozen=True)
class _Candidates:
    """Consecutive candidates: their vectors, members and rounded vectors, and the (query, column) pairs to exclude."""

    first: int
    vectors: Float[np.ndarray, "rows dim"]
    count: Int[np.ndarray, "candidate"] | None
    rounded: Rounded | None
    gone_query: Int[np.ndarray, "gone"]
    gone_column: Int[np.ndarray, "gone"]


def _visit(
    queries: Queries,
    candidates: _Candidates,
    begin: int,
    *,
    visit: Callable[[ScoreBlock], None],
    rounded: Rounded | None,
    buffers: threading.local,
) -> None:
    """Score the candidates for the queries from ``begin`` on, and call ``visit``."""
    some, vectors = queries[begin : begin + QUERIES_PER_BLOCK], candidates.vectors
    found: RoundedScores | None = None
    scores: np.ndarray
    if rounded is not None and candidates.rounded is not None:
        buffer = _in_buffer(len(some), len(vectors), buffers)
        found = product(rounded.take(slice(begin, begin + len(some))), candidates.rounded, out=buffer)
        scores = found.scores
    elif candidates.count is None:
        scores = _product(some, vectors, out=_in_buffer(len(some), len(vectors), buffers))
    else:
        scores = np.ascontiguousarray(best_of_runs(vectors @ some.T, candidates.count).T)
    inside = (candidates.gone_query >= begin) & (candidates.gone_query < begin + len(scores))
    scores[candidates.gone_query[inside] - begin, candidates.gone_column[inside]] = _lowest(scores.dtype)
    visit(ScoreBlock(begin, candidates.first, scores, found, None if found is None else vectors))


def _lowest(dtype: np.dtype[Any]) -> float:
    """Return the score of excluded candidates."""
    return -np.inf if dtype == np.float32 else float(np.iinfo(dtype).min)


@contextmanager
def _side_by_side(queries: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a ``map`` that calls a function on all of torch's threads, or the builtin one where a block holds all."""
    at_once = torch.get_num_threads()
    if at_once == 1 or queries <= QUERIES_PER_BLOCK:
        yield map
        return
    with threads(1), ThreadPoolExecutor(at_once, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        yield pool.map


def _product(queries: Queries, rows: Float[np.ndarray, "rows dim"], *, out: Scores) -> Scores:
    """Write the float32 scores by the library that is quickest on the machine."""
    if choices()["scores"] == "numpy":
        return np.matmul(queries, rows.T, out=out)
    writable = np.require(rows, np.float32, ["C", "W"])  # copies vectors mapped from disk
    torch.mm(torch.from_numpy(queries), torch.from_numpy(writable).T, out=torch.from_numpy(out))
    return out


def _in_buffer(queries: int, rows: int, buffers: threading.local) -> Scores:
    """Return a part of the thread's buffer, so that all its blocks use the same memory."""
    if not hasattr(buffers, "scores"):
        buffers.scores = np.empty(QUERIES_PER_BLOCK * ROWS_PER_BLOCK, dtype=np.float32)
    return buffers.scores[: queries * rows].reshape(queries, rows)  # type: ignore[no-any-return]


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
