"""Retrievers that make one query vector per context and search the bank with it.

Copying baselines, the linear map, the encoder and every learned predictor differ in the query function only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.exact import ranks_of_several, target_ranks, top_k
from segue.ranking.given_scores import in_document_ranks
from segue.ranking.pool import TIE, Pool, exact_candidate_scores, exact_scores
from segue.retrieval.index import Index
from segue.retrieval.retrievers.cache import QueryCache
from segue.retrieval.retrievers.interface import Lap, no_lap
from segue.types import Bank, Contexts, Intent, Rankings

Query = Callable[[Contexts], Float[np.ndarray, "batch dim"]]
"""Turns contexts into unit vectors, float32."""


@dataclass(frozen=True)
class VectorScores:
    """Query vectors; a candidate's score is its cosine with the query.

    Attributes:
        queries: unit vectors, float32.
        index: searched instead of the bank's blocks where the asked pool is the retriever's own.
        own: the retriever's own pool.
    """

    queries: Float[np.ndarray, "batch dim"]
    index: Index | None
    own: Pool

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks; an approximate index plays no part in them."""
        return target_ranks(self.queries, pool, targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion after one pass over the bank.

        A rank without some candidates is the rank among all, less those of them that stand before the target.
        """
        nothing = np.empty((len(targets), 0), dtype=np.int64)
        among_all = ranks_of_several(self.queries, pool, targets, exclude=nothing)
        return [among_all - _excluded_before(self.queries, pool, targets, exclude=exclude) for exclude in excludes]

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the passages of each target's document."""
        return in_document_ranks(self.queries, bank, targets, exclude=exclude)

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]) -> Rankings:
        """Return the best ``k``, from the index where it holds the pool."""
        if self.index is not None and pool is self.own:
            return self.index.search(self.queries, k, exclude=exclude)
        return top_k(self.queries, pool, k, exclude=exclude)

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return cosines, float64."""
        return exact_scores(self.queries, self.own.bank, query=query, rows=rows)


def _excluded_before(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    targets: Int[np.ndarray, "batch several"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch several"]:
    """Count the excluded candidates with a score above a target's - 1e-6, in the arithmetic of ``target_ranks``."""
    there = targets >= 0
    own, line = pool.candidates_of(targets), np.full(targets.shape, np.inf)
    line[there] = exact_candidate_scores(queries, pool, query=np.nonzero(there)[0], candidates=own[there]) - TIE
    query, candidate = pool.removed_pairs(exclude)
    scores = exact_candidate_scores(queries, pool, query=query, candidates=candidate)
    before = scores[:, None] > line[query]  # [pair, several]
    before &= candidate[:, None] != own[query]  # the target's own group never leaves
    return np.stack([np.bincount(query[column], minlength=len(targets)) for column in before.T], axis=1)


@dataclass(frozen=True)
class VectorRetriever:
    """A query function, a pool, and perhaps an index over that pool.

    Attributes:
        name: the row's name.
        intent: what the row stands for.
        query: contexts → unit vectors, float32.
        pool: the candidates.
        index: answers ``rank``; None searches the bank exactly. Ranks of targets are exact either way.
        stage: what making the query is called in latency tables: ``encode`` where it reads text.
        cache: remembers queries between evaluations; ``rank`` never uses it, since serving would not.
    """

    name: str
    intent: Intent
    query: Query
    pool: Pool
    index: Index | None = None
    stage: Literal["encode", "predict"] = "predict"
    cache: QueryCache | None = None

    @property
    def batch_limit(self) -> int | None:
        """None: one vector per context fits."""
        return None

    @property
    def reads_text(self) -> bool:
        """True where the query is encoded from text."""
        return self.stage == "encode"

    @property
    def counts_bank(self) -> bool:
        """False: a query is made from its context alone."""
        return False

    def over(self, bank: Bank) -> VectorRetriever:
        """Return the retriever over another bank, searched exactly; a query that reads the bank has ``over`` too."""
        moved = getattr(self.query, "over", None)
        return replace(self, query=moved(bank) if moved else self.query, pool=Pool(bank), index=None, cache=None)

    def score(self, contexts: Contexts) -> VectorScores:
        """Make the queries, or remember them."""
        queries = self.query(contexts) if self.cache is None else self.cache.queries(self.query, contexts)
        return VectorScores(queries, self.index, self.pool)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        scores = VectorScores(self.query(contexts), self.index, self.pool)
        lap(self.stage)
        rankings = scores.top(self.pool, k, exclude=contexts.exclude)
        lap("search")
        return rankings

    def target_ranks(
        self, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``."""
        return self.score(contexts).ranks(pool or self.pool, targets, exclude=contexts.exclude)
