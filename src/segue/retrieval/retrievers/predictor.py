"""A learned predictor as a query function, and its document tower as a way to encode a bank anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from segue.bank.reencoded import ReencodedBank, derived_space, reencode
from segue.encoders.space import Space
from segue.models.document_tower import weights_hash
from segue.models.predictor import Predictor
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers.reencoded import ReencodedRetriever, reencoded_retriever
from segue.retrieval.retrievers.vector import VectorRetriever
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

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the predictions, unit float32; the predictor is left in the mode it was in."""
        vectors = torch.from_numpy(np.ascontiguousarray(contexts.vectors, dtype=np.float32)).to(self._device)
        mask = torch.from_numpy(np.ascontiguousarray(contexts.mask)).to(self._device)
        with _answering(self._predictor):
            predicted: torch.Tensor = self._predictor(vectors, mask)
            return predicted.float().cpu().numpy()


class PredictorDocuments:
    """Runs a predictor's document tower on every passage of a bank.

    Args:
        predictor: with a document tower; it is moved to ``device``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, predictor: Predictor, device: str | torch.device = "cpu") -> None:
        self._predictor = predictor.to(device)
        self._device = torch.device(device)

    def __call__(self, bank: Bank) -> ReencodedBank:
        """Return the bank in the space of the predictor's answers, named after the weights as they are now."""
        return reencode(bank, self.encode, name=self.name)

    @property
    def name(self) -> str:
        """What tells this tower from every other."""
        return f"document tower {weights_hash(self._predictor)}"

    def space(self, base: Space) -> Space:
        """Return the space of the predictor's answers, where contexts are read in ``base``."""
        return derived_space(base, self.encode, name=self.name)

    def encode(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Return passages as the tower encodes them, unit float32."""
        given = torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self._device)
        with _answering(self._predictor):
            return self._predictor.encode_documents(given).float().cpu().numpy()


@contextlib.contextmanager
def _answering(predictor: nn.Module) -> Iterator[None]:
    """Switch gradients and dropout off, and leave the predictor in the mode it was in.

    A served one answers already: switching walks through all modules, which took a tenth of its time.
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
    index: ExactIndex | None = None,
    device: str | torch.device = "cpu",
) -> VectorRetriever | ReencodedRetriever:
    """Return a retriever that searches what the predictor was trained to find: the bank, or its tower's own copy of it.

    Args:
        name: the row's name.
        intent: what the row stands for.
        predictor: with its present weights; a document tower encodes the bank here, once.
        pool: the candidates.
        index: over ``pool``; with a document tower, a sign to build one over the re-encoded candidates.
        device: the predictor runs there.
    """
    retriever = VectorRetriever(name, intent, PredictorQuery(predictor, device), pool, index)
    if predictor.documents is None:
        return retriever
    encoded = reencoded_retriever(retriever, PredictorDocuments(predictor, device))
    return encoded if index is None else encoded.indexed()
