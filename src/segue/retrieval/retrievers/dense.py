"""Retrievers that score every row of the bank for each context: words, chance.

The scores of a batch are a [batch, bank] matrix, so batches are kept small enough for ``SCORES_BYTES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.given_scores import ranks_of_scores, ranks_of_several_scores, top_k_of_scores
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.interface import Lap, no_lap
from segue.types import Bank, Contexts, Intent, Rankings

SCORES_BYTES = 64 * 2**20
"""The most memory that the scores of one batch may take."""


@dataclass(frozen=True)
class DenseScores:
    """One score per context and row of the bank, higher is better."""

    values: Float[np.ndarray, "batch bank"]

    @property
    def queries(self) -> None:
        """None: there is no query vector."""
        return None

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks; passages with equal scores (no word in common) stand before the target."""
        return ranks_of_scores(self.values, pool, targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return the ranks of each target for each exclusion; the scores are at hand, so each is counted."""
        return [ranks_of_several_scores(self.values, pool, targets, exclude=exclude) for exclude in excludes]

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the passages of each target's document."""
        documents = bank.document_of[targets]
        ranks = np.empty(len(targets), dtype=np.int64)
        for document in np.unique(documents):
            places = np.flatnonzero(documents == document)
            pool = Pool(bank, np.array([document]))
            ranks[places] = ranks_of_scores(self.values[places], pool, targets[places], exclude=exclude[places])
        return ranks

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]) -> Rankings:
        """Return the best ``k``."""
        return top_k_of_scores(self.values, pool, k, exclude=exclude)

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the scores as they are."""
        return self.values[query, rows].astype(np.float64)


class DenseRetriever(ABC):
    """The common part of retrievers with dense scores; a final class says how they come about.

    Args:
        name: the row's name.
        intent: what the row stands for.
        pool: the candidates.
        bank: the bank whose rows are scored.
        reads_text: whether the scores come from texts.
        counts_bank: whether they rest on statistics of the whole bank.
    """

    def __init__(
        self,
        name: str,
        intent: Intent,
        *,
        pool: Pool,
        bank: Bank,
        reads_text: bool = False,
        counts_bank: bool = False,
    ) -> None:
        self.name: str = name
        self.intent: Intent = intent
        self.pool = pool
        self.reads_text = reads_text
        self.counts_bank = counts_bank
        self.batch_limit: int | None = max(1, SCORES_BYTES // (8 * max(1, len(bank))))

    @abstractmethod
    def over(self, bank: Bank) -> DenseRetriever:
        """Return the same retriever over another bank."""

    @abstractmethod
    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return one score per context and row of the bank."""

    @final
    def score(self, contexts: Contexts) -> DenseScores:
        """Score every row; give at most ``batch_limit`` contexts."""
        return DenseScores(self.values(contexts))

    @final
    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        parts = [self.score(part).top(self.pool, k, exclude=part.exclude) for part in self._parts(contexts)]
        lap("search")
        return Rankings(np.concatenate([p.rows for p in parts]), np.concatenate([p.scores for p in parts]))

    @final
    def target_ranks(
        self, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``."""
        chosen, ranks, start = pool or self.pool, [], 0
        for part in self._parts(contexts):
            asked = targets[start : start + len(part)]
            ranks.append(self.score(part).ranks(chosen, asked, exclude=part.exclude))
            start += len(part)
        return np.concatenate(ranks)

    def _parts(self, contexts: Contexts) -> list[Contexts]:
        size = self.batch_limit or len(contexts)
        starts = range(0, max(1, len(contexts)), size)
        return [contexts.take(slice(start, start + size)) for start in starts]
