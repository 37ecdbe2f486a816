"""A prediction as the reranker: candidates in the order of their cosine with a predicted vector.

With a learned predictor this is "the latent vector model as the reranker" of candidates that words or copying found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from segue.ranking.pool import exact_scores
from segue.retrieval.rerank.interface import Candidates
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class ByCosine:
    """Orders by the cosine with a query vector.

    Attributes:
        query: contexts → unit vectors of the bank's space, float32.
        bank: where the candidates' vectors are.
        name: what tables call it.
    """

    query: Callable[[Contexts], Float[np.ndarray, "batch dim"]]
    bank: Bank
    name: str = "cosine"
    reads_text: bool = False
    counts_bank: bool = False

    def over(self, bank: Bank) -> ByCosine:
        """Return the reranker over another bank; a query that reads the bank has ``over`` too."""
        moved = getattr(self.query, "over", None)
        return replace(self, query=moved(bank) if moved else self.query, bank=bank)

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return float64 cosines, -inf at the pads."""
        scores = np.full(candidates.rows.shape, -np.inf)
        query, place = np.nonzero(candidates.there)
        rows = candidates.rows[query, place]
        scores[query, place] = exact_scores(self.query(contexts), self.bank, query=query, rows=rows)
        return scores
