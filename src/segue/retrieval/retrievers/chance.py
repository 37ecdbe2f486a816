"""Chance: a random order of the candidates for every context.

A score is a hash of (seed, the context's vectors, the candidate's vector). So it does not depend on the batch, the row
numbers or the order of the bank, and every place is equally likely for every target. With a random *query* passages
near the centre of the bank would always be in the middle.
"""

from __future__ import annotations

from typing import final

import numpy as np
from jaxtyping import Float, UInt64

from segue.ranking.pool import Pool
from segue.retrieval.retrievers.dense import DenseRetriever
from segue.types import Bank, Contexts

HASHED_TOGETHER = 2048
"""Rows whose hashes are in memory at once, eight bytes a component."""


@final
class Chance(DenseRetriever):
    """Random scores, uniform in [0, 2⁵³).

    Args:
        pool: the candidates.
        seed: seed of the order.
        name: name of the entry in tables and runs.
    """

    def __init__(self, pool: Pool, seed: int = 1, *, name: str = "chance") -> None:
        super().__init__(name, "control", pool=pool, bank=pool.bank)
        self._number = seed
        self._seed = _mix(np.asarray([seed], dtype=np.uint64))
        self._candidates = _group_keys(pool.bank)

    def over(self, bank: Bank) -> Chance:
        """Return another bank's random order from the same seed."""
        return Chance(Pool(bank), self._number, name=self.name)

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return one random score per context and row; duplicates share theirs."""
        queries = _mix(_vector_keys(contexts.vectors.reshape(len(contexts), -1)) ^ self._seed)
        mixed = _mix(queries[:, None] ^ self._candidates[None, :])
        return (mixed >> np.uint64(11)).astype(np.float64)  # the 53 bits that a float64 holds exactly


def _group_keys(bank: Bank) -> UInt64[np.ndarray, "bank"]:
    """Hash every row; all members of a duplicate group share the smallest hash among them.

    Passages of equal vectors and different texts differ by their order, since ties would count against them.
    """
    keys = np.empty(len(bank), dtype=np.uint64)
    for start, block in bank.blocks(rows_per_block=HASHED_TOGETHER):
        keys[start : start + len(block)] = _vector_keys(block)
    groups, group_of = np.unique(bank.duplicate_group, return_inverse=True)
    smallest = np.full(len(groups), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, group_of, keys)
    return _mix(smallest + _occurrence(smallest))[group_of]


def _occurrence(keys: UInt64[np.ndarray, "rows"]) -> UInt64[np.ndarray, "rows"]:
    """Count the earlier occurrences of each key.

    >>> _occurrence(np.array([5, 7, 5, 5], dtype=np.uint64)).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    counts = np.empty(len(keys), dtype=np.uint64)
    counts[order] = np.arange(len(keys)) - np.searchsorted(sorted_keys, sorted_keys)
    return counts


def _vector_keys(vectors: Float[np.ndarray, "rows dim"]) -> UInt64[np.ndarray, "rows"]:
    """Hash the bits of each vector: the sum over components of mix(component, its place)."""
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32).astype(np.uint64)
    places = np.arange(bits.shape[1], dtype=np.uint64) << np.uint64(32)
    return _mix(bits | places).sum(axis=1, dtype=np.uint64)


def _mix(values: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Scramble 64-bit numbers one to one: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)  # wraps, as intended
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
