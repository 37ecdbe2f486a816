"""Contrast with the whole training bank: each prediction chooses its target among every text of the training documents.

Enters: unit predictions and targets, and a ``TrainingBank``. Leaves: the exact cross-entropy. Its logits, one for each
window and passage, never exist together: the bank goes by in blocks, and of each block only two sums are kept, of its
shares and of its vectors weighted by them. Since document vectors are fixed, the gradient is known from these: it is
the softmax-weighted mean of the bank minus the target, over τ. So one pass serves the loss and its gradient, and what
waits for the backward pass is of size batch × dim.

No running maximum is needed: cosines lie between −1 and 1, so the shift that keeps exponentials in range is known
before the first block (``_shift``).

Two arithmetics. In float32 the result is that of the textbook formula to rounding. With bfloat16 the products are
rounded (their inner sums and the sums over blocks are float32): a logit is off by at most 4u/τ with u = 2⁻⁸, half of it
from rounding the vectors and half from rounding its distance to the target's logit, and an exponential by a factor
1 ± 2u; so the loss is off by at most ``bfloat16_bound`` nats. That is the worst case: errors of single passages average
out, and over 40,000 passages the gradient was off by 0.03 % (``benchmarks/whole_bank_step.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from segue.data.pool import Pool
from segue.types import Bank, Windows

ROWS_PER_BLOCK = 8192
MOST_BYTES = 2 << 30
"""Vectors of a training bank that are kept in memory; a larger bank is read from disk block by block, in every step."""
_ROOM = 60.0  # e^60 times any number of passages is a float32, and so is e^-60
_UNIT_ROUNDOFF = 2.0**-8


class TrainingBank:
    """One vector for each different text of the documents that windows are made of, in blocks.

    Args:
        bank: where the vectors stand.
        windows: training windows; the live passages of their documents are the candidates.
        dtype: of the vectors, and so of the products.
        device: where the vectors go.
        most_bytes: of vectors kept in memory; read from the bank again in every pass where they are more.

    Attributes:
        size: candidates, one for each duplicate group.
        rows: the row whose vector stands for each candidate.
        frequency: how many training windows have the candidate as their target.
    """

    def __init__(
        self,
        bank: Bank,
        windows: Windows,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        most_bytes: int = MOST_BYTES,
    ) -> None:
        pool = Pool(bank, np.unique(bank.document_of[windows.target]).astype(np.int64))
        self.bank, self.dtype, self.device = bank, dtype, device
        self.size = pool.size
        self.rows: Int[np.ndarray, "candidate"] = pool.members[pool.start]
        self.frequency = np.bincount(pool.candidates_of(windows.target), minlength=pool.size)
        self._kept = pool.size * bank.dimension * dtype.itemsize <= most_bytes
        self._vectors: Tensor | None = None
        self._place_of_group = torch.from_numpy(pool.candidates_of(np.arange(len(bank)))).to(device)

    def places(self, groups: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """Return the candidate of each duplicate group; −1 for padding and for texts that are not candidates."""
        return torch.where(groups >= 0, self._place_of_group[groups.clamp(min=0)], -1)

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "rows dim"]]]:
        """Yield (first candidate, vectors) of consecutive candidates, all of them once."""
        for first in range(0, self.size, ROWS_PER_BLOCK):
            block = slice(first, min(first + ROWS_PER_BLOCK, self.size))
            yield first, self._resident()[block] if self._kept else self._gather(block)

    def _resident(self) -> Float[Tensor, "candidate dim"]:
        """Return all vectors; they are read when they are first needed."""
        if self._vectors is None:
            vectors = torch.empty(self.size, self.bank.dimension, dtype=self.dtype, device=self.device)
            for first in range(0, self.size, ROWS_PER_BLOCK):
                block = slice(first, first + ROWS_PER_BLOCK)
                vectors[block] = self._gather(block)
            self._vectors = vectors
        return self._vectors

    def _gather(self, block: slice) -> Float[Tensor, "rows dim"]:
        return torch.from_numpy(self.bank.gather(self.rows[block])).to(self.device, self.dtype)


def bank_info_nce(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    bank: TrainingBank,
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"],
    context_groups: Int[Tensor, "batch context"] | None = None,
    margin: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of each prediction choosing its target among the whole training bank.

    −log( exp(p·t⁺/τ) / (exp(p·t⁺/τ) + Σ exp(p·d/τ)) ) on unit vectors, d over all candidates but those with the text of
    the target or of a context passage: InfoNCE (van den Oord et al. 2018, equation 4) without sampling. Differentiable
    in the prediction and in τ, not in the target.

    Args:
        prediction: any length; normalised here.
        target: any length; normalised here. It need not be in the bank (held-out windows).
        bank: the candidates.
        temperature: τ ≥ 0.01.
        groups: duplicate group of each target.
        context_groups: duplicate groups of each window's context, −1 for padding; they are no negatives of it.
        margin: taken off the cosine with the target.
    """
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1).detach()
    temperature = torch.as_tensor(temperature, dtype=query.dtype, device=query.device)
    positive = ((query * truth).sum(dim=-1) - margin) / temperature
    hidden = groups[:, None] if context_groups is None else torch.cat([groups[:, None], context_groups], dim=1)
    shift = _shift(positive, temperature, bank.dtype)
    candidates = _Candidates(bank, bank.places(hidden), shift)
    negative: Tensor = _LogSumExp.apply(query, temperature, candidates)  # type: ignore[no-untyped-call]
    return functional.softplus(negative - positive).mean()


def bfloat16_bound(temperature: float) -> float:
    """Bound the error of the loss with bfloat16 products, in nats: 4u/τ + 2u with u = 2⁻⁸.

    >>> round(bfloat16_bound(0.1), 3)
    0.164
    """
    return 4 * _UNIT_ROUNDOFF / temperature + 2 * _UNIT_ROUNDOFF


@torch.no_grad()
def _shift(
    positive: Float[Tensor, "batch"], temperature: Float[Tensor, ""], dtype: torch.dtype
) -> Float[Tensor, "batch"]:
    """Return what is taken off each window's logits before they are exponentiated, a number that ``dtype`` can hold.

    The target's logit, so that those near it, which decide, are rounded least. A logit is at most 1/τ, so at 1/τ − 60
    or more nothing overflows; what underflows lies 87 or more below the shift, which for τ > 0.014 no logit does.
    """
    return torch.maximum(positive, 1.0 / temperature - _ROOM).to(dtype).float()


@dataclass(frozen=True)
class _Candidates:
    """What one pass goes over: the bank, the places hidden from each query, and what is taken off its logits."""

    bank: TrainingBank
    hidden: Int[Tensor, "batch hidden"]
    shift: Float[Tensor, "batch"]


class _LogSumExp(torch.autograd.Function):
    """log Σ exp(q·d/τ) over the candidates that are not hidden, one for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, temperature: Tensor, candidates: _Candidates) -> Tensor:
        total, weighted = _sums(query / temperature, candidates)
        mean = weighted / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None]
        ctx.save_for_backward(query, temperature, mean)
        return candidates.shift + total.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients: of the query the softmax-weighted mean over τ, of τ minus the mean logit over τ."""
        (gradient,) = gradients
        query, temperature, mean = ctx.saved_tensors
        of_query = gradient[:, None] * mean / temperature
        of_temperature = -(gradient * (query * mean).sum(dim=1)).sum() / temperature.square()
        return of_query, of_temperature, None


def _sums(
    scaled: Float[Tensor, "batch dim"], candidates: _Candidates
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch dim"]]:
    """Return Σ exp(s·d − shift) and Σ exp(s·d − shift) d over the candidates that are not hidden, in float32."""
    bank, shift = candidates.bank, candidates.shift
    total, weighted = torch.zeros_like(shift), torch.zeros_like(scaled)
    query, offset = scaled.to(bank.dtype), -shift[:, None].to(bank.dtype)
    # One buffer for all blocks, so that no block waits for fresh memory.
    buffer = torch.empty(len(query) * min(ROWS_PER_BLOCK, bank.size), dtype=bank.dtype, device=query.device)
    for first, vectors in bank.blocks():
        logits = buffer[: len(query) * len(vectors)].view(len(query), len(vectors))
        torch.addmm(offset, query, vectors.T, out=logits)
        hide(logits, candidates.hidden, first)
        shares = logits.exp_()
        total += shares.sum(dim=1, dtype=torch.float32)
        weighted += shares @ vectors
    return total, weighted


def hide(scores: Float[Tensor, "batch rows"], hidden: Int[Tensor, "batch hidden"], first: int) -> None:
    """Put −inf, in place, where a column is hidden from its row; ``first`` is the candidate of column 0.

    >>> scores = torch.zeros(2, 2)
    >>> hide(scores, torch.tensor([[4, -1], [5, 9]]), 4)
    >>> scores.tolist()
    [[-inf, 0.0], [0.0, -inf]]
    """
    window, place = ((hidden >= first) & (hidden < first + scores.shape[1])).nonzero(as_tuple=True)
    scores[window, hidden[window, place] - first] = -torch.inf
