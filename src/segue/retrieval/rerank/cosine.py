"""Reranking by the cosine with a predicted vector.

With a learned predictor the latent vector model reranks candidates that words or copying found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from segue.ranking.pool import exact_scores
from segue.retrieval.query_function import QueryFunction, move_query, save_query
from segue.retrieval.rerank.interface import CandidateLists, UncountedReranker
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class ByCosine(UncountedReranker):
    """Orders by the cosine with a query vector.

    Attributes:
        query: contexts → unit vectors of the bank's space, float32.
        bank: the bank that holds the candidates' vectors.
        name: name in tables.
    """

    query: QueryFunction
    bank: Bank
    name: str = "cosine"

    @property
    def reads_text(self) -> bool:  # type: ignore[override]
        """Whether the query is made of texts."""
        return bool(getattr(self.query, "reads_text", False))

    @property
    def requires_text(self) -> bool:  # type: ignore[override]
        """Whether the query is made of texts."""
        return self.reads_text

    def over(self, bank: Bank) -> ByCosine:
        """Return the reranker over another bank."""
        return replace(self, query=move_query(self.query, bank), bank=bank)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the query function's files."""
        return {"kind": "cosine", "query": save_query(self.query, writer), "name": self.name}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> ByCosine:
        """Read what ``save_part`` wrote."""
        return cls(reader.read(about["query"]), reader.bank, name=about["name"])

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return float64 cosines, -inf at the pads."""
        scores = np.full(candidates.rows.shape, -np.inf)
        query, place = np.nonzero(candidates.there)
        rows = candidates.rows[query, place]
        scores[query, place] = exact_scores(self.query(contexts), self.bank, query=query, rows=rows)
        return scores
