"""InfoNCE over the whole training bank: each prediction chooses its target among all texts of the training documents.

Input: unit predictions and targets, and a ``TrainingBank``. Output: the exact cross-entropy. The bank is read in
blocks (``softmax_sums.py``), so its logits, one for each window and passage, never exist together.

In float32 the result is that of the textbook formula to rounding. With bfloat16 the products are rounded (their inner
sums and the sums over blocks are float32): a logit is off by at most 4u/τ with u = 2⁻⁸, half of it from rounding the
vectors and half from rounding its distance to the target's logit, and an exponential by a factor 1 ± 2u; so the loss is
off by at most ``bfloat16_bound`` nats. That is the worst case: errors of single passages average out
(``benchmarks/whole_bank_step.py`` measures them).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from segue.ranking.pool import Pool
from segue.training.losses.softmax_sums import ROWS_PER_BLOCK, log_sum_exp, pairs, shift_of
from segue.training.losses.tiny import without_tiny
from segue.training.ranks import ALONE, ProcessGroup
from segue.types import Bank, Windows

MAXIMUM_BYTES = 2 << 30
"""Maximum bytes of a training bank that is kept in memory; a larger one is read from disk in every step."""
_UNIT_ROUNDOFF = 2.0**-8


class TrainingBank:
    """One vector for each different text of the windows' documents, in blocks.

    Args:
        bank: holds the vectors.
        windows: training windows; the live passages of their documents are the candidates.
        dtype: type of the vectors, and so of the products.
        device: holds the vectors that are kept in memory.
        most_bytes: maximum bytes of vectors kept in memory; more are read from the bank in every pass.
        ranks: the processes that share the candidates; each reads and keeps its own part.

    Attributes:
        size: candidates, one for each duplicate group.
        rows: a row of each candidate.
        frequency: how many training windows have the candidate as their target.
    """

    def __init__(
        self,
        bank: Bank,
        windows: Windows,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        most_bytes: int = MAXIMUM_BYTES,
        ranks: ProcessGroup = ALONE,
    ) -> None:
        pool = Pool(bank, np.unique(bank.document_of[windows.target]).astype(np.int64))
        self.bank, self.dtype, self.device, self.ranks = bank, dtype, device, ranks
        self.size, self._own = pool.size, ranks.share(pool.size)
        self.rows: Int[np.ndarray, "candidate"] = pool.members[pool.start]
        self.frequency = np.bincount(pool.candidates_of(windows.target), minlength=pool.size)
        self._kept = (self._own.stop - self._own.start) * bank.dimension * dtype.itemsize <= most_bytes
        self._vectors: Tensor | None = None
        self._place_of_group = torch.from_numpy(pool.candidates_of(np.arange(len(bank)))).to(device)

    def places(self, groups: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """Return the candidate of each duplicate group; −1 for padding and for texts that are not candidates."""
        return torch.where(groups >= 0, self._place_of_group[groups.clamp(min=0)], -1)

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "rows dim"]]]:
        """Yield (first candidate, vectors) of consecutive candidates, this rank's part of them once."""
        for first in range(self._own.start, self._own.stop, ROWS_PER_BLOCK):
            block = slice(first, min(first + ROWS_PER_BLOCK, self._own.stop))
            kept = slice(first - self._own.start, block.stop - self._own.start)
            yield first, self._resident()[kept] if self._kept else self._gather(block)

    def _resident(self) -> Float[Tensor, "own dim"]:
        """Return all vectors of this rank's part, read on first use."""
        if self._vectors is None:
            first, size = self._own.start, self._own.stop - self._own.start
            vectors = torch.empty(size, self.bank.dimension, dtype=self.dtype, device=self.device)
            for at in range(0, size, ROWS_PER_BLOCK):
                kept = slice(at, min(at + ROWS_PER_BLOCK, size))
                vectors[kept] = self._gather(slice(first + kept.start, first + kept.stop))
            self._vectors = vectors
        return self._vectors

    def _gather(self, block: slice) -> Float[Tensor, "rows dim"]:
        return without_tiny(torch.from_numpy(self.bank.gather(self.rows[block]))).to(self.device, self.dtype)


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
        context_groups: duplicate groups of each window's context, −1 for padding; they are not negatives of it.
        margin: subtracted from the cosine with the target.
    """
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1).detach()
    temperature = torch.as_tensor(temperature, dtype=query.dtype, device=query.device)
    positive = ((query * truth).sum(dim=-1) - margin) / temperature
    hidden = groups[:, None] if context_groups is None else torch.cat([groups[:, None], context_groups], dim=1)
    shift = shift_of(positive, temperature, bank.dtype)
    everywhere = pairs(bank.ranks.gather(bank.places(hidden)))
    negative = log_sum_exp(query, temperature, bank, hidden=everywhere, shift=shift, ranks=bank.ranks)
    return functional.softplus(negative - positive).mean()


def bfloat16_bound(temperature: float) -> float:
    """Bound the error of the loss with bfloat16 products, in nats: 4u/τ + 2u with u = 2⁻⁸.

    >>> round(bfloat16_bound(0.1), 3)
    0.164
    """
    return 4 * _UNIT_ROUNDOFF / temperature + 2 * _UNIT_ROUNDOFF
