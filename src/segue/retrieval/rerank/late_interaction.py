"""How the sentences read meet the sentences of a candidate: what one passage ends with, the next often begins with.

Vectors of whole passages blur that. So the sentences of both sides are compared each with each, and what is left is a
few maxima and means of those cosines: MaxSim, the late interaction of Khattab & Zaharia 2020 (ColBERT), on sentences in
place of words. Words used in the names of features:

``tail``, ``head``   the last sentence of a passage, its first
``newest``           the passage that was read last; ``second`` the one before it
``late interaction`` the mean, over the sentences of the one side, of the best cosine on the other side

Stored vectors are float16 and products of two such numbers are summed as float64, where no rounding occurs (49 bits
suffice for unit vectors): no value depends on the order of rows, the size of the batch or the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt8

from segue.data.sentences import MOST, Packed, SentenceVectors, sentence_mask, widened
from segue.retrieval.rerank.interface import Candidates
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
"""What is left of 19 features after those were dropped that trees made least of, at no loss: the newest passage's tail
with the candidate's head, with whichever of its sentences is likest, with its tail; the two heads; the tail with the
candidate's own vector; the candidate's head with the likest sentence of the newest passage, of the second, of all; the
likest pair of sentences of the newest passage and the candidate; for each sentence of the newest passage the likest of
the candidate, averaged; for each sentence of the candidate the likest of all sentences read, averaged; the prediction
with the candidate's likest sentence, and averaged over all."""

PLACED = (
    "tail - head",
    "tail - best sentence",
    "tail - candidate",
    "best newest sentence - head",
    "late interaction of newest",
    "late interaction with context",
)
"""Those whose rank within the list says more than their value."""

CROWDED = ("late interaction with context", "tail - candidate", "prediction - best sentence")
"""Those that are large for every candidate from a crowded region of the bank."""


@dataclass(frozen=True)
class Side:
    """The sentences of the passages of one side, list by list.

    Attributes:
        vectors: of each list, one passage after the other; float64.
        counts: sentences of each passage.
    """

    vectors: Sequence[Float64[np.ndarray, "_ dim"]]
    counts: UInt8[np.ndarray, "batch passage"]

    @classmethod
    def of(cls, packed: Packed, lists: int) -> Side:
        """Cut the sentences of equally many passages for each list into lists."""
        vectors, counts = packed
        counts = counts.reshape(lists, -1)
        ends = np.cumsum(counts.sum(axis=1, dtype=np.int64))[:-1]
        return cls([widened(part, torch.float64) for part in np.split(vectors, ends)], counts)

    @property
    def last(self) -> Int[np.ndarray, "batch passage"]:
        """The place of each passage's last sentence; of a passage without one the first place, which is empty."""
        return np.maximum(self.counts.astype(np.int64) - 1, 0)

    def cosines(self, other: Side) -> Float64[np.ndarray, "batch passage sentence other_sentence other_passage"]:
        """Return the cosine of each sentence with each of the other side; NaN where either side has none.

        The other side's passages come last, since there are many: what is done next runs along them.
        """
        here, there = self.counts.shape[1], other.counts.shape[1]
        cosines = np.full((len(self.counts), here * MOST, MOST * there), np.nan)
        for number, (ours, theirs) in enumerate(zip(self.vectors, other.vectors, strict=True)):
            rows = np.flatnonzero(sentence_mask(self.counts[number]))
            passage, sentence = np.nonzero(sentence_mask(other.counts[number]))
            cosines[number][np.ix_(rows, sentence * there + passage)] = ours @ theirs.T
        return cosines.reshape(len(cosines), here, MOST, MOST, there)


@dataclass(frozen=True)
class LateInteraction:
    """The features of the group ``sentences``.

    Attributes:
        sentences: vectors of the sentences of the bank that candidates are rows of.
        context: passages that are read, at most.
    """

    sentences: SentenceVectors
    context: int

    def columns(
        self, contexts: Contexts, candidates: Candidates, vectors: Float[np.ndarray, "batch candidate dim"]
    ) -> Columns:
        """Return each feature, float64; NaN where a side has no sentence, and at the pads.

        Args:
            contexts: passages that the bank does not hold must bring their texts, or count as having no sentence.
            candidates: rows of the bank.
            vectors: of the candidates, anything at the pads.
        """
        read = Side.of(self._read(contexts), len(contexts))
        found = Side.of(self.sentences.packed(candidates.rows.ravel()), len(contexts))
        columns = _with_sentences_read(read, found) | _with_prediction(candidates, found)
        with_tail = (vectors @ _tails(read, vectors.shape[2])[:, :, None])[:, :, 0]
        return columns | {"tail - candidate": np.where(candidates.there, with_tail, np.nan)}

    def _read(self, contexts: Contexts) -> Packed:
        """Return the sentences of the newest passages of all contexts, oldest first."""
        rows, mask = contexts.rows[:, -self.context :], contexts.mask[:, -self.context :]
        strangers: dict[int, str] = {}
        if contexts.texts is not None:
            for number, place in np.argwhere(mask & (rows < 0)).tolist():
                strangers[number * rows.shape[1] + place] = contexts.texts[number][place - rows.shape[1]]
        return self.sentences.packed(rows.ravel(), strangers)


def _with_sentences_read(read: Side, found: Side) -> dict[str, Float64[np.ndarray, "batch candidate"]]:
    """Return what is made of the cosines between the sentences read and the candidates'."""
    pairs = read.cosines(found)  # [batch, context, sentence read, candidate's sentence, candidate]
    newest = pairs[:, -1]
    tail = np.take_along_axis(newest, read.last[:, -1, None, None, None], axis=1)[:, 0]
    best_newest = np.fmax.reduce(newest, axis=1)  # [batch, candidate's sentence, candidate]
    best_second = np.fmax.reduce(pairs[:, -2], axis=1) if pairs.shape[1] > 1 else np.full_like(best_newest, np.nan)
    best_read = np.fmax.reduce(pairs, axis=(1, 2))
    return {
        "tail - head": tail[:, 0],
        "tail - best sentence": np.fmax.reduce(tail, axis=1),
        "tail - tail": np.take_along_axis(tail, found.last[:, None, :], axis=1)[:, 0],
        "head - head": newest[:, 0, 0],
        "best newest sentence - head": best_newest[:, 0],
        "best second sentence - head": best_second[:, 0],
        "best context sentence - head": best_read[:, 0],
        "best pair with newest": np.fmax.reduce(best_newest, axis=1),
        "late interaction of newest": _mean(np.fmax.reduce(newest, axis=2)),
        "late interaction with context": _mean(best_read),
    }


def _with_prediction(candidates: Candidates, found: Side) -> dict[str, Float64[np.ndarray, "batch candidate"]]:
    """Return what is made of the cosines between the first stage's prediction and the candidates' sentences."""
    names = ("prediction - best sentence", "prediction - mean sentence")
    if candidates.queries is None:
        return dict.fromkeys(names, np.full(candidates.rows.shape, np.nan))
    queries = candidates.queries.astype(np.float64)
    predicted = Side(list(queries[:, None]), np.ones((len(queries), 1), dtype=np.uint8))
    cosines = predicted.cosines(found)[:, 0, 0]  # [batch, candidate's sentence, candidate]
    return dict(zip(names, (np.fmax.reduce(cosines, axis=1), _mean(cosines)), strict=True))


def _tails(read: Side, dimension: int) -> Float64[np.ndarray, "batch dim"]:
    """Return the vector of the last sentence of each newest passage; NaN where there is none."""
    tails = np.full((len(read.counts), dimension), np.nan)
    for number in np.flatnonzero(read.counts[:, -1]).tolist():
        tails[number] = read.vectors[number][-1]
    return tails


def _mean(values: Float64[np.ndarray, "batch sentence candidate"]) -> Float64[np.ndarray, "batch candidate"]:
    """Average over the sentences that are there; NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
