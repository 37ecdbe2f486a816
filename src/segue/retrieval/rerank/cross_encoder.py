"""Reranking by a text cross-encoder behind another reranker: it reads the first candidates together with the context.

Each candidate costs a pass of the transformer, so it is for few. The others keep their order behind them. What is added
to a candidate's score does not depend on the other candidates, apart from rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import InputError
from segue.retrieval.rerank.fusion import TIE, Combined
from segue.retrieval.rerank.interface import CandidateLists, Reranker
from segue.retrieval.saving import READER, Description, PartReader, PartWriter
from segue.text_models.cross_encoder import CrossEncoder, load_cross_encoder
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class CrossEncoderReranker(Combined):
    """Orders the first candidates of a reranker by a cross-encoder's score.

    Attributes:
        reranker: puts all candidates in order.
        model: the cross-encoder; untrained, it keeps that order.
        bank: the bank with the texts of the candidates.
        first: candidates that are read; fewer where the last of them are tied with the next.
        name: name in tables.
    """

    reranker: Reranker
    model: CrossEncoder
    bank: Bank
    first: int
    name: str = "cross-encoder"

    @property
    def parts(self) -> tuple[Reranker, ...]:
        """The other reranker."""
        return (self.reranker,)

    @property
    def reads_text(self) -> bool:
        """True."""
        return True

    @property
    def requires_text(self) -> bool:
        """True."""
        return True

    def over(self, bank: Bank) -> CrossEncoderReranker:
        """Return the same model over another bank's texts."""
        return replace(self, reranker=self.reranker.over(bank), bank=bank)

    def counting(self, documents: Int[np.ndarray, "counted"]) -> CrossEncoderReranker:
        """Return the same model, the other reranker's statistics counted over some documents only."""
        return replace(self, reranker=self.reranker.counting(documents))

    def save_part(self, writer: PartWriter) -> Description:
        """Write the model and the other reranker's files."""
        self.model.save(writer.folder / READER)
        return {"kind": "cross-encoder", "reranker": self.reranker.save_part(writer), "first": self.first}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> CrossEncoderReranker:
        """Read what ``save_part`` wrote.

        Raises:
            InputError: it is of an older version, in which a cross-encoder read the candidates of copy-last.
        """
        if "reranker" not in about:
            raise InputError("the bundle's cross-encoder is of an older version",
                             expected="one that reads behind a reranker",
                             fix="train it again, or use the version that wrote it")  # fmt: skip
        model = load_cross_encoder(reader.folder / READER)
        return cls(reader.read(about["reranker"]), model, reader.bank, int(about["first"]))

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the scores of ``read`` for the other reranker's; -inf at the pads.

        Raises:
            InputError: the contexts or the bank bring no texts.
        """
        return self.read(contexts, candidates, self.reranker.scores(contexts, candidates))

    def read(
        self, contexts: Contexts, candidates: CandidateLists, scores: Float[np.ndarray, "batch candidate"]
    ) -> Float[np.ndarray, "batch candidate"]:
        """Return w · score + what the model adds for the first candidates; the others behind them, in their order.

        Args:
            contexts: with texts.
            candidates: the lists.
            scores: of the other reranker, -inf at the pads.

        Raises:
            InputError: the contexts or the bank bring no texts.
        """
        if contexts.texts is None or not self.bank.has_texts:
            raise InputError(f"{self.name} reads texts, but got vectors only",
                             fix="gather the contexts with texts, from a bank with texts")  # fmt: skip
        scores = np.asarray(scores, dtype=np.float64)
        chosen = _first(scores, self.first)
        rows = [candidates.rows[n][which] for n, which in enumerate(chosen)]
        added = self.model.added(contexts.texts, [self.bank.texts(some) for some in rows])
        read = np.full(scores.shape, -np.inf)
        read[chosen] = self.model.first_weight * scores[chosen] + np.concatenate([np.zeros(0), *added])
        return _behind(read, scores, chosen)


def _first(scores: Float[np.ndarray, "batch candidate"], count: int) -> Bool[np.ndarray, "batch candidate"]:
    """Return which candidates are among the first ``count`` and not tied with the one behind them.

    >>> _first(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 2.0], [1.0, -np.inf, -np.inf]]), 2).tolist()
    [[True, False, True], [False, False, True], [True, False, False]]
    """
    if count >= scores.shape[1]:
        return ~np.isneginf(scores)
    line = -np.partition(-scores, count, axis=1)[:, count, None]
    return scores > np.where(np.isneginf(line), -np.inf, line + TIE)


def _behind(
    read: Float[np.ndarray, "batch candidate"],
    scores: Float[np.ndarray, "batch candidate"],
    chosen: Bool[np.ndarray, "batch candidate"],
) -> Float[np.ndarray, "batch candidate"]:
    """Return ``read`` where chosen; the other scores, moved to begin 1 below the lowest of them.

    >>> _behind(np.array([[5.0, -np.inf, -2.0]]), np.array([[9.0, 7.0, 8.0]]), np.array([[True, False, True]])).tolist()
    [[5.0, -3.0, -2.0]]
    """
    others = np.where(chosen, -np.inf, scores)
    best = others.max(axis=1, keepdims=True, initial=-np.inf)
    floor = np.where(chosen, read, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    moved = others - np.where(np.isinf(best), 0.0, best) + np.where(np.isinf(floor), 0.0, floor) - 1.0
    return np.where(chosen, read, moved)
