"""The predictor: context vectors go in, one unit vector comes out, the guess at the next passage's embedding.

``normalise(anchor(context) + correction(context))`` with an anchor, ``normalise(correction(context))`` without.

The class is final. An architecture is a *correction*, a module of its own that the predictor wraps; what all of them
share (padding, scale, anchor, zero start, unit length) is written here, once.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from segue.models.anchor import Anchor
from segue.models.document_tower import DocumentTower
from segue.models.model_card import ModelCard
from segue.models.padding import pad_at_front
from segue.models.settings import ModelSettings


@runtime_checkable
class Correction(Protocol):
    """What an architecture is: a ``torch.nn.Module`` built as ``Class(dimension, context, **options)``.

    It is called with vectors scaled to components of about 1 and with the padding at the front, all zeros, and answers
    in the same scale. ``head`` is its last layer; with an anchor it is set to zero, so that training starts at the
    anchor.
    """

    head: nn.Linear

    def __call__(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        ...


@final
class Predictor(nn.Module):
    """An architecture made into a predictor.

    Args:
        correction: the architecture; a module that follows ``Correction``.
        settings: what it was built from; a checkpoint needs it to build it again.
        dimension: components of an embedding.
        context: places of the window, at least 1.
        documents: the document tower; None leaves passages as they are.
    """

    def __init__(
        self,
        correction: nn.Module,
        settings: ModelSettings,
        *,
        dimension: int,
        context: int,
        documents: DocumentTower | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.dimension = dimension
        self.context = context
        self.correction = correction
        self.documents = documents
        self.anchor = Anchor(context) if settings.anchor else None
        if self.anchor is not None:
            _start_at_zero(correction)

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Predict the next passage.

        Args:
            context: unit vectors, oldest first; what stands where ``mask`` is False is never looked at.
            mask: True where there is a passage; at least one in each row.

        Returns:
            Unit vectors.
        """
        assert context.shape[1:] == (self.context, self.dimension), "contexts of another shape than the predictor's"
        assert bool(mask.any(1).all()), "a context without any passage has no continuation"
        context, mask = pad_at_front(context, mask)
        # Components of unit vectors are about 1/√dim; initialisations assume about 1. So is a correction of ordinary
        # size about as long as the anchor, and a first step of the optimiser cannot drown it.
        scale = math.sqrt(self.dimension)
        total = self.correction(context * scale, mask).to(context.dtype)
        if self.anchor is not None:
            total = total + self.anchor(context, mask) * scale
        return functional.normalize(total, dim=-1)

    def encode_documents(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Return passages as this predictor's answers are compared with them; themselves without a document tower.

        Args:
            vectors: unit vectors of passages.

        Returns:
            Unit vectors.
        """
        if self.documents is None:
            return vectors
        return self.documents(vectors, self._as_context(vectors) if self.documents.net is None else None)

    def _as_context(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch features"]:
        """Let the query's net read each passage as a context of one."""
        context = functional.pad(vectors[:, None] * math.sqrt(self.dimension), (0, 0, self.context - 1, 0))
        mask = torch.arange(self.context, device=vectors.device).expand(len(vectors), -1) == self.context - 1
        encode: Any = self.correction.encode
        return encode(context, mask)

    @torch.no_grad()
    def start_anchor(self, weights: Float[Tensor, "context"]) -> None:
        """Let the anchor start at these weights (see ``anchor_weights``), chosen on validation."""
        assert self.anchor is not None, "this predictor was built without an anchor"
        self.anchor.weights.copy_(weights)

    def save_pretrained(self, folder: str | Path, *, card: ModelCard) -> None:
        """Write a checkpoint; the same as ``save_predictor``."""
        from segue.models.checkpoint import save_predictor

        save_predictor(self, Path(folder), card=card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Predictor:
        """Read a checkpoint from a folder; the same as ``load_predictor``, which also returns the configuration."""
        from segue.models.checkpoint import load_predictor

        return load_predictor(Path(folder))[0]


@torch.no_grad()
def _start_at_zero(correction: Any) -> None:
    """Silence the last layer; it still learns, since its gradient does not depend on its own weights."""
    correction.head.weight.zero_()
    if correction.head.bias is not None:
        correction.head.bias.zero_()


def num_parameters(module: nn.Module) -> int:
    """Count the numbers that training can change.

    >>> num_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
