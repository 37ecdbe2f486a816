"""Recurrent architectures: GRU in residual blocks, LSTM, bidirectional GRU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from segue.errors import InputError
from segue.models.architecture import Architecture, Context, Features, Mask, Sizes, all_present, is_exported

GRU_SIZES: Sizes = {
    "toy": {"width": 32, "blocks": 1},
    "demo": {"width": 192, "blocks": 1},
    "full": {"width": 512, "blocks": 4},
}
LSTM_SIZES: Sizes = {
    "toy": {"width": 32, "layers": 1},
    "demo": {"width": 192, "layers": 1},
    "full": {"width": 512, "layers": 2},
}
BIDIRECTIONAL_SIZES: Sizes = {
    "toy": {"width": 16, "layers": 1},
    "demo": {"width": 192, "layers": 1},
    "full": {"width": 512, "layers": 1},
}


class Gru(Architecture):
    """Projection to ``width``, then blocks ``x + GRU(layer_norm(x))``; the newest passage's state is read out.

    At full size (768-D): projection 768 → 512, 4 blocks of 512, head 512 → 768: 7.10 M parameters, as published.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        width: components of the state.
        blocks: residual blocks, at least 1.
        dropout: rate on each block's output, [0, 1).
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

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input; a short context is read from a fresh state."""
        context, newest = start_at_front(context, mask)
        states = self.project(context)
        for norm, gru in zip(self.norms, self.grus, strict=True):
            states = states + self.dropout(gru(norm(states))[0])
        return at_place(states, newest)


def _lstm_precision(device: str) -> AbstractContextManager[object]:
    """Return a context in which an LSTM runs: oneDNN's raises an error in bfloat16 on a CPU without AVX-512."""
    able = device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return nullcontext() if able else torch.autocast(device, enabled=False)


class Lstm(Architecture):
    """A stacked LSTM; the state at the newest passage is read out.

    At full size (768-D): 2 layers of 512 and a head 512 → 768: 5.12 M parameters, as published.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        width: components of the state.
        layers: stacked layers, at least 1.
        dropout: rate between the layers and before the head, [0, 1).
    """

    def __init__(
        self, dimension: int, context: int, *, width: int = 512, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0  # torch warns where there is no "between"
        self.lstm = nn.LSTM(dimension, width, num_layers=layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, dimension)

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input; a short context is read from a fresh state."""
        context, newest = start_at_front(context, mask)
        with _lstm_precision(context.device.type):
            states = self.lstm(context)[0]
        return self.dropout(at_place(states, newest))


class BidirectionalGru(Architecture):
    """A GRU in each direction; the mean of the states over the present passages, through the head.

    At full size (768-D): 2 × (3 · 512 · (768 + 512) + 6 · 512) for the two directions and a head 1024 → 768:
    4.73 M parameters; the published two-tower model has 4.7 M.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        width: components of the state of each direction.
        layers: stacked layers, at least 1.
        dropout: rate between the layers and before the head, [0, 1).
    """

    def __init__(
        self, dimension: int, context: int, *, width: int = 512, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0  # torch warns where there is no "between"
        self.gru = nn.GRU(dimension, width, num_layers=layers, batch_first=True, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, dimension)

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the mean state of each context; a short one is read from a fresh state at both of its ends."""
        if all_present(mask):
            total = self.gru(context)[0].sum(1)
        elif is_exported():
            total = self._sum_unpacked(context, mask)
        else:
            # Packed, so that the backward direction begins at the newest passage and not in the padding behind it.
            context, newest = start_at_front(context, mask)
            packed = pack_padded_sequence(context, (newest + 1).cpu(), batch_first=True, enforce_sorted=False)
            total = pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0].sum(1)  # zeros behind the newest
        return self.dropout(total / mask.sum(1, keepdim=True))

    def _sum_unpacked(self, context: Context, mask: Mask) -> Features:
        """Return the sum of the states without packing, which cannot be exported: each direction has its own padding.

        Raises:
            InputError: there are several layers, whose directions read each other.
        """
        if self.gru.num_layers > 1:
            raise InputError("a bidirectional GRU of several layers cannot be exported", got=self.gru.num_layers,
                             expected="layers = 1", fix="train one with one layer")  # fmt: skip
        rolled, newest = start_at_front(context, mask)
        forward, _ = self.gru(rolled)[0].chunk(2, dim=-1)
        _, backward = self.gru(context)[0].chunk(2, dim=-1)
        read = torch.arange(mask.shape[1], device=mask.device) <= newest[:, None]
        return torch.cat([(forward * read[..., None]).sum(1), (backward * mask[..., None]).sum(1)], dim=-1)


def start_at_front(context: Context, mask: Mask) -> tuple[Context, Int[Tensor, "batch"]]:
    """Roll front padding to the back, for nets that must read their first passage from a fresh state.

    Returns:
        The rolled context and the place of each row's newest passage. Padding behind that place cannot reach it in a
        causal net, so the output there is that of the unpadded sequence.

    >>> context = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> rolled, newest = start_at_front(context, torch.tensor([[False, True, True]]))
    >>> rolled.flatten().tolist(), newest.tolist()
    ([1.0, 2.0, 0.0], [1])
    """
    places = mask.shape[1]
    lengths = mask.sum(1)
    if all_present(mask):
        return context, lengths - 1
    source = (torch.arange(places, device=mask.device) + (places - lengths)[:, None]) % places
    return context.gather(1, source[..., None].expand_as(context)), lengths - 1


def at_place(states: Float[Tensor, "batch context width"], place: Int[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
    """Take from each row the state at its own place.

    >>> at_place(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([0, 1])).flatten().tolist()
    [1.0, 4.0]
    """
    return states[torch.arange(states.shape[0], device=states.device), place]  # len() would fix an exported batch
