"""Mamba-2 blocks for short sequences (Dao & Gu 2024, arXiv 2405.21060).

A block is the linear recurrence ``state = exp(dt A) state + dt B x``, ``y = C state + D x`` between a gate and a short
convolution. The published code computes it in chunks of 256 for sequences of thousands, with kernels for GPUs; without
them five passages are padded to a chunk. Here the whole sequence is one chunk: the recurrence is written out as
attention, ``y[t] = sum over s ≤ t of (C[t]·B[s]) exp(A (dt[s+1] + … + dt[t])) dt[s] x[s]``: equation (7) of the paper,
exact for any length, and cheapest for short ones since no state (width × 2 × d_state numbers a step) is ever formed.

Parameters have the names and shapes of transformers' ``Mamba2Block``; a test loads the same weights into both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from segue.learning.models.settings import Size

SIZES: dict[Size, dict[str, Any]] = {
    "toy": {"width": 32, "blocks": 1, "d_state": 16, "heads": 4, "groups": 1},
    "demo": {"width": 192, "blocks": 1, "d_state": 64, "heads": 8, "groups": 1},
    "full": {"width": 768, "blocks": 8, "d_state": 128, "heads": 16, "groups": 16},
}

STEP_RANGE = (1e-3, 1e-1)
"""Between these the time steps start, evenly in the logarithm, as in the published code."""


def causal_convolution(
    inputs: Float[Tensor, "batch context channels"],
    weight: Float[Tensor, "channels kernel"],
    bias: Float[Tensor, "channels"],
) -> Float[Tensor, "batch context channels"]:
    """Mix each channel with its own last ``kernel`` values; zeros stand before the first.

    Written as one product per tap: on CPUs four to five times as fast as a grouped ``conv1d`` at these lengths.

    >>> inputs = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> causal_convolution(inputs, torch.tensor([[10.0, 1.0]]), torch.zeros(1)).flatten().tolist()
    [1.0, 12.0, 23.0]
    """
    places, kernel = inputs.shape[1], weight.shape[1]
    padded = functional.pad(inputs, (0, 0, kernel - 1, 0))
    taps = [padded[:, tap : tap + places] * weight[:, tap] for tap in range(kernel)]
    return torch.stack(taps).sum(0) + bias


def scan(
    inputs: Float[Tensor, "batch context heads channels"],
    steps: Float[Tensor, "batch context heads"],
    decay: Float[Tensor, "heads"],
    keys: Float[Tensor, "batch context groups state"],
    queries: Float[Tensor, "batch context groups state"],
) -> Float[Tensor, "batch context heads channels"]:
    """Run the recurrence over all places at once.

    Args:
        inputs: ``x``, what is written into the state.
        steps: ``dt`` > 0, how far time moves at each place.
        decay: ``A`` < 0, how fast each head forgets.
        keys: ``B``, under what it is written; heads are dealt out evenly, in order, to the groups.
        queries: ``C``, under what it is read.

    Returns:
        ``y`` without the skip ``D x``. Time and memory grow with the square of ``context``.
    """
    groups, heads = keys.shape[2], inputs.shape[2]
    elapsed = (steps * decay).cumsum(1).transpose(1, 2)  # batch heads context
    between = elapsed[..., :, None] - elapsed[..., None, :]  # batch heads to from
    future = torch.ones(between.shape[-2:], dtype=torch.bool, device=between.device).triu(1)
    kept = between.masked_fill(future, -torch.inf).exp() * steps.transpose(1, 2)[..., None, :]
    matches = queries.transpose(1, 2) @ keys.permute(0, 2, 3, 1)  # batch groups to from
    weights = matches.repeat_interleave(heads // groups, dim=1) * kept
    return (weights @ inputs.transpose(1, 2)).transpose(1, 2)  # batch context heads channels


class GatedNorm(nn.Module):
    """``rms_norm(x * silu(gate))`` within each group of channels."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups = groups

    def forward(
        self, inputs: Float[Tensor, "batch context width"], gate: Float[Tensor, "batch context width"]
    ) -> Float[Tensor, "batch context width"]:
        """Gate, then bring each group's root mean square to 1."""
        gated = (inputs * functional.silu(gate)).unflatten(-1, (self.groups, -1))
        return functional.rms_norm(gated, gated.shape[-1:], eps=1e-5).flatten(-2) * self.weight


class Mixer(nn.Module):
    """Gate, convolution and state space of one block.

    Args:
        width: components of a state outside.
        d_state: components of keys and queries.
        heads: each with its own pace of time and of forgetting; divides ``expand * width``.
        groups: heads of one group share keys and queries; divides ``heads``.
        conv: taps of the convolution.
        expand: inner channels per outer one.
    """

    def __init__(self, width: int, *, d_state: int, heads: int, groups: int, conv: int, expand: int) -> None:
        super().__init__()
        inner = expand * width
        if inner % heads or heads % groups:
            raise ValueError(f"{inner} inner channels, {heads} heads and {groups} groups do not divide evenly")
        self.groups = groups
        self.parts = (inner, groups * d_state, groups * d_state)
        self.in_proj = nn.Linear(width, inner + sum(self.parts) + heads, bias=False)
        self.conv1d = nn.Conv1d(sum(self.parts), sum(self.parts), conv, groups=sum(self.parts))
        self.dt_bias = nn.Parameter(_first_steps(heads))
        self.A_log = nn.Parameter(torch.arange(1.0, heads + 1).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedNorm(inner, groups)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(
        self, states: Float[Tensor, "batch context width"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch context width"]:
        """Mix the places, each with those before it; padding at the front leaves the state untouched."""
        present = mask[..., None]
        gate, mixed, steps = self.in_proj(states * present).split([self.parts[0], sum(self.parts), len(self.D)], dim=-1)
        assert self.conv1d.bias is not None
        mixed = functional.silu(causal_convolution(mixed, self.conv1d.weight.squeeze(1), self.conv1d.bias))
        # The convolution's bias is not zero: without this it would write into the state before the first passage.
        inputs, keys, queries = (mixed * present).split(list(self.parts), dim=-1)
        read = self._read(inputs, keys, queries, functional.softplus(steps + self.dt_bias))
        return self.out_proj(self.norm(read, gate))

    def _read(
        self,
        inputs: Float[Tensor, "batch context inner"],
        keys: Float[Tensor, "batch context keys"],
        queries: Float[Tensor, "batch context keys"],
        steps: Float[Tensor, "batch context heads"],
    ) -> Float[Tensor, "batch context inner"]:
        """Split into heads and groups, scan, add the skip."""
        by_head = inputs.unflatten(-1, (len(self.D), -1))  # batch context heads channels
        by_group = (self.groups, -1)
        read = scan(by_head, steps, -self.A_log.exp(), keys.unflatten(-1, by_group), queries.unflatten(-1, by_group))
        return (read + self.D[:, None] * by_head).flatten(-2)


def _first_steps(heads: int) -> Float[Tensor, "heads"]:
    """Draw time steps from ``STEP_RANGE`` and return what softplus turns into them."""
    low, high = (math.log(step) for step in STEP_RANGE)
    steps = torch.exp(torch.rand(heads) * (high - low) + low)
    return steps + torch.log(-torch.expm1(-steps))


class MambaBlock(nn.Module):
    """``x + mixer(rms_norm(x))``."""

    def __init__(self, width: int, **mixer: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.mixer = Mixer(width, **mixer)

    def forward(
        self, states: Float[Tensor, "batch context width"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch context width"]:
        """Return the new states of all places."""
        return states + self.mixer(self.norm(states), mask)


class Mamba(nn.Module):
    """Mamba-2 blocks, final norm, and the newest passage's state read out.

    At full size (768-D): 8 blocks 768 wide, d_state 128, conv 4, expand 2, 16 heads each with its own keys and queries,
    head 768 → 768: 54.4 M parameters. The published model has 53 M (+ 2.7 %); its count is that of first-generation
    blocks with a full-rank projection of the time steps, which Mamba-2 does not have.

    Args:
        dimension: components of an embedding; projected to ``width`` where they differ.
        context: places of the window (the net itself does not depend on it).
        width: components of a state.
        blocks: state-space blocks, at least 1.
        d_state: components of keys and queries.
        heads: of each block; divides ``expand * width``.
        groups: heads of one group share keys and queries; divides ``heads``.
        conv: taps of the convolution.
        expand: inner channels per outer one.
        dropout: on each block's output, [0, 1).
    """

    def __init__(
        self,
        dimension: int,
        context: int,
        *,
        width: int = 768,
        blocks: int = 8,
        d_state: int = 128,
        heads: int = 16,
        groups: int = 16,
        conv: int = 4,
        expand: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        numbers = {"d_state": d_state, "heads": heads, "groups": groups, "conv": conv, "expand": expand}
        self.project = nn.Identity() if width == dimension else nn.Linear(dimension, width)
        self.blocks = nn.ModuleList(MambaBlock(width, **numbers) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, dimension)

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        # Autocast may round what a block adds, but not what it is added to.
        states = self.project(context).to(context.dtype)
        for block in self.blocks:
            states = block(states, mask)
        return self.head(self.dropout(self.norm(states[:, -1])))
