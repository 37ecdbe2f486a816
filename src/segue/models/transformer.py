"""A pre-norm Transformer over the context.

All passages of a context have been read, so attention goes both ways inside it; only padding is masked. Only the newest
place is read out, so the last block computes that place alone (the same numbers, a fifth of the work at five passages).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError
from segue.models.architecture import Architecture, Context, Features, Mask, Sizes

SIZES: Sizes = {
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
            raise InputError(f"a width of {width} and {heads} heads do not divide evenly")
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
        self, states: Float[Tensor, "batch context width"], mask: Mask, *, last: bool
    ) -> Float[Tensor, "batch places width"]:
        """Return the new states of all places, or with ``last`` of the newest place alone."""
        queries = states[:, -1:] if last else states
        queries = queries + self.dropout(self._attend(self.attention_norm(states), mask, num_queries=queries.shape[1]))
        gate, up = self.gate_up(self.hidden_norm(queries)).chunk(2, dim=-1)
        return queries + self.dropout(self.down(functional.silu(gate) * up))

    def _attend(
        self, normed: Float[Tensor, "batch context width"], mask: Mask, *, num_queries: int
    ) -> Float[Tensor, "batch places width"]:
        """Let the newest ``num_queries`` places attend to all places that are not padding."""
        query = self._split_heads(self.query(normed[:, -num_queries:]))
        key, value = (self._split_heads(part) for part in self.key_value(normed).chunk(2, dim=-1))
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        return self.attention_out(found.transpose(1, 2).flatten(2))  # batch places width

    def _split_heads(self, states: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch heads places head"]:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # batch heads places head


class Transformer(Architecture):
    """Projection to ``width``, learnt positions counted from the newest passage, pre-norm blocks, final norm.

    At full size (768-D, context 5): 4 layers of 512, 8 heads, SwiGLU of 2048: 17.6 M parameters. The published model
    has 17.9 M (− 1.8 %); its feed-forward part is not described.

    Args:
        dimension: components of an embedding.
        context: places of the window.
        width: components of a state, a multiple of ``heads``.
        layers: blocks, at least 1.
        heads: attention heads.
        hidden: width of each SwiGLU.
        dropout: rate on each residual branch, [0, 1).
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

    def encode(self, context: Context, mask: Mask) -> Features:
        """Return the head's input."""
        states = self.project(context) + self.positions[-context.shape[1] :]
        for block in self.blocks:
            states = block(states, mask, last=block is self.blocks[-1])
        return self.norm(states[:, -1])
