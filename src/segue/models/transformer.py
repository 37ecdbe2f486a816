"""A pre-norm Transformer over the context.

Every passage of a context has been read, so nothing is hidden from anything but padding: attention goes both ways
*inside the context*. Only the newest place is read out, so the last block computes that place alone (the same numbers,
a fifth of its work at five passages).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from segue.models.settings import Size

SIZES: dict[Size, dict[str, Any]] = {
    "toy": {"width": 32, "layers": 1, "heads": 2, "hidden": 64},
    "demo": {"width": 256, "layers": 1, "heads": 4, "hidden": 512},
    "full": {"width": 512, "layers": 4, "heads": 8, "hidden": 2048},
}


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + swiglu(norm(x))``.

    SwiGLU: ``down(silu(gate(x)) * up(x))`` (Shazeer 2020, arXiv 2002.05202).
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} and {heads} heads do not divide evenly")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attention_out = nn.Linear(width, width)
        self.hidden_norm = nn.LayerNorm(width)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Float[Tensor, "batch context width"], mask: Bool[Tensor, "batch context"], *, last: bool
    ) -> Float[Tensor, "batch places width"]:
        """Return the new states of all places, or with ``last`` of the newest place alone."""
        asking = states[:, -1:] if last else states
        asking = asking + self.dropout(self._attend(self.attention_norm(states), mask, num_asking=asking.shape[1]))
        gate, up = self.gate_up(self.hidden_norm(asking)).chunk(2, dim=-1)
        return asking + self.dropout(self.down(functional.silu(gate) * up))

    def _attend(
        self, normed: Float[Tensor, "batch context width"], mask: Bool[Tensor, "batch context"], *, num_asking: int
    ) -> Float[Tensor, "batch places width"]:
        """Let the newest ``num_asking`` places look at all places that are not padding."""
        query = self._split_heads(self.query(normed[:, -num_asking:]))
        key, value = (self._split_heads(part) for part in self.key_value(normed).chunk(2, dim=-1))
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        return self.attention_out(found.transpose(1, 2).flatten(2))  # batch places width

    def _split_heads(self, states: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch heads places head"]:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # batch heads places head


class Transformer(nn.Module):
    """Projection to ``width``, learnt positions counted from the newest passage, pre-norm blocks, final norm.

    At full size (768-D, context 5): 4 layers of 512, 8 heads, SwiGLU of 2048: 17.6 M parameters. The published model
    has 17.9 M (− 1.8 %); its feed-forward part is not described, and one of 2048 with two matrices would give 13.4 M.

    Args:
        dimension: components of an embedding.
        context: places of the window.
        width: components of a state, a multiple of ``heads``.
        layers: blocks, at least 1.
        heads: of each attention.
        hidden: width of each SwiGLU.
        dropout: on each residual branch, [0, 1).
    """

    def __init__(
        self,
        dimension: int,
        context: int,
        *,
        width: int = 512,
        layers: int = 4,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(dimension, width)
        self.positions = nn.Parameter(torch.randn(context, width) * 0.1)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, dimension)

    def encode(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch features"]:
        """Return what the head reads."""
        states = self.project(context) + self.positions[-context.shape[1] :]
        for block in self.blocks:
            states = block(states, mask, last=block is self.blocks[-1])
        return self.norm(states[:, -1])

    def forward(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch dim"]:
        """Return one correction for each context."""
        return self.head(self.encode(context, mask))
