"""Large contrastive batches in little memory: the gradient goes through the vectors' cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Embed = Callable[[Any], Float[Tensor, "part dim"]]
"""Turns one part of a batch into vectors with a gradient; equal both times it is called."""

VectorLoss = Callable[[Float[Tensor, "batch dim"]], Float[Tensor, ""]]
"""The loss of the vectors of the whole batch."""


def cached_gradients(embed: Embed, parts: Sequence[Any], loss: VectorLoss) -> Float[Tensor, ""]:
    """Leave the gradient of ``loss(all vectors)`` in the weights, with the activations of one part in memory.

    First all vectors without activations, then the loss's gradient with respect to the vectors, then each part once
    more with that gradient sent through it: Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch
    Size under Memory Limited Setup", section 3. A single part needs no second pass.

    Returns:
        The loss, without a gradient.
    """
    if len(parts) == 1:
        value = loss(embed(parts[0]))
        value.backward()
        return value.detach()
    with torch.no_grad():
        vectors = [embed(part) for part in parts]
    leaf = torch.cat(vectors).requires_grad_()
    value = loss(leaf)
    value.backward()
    assert leaf.grad is not None, "the loss reads the vectors"
    for part, gradient in zip(parts, leaf.grad.split([len(part) for part in vectors]), strict=True):
        embed(part).backward(gradient)
    return value.detach()
