"""Count the candidates that score above a line, in cheap arithmetic with a proven error bound.

Products are computed in the arithmetic that is quickest on the machine (``arithmetic.py``): bfloat16 (``bfloat16.py``),
or float32 by PyTorch or NumPy. Scores farther from the line than the error bound are counted. The others are computed
again in float32, and those within its rounding error in float64. So the count is that of exact arithmetic.
"""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float, Float32, Int

from segue.arithmetic import has_fast_bfloat16
from segue.ranking import bfloat16
from segue.ranking.blocks import ScoreBlock, visit_blocks
from segue.ranking.pool import Pairs, Pool, exact_candidate_scores, rounding_bound

MINIMUM_QUERIES_FOR_COARSE = 64
"""Number of queries from which bfloat16 products save more time than rounding the bank takes."""


def count_candidates_above(
    queries: Float[np.ndarray, "batch dim"], pool: Pool, line: Float[np.ndarray, "batch several"], *, removed: Pairs
) -> Int[np.ndarray, "batch several"]:
    """Count the candidates that score above each line of each query, as in exact arithmetic.

    Args:
        queries: vectors of any length.
        pool: the candidates.
        line: scores, float64; for infinity the count is 0.
        removed: (query, candidate) pairs that do not count.
    """
    margin = rounding_bound(queries)
    rounded = np.ascontiguousarray(queries, dtype=np.float32)
    above = np.zeros(line.shape, dtype=np.int64)
    nothing = np.empty(0, dtype=np.int64)
    near = [[(nothing, nothing)] for _ in line.T]
    exactly = _Float32Products()
    coarse = len(queries) >= MINIMUM_QUERIES_FOR_COARSE and has_fast_bfloat16("cpu", "ranks")

    def decide(block: ScoreBlock) -> None:
        here = block.queries
        for place, unsure in enumerate(near):
            more, pairs = _decide(block, rounded[here], line[here, place], margin[here], exactly)
            above[here, place] += more
            unsure.append(pairs)

    visit_blocks(rounded, pool, removed, decide, rounded=coarse)
    for place, unsure in enumerate(near):
        query, candidates = (np.concatenate(part) for part in zip(*unsure, strict=True))
        scores = exact_candidate_scores(queries, pool, query=query, candidates=candidates)
        above[:, place] += np.bincount(query[scores > line[query, place]], minlength=len(queries))
    return above


def _decide(
    block: ScoreBlock,
    queries: Float32[np.ndarray, "batch dim"],
    line: Float[np.ndarray, "batch"],
    margin: Float[np.ndarray, "batch"],
    exactly: _Float32Products,
) -> tuple[Int[np.ndarray, "batch"], Pairs]:
    """Return how many of a block are certainly above, and the (query, candidate) pairs to compute in float64."""
    if block.error is None:
        low, high = (line - margin).astype(np.float32), (line + margin).astype(np.float32)
        surely = _count_above(block.scores, high)
        place, column = _between(block.scores, low, high, surely)
    else:
        low, high = bfloat16.lines(line, block.error)
        surely = _count_above(block.scores, high)
        place, column = _between(block.scores, low, high, surely)
        if len(place):
            assert block.vectors is not None
            scores = exactly.scores(queries, block.vectors, place, column)
            above = scores > (line + margin)[place]
            surely = surely + np.bincount(place[above], minlength=len(line))
            close = ~above & (scores > (line - margin)[place])
            place, column = place[close], column[close]
    return surely, (block.first_query + place, block.first_candidate + column)


def _count_above(
    scores: Float32[np.ndarray, "batch candidate"], line: Float32[np.ndarray, "batch"]
) -> Int[np.ndarray, "batch"]:
    """Count the scores above each query's line.

    Eight flags are added at a time, as the bytes of one machine word; at most 255 words, so that no byte overflows.
    """
    words = 128
    flags = np.zeros((len(scores), -(-scores.shape[1] // (8 * words)) * 8 * words), dtype=np.bool_)
    np.greater(scores, line[:, None], out=flags[:, : scores.shape[1]])
    sums = flags.view(np.uint64).reshape(len(scores), flags.shape[1] // (8 * words), words).sum(axis=2)
    return sums.view(np.uint8).sum(axis=1, dtype=np.int64)


def _between(
    scores: Float32[np.ndarray, "batch candidate"],
    low: Float32[np.ndarray, "batch"],
    high: Float32[np.ndarray, "batch"],
    surely: Int[np.ndarray, "batch"],
) -> Pairs:
    """Return (query, column) of the scores from ``low`` to ``high``; ``surely`` scores of each query are above."""
    unsure = np.flatnonzero(_count_above(scores, low) != surely)
    scores = scores[unsure]
    place, column = np.nonzero((scores > low[unsure, None]) & (scores <= high[unsure, None]))
    return unsure[place], column


class _Float32Products:
    """Float32 products of chosen pairs, computed by FAISS without copying the vectors of each pair."""

    def __init__(self) -> None:
        self._vectors: Float[np.ndarray, "rows dim"] | None = None
        self._flat: Any = None  # the type stubs of FAISS are incomplete
        self._alone = threading.Lock()

    def scores(
        self,
        queries: Float32[np.ndarray, "batch dim"],
        vectors: Float[np.ndarray, "rows dim"],
        place: Int[np.ndarray, "pair"],
        column: Int[np.ndarray, "pair"],
    ) -> Float32[np.ndarray, "pair"]:
        """Return the product of ``queries[place[i]]`` and ``vectors[column[i]]``; ``place`` rises."""
        with self._alone:  # blocks of other queries are decided beside this one
            if self._flat is None or self._vectors is not vectors:
                self._flat = faiss.IndexFlatIP(vectors.shape[1])
                self._flat.add(np.ascontiguousarray(vectors, dtype=np.float32))
                self._vectors = vectors
        count = np.bincount(place, minlength=len(queries))
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        columns = np.full((len(queries), count.max()), -1, dtype=np.int64)
        columns[place, within] = column
        scores = np.empty(columns.shape, dtype=np.float32)
        pointers = [faiss.swig_ptr(array) for array in (queries, scores, columns)]
        self._flat.compute_distance_subset(len(queries), pointers[0], columns.shape[1], pointers[1], pointers[2])
        return scores[place, within]
