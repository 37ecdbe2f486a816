"""A reranker of one's own: candidates near the topic of the whole context win."""

import numpy as np


class NearTheTopic:
    """Adds the cosine with the mean of the context to the score of the first stage."""

    def __init__(self, weight: float = 0.5) -> None:
        self.weight = weight

    def over(self, bank):
        """Keep the bank, whose vectors are read."""
        self.bank = bank

    def scores(self, contexts, candidates):
        """Return one score for each candidate, [batch, candidate], higher is better.

        candidates.rows are rows of the bank, -1 at the pads; candidates.first are the first stage's scores.
        """
        topics = contexts.vectors.sum(axis=1) / contexts.mask.sum(axis=1, keepdims=True)  # [batch, dim]
        vectors = self.bank.gather(np.maximum(candidates.rows, 0).ravel())
        vectors = vectors.reshape(*candidates.rows.shape, -1)  # [batch, candidate, dim]
        cosines = np.einsum("bd,bcd->bc", topics, vectors)
        return np.where(candidates.there, candidates.first, 0) + self.weight * cosines
