"""Retrievers of the user's own: a query vector for each context, or a score for each passage.

======================== ===========================================================================================
``query(contexts)``      [batch, dim] query vectors of any length; the bank is searched with them. A function is this
``scores(contexts)``     [batch, bank] one score for every row of the bank, higher is better
``over(bank)``           optional: prepare for a bank; called before anything is scored
``fit(bank, windows)``   optional: learn from training windows, before ``over``; the same windows, the same result
``save(folder)``,        optional: keep what was learnt, for bundles; ``load(folder)`` is a classmethod
``load(folder)``
``reads_text``           optional, True: ``contexts.texts`` are needed
``counts_bank``          optional, True: scores rest on statistics of the whole bank, as document frequencies do
======================== ===========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.own import OwnPart
from segue.retrieval.retrievers.dense import DenseRetriever
from segue.retrieval.retrievers.interface import Retriever, Stage
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts


def own_retriever(own: OwnPart, pool: Pool, index: Index | None = None) -> Retriever:
    """Return a part of the user's own as a retriever over a pool.

    Args:
        own: the part, over no bank yet; fitted where it has ``fit``.
        pool: the candidates.
        index: exact index over the pool.

    Raises:
        InputError: it has neither ``query`` nor ``scores``.
    """
    part = own.part
    if isinstance(part, Retriever) and not isinstance(part, type):
        return part.over(pool.bank)
    if hasattr(part, "scores"):
        return OwnScores(own.over(pool.bank), pool)
    if not (hasattr(part, "query") or callable(part)):
        raise InputError(f"retriever {own.name} cannot be used", got=f"{own.path} without query() and scores()",
                         expected="a method query(contexts) or scores(contexts), or a function")  # fmt: skip
    query = (OwnBankQuery if hasattr(part, "over") else OwnQuery)(own.over(pool.bank))
    stage: Stage = "encode" if own.declares("reads_text") else "predict"
    return VectorRetriever(own.name, "candidate", query, pool, index, stage=stage)


@dataclass(frozen=True)
class OwnQuery:
    """Query function of a user's own; its vectors are brought to length 1."""

    own: OwnPart

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return unit vectors, float32.

        Raises:
            InputError: they are no finite vectors of the bank's dimension.
        """
        part, expected = self.own.part, (len(contexts), contexts.vectors.shape[-1])
        vectors = np.asarray(self.own.answer(getattr(part, "query", part), contexts), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.shape != expected or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise self.own.wrong(f"shape {vectors.shape}", f"{expected}, finite vectors that are not 0")
        return vectors / lengths

    def save_part(self, writer: PartWriter) -> Description:
        """Write what makes it again."""
        return {"kind": "own-query", **self.own.save(writer), "reads_text": self.own.declares("reads_text")}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> OwnQuery:
        """Read what ``save_part`` wrote."""
        own = OwnPart.load("retriever", about, reader)
        return (OwnBankQuery if hasattr(own.part, "over") else OwnQuery)(own)


class OwnBankQuery(OwnQuery):
    """Query function of a user's own that reads the bank."""

    def over(self, bank: Bank) -> OwnBankQuery:
        """Return the same function over another bank."""
        return replace(self, own=self.own.over(bank))


class OwnScores(DenseRetriever):
    """Retriever of a user's own that scores every row of the bank.

    Args:
        own: the part, over the bank of the pool.
        pool: the candidates.
    """

    def __init__(self, own: OwnPart, pool: Pool) -> None:
        super().__init__(own.name, "candidate", pool=pool, bank=pool.bank, reads_text=own.declares("reads_text"),
                         counts_bank=own.declares("counts_bank"))  # fmt: skip
        self.own = own

    def over(self, bank: Bank) -> OwnScores:
        """Return the same retriever over another bank."""
        return OwnScores(self.own.over(bank), Pool(bank))

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return one score per context and row of the bank.

        Raises:
            InputError: there are not that many scores, or one is not a number.
        """
        scores, expected = (
            np.asarray(self.own.answer(self.own.part.scores, contexts)),
            (len(contexts), len(self.pool.bank)),
        )
        if scores.shape != expected or np.isnan(scores).any():
            raise self.own.wrong(f"shape {scores.shape}", f"{expected}, no NaN")
        return scores.astype(np.float64)

    def save_part(self, writer: PartWriter) -> Description:
        """Write what makes it again."""
        return {"kind": "own-scores", **self.own.save(writer)}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> OwnScores:
        """Read what ``save_part`` wrote."""
        return cls(OwnPart.load("retriever", about, reader), reader.pool)
