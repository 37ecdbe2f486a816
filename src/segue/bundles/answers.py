"""An answer: passages with scores and the reasons for them.

Enters: what a retriever ranked for a batch of questions. Leaves: for each question its passages, described from the
bank, with the cosine to the prediction, to each passage read, and the reranker's score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.bundles.lookup import Lookup
from segue.bundles.open import Bundle
from segue.bundles.questions import Asking
from segue.evaluation.confidence.model import CUTOFFS, PLACES
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.retrieval.retrievers.cascade import CascadeScores
from segue.retrieval.retrievers.interface import Scores
from segue.types import Contexts, Rankings


@dataclass(frozen=True)
class Why:
    """Why a passage was answered.

    Attributes:
        prediction: cosine to the predicted vector; None where nothing is predicted in the bank's space.
        context: cosine to each passage read, oldest first.
        rerank: the reranker's score; None without one, and for what it was not given.
    """

    prediction: float | None
    context: tuple[float, ...]
    rerank: float | None


@dataclass(frozen=True)
class NextPassage:
    """One answer; ``score`` orders the answers of a question and is not comparable between questions."""

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
        confidence: the probability that the true next passage is the first, or among the first five, by metric name;
            None where the run could not tell.
        prediction: the predicted unit vector; None where nothing is predicted in the bank's space.
        vectors: of the passages read.
        milliseconds: spent by stage, on the batch that the question was answered in.
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
    """What a retriever answered to a batch.

    Attributes:
        rankings: at least ten places.
        queries: the predictions; None where there are none in the bank's space.
        reranked: rows that a reranker put in order; None without one.
        confidence: probability that the next passage is within each cutoff; None where the run could not tell.
        milliseconds: spent by stage.
    """

    rankings: Rankings
    queries: Float[np.ndarray, "batch dim"] | None
    reranked: Int[np.ndarray, "batch candidate"] | None
    confidence: Float[np.ndarray, "batch cutoff"] | None
    milliseconds: dict[str, float]


def ranked(retriever: Retriever, contexts: Contexts, pool: Pool, k: int, bundle: Bundle) -> Ranked:
    """Ask a retriever about a batch, with the time of each stage."""
    deep = max(PLACES, min(k, pool.size))
    began = perf_counter()
    scores = retriever.score(contexts)
    laps = {"predict": perf_counter() - began}
    rankings, reranked = _top(scores, pool, deep, contexts, laps)
    confidence = None if bundle.confidence is None else bundle.confidence(rankings, contexts, bundle.bank)
    milliseconds = {stage: 1000 * seconds for stage, seconds in laps.items()}
    return Ranked(rankings, scores.queries, reranked, confidence, milliseconds)


def _top(
    scores: Scores, pool: Pool, k: int, contexts: Contexts, laps: dict[str, float]
) -> tuple[Rankings, Int[np.ndarray, "batch candidate"] | None]:
    """Return the best k and which rows were reranked; note the seconds of searching and of reranking."""
    began = perf_counter()
    if not isinstance(scores, CascadeScores):
        rankings = scores.top(pool, k, exclude=contexts.exclude)
        laps["search"] = perf_counter() - began
        return rankings, None
    drawn = scores.draw(pool, contexts.exclude, k=k)
    laps["search"] = perf_counter() - began
    began = perf_counter()
    rankings = scores.order(drawn).top(pool, k)
    laps["rerank"] = perf_counter() - began
    return rankings, drawn.candidates.rows


def answer_one(asking: Asking, found: Ranked, place: int, bundle: Bundle, lookup: Lookup) -> Answer:
    """Return the answer to one question of a batch."""
    rows = found.rankings.rows[place, : asking.k]
    rows = rows[rows >= 0]
    scores = found.rankings.scores[place, : len(rows)].astype(float).tolist()
    query = None if found.queries is None else found.queries[place]
    reranked = None if found.reranked is None else (rows[:, None] == found.reranked[place]).any(axis=1)
    why = _reasons(bundle.bank.gather(rows), asking, query, scores, reranked)
    names = bundle.bank.passage_ids(np.maximum(asking.rows, 0))
    read = tuple(name if row >= 0 else None for name, row in zip(names, asking.rows, strict=True))
    texts: tuple[str | None, ...] = asking.texts or (None,) * len(read)
    sure = None if found.confidence is None else _named(found.confidence[place])
    passages = describe(bundle, lookup, rows, scores, why)
    return Answer(passages, read, texts, sure, query, asking.read_vectors, dict(found.milliseconds))


def _reasons(
    vectors: Float[np.ndarray, "k dim"],
    asking: Asking,
    query: Float[np.ndarray, "dim"] | None,
    scores: Sequence[float],
    reranked: Bool[np.ndarray, "k"] | None,
) -> list[Why]:
    to_query = [None] * len(vectors) if query is None else (vectors @ query).astype(float).tolist()
    to_read = map(tuple, (vectors @ asking.read_vectors.T).astype(float).tolist())
    by_reranker = [False] * len(vectors) if reranked is None else reranked.tolist()
    values = zip(to_query, to_read, scores, by_reranker, strict=True)
    return [Why(cosine, cosines, score if yes else None) for cosine, cosines, score, yes in values]


def _named(probabilities: Float[np.ndarray, "cutoff"]) -> dict[str, float]:
    return {f"R@{cutoff}": float(value) for cutoff, value in zip(CUTOFFS, probabilities, strict=True)}


def describe(
    bundle: Bundle, lookup: Lookup, rows: Int[np.ndarray, "k"], scores: Sequence[float], why: Sequence[Why]
) -> tuple[NextPassage, ...]:
    """Describe rows of the bank."""
    bank = bundle.bank
    numbers, positions = bank.document_of[rows].tolist(), bank.position[rows].tolist()
    described = zip(bank.passage_ids(rows), numbers, positions, lookup.texts(rows), scores, why, strict=True)
    return tuple(
        NextPassage(name, bank.document_ids[number], bank.document_titles[number], position, text, score, reasons)
        for name, number, position, text, score, reasons in described
    )
