"""Retrievers that make one query vector per context and search the bank with it, and a cache of these vectors.

Copying baselines, the linear map, the encoder and every learned predictor differ in the query function only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int

from segue.encoders.space import Space
from segue.files import atomic_path
from segue.ranking.exact import ranks_of_several, target_ranks, top_k
from segue.ranking.given_scores import in_document_ranks
from segue.ranking.pool import TIE, Pool, exact_candidate_scores, exact_scores
from segue.retrieval.index import Index
from segue.retrieval.parts import Description, PartReader, PartWriter
from segue.retrieval.query import BankQuery, EncodedQuery, QueryFunction, move_query, save_query
from segue.retrieval.retrievers.interface import Lap, SingleStage, Stage, no_lap
from segue.types import Bank, Contexts, Intent, Rankings


class QueryCache:
    """Caches query vectors by context rows.

    Args:
        path: an ``.npz`` file; None keeps the queries in memory only.
        key: identifies what the queries depend on besides the rows; a file with another key is not read.
    """

    def __init__(self, path: Path | None = None, *, key: str = "") -> None:
        self._path = path
        self._key = key
        self._known: dict[bytes, Float[np.ndarray, "dim"]] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._known)

    def queries(
        self, query: Callable[[Contexts], Float[np.ndarray, "batch dim"]], contexts: Contexts
    ) -> Float[np.ndarray, "batch dim"]:
        """Return the queries of ``contexts``, calling ``query`` only for windows not in the cache.

        Contexts with a passage that the bank does not hold are not cached.
        """
        names = [_name(rows) for rows in contexts.rows]
        nameable = ~((contexts.rows < 0) & contexts.mask).any(axis=1)
        known = np.array([name in self._known for name in names], dtype=bool) & nameable
        fresh = query(contexts.take(~known)) if not known.all() else None
        if fresh is None:
            return np.stack([self._known[name] for name in names])
        answers = np.empty((len(names), fresh.shape[1]), dtype=np.float32)
        answers[~known] = fresh
        for place in np.flatnonzero(known):
            answers[place] = self._known[names[place]]
        self._add({names[place]: answers[place] for place in np.flatnonzero(~known & nameable)})
        return answers

    def _add(self, fresh: dict[bytes, Float[np.ndarray, "dim"]]) -> None:
        self._known.update(fresh)
        if self._path is not None and fresh:
            rows = _pad([np.frombuffer(name, dtype=np.int64) for name in self._known])
            with atomic_path(self._path) as temporary, temporary.open("wb") as handle:
                np.savez(handle, rows=rows, vectors=np.stack(list(self._known.values())), key=np.array(self._key))

    def _read(self) -> None:
        """Read the file; a missing, foreign or broken one counts as empty."""
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                if str(stored["key"]) == self._key:
                    rows, vectors = stored["rows"], stored["vectors"]
                    self._known = {_name(row): vector for row, vector in zip(rows, vectors, strict=True)}
        except (ValueError, KeyError, BadZipFile, EOFError):
            self._known = {}


def _name(rows: Int[np.ndarray, "context"]) -> bytes:
    return rows[rows >= 0].astype(np.int64).tobytes()


def _pad(contexts: list[Int[np.ndarray, "_"]]) -> Int[np.ndarray, "window context"]:
    """Stack contexts of any length, padded at the front."""
    rows = np.full((len(contexts), max(map(len, contexts))), -1, dtype=np.int64)
    for place, context in enumerate(contexts):
        rows[place, rows.shape[1] - len(context) :] = context
    return rows


@dataclass(frozen=True)
class VectorScores:
    """Query vectors; a candidate's score is its cosine with the query.

    Attributes:
        queries: unit vectors, float32.
        index: searched instead of the bank's blocks where the pool is the retriever's own.
        own: the retriever's own pool.
    """

    queries: Float[np.ndarray, "batch dim"]
    index: Index | None
    own: Pool

    @property
    def values(self) -> None:
        """None: candidates are scored as they are searched."""
        return None

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks; an approximate index plays no part in them."""
        return target_ranks(self.queries, pool, targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion after one pass over the bank.

        A rank without some candidates is the rank among all, less those of them that are before the target.
        """
        nothing = np.empty((len(targets), 0), dtype=np.int64)
        among_all = ranks_of_several(self.queries, pool, targets, exclude=nothing)
        return [among_all - _excluded_before(self.queries, pool, targets, exclude=exclude) for exclude in excludes]

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the passages of each target's document."""
        return in_document_ranks(self.queries, bank, targets, exclude=exclude)

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k``, from the index where it holds the pool."""
        if self.index is not None and pool is self.own:
            rankings = self.index.search(self.queries, k, exclude=exclude)
        else:
            rankings = top_k(self.queries, pool, k, exclude=exclude)
        lap("search")
        return rankings

    def reranked(self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]) -> None:
        """Return None: there is no reranker."""

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
class VectorRetriever(SingleStage):
    """A query function, a pool, and perhaps an index over that pool.

    Attributes:
        name: name of the entry in tables and runs.
        intent: role of the entry in a comparison.
        query: contexts → unit vectors, float32.
        pool: the candidates.
        index: searched by ``rank``; None searches the bank exactly. Ranks of targets are exact either way.
        stage: name of making the query in latency tables: ``encode`` where it reads text.
        cache: keeps queries between evaluations; ``rank`` never uses it, since serving would not.
    """

    name: str
    intent: Intent
    query: QueryFunction
    pool: Pool
    index: Index | None = None
    stage: Stage = "predict"
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

    @property
    def reads_bank(self) -> bool:
        """True where the query function reads the bank."""
        return isinstance(self.query, BankQuery)

    def searcher(self) -> VectorRetriever:
        """Return itself."""
        return self

    @property
    def predicts(self) -> bool:
        """True."""
        return True

    @property
    def query_space(self) -> Space | None:
        """Space of the query vectors, where an encoder makes them; None otherwise."""
        return self.query.space if isinstance(self.query, EncodedQuery) else None

    def over(self, bank: Bank) -> VectorRetriever:
        """Return the retriever over another bank, searched exactly."""
        return replace(self, query=move_query(self.query, bank), pool=Pool(bank), index=None, cache=None)

    def searched_with(self, index: Index) -> VectorRetriever:
        """Return the retriever with an index over its pool."""
        return replace(self, index=index)

    def score(self, contexts: Contexts) -> VectorScores:
        """Make the queries, or take them from the cache."""
        queries = self.query(contexts) if self.cache is None else self.cache.queries(self.query, contexts)
        return VectorScores(queries, self.index, self.pool)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        scores = VectorScores(self.query(contexts), self.index, self.pool)
        lap(self.stage)
        return scores.top(self.pool, k, exclude=contexts.exclude, lap=lap)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the query function's files."""
        return {"kind": "vector", "name": self.name, "query": save_query(self.query, writer)}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> VectorRetriever:
        """Read what ``save_part`` wrote."""
        stage: Stage = "encode" if about["query"]["kind"] == "encoder" else "predict"
        return cls(about["name"], "candidate", reader.read(about["query"]), reader.pool, reader.index, stage=stage)
