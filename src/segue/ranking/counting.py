"""Count the candidates that score above a line, in cheap arithmetic with a proven error bound.

Products are computed in the arithmetic that is quickest on the machine (``arithmetic.py``): int8 or bfloat16
(``rounded.py``), or float32. Scores farther from the line than the error bound are counted. The others are computed
again in float32, and those within its rounding error in float64. So the count is that of exact arithmetic.
"""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from segue.arithmetic import choices
from segue.ranking.blocks import ScoreBlock, visit_blocks
from segue.ranking.pool import Pairs, Pool, exact_candidate_scores, rounding_bound
from segue.ranking.rounded import Line, RoundedKind

Scores = Float32[np.ndarray, "batch candidate"] | Int32[np.ndarray, "batch candidate"]

MINIMUM_QUERIES: dict[RoundedKind, int] = {"bfloat16": 64, "int8": 512}
"""Number of queries from which products of rounded vectors save more time than rounding the bank takes."""
FEW = 0.05
"""Share of a query's scores in a block up to which they are looked at one by one."""


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
    queries32 = np.ascontiguousarray(queries, dtype=np.float32)
    above = np.zeros(line.shape, dtype=np.int64)
    nothing = np.empty(0, dtype=np.int64)
    near = [[(nothing, nothing)] for _ in line.T]
    exactly = _Float32Products()
    quickest = choices()["ranks"]
    kinds = [kind for kind, least in MINIMUM_QUERIES.items() if kind == quickest and len(queries) >= least]

    def decide(block: ScoreBlock) -> None:
        here = block.queries
        for place, unsure in enumerate(near):
            more, pairs = _decide(block, queries32[here], line[here, place], margin[here], exactly)
            above[here, place] += more
            unsure.append(pairs)

    visit_blocks(queries32, pool, removed, decide, rounded=kinds[0] if kinds else None)
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
    """Return how many of a block are certainly above, and the (query, candidate) pairs to compute in float64.

    In most blocks few scores of a query are above its line: one pass finds them, and each is looked at. The other
    queries are computed again in float32, if they were rounded, and take two passes more.
    """
    below, beyond = (line - margin).astype(np.float32), (line + margin).astype(np.float32)
    low, high = (below, beyond) if block.rounded is None else block.rounded.lines(line)
    flags, count = _above(block.scores, low)
    many = np.flatnonzero(count > FEW * block.scores.shape[1])
    flags[many] = False
    place, column = np.divmod(np.flatnonzero(flags), flags.shape[1])
    above = block.scores[place, column] > high[place]
    surely = np.bincount(place[above], minlength=len(line))
    place, column = place[~above], column[~above]
    if block.vectors is not None and len(place):
        scores = exactly.scores(queries, block.vectors, place, column)
        above = scores > beyond[place]
        surely += np.bincount(place[above], minlength=len(line))
        close = ~above & (scores > below[place])
        place, column = place[close], column[close]
    if len(many):
        scores = block.scores[many] if block.vectors is None else block.float32_scores(queries, many)
        surely[many] = _above(scores, beyond[many])[1]
        more, columns = np.nonzero((scores > below[many, None]) & (scores <= beyond[many, None]))
        place, column = np.concatenate([place, many[more]]), np.concatenate([column, columns])
    return surely, (block.first_query + place, block.first_candidate + column)


def _above(scores: Scores, line: Line) -> tuple[Bool[np.ndarray, "batch padded"], Int[np.ndarray, "batch"]]:
    """Return which scores are above each query's line, padded with False, and their number.

    Eight flags are added at a time, as the bytes of one machine word; at most 255 words, so that no byte overflows.
    """
    words = 128
    flags = np.zeros((len(scores), -(-scores.shape[1] // (8 * words)) * 8 * words), dtype=np.bool_)
    np.greater(scores, line[:, None], out=flags[:, : scores.shape[1]])
    sums = flags.view(np.uint64).reshape(len(scores), flags.shape[1] // (8 * words), words).sum(axis=2)
    return flags, sums.view(np.uint8).sum(axis=1, dtype=np.int64)


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
