"""Contexts that are shorter than the window: passages that are masked out count as never read.

What enters may have holes (article dropout makes them) and anything at all in the masked places. What the
architectures see has the padding at the front and zeros in it, so the newest passage always stands in the last place.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def pad_at_front(
    context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
) -> tuple[Float[Tensor, "batch context dim"], Bool[Tensor, "batch context"]]:
    """Move the present passages to the end, keep their order, and put zeros before them.

    >>> context = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> moved, mask = pad_at_front(context, torch.tensor([[True, True, False]]))
    >>> moved.flatten().tolist(), mask.flatten().tolist()
    ([0.0, 1.0, 2.0], [False, True, True])
    """
    if bool(mask.all()):
        return context, mask
    order = torch.argsort(mask.to(torch.uint8), dim=1, stable=True)  # padding first
    mask = mask.gather(1, order)
    context = context.gather(1, order[..., None].expand_as(context))
    # Filled, not multiplied: the padding may hold NaN.
    return context.masked_fill(~mask[..., None], 0.0), mask


def start_at_front(
    context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
) -> tuple[Float[Tensor, "batch context dim"], Int[Tensor, "batch"]]:
    """Roll front padding to the back, for nets that must read their first passage from a fresh state.

    Returns:
        The rolled context and the place of each row's newest passage. What stands behind that place cannot reach
        it in a causal net, so the output there is what the net gives on the unpadded sequence.

    >>> context = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> rolled, newest = start_at_front(context, torch.tensor([[False, True, True]]))
    >>> rolled.flatten().tolist(), newest.tolist()
    ([1.0, 2.0, 0.0], [1])
    """
    places = mask.shape[1]
    lengths = mask.sum(1)
    if bool(mask.all()):
        return context, lengths - 1
    source = (torch.arange(places, device=mask.device) + (places - lengths)[:, None]) % places
    return context.gather(1, source[..., None].expand_as(context)), lengths - 1


def at_place(states: Float[Tensor, "batch context width"], place: Int[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
    """Take from each row the state at its own place.

    >>> at_place(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([0, 1])).flatten().tolist()
    [1.0, 4.0]
    """
    return states[torch.arange(len(states), device=states.device), place]
