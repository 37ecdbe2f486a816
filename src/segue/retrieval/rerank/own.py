"""Rerankers of the user's own.

``scores(contexts, candidates)`` returns [batch, candidate] scores, higher is better; what it returns at the pads does
not matter. ``over(bank)``, ``fit(bank, windows)``, ``save``, ``load``, ``reads_text`` and ``counts_bank`` are optional,
as for retrievers (``retrievers/own.py``). A function is called with the bank as its third argument.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.retrieval.own import OwnPart
from segue.retrieval.rerank.interface import CandidateLists
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class OwnReranker:
    """A user's own reranker over one bank."""

    own: OwnPart
    bank: Bank

    @property
    def name(self) -> str:
        """Name of the entry in tables."""
        return self.own.name

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts, as the part declares."""
        return self.own.declares("reads_text")

    @property
    def counts_bank(self) -> bool:
        """Whether scores rest on statistics of the whole bank, as the part declares."""
        return self.own.declares("counts_bank")

    @property
    def requires_text(self) -> bool:
        """True where it reads text."""
        return self.reads_text

    def over(self, bank: Bank) -> OwnReranker:
        """Return the same reranker over another bank."""
        return OwnReranker(self.own.over(bank), bank)

    def counting(self, documents: Int[np.ndarray, "counted"]) -> OwnReranker:
        """Return itself: how it counts is not known."""
        return self

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the part's scores as float64, -inf at the pads.

        Raises:
            InputError: there is not one number for each candidate.
        """
        part = self.own.part
        if hasattr(part, "scores"):
            found = self.own.answer(part.scores, contexts, candidates)
        else:
            found = self.own.answer(part, contexts, candidates, self.bank)
        scores = np.asarray(found, dtype=np.float64)
        if scores.shape != candidates.rows.shape or np.isnan(scores[candidates.there]).any():
            raise self.own.wrong(f"shape {scores.shape}", f"{candidates.rows.shape}, no NaN but at the pads")
        return np.where(candidates.there, scores, -np.inf)

    def save_part(self, writer: PartWriter) -> Description:
        """Write what makes it again."""
        return {"kind": "own-reranker", **self.own.save(writer)}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> OwnReranker:
        """Read what ``save_part`` wrote."""
        return cls(OwnPart.load("reranker", about, reader), reader.bank)
