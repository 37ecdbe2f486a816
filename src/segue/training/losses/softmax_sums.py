"""log Σ exp(q·d/τ) over fixed candidates, computed in blocks, for InfoNCE with fixed documents.

Candidates are read in blocks, so the logits never exist together. Each block adds to two sums: of the exponentials,
and of the vectors weighted by them. They give the value and its gradient in one pass; the backward pass needs memory of
size batch × dim.

No running maximum is needed: cosines lie between −1 and 1, so the shift that keeps exponentials in range is known
before the first block (``shift_of``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from segue.training.ranks import ALONE, ProcessGroup

ROWS_PER_BLOCK = 8192
"""Candidates of one block."""
_ROOM = 60.0  # e^60 times any number of passages is a float32, and so is e^-60

Pairs = tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]
"""Windows, and for each a candidate that is hidden from it."""


@runtime_checkable
class CandidateBlocks(Protocol):
    """Vectors of the candidates, in blocks."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the vectors and of the products."""
        ...

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "rows dim"]]]:
        """Yield (first candidate, vectors) of consecutive candidates, all of them once; no block exceeds the first."""
        ...


def log_sum_exp(
    query: Float[Tensor, "batch dim"],
    temperature: Float[Tensor, ""],
    candidates: CandidateBlocks,
    *,
    hidden: Pairs,
    shift: Float[Tensor, "batch"],
    ranks: ProcessGroup = ALONE,
) -> Float[Tensor, "batch"]:
    """Return log Σ exp(q·d/τ) over the candidates that are not hidden; −inf where none is left.

    Differentiable in the query and in τ.

    Args:
        query: unit vectors, float32.
        temperature: τ > 0.014; with lower ones a candidate that is 87 or more below the shift counts for nothing.
        candidates: unit vectors; they get no gradient.
        hidden: candidates that are left out of the sum, for the queries of all ranks.
        shift: the result of ``shift_of``.
        ranks: each has queries of its own and a part of the candidates, and sums over its part for all queries.
    """
    found: Tensor = _LogSumExp.apply(query, temperature, _Sum(candidates, hidden, shift, ranks))  # type: ignore[no-untyped-call]
    return found


@torch.no_grad()
def shift_of(
    positive: Float[Tensor, "batch"], temperature: Float[Tensor, ""], dtype: torch.dtype
) -> Float[Tensor, "batch"]:
    """Return the number subtracted from each window's logits before they are exponentiated, rounded to ``dtype``.

    It is the target's logit, so that logits near it, which decide, are rounded least. A logit is at most 1/τ, so with a
    shift of at least 1/τ − 60 nothing overflows; a logit underflows at 87 below the shift, which for τ > 0.014 none is.
    """
    return torch.maximum(positive, 1.0 / temperature - _ROOM).to(dtype).float()


@dataclass(frozen=True)
class _Sum:
    """Arguments of one pass: the candidates, hidden pairs, the shift of each query's logits, and who shares it."""

    candidates: CandidateBlocks
    hidden: Pairs
    shift: Float[Tensor, "batch"]
    ranks: ProcessGroup


class _LogSumExp(torch.autograd.Function):
    """log Σ exp(q·d/τ) over the candidates that are not hidden, one for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, temperature: Tensor, over: _Sum) -> Tensor:
        ranks, own = over.ranks, over.ranks.share(over.ranks.size * len(query))
        every = replace(over, shift=ranks.gather(over.shift))
        total, weighted = (ranks.sum(part)[own] for part in _sums(ranks.gather(query / temperature), every))
        mean = weighted / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None]
        ctx.save_for_backward(query, temperature, mean)
        return over.shift + total.log()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of the query (softmax-weighted mean of candidates / τ) and of τ (−mean logit / τ)."""
        (gradient,) = gradients
        query, temperature, mean = ctx.saved_tensors
        of_query = gradient[:, None] * mean / temperature
        of_temperature = -(gradient * (query * mean).sum(dim=1)).sum() / temperature.square()
        return of_query, of_temperature, None


def _sums(scaled: Float[Tensor, "batch dim"], over: _Sum) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch dim"]]:
    """Return Σ exp(s·d − shift) and Σ exp(s·d − shift) d over the candidates that are not hidden, in float32."""
    candidates, shift = over.candidates, over.shift
    total, weighted = torch.zeros_like(shift), torch.zeros_like(scaled)
    query, offset = scaled.to(candidates.dtype), -shift[:, None].to(candidates.dtype)
    buffer: Tensor | None = None  # one for all blocks, so that no block allocates memory
    for first, vectors in candidates.blocks():
        if buffer is None:
            buffer = torch.empty(len(query) * len(vectors), dtype=candidates.dtype, device=query.device)
        logits = buffer[: len(query) * len(vectors)].view(len(query), len(vectors))
        torch.addmm(offset, query, vectors.T, out=logits)
        hide(logits, over.hidden, first)
        shares = logits.exp_()
        total += shares.sum(dim=1, dtype=torch.float32)
        weighted += shares @ vectors
    return total, weighted


def hide(scores: Float[Tensor, "batch rows"], hidden: Pairs, first: int) -> None:
    """Set −inf, in place, where a column is hidden from its row; ``first`` is the candidate of column 0.

    >>> scores = torch.zeros(2, 2)
    >>> hide(scores, pairs(torch.tensor([[4, -1], [5, 9]])), 4)
    >>> scores.tolist()
    [[-inf, 0.0], [0.0, -inf]]
    """
    window, place = hidden
    inside = (place >= first) & (place < first + scores.shape[1])
    scores[window[inside], place[inside] - first] = -torch.inf


def pairs(hidden: Int[Tensor, "batch hidden"]) -> Pairs:
    """Return the pairs of a table with a row of hidden candidates for each window, padded with −1.

    >>> [pair.tolist() for pair in pairs(torch.tensor([[4, -1], [5, 9]]))]
    [[0, 1, 1], [4, 5, 9]]
    """
    window, column = (hidden >= 0).nonzero(as_tuple=True)
    return window, hidden[window, column]
