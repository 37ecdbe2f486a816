"""Long short-term memory, layer on layer."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from segue.learning.models.padding import at_place, start_at_front
from segue.learning.models.settings import Size

SIZES: dict[Size, dict[str, Any]] = {
    "toy": {"width": 32, "layers": 1},
    "demo": {"width": 192, "layers": 1},
    "full": {"width": 512, "layers": 2},
}


class Lstm(nn.Module):
    """A stacked LSTM; the state at the newest passage is read out.

    At full size (768-D): 2 layers of 512 and a head 512 → 768: 5.12 M parameters, as published.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        width: components of the state.
        layers: stacked layers, at least 1.
        dropout: between the layers and before the head, [0, 1).
    """

    def __init__(
        self, dimension: int, context: int, *, width: int = 512, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0  # torch warns where there is no "between"
        self.lstm = nn.LSTM(dimension, width, num_layers=layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, dimension)

    def encode(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch features"]:
        """Return what the head reads; a short one is read from a fresh state."""
        context, newest = start_at_front(context, mask)
        states = self.lstm(context)[0]
        return self.dropout(at_place(states, newest))

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        return self.head(self.encode(context, mask))
