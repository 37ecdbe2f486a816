"""Retrievers whose passages are encoded again: two towers, siamese nets, a fine-tuned text encoder.

Queries and candidates are in the space of the re-encoded bank. Evaluation passes pools of the original bank (all
passages, fresh documents, one document); rows are the same in both banks, so each pool is ranked with the other
vectors. Queries are not returned, since their cosines with the original vectors mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from segue.bank.reencoded import ReencodedBank
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.parts import Description, PartWriter
from segue.retrieval.retrievers.interface import Lap, SingleStage, Stage, no_lap
from segue.retrieval.retrievers.vector import VectorRetriever, VectorScores
from segue.types import Bank, Contexts, Intent, Rankings

EncodeBank = Callable[[Bank], ReencodedBank]
"""Encodes every passage of a bank again."""


@dataclass(frozen=True)
class ReencodedScores:
    """Query vectors in the space of a re-encoded bank.

    Attributes:
        searched: scores whose own pool is of the re-encoded bank.
        bank: the re-encoded bank.
    """

    searched: VectorScores
    bank: ReencodedBank

    @property
    def queries(self) -> None:
        """None: the queries cannot be compared with the vectors of the bank that evaluation reads."""
        return None

    @property
    def values(self) -> None:
        """None: candidates are scored as they are searched."""
        return None

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the re-encoded candidates of ``pool``."""
        return self.searched.ranks(self._here(pool), targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion after one pass over the re-encoded bank."""
        return self.searched.ranks_under(self._here(pool), targets, excludes=excludes)

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the re-encoded passages of each target's document."""
        self._require_known(bank)
        return self.searched.ranks_in_document(self.bank, targets, exclude=exclude)

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` re-encoded candidates of ``pool``."""
        return self.searched.top(self._here(pool), k, exclude=exclude, lap=lap)

    def reranked(self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]) -> None:
        """Return None: there is no reranker."""

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return cosines with re-encoded passages, float64."""
        return self.searched.of_pairs(query, rows)

    def _here(self, pool: Pool) -> Pool:
        """Return the pool with the re-encoded vectors."""
        self._require_known(pool.bank)
        return pool if pool.bank is self.bank else pool.on(self.bank)

    def _require_known(self, bank: Bank) -> None:
        if bank is not self.bank and bank is not self.bank.source:
            raise InputError(
                "these candidates are of another bank than the re-encoded one",
                got=bank.space.encoder,
                expected=f"{self.bank.source.space.encoder}, the bank of {len(self.bank)} rows that was encoded",
                fix="make the retriever over that bank (retriever.over(bank))",
            )


@dataclass(frozen=True)
class ReencodedRetriever(SingleStage):
    """Retriever over re-encoded passages; made by ``reencoded_retriever``.

    Attributes:
        searching: makes the queries and searches the re-encoded bank.
        bank: the re-encoded bank, which the pool of ``searching`` is of.
        encode: encodes another bank.
    """

    searching: VectorRetriever
    bank: ReencodedBank
    encode: EncodeBank

    @property
    def name(self) -> str:
        """Name of the entry in tables and runs."""
        return self.searching.name

    @property
    def intent(self) -> Intent:
        """Purpose of the entry."""
        return self.searching.intent

    @property
    def pool(self) -> Pool:
        """The candidates, with their re-encoded vectors."""
        return self.searching.pool

    @property
    def stage(self) -> Stage:
        """``encode`` where the query is encoded from text, ``predict`` otherwise."""
        return self.searching.stage

    def searcher(self) -> VectorRetriever:
        """Return the retriever that makes the queries and searches the re-encoded bank."""
        return self.searching

    @property
    def batch_limit(self) -> int | None:
        """None: one vector per context fits."""
        return self.searching.batch_limit

    @property
    def reads_text(self) -> bool:
        """True where the query is encoded from text."""
        return self.searching.reads_text

    @property
    def counts_bank(self) -> bool:
        """False: a query is made from its context, a passage's vector from that passage."""
        return False

    def over(self, bank: Bank) -> ReencodedRetriever:
        """Return the retriever over another bank, which is encoded and searched exactly."""
        encoded = self.encode(bank)
        moved = self.searching.over(bank)
        return replace(self, searching=replace(moved, pool=moved.pool.on(encoded)), bank=encoded)

    def indexed(self) -> ReencodedRetriever:
        """Return the retriever with an exact index over its pool."""
        return replace(self, searching=replace(self.searching, index=ExactIndex(self.pool)))

    def score(self, contexts: Contexts) -> ReencodedScores:
        """Make the queries."""
        return ReencodedScores(self.searching.score(contexts), self.bank)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        return self.searching.rank(contexts, k, lap=lap)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the query function's files; they hold what encodes the bank, too."""
        return {**self.searching.save_part(writer), "documents": "encoded anew"}


def reencoded_retriever(retriever: VectorRetriever, encode: EncodeBank) -> ReencodedRetriever:
    """Return a retriever over re-encoded passages.

    Args:
        retriever: a retriever with queries in the space of ``encode``, and a pool of the original bank.
        encode: encodes a bank; called here, and for each bank in ``over``.
    """
    bank = encode(retriever.pool.bank)
    return ReencodedRetriever(replace(retriever, pool=retriever.pool.on(bank), index=None), bank, encode)
