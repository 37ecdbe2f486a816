"""Answers: passages with their scores and the reasons for them.

Input: what a retriever ranked for a batch of queries. Output: for each query its passages, described from the bank,
with the cosine to the prediction, to each passage read, and the reranker's score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.bundles.open import Bundle
from segue.bundles.queries import Lookup, ResolvedQuery
from segue.evaluation.confidence.model import CUTOFFS, PLACES
from segue.evaluation.latency import Stopwatch
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.types import Contexts, Rankings


@dataclass(frozen=True)
class Why:
    """Reasons for a passage.

    Attributes:
        prediction: cosine to the predicted vector; None where nothing is predicted in the bank's space.
        context: cosine to each passage read, oldest first.
        rerank: the reranker's score; None without one, and for passages that it did not order.
    """

    prediction: float | None
    context: tuple[float, ...]
    rerank: float | None


@dataclass(frozen=True)
class NextPassage:
    """Passage of an answer; ``score`` orders the passages of one answer and is not comparable between queries."""

    id: str
    document: str
    title: str
    position: int
    text: str | None
    score: float
    why: Why


@dataclass(frozen=True)
class Answer(Sequence[NextPassage]):
    """The passages that may come next, best first.

    Attributes:
        passages: at most k.
        read: id of each passage read, oldest first; None where the bank does not hold it.
        texts: their texts, None where only the vector is known.
        confidence: probability that the true next passage is the first, or among the first five, by metric name; None
            where the run could not measure it.
        prediction: the predicted unit vector; None where nothing is predicted in the bank's space.
        vectors: vectors of the passages read.
        milliseconds: time of each stage, for the batch that the query was answered in.
    """

    passages: tuple[NextPassage, ...]
    read: tuple[str | None, ...]
    texts: tuple[str | None, ...] = field(repr=False)
    confidence: dict[str, float] | None
    prediction: Float[np.ndarray, "dim"] | None = field(repr=False, compare=False)
    vectors: Float[np.ndarray, "read dim"] = field(repr=False, compare=False)
    milliseconds: dict[str, float] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.passages)

    def __iter__(self) -> Iterator[NextPassage]:
        return iter(self.passages)

    def __getitem__(self, place: Any) -> Any:
        return self.passages[place]


@dataclass(frozen=True)
class Ranked:
    """Rankings of a batch.

    Attributes:
        rankings: at least ten places.
        queries: the predictions; None where there are none in the bank's space.
        reranked: rows that a reranker put in order; None without one.
        confidence: probability that the next passage is within each cutoff; None where the run could not measure it.
        milliseconds: time of each stage.
    """

    rankings: Rankings
    queries: Float[np.ndarray, "batch dim"] | None
    reranked: Int[np.ndarray, "batch candidate"] | None
    confidence: Float[np.ndarray, "batch cutoff"] | None
    milliseconds: dict[str, float]


def ranked(retriever: Retriever, contexts: Contexts, pool: Pool, k: int, bundle: Bundle) -> Ranked:
    """Rank the passages for a batch of queries, and measure the time of each stage."""
    watch = Stopwatch()
    scores = retriever.score(contexts)
    watch("predict")
    rankings = scores.top(pool, max(PLACES, min(k, pool.size)), exclude=contexts.exclude, lap=watch)
    reranked = scores.reranked(pool, exclude=contexts.exclude)
    confidence = None if bundle.confidence is None else bundle.confidence(rankings, contexts, bundle.bank)
    return Ranked(rankings, scores.queries, reranked, confidence, watch.milliseconds)


def answer_one(query: ResolvedQuery, found: Ranked, place: int, bundle: Bundle, lookup: Lookup) -> Answer:
    """Return the answer to one query of a batch."""
    rows = found.rankings.rows[place, : query.k]
    rows = rows[rows >= 0]
    scores = found.rankings.scores[place, : len(rows)].astype(float).tolist()
    prediction = None if found.queries is None else found.queries[place]
    reranked = None if found.reranked is None else (rows[:, None] == found.reranked[place]).any(axis=1)
    why = _reasons(bundle.bank.gather(rows), query.read_vectors, prediction, scores, reranked)
    names = bundle.bank.passage_ids(np.maximum(query.rows, 0))
    read = tuple(name if row >= 0 else None for name, row in zip(names, query.rows, strict=True))
    texts: tuple[str | None, ...] = query.texts or (None,) * len(read)
    confidence = None
    if found.confidence is not None:
        confidence = {
            f"R@{cutoff}": float(value) for cutoff, value in zip(CUTOFFS, found.confidence[place], strict=True)
        }
    passages = describe(bundle, lookup, rows, scores, why)
    return Answer(passages, read, texts, confidence, prediction, query.read_vectors, dict(found.milliseconds))


def _reasons(
    vectors: Float[np.ndarray, "k dim"],
    read: Float[np.ndarray, "read dim"],
    prediction: Float[np.ndarray, "dim"] | None,
    scores: Sequence[float],
    reranked: Bool[np.ndarray, "k"] | None,
) -> list[Why]:
    to_query = [None] * len(vectors) if prediction is None else (vectors @ prediction).astype(float).tolist()
    to_read = map(tuple, (vectors @ read.T).astype(float).tolist())
    by_reranker = [False] * len(vectors) if reranked is None else reranked.tolist()
    values = zip(to_query, to_read, scores, by_reranker, strict=True)
    return [Why(cosine, cosines, score if yes else None) for cosine, cosines, score, yes in values]


def describe(
    bundle: Bundle, lookup: Lookup, rows: Int[np.ndarray, "k"], scores: Sequence[float], why: Sequence[Why]
) -> tuple[NextPassage, ...]:
    """Describe rows of the bank."""
    bank = bundle.bank
    names = bank.passage_ids(rows)
    numbers, positions = bank.document_of[rows].tolist(), bank.position[rows].tolist()
    described = zip(names, numbers, positions, lookup.texts(rows), scores, why, strict=True)
    return tuple(
        NextPassage(name, bank.document_ids[number], bank.document_titles[number], position, text, score, reasons)
        for name, number, position, text, score, reasons in described
    )
