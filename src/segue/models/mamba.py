"""Mamba-2 blocks for short sequences (Dao & Gu 2024, arXiv 2405.21060).

A block is the linear recurrence ``state = exp(dt A) state + dt B x``, ``y = C state + D x`` between a gate and a short
convolution. The published code computes it in chunks of 256 for sequences of thousands. Here the whole sequence is one
chunk, computed as attention: ``y[t] = sum over s ≤ t of (C[t]·B[s]) exp(A (dt[s+1] + … + dt[t])) dt[s] x[s]``, equation
(7) of the paper, exact for any length, and cheapest for short ones since no state is formed. Only the newest place is
read out, so the last block computes that place alone.

Parameters have the names and shapes of transformers' ``Mamba2Block``; a test loads the same weights into both.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError
from segue.models.architecture import Architecture, Context, Features, Mask, Sizes

SIZES: Sizes = {
    "toy": {"width": 32, "blocks": 1, "d_state": 16, "heads": 4, "groups": 1},
    "demo": {"width": 192, "blocks": 1, "d_state": 64, "heads": 8, "groups": 1},
    "full": {"width": 768, "blocks": 8, "d_state": 128, "heads": 16, "groups": 16},
}

STEP_RANGE = (1e-3, 1e-1)
"""Range of the first time steps, uniform in the logarithm, as in the published code."""


def causal_convolution(
    inputs: Float[Tensor, "batch context channels"],
    weight: Float[Tensor, "channels kernel"],
    bias: Float[Tensor, "channels"],
) -> Float[Tensor, "batch context channels"]:
    """Mix each channel with its own last ``kernel`` values; zeros precede the first.

    Computed place by place, since a grouped ``conv1d`` is slow on CPUs at these lengths.

    >>> inputs = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> causal_convolution(inputs, torch.tensor([[10.0, 1.0]]), torch.zeros(1)).flatten().tolist()
    [1.0, 12.0, 23.0]
    """
    places, taps = inputs.unbind(1), weight.unbind(1)
    outputs = []
    for place in range(len(places)):
        mixed = bias
        for back in range(min(len(taps), place + 1)):
            mixed = torch.addcmul(mixed, places[place - back], taps[-1 - back])
        outputs.append(mixed)
    return torch.stack(outputs, dim=1)


def scan(
    inputs: Float[Tensor, "batch context heads channels"],
    steps: Float[Tensor, "batch context heads"],
    decay: Float[Tensor, "heads"],
    keys: Float[Tensor, "batch context groups state"],
    queries: Float[Tensor, "batch query groups state"],
) -> Float[Tensor, "batch query heads channels"]:
    """Run the recurrence over all places at once.

    Args:
        inputs: ``x``, the values written into the state.
        steps: ``dt``, how far time moves at each place; 0 leaves the state untouched.
        decay: ``A`` < 0, how fast each head forgets.
        keys: ``B``; each group serves an equal number of consecutive heads.
        queries: ``C``; where there are fewer than places, those of the newest places.

    Returns:
        ``y`` at the places of the queries, without the skip ``D x``. Time and memory grow with ``context`` squared.
    """
    places, num_queries = inputs.shape[1], queries.shape[1]
    elapsed = (steps * decay).cumsum(1).transpose(1, 2)  # batch heads context
    between = elapsed[..., -num_queries:, None] - elapsed[..., None, :]  # batch heads query context
    future = torch.ones(num_queries, places, dtype=torch.bool, device=between.device).triu(1 + places - num_queries)
    kept = between.masked_fill(future, -torch.inf).exp() * steps.transpose(1, 2)[..., None, :]
    matches = queries.transpose(1, 2) @ keys.permute(0, 2, 3, 1)  # batch groups query context
    weights = matches.repeat_interleave(inputs.shape[2] // keys.shape[2], dim=1) * kept
    return (weights @ inputs.transpose(1, 2)).transpose(1, 2)  # batch query heads channels


class GatedNorm(nn.Module):
    """``rms_norm(x * silu(gate))`` within each group of channels."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups = groups

    def forward(
        self, inputs: Float[Tensor, "batch places width"], gate: Float[Tensor, "batch places width"]
    ) -> Float[Tensor, "batch places width"]:
        """Apply the gate, then divide each group by its root mean square."""
        gated = (inputs * functional.silu(gate)).unflatten(-1, (self.groups, -1))
        return functional.rms_norm(gated, gated.shape[-1:], eps=1e-5).flatten(-2) * self.weight


class Mixer(nn.Module):
    """Gate, convolution and state space of one block.

    Args:
        width: components of a state outside.
        d_state: components of keys and queries.
        heads: each has its own ``dt`` and decay; divides ``expand * width``.
        groups: heads of one group share keys and queries; divides ``heads``.
        conv: taps of the convolution.
        expand: inner channels per outer one.
    """

    def __init__(self, width: int, *, d_state: int, heads: int, groups: int, conv: int, expand: int) -> None:
        super().__init__()
        inner = expand * width
        if inner % heads or heads % groups:
            raise InputError(f"{inner} inner channels, {heads} heads and {groups} groups do not divide evenly")
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
        self, states: Float[Tensor, "batch context width"], mask: Mask, *, last: bool
    ) -> Float[Tensor, "batch places width"]:
        """Mix the places, each with those before it; with ``last`` for the newest place alone.

        Padding at the front leaves the state untouched: it enters the convolution as zeros, and no time passes in it.
        """
        present = mask[..., None]
        places = slice(-1, None) if last else slice(None)
        for_gate, for_rest = self.in_proj.weight.split([self.parts[0], sum(self.parts) + self.D.numel()])
        states = states * present
        gate = functional.linear(states[:, places], for_gate)
        mixed, steps = functional.linear(states, for_rest).split([sum(self.parts), self.D.numel()], dim=-1)
        assert self.conv1d.bias is not None
        mixed = functional.silu(causal_convolution(mixed, self.conv1d.weight.squeeze(1), self.conv1d.bias))
        read = self._read(mixed, functional.softplus(steps + self.dt_bias) * present, places)
        return self.out_proj(self.norm(read, gate))

    def _read(
        self,
        mixed: Float[Tensor, "batch context parts"],
        steps: Float[Tensor, "batch context heads"],
        places: slice,
    ) -> Float[Tensor, "batch places inner"]:
        """Split into heads and groups, scan, add the skip."""
        inputs, keys, queries = mixed.split(list(self.parts), dim=-1)
        inputs = inputs.unflatten(-1, (self.D.numel(), -1))  # batch context heads channels
        keys, queries = (
            part.unflatten(-1, (self.groups, -1)) for part in (keys, queries)
        )  # batch context groups state
        read = scan(inputs, steps, -self.A_log.exp(), keys, queries[:, places])
        return (read + self.D[:, None] * inputs[:, places]).flatten(-2)


def _first_steps(heads: int) -> Float[Tensor, "heads"]:
    """Draw time steps from ``STEP_RANGE`` and return their inverse softplus."""
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
        self, states: Float[Tensor, "batch context width"], mask: Mask, *, last: bool = False
    ) -> Float[Tensor, "batch places width"]:
        """Return the new states of all places, or with ``last`` of the newest place alone."""
        return (states[:, -1:] if last else states) + self.mixer(self.norm(states), mask, last=last)


class Mamba(Architecture):
    """Mamba-2 blocks, final norm, and the newest passage's state read out.

    At full size (768-D): 8 blocks 768 wide, d_state 128, conv 4, expand 2, 16 heads each with its own keys and queries,
    head 768 → 768: 54.4 M parameters. The published model has 53 M (+ 2.7 %); that count is of
    first-generation blocks with a full-rank projection of the time steps, which Mamba-2 does not have.

    Args:
        dimension: components of an embedding; projected to ``width`` where they differ.
        context: places of the window (the net itself does not depend on it).
        width: components of a state.
        blocks: state-space blocks, at least 1.
        d_state: components of keys and queries.
        heads: number of heads of each block; divides ``expand * width``.
        groups: heads of one group share keys and queries; divides ``heads``.
        conv: taps of the convolution.
        expand: inner channels per outer one.
        dropout: rate on each block's output, [0, 1).
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

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        # Autocast may round what a block adds, but not what it is added to.
        states = self.project(context).to(context.dtype)
        for block in self.blocks:
            states = block(states, mask, last=block is self.blocks[-1])
        return self.dropout(self.norm(states[:, -1]))
