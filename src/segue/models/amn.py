"""Attention memory network (AMN): the context's mean attends to the context, and a small MLP computes a correction.

Without an anchor it is the original: ``normalise(mean + correction)``. With one, the predictor's learnt anchor replaces
the mean.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from segue.models.architecture import Architecture, Context, Features, Mask, Sizes, Vectors

SIZES: Sizes = {
    "toy": {"query_width": 16, "hidden": (32, 16)},
    "demo": {"query_width": 256, "hidden": (512, 256)},
    "full": {"query_width": 256, "hidden": (512, 256)},
}


class Amn(Architecture):
    """Single-head attention over the raw context and an MLP over ``[mean, attended]``.

    The query is a projection of the mean, keys are projections of the passages, values are the passages themselves.
    At full size (768-D) the MLP is 1536 → 512 → 256 → 768 (1,115,648 parameters) and the two projections are 768 → 256
    (393,728): 1.51 M, the published count.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        query_width: components of query and keys.
        hidden: the two hidden widths of the MLP.
        dropout: rate in the MLP, [0, 1).
        add_mean: add the context's mean to the correction, as the original does.
    """

    def __init__(
        self,
        dimension: int,
        context: int,
        *,
        query_width: int = 256,
        hidden: tuple[int, int] = (512, 256),
        dropout: float = 0.0,
        add_mean: bool = False,
    ) -> None:
        super().__init__()
        self.query = nn.Linear(dimension, query_width)
        self.key = nn.Linear(dimension, query_width)
        self.mlp = nn.Sequential(
            nn.Linear(2 * dimension, hidden[0]),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(hidden[1], dimension)
        self.add_mean = add_mean

    def forward(self, context: Context, mask: Mask) -> Vectors:
        """Return one correction for each context."""
        correction = self.head(self.encode(context, mask))
        return _mean(context, mask) + correction if self.add_mean else correction

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        mean = _mean(context, mask)
        return self.mlp(torch.cat([mean, self._attend(mean, context, mask)], dim=-1))

    def _attend(self, mean: Vectors, context: Context, mask: Mask) -> Vectors:
        """Average the passages with the attention weights of the mean's query.

        No key is computed: (K x + b) · q = x · Kᵀq + b · q, one product for each context instead of each passage.
        """
        query = self.query(mean)
        direction = functional.linear(query, self.key.weight.T)  # [batch, dim]
        with torch.autocast(context.device.type, enabled=False):  # rounding the passages takes longer than the product
            products = torch.bmm(context, direction.to(context.dtype)[..., None]).squeeze(-1)
            scores = (products + (query * self.key.bias).sum(-1, keepdim=True)) / math.sqrt(self.key.out_features)
            weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
            return torch.bmm(weights[:, None].to(context.dtype), context).squeeze(1)


def _mean(context: Context, mask: Mask) -> Vectors:
    return context.sum(1) / mask.sum(1, keepdim=True)  # padding is zero
