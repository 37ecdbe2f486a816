"""Architectures: the modules that a predictor wraps, and the contexts they are given.

An architecture computes a *correction* of a simple start (the anchor). Contexts may have holes (article dropout makes
them) and any values in masked places; an architecture is given them with the padding at the front and zeros in it, so
the newest passage is always in the last place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from segue.models.settings import Size

Context = Float[Tensor, "batch context dim"]
"""Vectors of the passages that were read, oldest first."""
Mask = Bool[Tensor, "batch context"]
"""True where a context has a passage."""
Features = Float[Tensor, "batch features"]
"""Input of an architecture's last layer."""
Vectors = Float[Tensor, "batch dim"]
"""One vector for each context or passage."""

Texts = Sequence[tuple[str, ...]]
"""Texts of the passages of each context, oldest first, without padding."""

Sizes = dict[Size, Mapping[str, object]]
"""Keyword arguments of an architecture's class, for each size of the recipe."""


@runtime_checkable
class Correction(Protocol):
    """An architecture: a ``torch.nn.Module`` built as ``Class(dimension, context, **options)``.

    It is called with vectors scaled to components of about 1 and with the padding at the front, all zeros, and answers
    in the same scale. ``head`` is its last layer; with an anchor it is set to zero, so that training starts at the
    anchor. One with ``reads_text = True`` is called with the texts of the passages as well.
    """

    head: nn.Linear

    def __call__(self, context: Context, mask: Mask) -> Vectors:
        """Return one correction for each context."""
        ...


@runtime_checkable
class Encoding(Correction, Protocol):
    """An architecture whose last layer can be removed: its correction is ``head(encode(context, mask))``."""

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        ...


class Architecture(nn.Module):
    """Base of the built-in architectures, which define ``head`` and ``encode``."""

    head: nn.Linear

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        raise NotImplementedError

    def forward(self, context: Context, mask: Mask) -> Vectors:
        """Return one correction for each context."""
        return self.head(self.encode(context, mask))


def is_exported() -> bool:
    """Return whether the net is being exported, compiled or traced, when tensors have no values to branch on."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def all_present(mask: Mask) -> bool:
    """Return whether nothing is padding; False while the net is exported, since that is not known then."""
    return not is_exported() and bool(mask.all())


def pad_at_front(context: Context, mask: Mask) -> tuple[Context, Mask]:
    """Move the present passages to the end, keep their order, and put zeros before them.

    >>> context = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> moved, mask = pad_at_front(context, torch.tensor([[True, True, False]]))
    >>> moved.flatten().tolist(), mask.flatten().tolist()
    ([0.0, 1.0, 2.0], [False, True, True])
    """
    if all_present(mask):
        return context, mask
    places = mask.shape[1]  # padding first; no two keys are alike, since ONNX knows no stable sort
    order = torch.argsort(torch.arange(places, device=mask.device) + places * mask, dim=1)
    mask = mask.gather(1, order)
    context = context.gather(1, order[..., None].expand_as(context))
    # Filled, not multiplied: the padding may hold NaN.
    return context.masked_fill(~mask[..., None], 0.0), mask
