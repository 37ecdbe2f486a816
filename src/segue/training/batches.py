"""Which windows one training step sees, and their vectors.

A batch is a pure function of (seed, step): nothing depends on what was trained before, so a resumed run sees the same
batches as an undisturbed one (mined negatives are the exception: what mining found is part of the training's state). In
memory stand the windows' row numbers, one permutation of them, and the vectors of the present batch; those are gathered
from the bank, which stays on disk.

An epoch leaves out the last, incomplete batch (other windows in every epoch): the number of negatives of a contrastive
loss is the same in all steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from segue.errors import InputError, explain
from segue.training.corruption import drop_last, swap_one
from segue.training.losses.negatives import NegativeDraws, Negatives
from segue.types import Bank, Windows
from segue.windows.windows import gather_contexts, target_vectors

ORDER, CORRUPTION, WEIGHTS, NEGATIVES, SAMPLE = range(5)
"""What a random stream is for; with the seed and a number it names the stream."""
TENSORS = ("context", "mask", "target", "groups", "context_groups")
"""What a batch holds of each window."""


@dataclass(frozen=True)
class Batch:
    """What one step reads.

    Attributes:
        context: unit vectors, oldest first, zeros where ``mask`` is False; corrupted as the settings say.
        mask: True where there is a passage.
        target: unit vectors.
        groups: duplicate group of each target.
        context_groups: duplicate groups of the context before corruption, −1 for padding.
        negatives: passages beside the other targets that predictions are told from, or None.
        step: counted from 0; what a loss draws for itself follows from it. Held-out batches are of step 0.
    """

    context: Float[Tensor, "batch context dim"]
    mask: Bool[Tensor, "batch context"]
    target: Float[Tensor, "batch dim"]
    groups: Int[Tensor, "batch"]
    context_groups: Int[Tensor, "batch context"]
    negatives: Negatives | None = None
    step: int = 0

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        moved = {name: getattr(self, name).to(device) for name in TENSORS}
        return replace(self, **moved, negatives=self.negatives and self.negatives.to(device))

    def take(self, which: slice) -> Batch:
        """Return some of the windows."""
        taken = {name: getattr(self, name)[which] for name in TENSORS}
        return replace(self, **taken, negatives=self.negatives and self.negatives.take(which))


class Batches:
    """The training windows in the order of their steps.

    Args:
        bank: where the vectors stand.
        windows: of the training documents; at least one.
        batch_size: windows a step; all of them where there are fewer.
        seed: of order and corruption.
        article_dropout: share of contexts that lose their last 1 to 3 vectors.
        span_corruption: share of contexts with one passage of another document.
        draws: of extra negatives, or None.

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
        draws: NegativeDraws | None = None,
    ) -> None:
        if len(windows) == 0:
            raise InputError(
                explain("there is nothing to train on", got="0 windows", fix="add documents or shorten the context")
            )
        self.bank = bank
        self.windows = windows
        self.batch_size = min(batch_size, len(windows))
        self.seed = seed
        self.article_dropout = article_dropout
        self.span_corruption = span_corruption
        self.draws = draws
        self._orders: dict[int, Int[np.ndarray, "window"]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one pass over the windows, at least 1."""
        return len(self.windows) // self.batch_size

    def chosen(self, step: int) -> Int[np.ndarray, "batch"]:
        """Return which windows the step (counted from 0) sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._orders:
            for old in [number for number in self._orders if number != epoch - 1]:
                del self._orders[old]  # a queue looks back across the start of an epoch, no further
            self._orders[epoch] = random_stream(self.seed, ORDER, epoch).permutation(len(self.windows))
        return self._orders[epoch][place * self.batch_size : (place + 1) * self.batch_size]

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
            negatives=self._negatives(step),
            step=step,
        )

    def state(self) -> dict[str, Tensor]:
        """Return what batches depend on beside (seed, step): the negatives that were mined."""
        mining = self.draws.mining if self.draws else None
        return mining.state() if mining else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        mining = self.draws.mining if self.draws else None
        if mining:
            mining.restore(state)

    def _negatives(self, step: int) -> Negatives | None:
        generator = random_stream(self.seed, NEGATIVES, step)
        return None if self.draws is None else self.draws.of_step(step, self.chosen, generator=generator)


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
                fix="run `segue bank info` on it with verification, and build it again",
            )
        )
