"""Retrievers that make one query vector per context and search the bank with it, and a cache of these vectors.

Copying baselines, the linear map, the encoder and every learned predictor differ in the query function only. Two
towers, siamese nets and fine-tuned text encoders encode the bank again and search that. Evaluation passes them pools of
the original bank; rows are the same in both banks, so each pool is ranked with the other vectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from segue.bank.reencoded import ReencodedBank
from segue.encoders.space import Space
from segue.errors import InputError
from segue.files import read_npz, write_npz
from segue.ranking.exact import ranks_of_several, target_ranks, top_k
from segue.ranking.given_scores import in_document_ranks
from segue.ranking.pool import TIE, Pool, exact_candidate_scores, exact_scores
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.query_function import BankQuery, EncodedQuery, QueryFunction, move_query, save_query
from segue.retrieval.retrievers.interface import Lap, SingleStage, Stage, no_lap, refuse_index
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Intent, Rankings

EncodeBank = Callable[[Bank], ReencodedBank]
"""Encodes every passage of a bank again."""


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
            self._read()  # another process may have added its own
            rows = _pad([np.frombuffer(name, dtype=np.int64) for name in self._known])
            vectors = np.stack(list(self._known.values()))
            write_npz(self._path, {"rows": rows, "vectors": vectors, "key": np.array(self._key)})

    def _read(self) -> None:
        """Read the file; a missing, foreign or broken one counts as empty."""
        if self._path is None or not self._path.exists():
            return
        with contextlib.suppress(InputError, ValueError, KeyError):
            stored = read_npz(self._path)
            if str(stored["key"]) == self._key:
                pairs = zip(stored["rows"], stored["vectors"], strict=True)
                self._known = {_name(row): vector for row, vector in pairs} | self._known


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
        vectors: query vectors, unit length, float32.
        index: searched instead of the bank's blocks where the pool is the retriever's own.
        own: the retriever's own pool.
        reencoded: whether the bank of that pool is a ``ReencodedBank``, and other pools are of the bank it was made of.
    """

    vectors: Float[np.ndarray, "batch dim"]
    index: Index | None
    own: Pool
    reencoded: bool = False

    @property
    def queries(self) -> Float[np.ndarray, "batch dim"] | None:
        """The query vectors; None where they cannot be compared with the vectors of the bank that evaluation reads."""
        return None if self.reencoded else self.vectors

    @property
    def values(self) -> None:
        """None: candidates are scored as they are searched."""
        return None

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks; an approximate index plays no part in them."""
        return target_ranks(self.vectors, self._searched(pool), targets, exclude=exclude)

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion after one pass over the bank.

        A rank without some candidates is the rank among all, less those of them that are before the target.
        """
        pool, nothing = self._searched(pool), np.empty((len(targets), 0), dtype=np.int64)
        among_all = ranks_of_several(self.vectors, pool, targets, exclude=nothing)
        return [among_all - _excluded_before(self.vectors, pool, targets, exclude=exclude) for exclude in excludes]

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks among the passages of each target's document."""
        return in_document_ranks(self.vectors, self._searched_bank(bank), targets, exclude=exclude)

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k``, from the index where it holds the pool."""
        if self.index is not None and pool is self.own:
            rankings = self.index.search(self.vectors, k, exclude=exclude)
        else:
            rankings = top_k(self.vectors, self._searched(pool), k, exclude=exclude)
        lap("search")
        return rankings

    def reranked(self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]) -> None:
        """Return None: there is no reranker."""

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return cosines, float64."""
        return exact_scores(self.vectors, self.own.bank, query=query, rows=rows)

    def _searched(self, pool: Pool) -> Pool:
        """Return the same candidates with the vectors that are searched."""
        bank = self._searched_bank(pool.bank)
        return pool if bank is pool.bank else pool.on(bank)

    def _searched_bank(self, bank: Bank) -> Bank:
        """Return the bank that is searched in place of ``bank``.

        Raises:
            InputError: it is neither the re-encoded bank nor the one that was re-encoded.
        """
        searched = self.own.bank
        if not self.reencoded or bank is searched:
            return bank
        assert isinstance(searched, ReencodedBank)
        if bank is not searched.source:
            raise InputError(
                "the candidates do not belong to the bank that was re-encoded",
                got=bank.space.encoder,
                expected=f"{searched.source.space.encoder}, the bank of {len(searched)} rows that was encoded",
                fix="make the retriever over that bank (retriever.over(bank))",
            )
        return searched


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
        encode: encodes the bank again; the pool has these vectors then. None searches the bank's own vectors.
    """

    name: str
    intent: Intent
    query: QueryFunction
    pool: Pool
    index: Index | None = None
    stage: Stage = "predict"
    cache: QueryCache | None = None
    encode: EncodeBank | None = None

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
        """False: a query is made from its context, a re-encoded passage from that passage."""
        return False

    @property
    def reads_bank(self) -> bool:
        """True where the query function reads the bank, or the bank is encoded again."""
        return self.encode is not None or isinstance(self.query, BankQuery)

    def searcher(self) -> VectorRetriever:
        """Return itself, or the same search of the re-encoded bank as a bank of its own."""
        return self if self.encode is None else replace(self, encode=None)

    @property
    def predicts(self) -> bool:
        """True where the bank's own vectors are searched."""
        return self.encode is None

    @property
    def query_space(self) -> Space | None:
        """Space of the query vectors, where an encoder makes them; None otherwise."""
        return self.query.space if isinstance(self.query, EncodedQuery) else None

    def over(self, bank: Bank) -> VectorRetriever:
        """Return the retriever over another bank, encoded again where this one was, and searched exactly."""
        pool = Pool(bank) if self.encode is None else Pool(bank).on(self.encode(bank))
        return replace(self, query=move_query(self.query, bank), pool=pool, index=None, cache=None)

    def reencoded(self, encode: EncodeBank) -> VectorRetriever:
        """Return the retriever over its bank as ``encode`` encodes it, here and again in ``over``.

        The queries must be in the space of ``encode``.
        """
        return replace(self, pool=self.pool.on(encode(self.pool.bank)), index=None, encode=encode)

    def indexed(self) -> VectorRetriever:
        """Return the retriever with an exact index over its pool."""
        return replace(self, index=ExactIndex(self.pool))

    def searched_with(self, index: Index) -> VectorRetriever:
        """Return the retriever with an index over its pool.

        Raises:
            InputError: it searches a re-encoded bank.
        """
        if self.encode is not None:
            raise refuse_index(self.name)
        return replace(self, index=index)

    def score(self, contexts: Contexts) -> VectorScores:
        """Make the queries, or take them from the cache."""
        queries = self.query(contexts) if self.cache is None else self.cache.queries(self.query, contexts)
        return VectorScores(queries, self.index, self.pool, self.encode is not None)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        scores = VectorScores(self.query(contexts), self.index, self.pool, self.encode is not None)
        lap(self.stage)
        return scores.top(self.pool, k, exclude=contexts.exclude, lap=lap)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the query function's files; they hold what encodes the bank, too."""
        about = {"kind": "vector", "name": self.name, "query": save_query(self.query, writer)}
        return about if self.encode is None else {**about, "documents": "encoded again"}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> VectorRetriever:
        """Read what ``save_part`` wrote."""
        encoded = about["query"].get("reads_text", about["query"]["kind"] == "encoder")
        stage: Stage = "encode" if encoded else "predict"
        return cls(about["name"], "candidate", reader.read(about["query"]), reader.pool, reader.index, stage=stage)
