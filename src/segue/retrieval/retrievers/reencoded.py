"""Retrievers whose passages are encoded anew: two towers, siamese nets, a text encoder of their own.

The query lives in the space of the re-encoded bank, and so do the candidates. Evaluation hands in pools of the original
bank (all passages, fresh documents, one document): rows mean the same in both banks, so each pool is asked about with
the other vectors. No query leaves, since outside of here its cosines would be taken with vectors of another space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from segue.bank.reencoded import ReencodedBank
from segue.encoders.space import Space
from segue.errors import InputError, explain
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers.interface import Lap, no_lap
from segue.retrieval.retrievers.vector import VectorRetriever, VectorScores
from segue.types import Bank, Contexts, Intent, Rankings

EncodeBank = Callable[[Bank], ReencodedBank]
"""Encodes every passage of a bank anew."""


@dataclass(frozen=True)
class ReencodedScores:
    """Query vectors in the space of a re-encoded bank.

    Attributes:
        searched: the scores there; its own pool is of the re-encoded bank.
        bank: the re-encoded bank.
    """

    searched: VectorScores
    bank: ReencodedBank

    @property
    def queries(self) -> None:
        """None: the queries cannot be compared with the vectors of the bank that evaluation reads."""
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

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]) -> Rankings:
        """Return the best ``k`` re-encoded candidates of ``pool``."""
        return self.searched.top(self._here(pool), k, exclude=exclude)

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
                explain(
                    "these candidates are of another bank than the one that was encoded anew",
                    got=bank.space.encoder,
                    expected=f"{self.bank.source.space.encoder}, the bank of {len(self.bank)} rows that was encoded",
                    fix="make the retriever over that bank (retriever.over(bank))",
                )
            )


@dataclass(frozen=True)
class ReencodedRetriever:
    """A retriever over re-encoded passages; make it with ``reencoded_retriever``.

    Attributes:
        searching: what makes the queries and searches the re-encoded bank.
        bank: the re-encoded bank; the pool of ``searching`` is of it.
        encode: how it was made, to make it again over another bank.
    """

    searching: VectorRetriever
    bank: ReencodedBank
    encode: EncodeBank

    @property
    def name(self) -> str:
        """The row's name."""
        return self.searching.name

    @property
    def intent(self) -> Intent:
        """What the row stands for."""
        return self.searching.intent

    @property
    def pool(self) -> Pool:
        """The candidates, with their re-encoded vectors."""
        return self.searching.pool

    @property
    def index(self) -> Index | None:
        """What answers ``rank``, over the same candidates."""
        return self.searching.index

    @property
    def query_space(self) -> Space | None:
        """The space of its queries, where an encoder makes them and says so."""
        return getattr(self.searching.query, "space", None)

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
        """Return the retriever over another bank, whose passages are encoded anew; searched exactly."""
        encoded = self.encode(bank)
        moved = self.searching.over(bank)
        return replace(self, searching=replace(moved, pool=moved.pool.on(encoded)), bank=encoded)

    def indexed(self) -> ReencodedRetriever:
        """Return the retriever with an exact index over its pool, as it would serve."""
        return replace(self, searching=replace(self.searching, index=ExactIndex(self.pool)))

    def score(self, contexts: Contexts) -> ReencodedScores:
        """Make the queries."""
        return ReencodedScores(self.searching.score(contexts), self.bank)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        return self.searching.rank(contexts, k, lap=lap)

    def target_ranks(
        self, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``."""
        return self.score(contexts).ranks(pool or self.pool, targets, exclude=contexts.exclude)


def reencoded_retriever(retriever: VectorRetriever, encode: EncodeBank) -> ReencodedRetriever:
    """Let a retriever answer from re-encoded passages.

    Args:
        retriever: its query answers in the space that ``encode`` encodes into; its pool is of the original bank.
        encode: encodes every passage of a bank anew; called once here, and once for each bank in ``over``.
    """
    bank = encode(retriever.pool.bank)
    return ReencodedRetriever(replace(retriever, pool=retriever.pool.on(bank), index=None), bank, encode)
