"""Which windows one training step sees, and their vectors.

A batch is a pure function of (seed, step): nothing depends on what was trained before, so a resumed run sees the same
batches as an undisturbed one. In memory stand the windows' row numbers, one permutation of them, and the vectors of
the present batch; those are gathered from the bank, which stays on disk.

An epoch leaves out the last, incomplete batch (other windows in every epoch): the number of negatives of a contrastive
loss is the same in all steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from segue.data.windows import gather_contexts, target_vectors
from segue.errors import InputError, explain
from segue.learning.corruption import drop_last, swap_one
from segue.types import Bank, Windows

ORDER, CORRUPTION, WEIGHTS = range(3)
"""What a random stream is for; with the seed and a number it names the stream."""


@dataclass(frozen=True)
class Batch:
    """What one step reads.

    Attributes:
        context: unit vectors, oldest first, zeros where ``mask`` is False; corrupted as the settings say.
        mask: True where there is a passage.
        target: unit vectors.
        groups: duplicate group of each target.
        context_groups: duplicate groups of the context before corruption, −1 for padding.
    """

    context: Float[Tensor, "batch context dim"]
    mask: Bool[Tensor, "batch context"]
    target: Float[Tensor, "batch dim"]
    groups: Int[Tensor, "batch"]
    context_groups: Int[Tensor, "batch context"]

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Batches:
    """The training windows in the order of their steps.

    Args:
        bank: where the vectors stand.
        windows: of the training documents; at least one.
        batch_size: windows a step; all of them where there are fewer.
        seed: of order and corruption.
        article_dropout: share of contexts that lose their last 1 to 3 vectors.
        span_corruption: share of contexts with one passage of another document.

    Raises:
        InputError: there are no windows.
    """

    def __init__(
        self,
        bank: Bank,
        windows: Windows,
        *,
        batch_size: int,
        seed: int,
        article_dropout: float = 0.0,
        span_corruption: float = 0.0,
    ) -> None:
        if len(windows) == 0:
            raise InputError(
                explain("there is nothing to train on", got="0 windows", mend="add documents or shorten the context")
            )
        self.bank = bank
        self.windows = windows
        self.batch_size = min(batch_size, len(windows))
        self.seed = seed
        self.article_dropout = article_dropout
        self.span_corruption = span_corruption
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one pass over the windows, at least 1."""
        return len(self.windows) // self.batch_size

    def chosen(self, step: int) -> Int[np.ndarray, "batch"]:
        """Return which windows the step (counted from 0) sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = random_stream(self.seed, ORDER, epoch).permutation(len(self.windows))
            self._epoch = epoch
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int) -> Batch:
        """Gather the batch of a step, counted from 0.

        Raises:
            InputError: the bank's vectors are not finite.
        """
        windows = self.windows.take(self.chosen(step))
        generator = random_stream(self.seed, CORRUPTION, step)
        documents = self.bank.document_of[windows.target].astype(np.int64)
        rows = swap_one(windows.context, documents, rate=self.span_corruption, generator=generator)
        contexts = gather_contexts(self.bank, Windows(rows, windows.target), exclude="none")
        vectors = drop_last(contexts.vectors, contexts.mask, rate=self.article_dropout, generator=generator)
        target = target_vectors(self.bank, windows)
        _require_finite(step, vectors, target)
        return Batch(
            context=torch.from_numpy(vectors),
            mask=torch.from_numpy(contexts.mask),
            target=torch.from_numpy(np.ascontiguousarray(target)),
            groups=torch.from_numpy(self.bank.duplicate_group[windows.target]),
            context_groups=torch.from_numpy(_groups(self.bank, windows.context)),
        )


def random_stream(seed: int, purpose: int, number: int) -> np.random.Generator:
    """Return the generator of one step or epoch; streams of different names are independent."""
    return np.random.default_rng((seed, purpose, number))


def torch_seed(seed: int, step: int) -> int:
    """Return what torch's generator is seeded with in a step (dropout draws from it)."""
    return int(random_stream(seed, WEIGHTS, step).integers(2**63 - 1))


def _groups(bank: Bank, rows: Int[np.ndarray, "batch context"]) -> Int[np.ndarray, "batch context"]:
    return np.where(rows >= 0, bank.duplicate_group[np.maximum(rows, 0)], -1)


def _require_finite(
    step: int, context: Float[np.ndarray, "batch context dim"], target: Float[np.ndarray, "batch dim"]
) -> None:
    if not (np.isfinite(context).all() and np.isfinite(target).all()):
        raise InputError(
            explain(
                f"the bank holds vectors that are not finite (training step {step + 1} met them)",
                mend="run `segue bank info` on it with verification, and build it again",
            )
        )
