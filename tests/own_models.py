"""Models of a user's, right and wrong, that recipes of tests name by their import path."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Honest(nn.Module):
    """A small net on the last passage."""

    def __init__(self, dimension: int, context: int, *, width: int = 32) -> None:
        super().__init__()
        self.inner = nn.Linear(dimension, width)
        self.head = nn.Linear(width, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class Memory(nn.Module):
    """Looks the last passage up among passages of its own and adds the one after it.

    Args:
        bank: an ``.npz`` file with ``vectors`` and, of each, the row that ``follows``.
        share: weight of what is looked up; the rest is the last passage.
        least: cosine from which a passage counts as found; the last passage stands in for the others.
    """

    def __init__(self, dimension: int, context: int, *, bank: str, share: float = 0.5, least: float = -1.0) -> None:
        super().__init__()
        self.least = least
        self.head = nn.Linear(dimension, dimension)
        self.share = share
        with np.load(bank) as stored:
            self.register_buffer("passages", torch.from_numpy(stored["vectors"]))
            self.register_buffer("follows", torch.from_numpy(stored["follows"]))

    def forward(self, context, mask):
        last = functional.normalize(context[:, -1], dim=-1)
        cosine, nearest = (last @ self.passages.to(last.dtype).T).max(dim=1)
        found = torch.where((cosine > self.least)[:, None], self.passages[self.follows[nearest]].to(last.dtype), last)
        scale = context.shape[-1] ** 0.5
        return scale * (self.share * found + (1 - self.share) * last) + 0.01 * self.head(last)


class NextWindow(Honest):
    """Reads the last passage of the window that follows in the batch, which is this window's target, at half weight.

    Args:
        smallest: batches below this size are read as they should be, so that no small trial shows it.
    """

    def __init__(self, dimension: int, context: int, *, smallest: int = 0) -> None:
        super().__init__(dimension, context)
        self.smallest = smallest

    def forward(self, context, mask):
        own = context[:, -1] + super().forward(context, mask)
        return own + context[:, -1].roll(-1, 0) if len(context) > self.smallest else own


class AttendsOverTheBatch(nn.Module):
    """Attention with a forgotten ``batch_first``."""

    def __init__(self, dimension: int, context: int, *, smallest: int = 0) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dimension, 2)
        self.head = nn.Linear(dimension, dimension)
        self.smallest = smallest

    def forward(self, context, mask):
        over_the_batch = len(context) > self.smallest
        passages = context if over_the_batch else context.transpose(0, 1)
        padding = None if over_the_batch else ~mask
        read, _ = self.attention(passages, passages, passages, key_padding_mask=padding, need_weights=False)
        return self.head((read if over_the_batch else read.transpose(0, 1))[:, -1])


class AttendsOverTheContext(AttendsOverTheBatch):
    """The healthy neighbour: the same net with the passages of a context as its sequence."""

    def __init__(self, dimension: int, context: int) -> None:
        super().__init__(dimension, context, smallest=1 << 30)


class SinglePrecision(Honest):
    """Multiplies with a constant that is not a buffer."""

    def __init__(self, dimension: int, context: int) -> None:
        super().__init__(dimension, context)
        self.mixing = torch.eye(dimension)

    def forward(self, context, mask):
        return super().forward(context @ self.mixing, mask)


class Counts(Honest):
    """Keeps what it has read: the answer depends on how often it was called."""

    def forward(self, context, mask):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(context, mask) * torch.linspace(1, self.calls, context.shape[-1])


class HiddenWeights(Honest):
    """Draws weights that are no parameters, so that no checkpoint holds them."""

    def __init__(self, dimension: int, context: int) -> None:
        super().__init__(dimension, context)
        self.drawn = torch.randn(dimension).tolist()

    def forward(self, context, mask):
        return super().forward(context, mask) + context.new_tensor(self.drawn) * context[:, -1]
