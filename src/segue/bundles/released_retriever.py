"""Retriever of a bundle: answers queries with the passages that may come next, each with its reasons.

Input: a verified bundle and queries, which give what was read as texts, vectors or passage ids. Output: answers of
passages with their scores and reasons (cosines to the prediction and to each passage read, the reranker's score) and,
where the run could measure it, a confidence. Threads may share one instance: ranking is under a lock, since nets and
caches are shared.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.bundles.answers import Answer, NextPassage, Why, answer_one, describe, ranked
from segue.bundles.open import Bundle, open_bundle
from segue.bundles.queries import (
    Lookup,
    PendingQuery,
    Query,
    ResolvedQuery,
    as_contexts,
    require_k,
    require_strings,
    resolve,
    unit_vectors,
)
from segue.bundles.store import current_bundle
from segue.encoders import Encoder
from segue.errors import InputError
from segue.hardware import Device
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.types import Contexts

POOLS_KEPT = 16
"""Sets of documents whose candidates are cached."""
NOTHING = Why(None, (), None)


class ReleasedRetriever:
    """Answers from a bundle. Make it with ``segue.load``.

    Raises:
        InputError: a query cannot be read, or the bundle does not have a passage.
        SegueError: states what is wrong with the bundle, where a file is damaged while it is used.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.lookup = Lookup(bundle.bank)
        self._lock, self._encoding = threading.Lock(), threading.Lock()
        self._without_texts = bundle.retriever.without_texts()
        self._pools: dict[tuple[str, ...], Pool] = {}

    @property
    def reads_texts(self) -> bool:
        """Whether queries may bring texts that the bank does not hold."""
        return self.bundle.encoder is not None

    @property
    def predicts(self) -> bool:
        """Whether it predicts a vector of the bank's space; words and document towers do not."""
        return self.bundle.retriever.predicts

    def next(
        self,
        passages: Sequence[str] | None = None,
        *,
        text: str | None = None,
        vectors: Any = None,
        ids: Sequence[str] | None = None,
        k: int = 5,
        exclude: Sequence[str] = (),
        documents: Sequence[str] | None = None,
    ) -> Answer:
        """Return the passages that may come next.

        Args:
            passages: what was read, oldest first. The last ones are used, as many as the bundle's context has; none of
                them is in the answer.
            text: instead: the beginning of a document, which is cut into passages as the bank's documents were.
            vectors: instead: vectors of what was read, [passage, dim].
            ids: instead: ids of passages of the bank.
            k: passages in the answer, 1 or more.
            exclude: ids of further passages to leave out of the answer.
            documents: ids of the documents to answer from; None: all.

        Raises:
            InputError: not exactly one of the four was given, or it cannot be read.
        """
        return self.next_batch([Query(passages, text, vectors, ids, k=k, exclude=exclude, documents=documents)])[0]

    def next_batch(self, queries: Sequence[Query]) -> list[Answer]:
        """Return the answer to each query; texts and predictions are computed in batches.

        Raises:
            InputError: a query cannot be read.
        """
        return self.answer([self.resolve(query) for query in queries])

    def predict(self, passages: Sequence[str] | None = None, *, text: str | None = None, vectors: Any = None,
                ids: Sequence[str] | None = None) -> Float[np.ndarray, "dim"]:  # fmt: skip
        """Return the predicted unit vector of the next passage.

        Raises:
            InputError: the bundle's retriever predicts no vector in the bank's space, or the query cannot be read.
        """
        (answer,) = self.next_batch([Query(passages, text, vectors, ids, k=1)])
        if answer.prediction is None:
            raise InputError("this bundle predicts no vector", got=self.bundle.contract["option"],
                             expected="a retriever that searches the bank's own space",
                             fix="call next() for passages instead")  # fmt: skip
        return answer.prediction

    def search(
        self, vector: Float[np.ndarray, "dim"], k: int = 5, *, exclude: Sequence[str] = (),
        documents: Sequence[str] | None = None,
    ) -> tuple[NextPassage, ...]:  # fmt: skip
        """Return the passages nearest to a unit vector of the bank's space: nothing is predicted.

        Raises:
            InputError: the vector is of another dimension or not of length 1, ``k`` is below 1, or the bundle does not
                have a passage or a document.
        """
        require_k(k)
        require_strings(exclude, "exclude")
        require_strings(documents, "documents")
        rows = np.array([self.lookup.row(name) for name in exclude], dtype=np.int64)
        nothing = np.full((1, 1), -1, dtype=np.int64)
        vectors = unit_vectors([vector], self.bundle.bank.dimension)[None]
        context = Contexts(vectors, np.ones((1, 1), dtype=bool), nothing, nothing[:, :0])
        chosen = None if documents is None else tuple(sorted(set(documents)))
        with self._lock:
            pool = self._nearest.pool if chosen is None else self._pool(chosen)
            rankings = self._nearest.score(context).top(pool, min(k, pool.size), exclude=rows[None])
        found = rankings.rows[0][rankings.rows[0] >= 0]
        cosines = rankings.scores[0, : len(found)].astype(float).tolist()
        return describe(self.bundle, self.lookup, found, cosines, [Why(value, (), None) for value in cosines])

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        """Return the vectors of texts.

        Raises:
            InputError: the bundle was loaded without its encoder, or there is none; or ``texts`` is no list of texts.
        """
        require_strings(texts, "texts")
        encoder = require_encoder(self.bundle.encoder)
        with self._encoding:
            return encoder.encode(list(texts))

    def resolve(self, query: Query) -> ResolvedQuery:
        """Turn a query into vectors, rows and texts.

        Raises:
            InputError: it cannot be read.
        """
        (found,) = self.resolve_batch([query])
        if isinstance(found, InputError):
            raise found
        return found

    def resolve_batch(self, queries: Sequence[Query]) -> list[ResolvedQuery | InputError]:
        """Resolve queries, encoding their texts together; the result of one that cannot be read is its error."""
        pending = [self._pending(query) for query in queries]
        texts = [text for query in pending if isinstance(query, PendingQuery) for text in query.texts]
        vectors = self.encode(texts) if texts else np.empty((0, self.bundle.bank.dimension), dtype=np.float32)
        found: list[ResolvedQuery | InputError] = []
        begin = 0
        for query in pending:
            if isinstance(query, InputError):
                found.append(query)
                continue
            found.append(query.filled(vectors[begin : begin + len(query.texts)]))
            begin += len(query.texts)
        return found

    def _pending(self, query: Query) -> PendingQuery | InputError:
        """Resolve all but the texts that the bank does not hold.

        Returns the error instead of raising it, so that the rest of the batch is answered.
        """
        try:
            pending = resolve(query, self.bundle, self.lookup)
            if pending.texts:
                require_encoder(self.bundle.encoder)
            if pending.resolved.texts is None and self._without_texts is None:
                raise InputError("this bundle reads texts", got="vectors of passages that it does not hold",
                                 fix="query with texts or passage ids")  # fmt: skip
        except InputError as error:
            return error
        return pending

    def answer(self, queries: Sequence[ResolvedQuery]) -> list[Answer]:
        """Answer resolved queries; those that search the same candidates are answered together."""
        kinds: dict[tuple[bool, tuple[str, ...] | None], list[int]] = {}
        for place, query in enumerate(queries):
            kinds.setdefault((query.texts is not None, query.documents), []).append(place)
        answers: dict[int, Answer] = {}
        for (texts, documents), places in kinds.items():
            retriever = self.bundle.retriever if texts else self._without_texts
            assert retriever is not None, "queries that cannot be answered were refused before"
            size = retriever.batch_limit or len(places)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                answers |= zip(part, self._together(retriever, [queries[n] for n in part], documents), strict=True)
        return [answers[place] for place in range(len(queries))]

    def _together(
        self, retriever: Retriever, queries: list[ResolvedQuery], documents: tuple[str, ...] | None
    ) -> list[Answer]:
        contexts = as_contexts(queries, self.bundle)
        with self._lock:
            pool = retriever.pool if documents is None else self._pool(documents)
            found = ranked(retriever, contexts, pool, max(query.k for query in queries), self.bundle)
        return [answer_one(query, found, place, self.bundle, self.lookup) for place, query in enumerate(queries)]

    def passages_of(self, rows: Int[np.ndarray, "rows"]) -> tuple[NextPassage, ...]:
        """Describe passages of the bank, outside of any query."""
        return describe(self.bundle, self.lookup, rows, [0.0] * len(rows), [NOTHING] * len(rows))

    def following(self, name: str | None) -> str | None:
        """Return the id of the passage that follows one in its document; None where there is none."""
        if name is None:
            return None
        bank, row = self.bundle.bank, self.lookup.row(name)
        after = row + 1
        follows = after < len(bank) and bank.document_of[after] == bank.document_of[row] and bank.alive[after]
        return bank.passage_ids(np.array([after]))[0] if follows else None

    def _pool(self, documents: tuple[str, ...]) -> Pool:
        """Return the candidates of some documents from the cache; call it under the lock."""
        if documents not in self._pools:
            while len(self._pools) >= POOLS_KEPT:
                self._pools.pop(next(iter(self._pools)))
            numbers = np.array([self.lookup.document(name) for name in documents], dtype=np.int64)
            self._pools[documents] = Pool(self.bundle.bank, numbers)
        return self._pools[documents]

    @functools.cached_property
    def _nearest(self) -> VectorRetriever:
        """Search with a vector as it is, in the first stage's index where that is over the bank itself."""
        searcher = self.bundle.retriever.searcher()
        if searcher is not None and self.predicts:
            return VectorRetriever("nearest", "candidate", copy_last, searcher.pool, searcher.index)
        return VectorRetriever("nearest", "candidate", copy_last, Pool(self.bundle.bank))


def load(
    path: Path | str, *, encoder: Encoder | None = None, texts: bool = True, device: Device = "auto"
) -> ReleasedRetriever:
    """Verify a bundle (or the current one of a bundles folder) and return its retriever.

    Args:
        path: a bundle, or a folder in which bundles were promoted.
        encoder: the bank's encoder; None loads the one that the bundle names.
        texts: whether queries will bring texts; without them no encoder is loaded.
        device: device of the nets.

    Raises:
        InputError: there is no bundle, or it does not answer as it did when it was built.
        StorageError: a file was changed; the message names it.
        SpaceError: the encoder is of another space than the bundle.
        SettingsError: a part of your own cannot be imported, or is not yours.
        MissingExtraError: the encoder, or the client of object storage, is not installed.
    """
    return ReleasedRetriever(open_bundle(current_bundle(Path(path)), encoder=encoder, texts=texts, device=device))


def require_encoder(encoder: Encoder | None) -> Encoder:
    """Return the encoder.

    Raises:
        InputError: the bundle was loaded without it, or there is none.
    """
    if encoder is None:
        raise InputError("this bundle cannot encode texts", got="no encoder",
                         fix="query with vectors or passage ids (segue predict: --vectors or --id)")  # fmt: skip
    return encoder
