"""Features of sentences: the next passage often begins with what the last one ends with.

The sentences read are compared with those of a candidate, each with each; the features are maxima and means of the
cosines: MaxSim, the late interaction of Khattab & Zaharia 2020 (ColBERT), on sentences in place of words. Terms in the
names of features:

``tail``, ``head``   the last sentence of a passage, its first
``newest``           the passage that was read last; ``second`` the one before it
``late interaction`` mean over the sentences of one side of the best cosine on the other side

Stored vectors are float16 and their products are summed as float64 without rounding (49 bits suffice for unit vectors):
no value depends on the order of rows, the size of the batch or the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64

from segue.bank.pieces import Packed, PieceVectors
from segue.bank.sentences import widened
from segue.retrieval.rerank.interface import CandidateLists
from segue.types import Contexts

Columns = Mapping[str, Float64[np.ndarray, "batch candidate"]]

NAMES = (
    "tail - head",
    "tail - best sentence",
    "tail - tail",
    "head - head",
    "tail - candidate",
    "best newest sentence - head",
    "best second sentence - head",
    "best context sentence - head",
    "best pair with newest",
    "late interaction of newest",
    "late interaction with context",
    "prediction - best sentence",
    "prediction - mean sentence",
)
"""Features: cosines of the first with the second part of the name; ``best`` is the largest over sentences."""

PLACED = (
    "tail - head",
    "tail - best sentence",
    "tail - candidate",
    "best newest sentence - head",
    "late interaction of newest",
    "late interaction with context",
)
"""Features that get a rank within the list."""

CROWDED = ("late interaction with context", "tail - candidate", "prediction - best sentence")
"""Features that are large for every candidate from a crowded region of the bank."""


@dataclass(frozen=True)
class Side:
    """Sentences of the passages of one side, list by list.

    Attributes:
        vectors: vectors of each list, one passage after the other; float64.
        counts: sentences of each passage.
    """

    vectors: Sequence[Float64[np.ndarray, "_ dim"]]
    counts: Int64[np.ndarray, "batch passage"]

    @classmethod
    def of(cls, packed: Packed, lists: int) -> Side:
        """Split the sentences into lists of equally many passages."""
        vectors, counts = packed
        counts = counts.reshape(lists, -1).astype(np.int64)
        ends = np.cumsum(counts.sum(axis=1))[:-1]
        return cls([widened(part, torch.float64) for part in np.split(vectors, ends)], counts)

    def passages(self, number: int) -> list[Float64[np.ndarray, "_ dim"]]:
        """Return the sentences of each passage of one list."""
        return np.split(self.vectors[number], np.cumsum(self.counts[number])[:-1])


@dataclass(frozen=True)
class LateInteraction:
    """Computes the features of the group ``sentences``.

    Attributes:
        sentences: vectors of the bank's sentences.
        context: most passages read.
    """

    sentences: PieceVectors
    context: int

    def columns(
        self, contexts: Contexts, candidates: CandidateLists, vectors: Float[np.ndarray, "batch candidate dim"]
    ) -> Columns:
        """Return each feature, float64; NaN where a side has no sentence, and at the pads.

        Args:
            contexts: passages that the bank does not hold need texts, or count as having no sentence.
            candidates: rows of the bank.
            vectors: vectors of the candidates, anything at the pads.
        """
        read = Side.of(self._read(contexts), len(contexts))
        found = Side.of(self.sentences.packed(candidates.rows.ravel()), len(contexts))
        columns = {name: np.full(candidates.rows.shape, np.nan) for name in NAMES}
        for number in range(len(contexts)):
            passages = read.passages(number)
            theirs = Sentences(found.vectors[number], found.counts[number])
            queries = None if candidates.queries is None else candidates.queries[number].astype(np.float64)
            for name, values in (_with_sentences_read(passages, theirs) | _with_prediction(queries, theirs)).items():
                columns[name][number, theirs.there] = values
            if len(passages[-1]):
                columns["tail - candidate"][number] = vectors[number] @ passages[-1][-1]
        columns["tail - candidate"][~candidates.there] = np.nan
        return columns

    def _read(self, contexts: Contexts) -> Packed:
        """Return the sentences of the newest passages of all contexts, oldest first."""
        rows, mask = contexts.rows[:, -self.context :], contexts.mask[:, -self.context :]
        unknown: dict[int, str] = {}
        if contexts.texts is not None:
            for number, place in np.argwhere(mask & (rows < 0)).tolist():
                unknown[number * rows.shape[1] + place] = contexts.texts[number][place - rows.shape[1]]
        return self.sentences.packed(rows.ravel(), unknown)


class Sentences:
    """Sentences of the candidates of one list, and reductions to a value for each candidate that has any.

    Args:
        vectors: one candidate after the other.
        counts: sentences of each candidate.
    """

    def __init__(self, vectors: Float64[np.ndarray, "_ dim"], counts: Int64[np.ndarray, "candidate"]) -> None:
        self.vectors = vectors
        self.there = np.flatnonzero(counts)
        self.count = counts[self.there]
        self.heads = np.cumsum(self.count) - self.count
        self.lasts = self.heads + self.count - 1

    def best(self, values: Float64[np.ndarray, "*more sentence"]) -> Float64[np.ndarray, "*more some"]:
        """Return the largest value of each candidate's sentences."""
        return np.maximum.reduceat(values, self.heads, axis=-1)

    def mean(self, values: Float64[np.ndarray, "sentence"]) -> Float64[np.ndarray, "some"]:
        """Return the mean over each candidate's sentences."""
        return np.add.reduceat(values, self.heads) / self.count


def _with_sentences_read(
    read: Sequence[Float64[np.ndarray, "_ dim"]], found: Sentences
) -> dict[str, Float64[np.ndarray, "some"]]:
    """Return the features of the sentences read and the candidates' sentences; empty where there are none.

    Args:
        read: the sentences of each passage, oldest first.
        found: the candidates'.
    """
    if not len(found.there) or not any(map(len, read)):
        return {}
    cosines = np.concatenate(read) @ found.vectors.T  # [sentence read, candidate's sentence]
    by_passage = np.split(cosines, np.cumsum([len(passage) for passage in read])[:-1])
    best_read = cosines.max(axis=0)
    columns = {
        "best context sentence - head": best_read[found.heads],
        "late interaction with context": found.mean(best_read),
    }
    if len(by_passage) > 1 and len(by_passage[-2]):
        columns["best second sentence - head"] = by_passage[-2].max(axis=0)[found.heads]
    newest = by_passage[-1]
    if len(newest):
        best_newest, tail = newest.max(axis=0), newest[-1]
        columns |= {
            "tail - head": tail[found.heads],
            "tail - best sentence": found.best(tail),
            "tail - tail": tail[found.lasts],
            "head - head": newest[0][found.heads],
            "best newest sentence - head": best_newest[found.heads],
            "best pair with newest": found.best(best_newest),
            "late interaction of newest": found.best(newest).mean(axis=0),
        }
    return columns


def _with_prediction(
    query: Float64[np.ndarray, "dim"] | None, found: Sentences
) -> dict[str, Float64[np.ndarray, "some"]]:
    """Return the features of the first stage's prediction and the candidates' sentences."""
    if query is None or not len(found.there):
        return {}
    cosines = found.vectors @ query
    return {"prediction - best sentence": found.best(cosines), "prediction - mean sentence": found.mean(cosines)}
