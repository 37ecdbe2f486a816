"""A plain net over the whole context at once: the simplest thing that knows which passage stood where."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from segue.models.settings import Size

SIZES: dict[Size, dict[str, Any]] = {
    "toy": {"width": 32, "layers": 1},
    "demo": {"width": 512, "layers": 1},
    "full": {"width": 1024, "layers": 2},
}


class Mlp(nn.Module):
    """The passages side by side, each with a flag that says whether it is there, through hidden layers with GELU.

    Args:
        dimension: components of an embedding.
        context: places of the window; unlike the other nets' its weights depend on it.
        width: components of each hidden layer.
        layers: hidden layers, at least 1.
        dropout: after each hidden layer, [0, 1).
    """

    def __init__(
        self, dimension: int, context: int, *, width: int = 1024, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [context * (dimension + 1)] + [width] * layers
        self.hidden = nn.Sequential()
        for before, after in itertools.pairwise(widths):
            self.hidden.extend([nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)])
        self.head = nn.Linear(width, dimension)

    def encode(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch features"]:
        """Return what the head reads."""
        flags = mask.to(context.dtype)
        return self.hidden(torch.cat([context.flatten(1), flags], dim=1))

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        return self.head(self.encode(context, mask))
