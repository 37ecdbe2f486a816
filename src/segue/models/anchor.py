"""Anchor: a learnt weighted mean of the context that a predictor starts from.

Untrained models score below *copying the last passage*. An anchored predictor is that copy (or another simple mean that
did better on validation) before its first step, so validation can only improve on it.

The weights are plain numbers, not a softmax over logits. A softmax cannot *be* copy-last: finite logits leave some
weight on the other places, and infinite ones get no gradient. Plain weights start exactly at the baseline, move at the
optimiser's pace from the first step, and may become negative (newest minus oldest is a direction of travel).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.models.architecture import Context, Mask, Vectors, pad_at_front

AnchorKind = Literal["copy-last", "mean", "exp-mean"]

SMALLEST_NORM = 1e-3
"""Norm below which a weighted sum is not normalised: its gradient would be 1 / norm."""


def anchor_weights(kind: AnchorKind, context: int, *, decay: float = 0.5) -> Float[Tensor, "context"]:
    """Return the weights that make the anchor a baseline, oldest place first and summing to 1.

    Args:
        kind: ``copy-last``, ``mean`` or ``exp-mean``.
        context: places of the window.
        decay: for ``exp-mean``: each passage weighs ``decay`` times the one after it, in (0, 1].

    >>> anchor_weights("copy-last", 3).tolist()
    [0.0, 0.0, 1.0]
    >>> [round(weight, 3) for weight in anchor_weights("exp-mean", 3, decay=0.5).tolist()]
    [0.143, 0.286, 0.571]
    """
    age = torch.arange(context - 1, -1, -1, dtype=torch.float32)
    weights = {"copy-last": (age == 0).float(), "mean": torch.ones(context), "exp-mean": decay**age}[kind]
    return weights / weights.sum()


class Anchor(nn.Module):
    """The weighted sum of the passages that are present, as a unit vector.

    A direction needs no renormalised weights where the context is short: missing places drop out of the sum.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(anchor_weights("copy-last", context))

    def forward(self, context: Context, mask: Mask) -> Vectors:
        """Return unit vectors; only a sum that cancels out is shorter.

        A zero vector is a passage whose content was dropped (article dropout); it is skipped. Copying it would leave an
        answer without a direction, and its huge gradient would dominate the batch.
        """
        context, mask = pad_at_front(context, mask & (context != 0).any(dim=-1))
        weights = self.weights * mask
        # An elementwise sum and not a matrix product, which autocast would round to bfloat16.
        total = (weights[..., None] * context).sum(1)
        return functional.normalize(total, dim=-1, eps=SMALLEST_NORM)
