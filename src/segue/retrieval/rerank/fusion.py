"""Put lists together without training: reciprocal ranks, weighted sums, and diversity.

All of it depends on scores and vectors only: candidates with equal scores get equal scores again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import SettingsError, explain
from segue.retrieval.rerank.interface import Candidates, Reranker
from segue.types import Bank, Contexts

RANK_CONSTANT = 60.0
"""k of reciprocal rank fusion, as in Cormack et al. 2009."""
TIE = 1e-6
LISTS_AT_ONCE = 32


def reciprocal_ranks(
    scores: Float[np.ndarray, "batch source candidate"], weights: Float[np.ndarray, "source"] | None = None
) -> Float[np.ndarray, "batch candidate"]:
    """Add up weight / (60 + rank) over the sources that drew a candidate; ties share the last of their ranks.

    Cormack, Clarke and Büttcher 2009, Reciprocal rank fusion outperforms Condorcet.

    Args:
        scores: -inf where a source did not draw the candidate.
        weights: of the sources; None: 1 each.

    >>> fused = reciprocal_ranks(np.array([[[3.0, 1.0, -np.inf], [5.0, 5.0, 1.0]]]))
    >>> bool(np.allclose(fused, [[1 / 61 + 1 / 62, 1 / 62 + 1 / 62, 1 / 63]]))
    True
    """
    drawn = ~np.isneginf(scores)
    ranks = (scores[:, :, None, :] > scores[:, :, :, None] - TIE).sum(axis=3)  # itself and its ties among them
    shares = np.where(drawn, 1.0 / (RANK_CONSTANT + ranks), 0.0)
    return np.einsum("bsc,s->bc", shares, np.ones(scores.shape[1]) if weights is None else weights)


def weighted_sum(
    scores: Float[np.ndarray, "batch source candidate"], weights: Float[np.ndarray, "source"]
) -> Float[np.ndarray, "batch candidate"]:
    """Add up the sources' scores, each at mean 0 and deviation 1 over what it drew; to the rest it gives its least.

    >>> weighted_sum(np.array([[[3.0, 1.0], [5.0, 5.0]]]), np.array([2.0, 1.0])).tolist()
    [[2.0, -2.0]]
    """
    drawn = ~np.isneginf(scores)
    count = np.maximum(drawn.sum(axis=2, keepdims=True), 1)
    mean = np.where(drawn, scores, 0.0).sum(axis=2, keepdims=True) / count
    apart = np.where(drawn, scores - mean, 0.0)
    deviation = np.sqrt((apart**2).sum(axis=2, keepdims=True) / count)
    standard = np.divide(apart, deviation, out=np.zeros_like(apart), where=deviation > 0)
    least = np.where(drawn, standard, np.inf).min(axis=2, keepdims=True, initial=0.0)
    return np.einsum("bsc,s->bc", np.where(drawn, standard, least), weights)


def maximal_marginal_relevance(
    scores: Float[np.ndarray, "batch candidate"],
    likeness: Float[np.ndarray, "batch candidate candidate"],
    *,
    trade_off: float,
) -> Float[np.ndarray, "batch candidate"]:
    """Return scores whose order is that of maximal marginal relevance.

    Again and again the candidate with the largest λ · relevance − (1 − λ) · (its largest likeness to what was taken)
    is taken (Carbonell and Goldstein 1998), and that value is its score: values only fall as more is taken. Relevance
    is the score, moved and stretched to [0, 1] within the list. Candidates that tie are taken together.

    Args:
        scores: relevance on any scale; -inf at the pads.
        likeness: cosines of the candidates with each other.
        trade_off: λ in [0, 1]; 1 keeps the order of ``scores``.

    >>> scores, likeness = np.array([[1.0, 0.9, 0.0]]), np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    >>> maximal_marginal_relevance(scores, likeness, trade_off=0.5).round(2).tolist()  # the second repeats the first
    [[0.5, -0.05, 0.0]]
    """
    left = ~np.isneginf(scores)
    gain = trade_off * _stretched(scores, left)
    nearest = np.zeros_like(scores)  # nothing is taken yet
    taken = np.full(scores.shape, -np.inf)
    while left.any():
        values = np.where(left, gain - (1 - trade_off) * nearest, -np.inf)
        best = values.max(axis=1, keepdims=True)
        now = left & (values >= best - TIE)
        taken = np.where(now, best, taken)
        left &= ~now
        likest = np.where(now[:, None, :], likeness, -np.inf).max(axis=2)
        nearest = np.where(np.isneginf(taken).all(axis=1, keepdims=True), nearest, np.maximum(nearest, likest))
    return taken


def _stretched(
    scores: Float[np.ndarray, "batch candidate"], there: Bool[np.ndarray, "batch candidate"]
) -> Float[np.ndarray, "batch candidate"]:
    """Move and stretch the scores of each list to [0, 1]; 0 at the pads."""
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    return np.where(there, scores - np.where(np.isinf(low), 0.0, low), 0.0) / span


@dataclass(frozen=True)
class Fusion:
    """Orders candidates by where the sources put them.

    Attributes:
        weights: one for each source of the cascade, the first stage first; None: 1 each.
        by: ``ranks`` (reciprocal ranks) or ``scores`` (standardised).
    """

    weights: tuple[float, ...] | None = None
    by: str = "ranks"
    reads_text: bool = False
    counts_bank: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"fusion of {self.by}"

    def over(self, bank: Bank) -> Fusion:
        """Return itself: it reads no bank."""
        return self

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return the fused scores.

        Raises:
            SettingsError: there are more or fewer sources than weights.
        """
        assert candidates.sources is not None, "a cascade says what each source drew"
        number = candidates.sources.shape[1]
        weights = np.ones(number) if self.weights is None else np.array(self.weights)
        if len(weights) != number:
            raise SettingsError(explain("sources and weights do not fit", got=f"{len(weights)} weights",
                                        expected=f"one for each of {number} sources"))  # fmt: skip
        fuse = reciprocal_ranks if self.by == "ranks" else weighted_sum
        return np.where(candidates.there, fuse(candidates.sources, weights), -np.inf)


@dataclass(frozen=True)
class Diversified:
    """Any reranker, with its order made more various.

    Attributes:
        reranker: gives the relevance.
        bank: where the candidates' vectors are.
        trade_off: λ in [0, 1]; 1 changes nothing.
    """

    reranker: Reranker
    bank: Bank
    trade_off: float

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.reranker.name}, diversified"

    @property
    def reads_text(self) -> bool:
        """Whether the reranker does."""
        return self.reranker.reads_text

    @property
    def counts_bank(self) -> bool:
        """Whether the reranker does."""
        return self.reranker.counts_bank

    def over(self, bank: Bank) -> Diversified:
        """Return the same over another bank."""
        return replace(self, reranker=self.reranker.over(bank), bank=bank)

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Diversified:
        """Return the same, the reranker's statistics counted over some documents only."""
        count = getattr(self.reranker, "counting", None)
        return self if count is None else replace(self, reranker=count(documents))

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return scores in the order of maximal marginal relevance."""
        relevance = np.asarray(self.reranker.scores(contexts, candidates), dtype=np.float64)
        parts = [slice(start, start + LISTS_AT_ONCE) for start in range(0, len(relevance), LISTS_AT_ONCE)]
        if not parts:
            return relevance
        return np.concatenate(
            [
                maximal_marginal_relevance(
                    relevance[part], self._likeness(candidates.take(part)), trade_off=self.trade_off
                )
                for part in parts
            ]
        )

    def _likeness(self, candidates: Candidates) -> Float[np.ndarray, "batch candidate candidate"]:
        rows = candidates.rows
        vectors = self.bank.gather(np.maximum(rows, 0).ravel()).reshape(*rows.shape, -1).astype(np.float64)
        return np.einsum("bid,bjd->bij", vectors, vectors, optimize=True)
