"""MLP over the whole context at once: the simplest architecture that knows the order of the passages."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from segue.models.architecture import Architecture, Context, Features, Mask, Sizes

SIZES: Sizes = {
    "toy": {"width": 32, "layers": 1},
    "demo": {"width": 512, "layers": 1},
    "full": {"width": 1024, "layers": 2},
}


class Mlp(Architecture):
    """The passages side by side, each with a flag that is 1 where it is present, through hidden layers with GELU.

    Args:
        dimension: components of an embedding.
        context: places of the window; the weights depend on it, unlike in the other architectures.
        width: components of each hidden layer.
        layers: hidden layers, at least 1.
        dropout: rate after each hidden layer, [0, 1).
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

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        return self.hidden(torch.cat([context.flatten(1), mask.to(context.dtype)], dim=1))
