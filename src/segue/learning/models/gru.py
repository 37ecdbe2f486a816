"""Gated recurrent units in residual blocks."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from segue.learning.models.padding import at_place, start_at_front
from segue.learning.models.settings import Size

SIZES: dict[Size, dict[str, Any]] = {
    "toy": {"width": 32, "blocks": 1},
    "demo": {"width": 192, "blocks": 1},
    "full": {"width": 512, "blocks": 4},
}


class Gru(nn.Module):
    """Projection to ``width``, then blocks ``x + GRU(layer_norm(x))``; the newest passage's state is read out.

    At full size (768-D): projection 768 → 512, 4 blocks of 512, head 512 → 768: 7.10 M parameters, as published.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        width: components of the state.
        blocks: residual blocks, at least 1.
        dropout: on each block's output, [0, 1).
    """

    def __init__(
        self, dimension: int, context: int, *, width: int = 512, blocks: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.project = nn.Linear(dimension, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.grus = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, dimension)

    def encode(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch features"]:
        """Return what the head reads; a short one is read from a fresh state."""
        context, newest = start_at_front(context, mask)
        states = self.project(context)
        for norm, gru in zip(self.norms, self.grus, strict=True):
            states = states + self.dropout(gru(norm(states))[0])
        return at_place(states, newest)

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        return self.head(self.encode(context, mask))
