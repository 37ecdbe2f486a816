"""Reranking by a text cross-encoder, which reads the context's end and a candidate together.

Each pair costs a pass of the transformer, so it is for few candidates. Scores of pairs are independent of each other,
apart from rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from segue.errors import InputError
from segue.retrieval.rerank.interface import CandidateLists, UncountedReranker
from segue.retrieval.saving import TEXT_MODEL, Description, PartReader, PartWriter
from segue.text_models.cross_encoder import CrossEncoder, load_cross_encoder
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class CrossEncoderReranker(UncountedReranker):
    """Orders candidates by a cross-encoder's score.

    Attributes:
        model: the cross-encoder; untrained, it keeps the first stage's order.
        bank: the bank with the texts of the candidates.
        name: name in tables.
    """

    model: CrossEncoder
    bank: Bank
    name: str = "cross-encoder"
    reads_text = True
    requires_text = True

    def over(self, bank: Bank) -> CrossEncoderReranker:
        """Return the same model over another bank's texts."""
        return replace(self, bank=bank)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the model."""
        self.model.save(writer.folder / TEXT_MODEL)
        return {"kind": "cross-encoder"}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> CrossEncoderReranker:
        """Read what ``save_part`` wrote."""
        return cls(load_cross_encoder(reader.folder / TEXT_MODEL), reader.bank)

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return w · first stage's score + the model's score; -inf at the pads.

        Raises:
            InputError: the contexts or the bank bring no texts.
        """
        if contexts.texts is None or not self.bank.has_texts:
            raise InputError(f"{self.name} reads texts, but got vectors only",
                             fix="gather the contexts with texts, from a bank with texts")  # fmt: skip
        there = candidates.there
        texts = self.bank.texts(candidates.rows[there])
        context_of = np.nonzero(there)[0].tolist()
        pairs = [self.model.pair(contexts.texts[n], text) for n, text in zip(context_of, texts, strict=True)]
        scores = np.full(there.shape, -np.inf, dtype=np.float32)
        scores[there] = self.model.first_weight * candidates.first[there] + self.model.added(pairs)
        return scores
