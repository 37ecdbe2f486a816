"""Features of tokens: the end of the newest passage is compared with the beginning of a candidate, token by token.

The features are means and maxima of best cosines: MaxSim, the late interaction of Khattab & Zaharia 2020 (ColBERT), by
the vectors that the bank's encoder makes before pooling. Terms in the names of features:

``end``         the last tokens of the newest passage; ``last`` only the last 16 of them
``beginning``   the first tokens of the candidate; ``first`` only the first 8 of them
``a in b``      mean over the tokens of a of the best cosine with a token of b; ``rare``: weighted by the token's rarity

Rarity is the inverse document frequency over the passages that are counted, as BM25 has it, of stored tokens alone.
Products of stored vectors are whole numbers that float32 holds exactly, and a candidate's values are computed from its
own tokens in their order: no value depends on the order of rows, the size of the batch or the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64

from segue.bank.pieces import Packed, PieceVectors
from segue.bank.tokens import BEGINNING, END
from segue.ranking.pool import Pool
from segue.retrieval.rerank.interface import CandidateLists
from segue.types import Contexts

Columns = Mapping[str, Float64[np.ndarray, "batch candidate"]]

LAST, FIRST = 16, 8
"""Tokens of the end and of the beginning that are compared once more, alone."""

NAMES = (
    "end in beginning",
    "rare end in beginning",
    "last in beginning",
    "beginning in end",
    "rare beginning in end",
    "first in end",
    "first in last",
    "best pair of tokens",
    "best rare pair of tokens",
)

PLACED = ("end in beginning", "rare end in beginning", "rare beginning in end", "first in end")
"""Features that get a rank within the list."""


@dataclass(frozen=True)
class TokenInteraction:
    """Computes the features of the group ``tokens``.

    Attributes:
        tokens: tokens of the bank's passages.
        rarity: weight of each token, by its number (``token_rarity``).
    """

    tokens: PieceVectors
    rarity: Float64[np.ndarray, "vocabulary"]

    def columns(self, contexts: Contexts, candidates: CandidateLists) -> Columns:
        """Return each feature; NaN where a side has no token, and at the pads.

        Args:
            contexts: a newest passage that the bank does not hold needs texts, or counts as having no token.
            candidates: rows of the bank.
        """
        newest, unknown = contexts.rows[:, -1], {}
        if contexts.texts is not None:
            new = np.flatnonzero((newest < 0) & contexts.mask[:, -1])
            unknown = {number: contexts.texts[number][-1] for number in new.tolist()}
        read = _by_list(self.tokens.packed(newest, unknown, last=END), len(contexts))
        found = _by_list(self.tokens.packed(candidates.rows.ravel(), first=BEGINNING), len(contexts))
        columns = np.full((len(NAMES), *candidates.rows.shape), np.nan)
        for number, ((end, _), (beginnings, counts)) in enumerate(zip(read, found, strict=True)):
            there = np.flatnonzero(counts)
            if len(end) and len(there):
                columns[:, number, there] = self._of_list(end, beginnings, counts[there].astype(np.int64))
        return dict(zip(NAMES, columns, strict=True))

    def _of_list(
        self, end: np.ndarray, beginnings: np.ndarray, counts: Int64[np.ndarray, "candidate"]
    ) -> Float[np.ndarray, "feature candidate"]:
        """Return the features of the candidates of one list; each has tokens."""
        cosines = _cosines(beginnings, end)  # [candidates' token, token of the end]
        heads = np.cumsum(counts) - counts
        by_end = np.maximum.reduceat(cosines, heads, axis=0)  # [candidate, token of the end]
        by_beginning = _row_maxima(cosines)
        place = np.arange(len(cosines)) - np.repeat(heads, counts)
        first = place < FIRST
        first_counts = np.minimum(counts, FIRST)
        first_heads = np.cumsum(first_counts) - first_counts
        in_last = _row_maxima(cosines[first, -LAST:])
        rare, rare_beginnings = self._rarity(end), self._rarity(beginnings)
        wide = by_end.astype(np.float64)
        weighted = wide * rare
        return np.stack([
            wide.mean(axis=1),
            weighted.sum(axis=1) / rare.sum(),
            wide[:, -LAST:].mean(axis=1),
            np.add.reduceat(by_beginning, heads) / counts,
            np.add.reduceat(by_beginning * rare_beginnings, heads) / np.add.reduceat(rare_beginnings, heads),
            np.add.reduceat(by_beginning[first], first_heads) / first_counts,
            np.add.reduceat(in_last, first_heads) / first_counts,
            wide.max(axis=1),
            weighted.max(axis=1),
        ])  # fmt: skip

    def _rarity(self, stored: np.ndarray) -> Float64[np.ndarray, "token"]:
        return self.rarity[np.minimum(stored["token"], len(self.rarity) - 1)]


def _by_list(packed: Packed, lists: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split stored tokens into lists of equally many passages, each with the passages' counts."""
    pieces, counts = packed
    counts = counts.reshape(lists, -1)
    ends = np.cumsum(counts.sum(axis=1, dtype=np.int64))[:-1]
    return list(zip(np.split(pieces, ends), counts, strict=True))


def _cosines(a: np.ndarray, b: np.ndarray) -> Float32[np.ndarray, "a b"]:
    """Return the cosines of stored vectors; their products are exact."""
    one, other = a["vector"].astype(np.float32), b["vector"].astype(np.float32)
    products = one @ other.T
    products *= _inverse_lengths(one)[:, None]
    products *= _inverse_lengths(other)
    return products


def _inverse_lengths(vectors: Float32[np.ndarray, "token component"]) -> Float32[np.ndarray, "token"]:
    squares = np.einsum("tc,tc->t", vectors, vectors)  # whole numbers: exact
    return 1 / np.sqrt(np.maximum(squares, 1))


def _row_maxima(values: Float32[np.ndarray, "row column"]) -> Float64[np.ndarray, "row"]:
    """Return the largest value of each row, by PyTorch, which is faster than NumPy on short rows."""
    return torch.from_numpy(values).amax(dim=1).double().numpy()


def token_rarity(tokens: PieceVectors, counted: Pool) -> Float64[np.ndarray, "vocabulary"]:
    """Return the inverse document frequency of each token, by its number; the last one is that of all other tokens.

    ln(1 + (N − n + 0.5) / (n + 0.5)) for a token of n of the N passages of ``counted``.
    """
    rows = np.flatnonzero(counted.mask)
    stored, counts = tokens.packed(rows)
    passages = np.repeat(np.arange(len(rows)), counts)
    distinct = np.unique(np.stack([stored["token"].astype(np.int64), passages]), axis=1)[0]
    frequency = np.append(np.bincount(distinct), 0)
    return np.log1p((len(rows) - frequency + 0.5) / (frequency + 0.5))
