"""Exact ranks over shards: the candidates are counted shard by shard, anywhere, and the counts are added.

Input: a pool, and what runs the shards. Output: a ``Count`` for the functions of ``exact.py``, whose ranks it leaves as
they are. A shard is consecutive rows. A candidate belongs to the shard of its first row, so a text that several shards
hold counts once; its vectors in other shards are read where they lie. The scores of the targets, which the counts are
compared with, are computed once, by the caller.
"""

from __future__ import annotations

import uuid
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.exact import Count, count_above
from segue.ranking.pool import Pool
from segue.types import Bank


def over_shards(pool: Pool, shards: int, executor: Executor | None = None) -> Count:
    """Return what counts a pool's candidates in shards, for ``target_ranks(..., count=over_shards(pool, 8))``.

    Args:
        pool: the candidates, as they are given to the functions of ``exact.py``.
        shards: number of tasks that the rows of the bank are cut into, at least 1; each is sent all queries.
        executor: runs the tasks: a process pool, or Ray (``segue.cluster.RayExecutor``); their processes open the bank
            where it lies. None: they run here, one after the other.
    """
    token, rows = uuid.uuid4().hex, len(pool.bank)
    ranges = list(pairwise(np.linspace(0, rows, shards + 1).astype(int).tolist()))

    def count(
        queries: Float[np.ndarray, "batch dim"],
        given: Pool,
        line: Float[np.ndarray, "batch several"],
        *,
        exclude: Int[np.ndarray, "batch excluded"],
    ) -> Int[np.ndarray, "batch several"]:
        assert given is pool, "counted are the candidates of one pool"
        if executor is None:
            counts = [_count(pool, one, queries, line, exclude) for one in ranges]
        else:
            source = token, pool.bank, pool.documents
            begun = [executor.submit(count_elsewhere, source, one, queries, line, exclude) for one in ranges]
            counts = [one.result() for one in begun]
        return np.stack(counts).sum(axis=0)

    return count


def count_elsewhere(
    source: tuple[str, Bank, Int[np.ndarray, "chosen"] | None],
    rows: tuple[int, int],
    queries: Float[np.ndarray, "batch dim"],
    line: Float[np.ndarray, "batch several"],
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch several"]:
    """Count the candidates of a shard in a process that keeps the pool; ``source`` is the pool's token and parts."""
    token, bank, documents = source
    if token not in _kept:
        _kept.clear()
        _kept[token] = Pool(bank, documents)
    return _count(_kept[token], rows, queries, line, exclude)


_kept: dict[str, Pool] = {}
"""The pool of the last task, by its token."""


def _count(
    pool: Pool,
    rows: tuple[int, int],
    queries: Float[np.ndarray, "batch dim"],
    line: Float[np.ndarray, "batch several"],
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch several"]:
    return count_above(queries, pool.part(*rows), line, exclude=exclude)
