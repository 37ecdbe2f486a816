"""An architecture of one's own: a convolution over the passages that were read."""

import torch
from torch import nn


class Convolution(nn.Module):
    """Reads neighbouring passages together, then the newest of them."""

    def __init__(self, dimension: int, context: int, *, width: int = 64, kernel: int = 3) -> None:
        super().__init__()
        self.inner = nn.Conv1d(dimension, width, kernel, padding=kernel - 1)
        self.head = nn.Linear(width, dimension)  # the last layer: zero at the start, where there is an anchor

    def forward(self, context, mask):
        """Return one correction for each context.

        context: [batch, context, dim], oldest first, padding in front and zero; mask: [batch, context], True where a
        passage was read. Returns [batch, dim].
        """
        passages = context.transpose(1, 2)  # [batch, dim, context]
        read = self.inner(passages)[:, :, : context.shape[1]]  # place t reads t and those before it
        return self.head(torch.tanh(read[:, :, -1]))
