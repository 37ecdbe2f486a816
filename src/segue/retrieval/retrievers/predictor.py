"""A learned predictor as a query function, and its document tower as an encoder of the bank."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from segue.bank.reencoded import ReencodedBank, derived_space, reencode
from segue.encoders.space import Space, require_same
from segue.models import load_predictor
from segue.models.document_tower import weights_hash
from segue.models.predictor import Predictor
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.retrievers.interface import Stage
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.retrieval.saving import PREDICTOR, Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Intent


class PredictorQuery:
    """Runs a predictor on contexts, without gradients and without dropout.

    Args:
        predictor: (context vectors, mask) → unit vectors; it is moved to ``device``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, predictor: nn.Module, device: str | torch.device = "cpu") -> None:
        self._predictor = predictor.to(device)
        self._device = torch.device(device)

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts."""
        return bool(getattr(self._predictor, "reads_text", False))

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the predictions, unit float32; the predictor is left in the mode it was in.

        Raises:
            InputError: the predictor reads texts, and the contexts bring none.
        """
        vectors = torch.from_numpy(np.ascontiguousarray(contexts.vectors, dtype=np.float32)).to(self._device)
        mask = torch.from_numpy(np.ascontiguousarray(contexts.mask)).to(self._device)
        with _answering(self._predictor):
            predicted: torch.Tensor = self._predictor(vectors, mask, *((contexts.texts,) if self.reads_text else ()))
            return predicted.float().cpu().numpy()

    def save_part(self, writer: PartWriter) -> Description:
        """Copy the checkpoint that the predictor was read from."""
        assert writer.checkpoint is not None, "a predictor was read from its checkpoint"
        writer.copy(writer.checkpoint, PREDICTOR)
        return {"kind": "predictor", **({"reads_text": True} if self.reads_text else {})}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> PredictorQuery:
        """Read what ``save_part`` wrote."""
        return cls(_load_checked(reader), reader.device)


class PredictorDocuments:
    """Runs a predictor's document tower on every passage of a bank.

    Args:
        predictor: a predictor with a document tower; it is moved to ``device``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, predictor: Predictor, device: str | torch.device = "cpu") -> None:
        self._predictor = predictor.to(device)
        self._device = torch.device(device)

    def __call__(self, bank: Bank) -> ReencodedBank:
        """Return the bank in the space of the predictor's answers, named after the present weights."""
        return reencode(bank, self.encode, name=self.name)

    @property
    def name(self) -> str:
        """Name that identifies the tower's weights."""
        return f"document tower {weights_hash(self._predictor)}"

    def space(self, base: Space) -> Space:
        """Return the space of the predictor's answers, where contexts are read in ``base``."""
        return derived_space(base, self.encode, name=self.name)

    def encode(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Return the encoded passages, unit float32."""
        given = torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self._device)
        with _answering(self._predictor):
            return self._predictor.encode_documents(given).float().cpu().numpy()


@contextlib.contextmanager
def _answering(predictor: nn.Module) -> Iterator[None]:
    """Switch gradients and dropout off, and restore the predictor's mode.

    A served predictor is in evaluation mode already; switching all modules would take a tenth of its time.
    """
    training = predictor.training
    if training:
        predictor.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            predictor.train()


def predictor_retriever(
    name: str,
    intent: Intent,
    predictor: Predictor,
    *,
    pool: Pool,
    index: Index | None = None,
    device: str | torch.device = "cpu",
) -> VectorRetriever:
    """Return the retriever of a predictor, over the bank or over the bank as its document tower encodes it.

    Args:
        name: name of the entry in tables and runs.
        intent: role of the entry in a comparison.
        predictor: a predictor with its present weights; a document tower encodes the bank here, once.
        pool: the candidates.
        index: an index over ``pool``; with a document tower an exact one over the re-encoded candidates replaces it.
        device: device of the predictor.
    """
    stage: Stage = "encode" if predictor.reads_text else "predict"
    retriever = VectorRetriever(name, intent, PredictorQuery(predictor, device), pool, index, stage=stage)
    if predictor.documents is None:
        return retriever
    encoded = retriever.reencoded(PredictorDocuments(predictor, device))
    return encoded if index is None else encoded.indexed()


def load_predictor_retriever(about: Description, reader: PartReader) -> VectorRetriever:
    """Read a saved retriever whose queries a predictor makes."""
    return predictor_retriever(about["name"], "candidate", _load_checked(reader), pool=reader.pool, index=reader.index,
                               device=reader.device)  # fmt: skip


def _load_checked(reader: PartReader) -> Predictor:
    """Read a saved predictor, once; its golden pair and its space are checked.

    Raises:
        InputError: it does not compute what it computed when it was saved.
        SpaceError: it reads another space than the bank's.
    """

    def load() -> Predictor:
        predictor, config = load_predictor(reader.folder / PREDICTOR)
        if config.space is not None:
            require_same(Space.from_json(config.space), reader.bank.space, "the bundle's predictor and its bank")
        return predictor

    return reader.once("predictor", load)
