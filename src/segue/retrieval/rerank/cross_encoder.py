"""The text cross-encoder as a reranker: it reads the context's end and a candidate together.

Each pair costs a pass of the transformer, so it is for few candidates. Scores of pairs are independent of each other;
which pairs share a batch changes them by rounding only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from segue.errors import InputError, explain
from segue.retrieval.rerank.interface import Candidates
from segue.text_models.cross_encoder import CrossEncoder
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class CrossEncoderReranker:
    """Orders candidates by a cross-encoder's score.

    Attributes:
        model: trained (or not: then the order is the first stage's).
        bank: with the texts of the candidates.
        name: what tables call it.
    """

    model: CrossEncoder
    bank: Bank
    name: str = "cross-encoder"

    @property
    def reads_text(self) -> bool:
        """True."""
        return True

    @property
    def counts_bank(self) -> bool:
        """False: a pair is read by itself."""
        return False

    def over(self, bank: Bank) -> CrossEncoderReranker:
        """Return the same model over another bank's texts."""
        return replace(self, bank=bank)

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return w · first stage's score + what the model adds; -inf at the pads.

        Raises:
            InputError: the contexts or the bank bring no texts.
        """
        if contexts.texts is None or not self.bank.has_texts:
            raise InputError(explain(f"{self.name} reads texts, but got vectors only",
                                     fix="gather the contexts with texts, from a bank with texts"))  # fmt: skip
        there = candidates.there
        texts = self.bank.texts(candidates.rows[there])
        context_of = np.nonzero(there)[0].tolist()
        pairs = [self.model.pair(contexts.texts[n], text) for n, text in zip(context_of, texts, strict=True)]
        scores = np.full(there.shape, -np.inf, dtype=np.float32)
        scores[there] = self.model.first_weight * candidates.first[there] + self.model.added(pairs)
        return scores
