"""Rerankers without a fit of their own: reciprocal rank fusion, diversity, and the mean of several rerankers.

They depend on scores and vectors only: candidates with equal scores get equal scores again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.retrieval.rerank.interface import CandidateLists, Reranker, UncountedReranker
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts

RANK_CONSTANT = 60.0
"""k of reciprocal rank fusion, as in Cormack et al. 2009."""
TIE = 1e-6
LISTS_AT_ONCE = 32


def reciprocal_ranks(scores: Float[np.ndarray, "batch source candidate"]) -> Float[np.ndarray, "batch candidate"]:
    """Add up 1 / (60 + rank) over the sources that drew a candidate; ties share the last of their ranks.

    Cormack, Clarke and Büttcher 2009, Reciprocal rank fusion outperforms Condorcet.

    Args:
        scores: -inf where a source did not draw the candidate.

    >>> fused = reciprocal_ranks(np.array([[[3.0, 1.0, -np.inf], [5.0, 5.0, 1.0]]]))
    >>> bool(np.allclose(fused, [[1 / 61 + 1 / 62, 1 / 62 + 1 / 62, 1 / 63]]))
    True
    """
    ranks = (scores[:, :, None, :] > scores[:, :, :, None] - TIE).sum(axis=3)  # itself and its ties among them
    return np.where(np.isneginf(scores), 0.0, 1.0 / (RANK_CONSTANT + ranks)).sum(axis=1)


def maximal_marginal_relevance(
    scores: Float[np.ndarray, "batch candidate"],
    cosines: Float[np.ndarray, "batch candidate candidate"],
    *,
    trade_off: float,
) -> Float[np.ndarray, "batch candidate"]:
    """Return scores whose order is that of maximal marginal relevance.

    The candidate with the largest λ · relevance − (1 − λ) · (its largest cosine with those taken before) is taken next
    (Carbonell and Goldstein 1998), and that value is its score; values fall as more are taken. Relevance is the score,
    scaled to [0, 1] within the list. Candidates that tie are taken together.

    Args:
        scores: relevance on any scale; -inf at the pads.
        cosines: cosines between the candidates.
        trade_off: λ in [0, 1]; 1 keeps the order of ``scores``.

    >>> scores, cosines = np.array([[1.0, 0.9, 0.0]]), np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    >>> maximal_marginal_relevance(scores, cosines, trade_off=0.5).round(2).tolist()  # the second repeats the first
    [[0.5, -0.05, 0.0]]
    """
    left = ~np.isneginf(scores)
    gain = trade_off * _scaled(scores, left)
    nearest = np.zeros_like(scores)  # nothing is taken yet
    taken = np.full(scores.shape, -np.inf)
    while left.any():
        values = np.where(left, gain - (1 - trade_off) * nearest, -np.inf)
        best = values.max(axis=1, keepdims=True)
        now = left & (values >= best - TIE)
        taken = np.where(now, best, taken)
        left &= ~now
        largest = np.where(now[:, None, :], cosines, -np.inf).max(axis=2)
        nearest = np.where(np.isneginf(taken).all(axis=1, keepdims=True), nearest, np.maximum(nearest, largest))
    return taken


def _scaled(
    scores: Float[np.ndarray, "batch candidate"], there: Bool[np.ndarray, "batch candidate"]
) -> Float[np.ndarray, "batch candidate"]:
    """Scale the scores of each list to [0, 1]; 0 at the pads."""
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    return np.where(there, scores - np.where(np.isinf(low), 0.0, low), 0.0) / span


@dataclass(frozen=True)
class Fusion(UncountedReranker):
    """Orders candidates by the ranks that the sources give them."""

    name: str = "fusion of ranks"

    def over(self, bank: Bank) -> Fusion:
        """Return itself: it reads no bank."""
        return self

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the fused scores, -inf at the pads."""
        assert candidates.sources is not None, "a cascade gives the scores of each source"
        return np.where(candidates.there, reciprocal_ranks(candidates.sources), -np.inf)

    def save_part(self, writer: PartWriter) -> Description:
        """Return the description."""
        return {"kind": "fusion"}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Fusion:
        """Read what ``save_part`` wrote."""
        return cls()


class Combined(ABC):
    """Answers of a reranker made of other rerankers; a base class."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Reranker, ...]:
        """The other rerankers, at least one."""

    @property
    def reads_text(self) -> bool:
        """True where a part reads text."""
        return any(part.reads_text for part in self.parts)

    @property
    def counts_bank(self) -> bool:
        """True where a part counts the bank."""
        return any(part.counts_bank for part in self.parts)

    @property
    def requires_text(self) -> bool:
        """True where a part requires text."""
        return any(part.requires_text for part in self.parts)


@dataclass(frozen=True)
class Diversified(Combined):
    """Any reranker, with an order of more variety.

    Attributes:
        reranker: scores the relevance.
        bank: the bank with the candidates' vectors.
        trade_off: λ in [0, 1]; 1 changes nothing.
    """

    reranker: Reranker
    bank: Bank
    trade_off: float

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.reranker.name}, diversified"

    @property
    def parts(self) -> tuple[Reranker, ...]:
        """The reranker."""
        return (self.reranker,)

    def over(self, bank: Bank) -> Diversified:
        """Return the same over another bank."""
        return replace(self, reranker=self.reranker.over(bank), bank=bank)

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Diversified:
        """Return the same, the reranker's statistics counted over some documents only."""
        return replace(self, reranker=self.reranker.counting(documents))

    def save_part(self, writer: PartWriter) -> Description:
        """Write the reranker's files."""
        return {"kind": "diversified", "reranker": self.reranker.save_part(writer), "trade_off": self.trade_off}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Diversified:
        """Read what ``save_part`` wrote."""
        return cls(reader.read(about["reranker"]), reader.bank, about["trade_off"])

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return scores in the order of maximal marginal relevance."""
        relevance = np.asarray(self.reranker.scores(contexts, candidates), dtype=np.float64)
        diversified = np.empty_like(relevance)
        for start in range(0, len(relevance), LISTS_AT_ONCE):
            part = slice(start, start + LISTS_AT_ONCE)
            cosines = self._cosines(candidates.take(part))
            diversified[part] = maximal_marginal_relevance(relevance[part], cosines, trade_off=self.trade_off)
        return diversified

    def _cosines(self, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate candidate"]:
        rows = candidates.rows
        vectors = self.bank.gather(np.maximum(rows, 0).ravel()).reshape(*rows.shape, -1).astype(np.float64)
        return np.einsum("bid,bjd->bij", vectors, vectors, optimize=True)


SMALLEST = 1e-12
"""Minimum deviation within a list that is standardised."""


@dataclass(frozen=True)
class Mixture(Combined):
    """The mean of standardised scores.

    Attributes:
        members: at least one; all read the same candidates.
        name: name in tables.
    """

    members: tuple[Reranker, ...]
    name: str = "mixture"

    @property
    def parts(self) -> tuple[Reranker, ...]:
        """The members."""
        return self.members

    def over(self, bank: Bank) -> Mixture:
        """Return the same members over another bank."""
        return replace(self, members=tuple(member.over(bank) for member in self.members))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Mixture:
        """Return the same members, statistics counted over some documents only."""
        return replace(self, members=tuple(member.counting(documents) for member in self.members))

    def save_part(self, writer: PartWriter) -> Description:
        """Write the members' files."""
        return {"kind": "mixture", "members": [member.save_part(writer) for member in self.members]}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Mixture:
        """Read what ``save_part`` wrote."""
        return cls(tuple(reader.read(member) for member in about["members"]))

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the means, -inf at the pads."""
        there = candidates.there
        parts = [standardised(member.scores(contexts, candidates), there) for member in self.members]
        return np.where(there, np.mean(parts, axis=0), -np.inf)


def standardised(
    scores: Float[np.ndarray, "batch candidate"], there: Bool[np.ndarray, "batch candidate"]
) -> Float[np.ndarray, "batch candidate"]:
    """Return scores with mean 0 and standard deviation 1 over the candidates of each list; 0 at the pads.

    >>> standardised(np.array([[1.0, 3.0, -np.inf]]), np.array([[True, True, False]])).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    values = np.where(there, scores, 0.0)
    values = np.where(there, values - values.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt((values**2).sum(axis=1, keepdims=True) / count)
    return values / np.where(deviation > SMALLEST, deviation, 1.0)
