"""The released retriever: what was read goes in, the passages that may come next come out, each with its reasons.

Enters: a verified bundle and questions. A question names what was read as texts, as vectors or by passage ids. Leaves:
an answer of passages with scores, document, position, and why: the cosine to the prediction, to each passage read, and
the reranker's score; beside them how sure the answer is, where the run could measure that. One instance may be shared
by threads: each asks under a lock, since the nets and their caches are one.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.bundles.answers import Answer, NextPassage, Why, answer_one, describe, ranked
from segue.bundles.lookup import Lookup
from segue.bundles.open import Bundle, open_bundle
from segue.bundles.questions import Asking, Half, Question, as_contexts, resolve
from segue.bundles.store import current_bundle
from segue.encoders import Encoder
from segue.errors import InputError, explain
from segue.hardware import Device
from segue.ranking.pool import Pool
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.cascade import Cascade
from segue.types import Contexts

POOLS_KEPT = 16
"""Sets of documents whose candidates are remembered."""
NOTHING = Why(None, (), None)


class ReleasedRetriever:
    """Answers from a bundle. Make it with ``segue.load``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.lookup = Lookup(bundle.bank)
        self._lock, self._encoding = threading.Lock(), threading.Lock()
        self._without_texts = without_texts(bundle.retriever)
        self._pools: dict[tuple[str, ...], Pool] = {}

    @property
    def reads_texts(self) -> bool:
        """Whether it can be asked about texts that the bank does not hold."""
        return self.bundle.encoder is not None

    @property
    def predicts(self) -> bool:
        """Whether it predicts a vector of the bank's space: words and document towers do not."""
        retriever = self.bundle.retriever
        return isinstance(retriever.first if isinstance(retriever, Cascade) else retriever, VectorRetriever)

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
            passages: what was read, oldest first; the last ones are read, as many as the bundle's context has, and none
                of all is answered.
            text: instead: the beginning of a document, which is cut into passages as the bank's documents were.
            vectors: instead: vectors of what was read, [passage, dim].
            ids: instead: ids of passages of the bank.
            k: passages to answer, 1 or more.
            exclude: ids of further passages that may not be answered.
            documents: ids of the documents to answer from; None: all.

        Raises:
            InputError: not exactly one of the four was given, or it cannot be read.
        """
        question = Question(passages, text, vectors, ids, k=k, exclude=exclude, documents=documents)
        return self.next_batch([question])[0]

    def next_batch(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answer to each question; what can be done together is."""
        return self.answer([self.resolve(question) for question in questions])

    def predict(self, passages: Sequence[str] | None = None, *, text: str | None = None, vectors: Any = None,
                ids: Sequence[str] | None = None) -> Float[np.ndarray, "dim"]:  # fmt: skip
        """Return the predicted unit vector of the next passage.

        Raises:
            InputError: the bundle's retriever predicts no vector in the bank's space, or the question cannot be read.
        """
        (answer,) = self.next_batch([Question(passages, text, vectors, ids, k=1)])
        if answer.prediction is None:
            raise InputError(explain("this bundle predicts no vector", got=self.bundle.contract["option"],
                                     expected="a retriever that searches the bank's own space",
                                     fix="ask for passages instead"))  # fmt: skip
        return answer.prediction

    def search(
        self, vector: Float[np.ndarray, "dim"], k: int = 5, *, exclude: Sequence[str] = (),
        documents: Sequence[str] | None = None,
    ) -> tuple[NextPassage, ...]:  # fmt: skip
        """Return the passages nearest to a unit vector of the bank's space: nothing is predicted."""
        rows = np.array([self.lookup.row(name) for name in exclude], dtype=np.int64)
        chosen = None if documents is None else tuple(sorted(set(documents)))
        with self._lock:
            pool = self._nearest.pool if chosen is None else self._pool(chosen)
            rankings = self._nearest.score(_contexts_of(vector)).top(pool, min(k, pool.size), exclude=rows[None])
        found = rankings.rows[0][rankings.rows[0] >= 0]
        cosines = rankings.scores[0, : len(found)].astype(float).tolist()
        return describe(self.bundle, self.lookup, found, cosines, [Why(value, (), None) for value in cosines])

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        """Return the vectors of texts.

        Raises:
            InputError: the bundle was loaded without its encoder, or there is none.
        """
        encoder = require_encoder(self.bundle.encoder)
        with self._encoding:
            return encoder.encode(list(texts))

    def resolve(self, question: Question) -> Asking:
        """Turn a question into vectors, rows and texts.

        Raises:
            InputError: it cannot be read.
        """
        (found,) = self.resolve_batch([question])
        if isinstance(found, InputError):
            raise found
        return found

    def resolve_batch(self, questions: Sequence[Question]) -> list[Asking | InputError]:
        """Resolve questions; texts that the bank does not hold are encoded together, what cannot be read is told."""
        halves = [self._half(question) for question in questions]
        texts = [text for half in halves if isinstance(half, Half) for text in half.texts]
        vectors = self.encode(texts) if texts else np.empty((0, self.bundle.bank.dimension), dtype=np.float32)
        found: list[Asking | InputError] = []
        begin = 0
        for half in halves:
            if isinstance(half, InputError):
                found.append(half)
                continue
            found.append(half.filled(vectors[begin : begin + len(half.texts)]))
            begin += len(half.texts)
        return found

    def _half(self, question: Question) -> Half | InputError:
        """Resolve a question but for its strange texts; an error is returned, since others of the batch go on."""
        try:
            half = resolve(question, self.bundle, self.lookup)
            self._require_answerable(half)
        except InputError as error:
            return error
        return half

    def _require_answerable(self, half: Half) -> None:
        if half.texts:
            require_encoder(self.bundle.encoder)
        if half.asking.texts is None and self._without_texts is None:
            raise InputError(explain("this bundle reads texts", got="vectors of passages that it does not hold",
                                     fix="ask with texts or passage ids"))  # fmt: skip

    def answer(self, asked: Sequence[Asking]) -> list[Answer]:
        """Answer questions that were resolved; those of one kind are answered together."""
        kinds: dict[Any, list[int]] = {}
        for place, asking in enumerate(asked):
            kinds.setdefault((asking.texts is not None, asking.documents), []).append(place)
        answers: dict[int, Answer] = {}
        for (texts, documents), places in kinds.items():
            retriever = self.bundle.retriever if texts else self._without_texts
            assert retriever is not None, "resolving refuses what nothing can answer"
            size = retriever.batch_limit or len(places)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                answers |= zip(part, self._together(retriever, [asked[n] for n in part], documents), strict=True)
        return [answers[place] for place in range(len(asked))]

    def _together(self, retriever: Retriever, asked: list[Asking], documents: tuple[str, ...] | None) -> list[Answer]:
        contexts = as_contexts(asked, self.bundle)
        with self._lock:
            pool = retriever.pool if documents is None else self._pool(documents)
            found = ranked(retriever, contexts, pool, max(asking.k for asking in asked), self.bundle)
        return [answer_one(asking, found, place, self.bundle, self.lookup) for place, asking in enumerate(asked)]

    def passages_of(self, rows: Int[np.ndarray, "rows"]) -> tuple[NextPassage, ...]:
        """Describe passages of the bank that nobody asked a question about."""
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
        """Return the candidates of some documents, remembered; called under the lock."""
        if documents not in self._pools:
            while len(self._pools) >= POOLS_KEPT:
                self._pools.pop(next(iter(self._pools)))
            numbers = np.array([self.lookup.document(name) for name in documents], dtype=np.int64)
            self._pools[documents] = Pool(self.bundle.bank, numbers)
        return self._pools[documents]

    @functools.cached_property
    def _nearest(self) -> VectorRetriever:
        """What searches the bank with a vector as it is: with the index of the first stage where that is the bank's."""
        retriever = self.bundle.retriever
        first = retriever.first if isinstance(retriever, Cascade) else retriever
        if isinstance(first, VectorRetriever):
            return VectorRetriever("nearest", "candidate", copy_last, first.pool, first.index)
        return VectorRetriever("nearest", "candidate", copy_last, Pool(self.bundle.bank))


def load(
    path: Path | str, *, encoder: Encoder | None = None, texts: bool = True, device: Device = "auto"
) -> ReleasedRetriever:
    """Verify a bundle (or the current one of a bundles folder) and return what answers from it.

    Args:
        path: a bundle, or a folder in which bundles were promoted.
        encoder: the bank's encoder, where it is at hand; None loads the one that the bundle names.
        texts: whether texts will be asked about; without it no encoder is loaded.
        device: where nets run.

    Raises:
        InputError: there is no bundle, or it does not answer as it did when it was built.
        StorageError: a file was changed; the message names it.
        SpaceError: the encoder is of another space than the bundle.
    """
    return ReleasedRetriever(open_bundle(current_bundle(Path(path)), encoder=encoder, texts=texts, device=device))


def require_encoder(encoder: Encoder | None) -> Encoder:
    """Return the encoder.

    Raises:
        InputError: the bundle was loaded without it, or there is none.
    """
    if encoder is None:
        raise InputError(explain("this bundle cannot encode texts", got="no encoder",
                                 fix="ask with vectors or passage ids, or load it with its encoder"))  # fmt: skip
    return encoder


def without_texts(retriever: Retriever) -> Retriever | None:
    """Return what answers where only vectors are known, without the sources that read words; None: nothing does."""
    if not isinstance(retriever, Cascade):
        return None if retriever.reads_text else retriever
    if retriever.first.reads_text or isinstance(retriever.reranker, CrossEncoderReranker):
        return None
    return replace(retriever, sources=tuple(source for source in retriever.sources if not source[0].reads_text))


def _contexts_of(vector: Float[np.ndarray, "dim"]) -> Contexts:
    """Return a context of one passage."""
    rows = np.full((1, 1), -1, dtype=np.int64)
    vectors = np.asarray(vector, dtype=np.float32).reshape(1, 1, -1)
    return Contexts(vectors, np.ones((1, 1), dtype=bool), rows, rows[:, :0])
