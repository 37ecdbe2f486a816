"""Retrievers that score every row of the bank for each context: words, chance.

The scores of a batch are a [batch, bank] matrix, whose size ``SCORES_BYTES`` limits.
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
from segue.retrieval.retrievers.interface import Lap, SingleStage, batches_of, join_rankings, no_lap
from segue.types import Bank, Contexts, Intent, Rankings

SCORES_BYTES = 64 * 2**20
"""Maximum memory of the scores of one batch, bytes."""


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
        """Return exact ranks; passages with equal scores (no shared word) count before the target."""
        return ranks_of_scores(self.values, pool, targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion."""
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

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k``."""
        rankings = top_k_of_scores(self.values, pool, k, exclude=exclude)
        lap("search")
        return rankings

    def reranked(self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]) -> None:
        """Return None: there is no reranker."""

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the scores as they are."""
        return self.values[query, rows].astype(np.float64)


class DenseRetriever(SingleStage, ABC):
    """Base class of retrievers with dense scores; a final class computes them.

    Args:
        name: name of the entry in tables and runs.
        intent: role of the entry in a comparison.
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
        batches = batches_of(contexts, self.batch_limit)
        return join_rankings([self.score(part).top(self.pool, k, exclude=part.exclude, lap=lap) for _, part in batches])
