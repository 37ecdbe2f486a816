"""Windows for training loops of the user's own: as a ``Dataset``, and as a ``DataLoader`` with the batches of training.

Input: a bank and windows. Output: tensors. A pass over ``window_loader`` sees the batches of one epoch of ``train``,
which depend on (seed, step) alone: not on the number of workers, nor on what was drawn before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segue.errors import InputError
from segue.training.batches import TENSORS, Batch, Batches, gather_batch
from segue.training.settings import TrainingSettings
from segue.types import Bank, Windows


class WindowDataset(Dataset[dict[str, Tensor]]):
    """Windows one by one, for a sampler and a ``DataLoader`` of the user's own.

    An item has, by name: ``context``, float32 [context, dim], unit vectors, oldest first, zeros where ``mask`` is
    False; ``mask``, bool [context]; ``target``, float32 [dim], a unit vector; ``target_row``, its row in the bank;
    ``groups`` and ``context_groups``, the duplicate groups of target and context (−1: padding), by which a loss knows
    what is no negative. A ``DataLoader`` reads the vectors of a batch together (``__getitems__``).

    Args:
        bank: holds the vectors.
        windows: of the bank.
    """

    def __init__(self, bank: Bank, windows: Windows) -> None:
        self.bank, self.windows = bank, windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return a window; negative numbers count from the end.

        Raises:
            IndexError: there is no such window.
        """
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return several windows, gathered together."""
        windows = self.windows.take(np.asarray(numbers, dtype=np.int64))
        batch = gather_batch(self.bank, windows)
        parts = {name: getattr(batch, name) for name in TENSORS} | {"target_row": torch.from_numpy(windows.target)}
        return [{name: part[place] for name, part in parts.items()} for place in range(len(windows))]


class Epochs(Sampler[int]):
    """The steps of one epoch; each pass is the next epoch.

    Args:
        steps: number of steps of an epoch.
        epoch: the first one, counted from 0.
    """

    def __init__(self, steps: int, epoch: int = 0) -> None:
        self.steps, self.epoch = steps, epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.steps  # at the first step, since a loader with workers makes two iterators a pass
        self.epoch += 1
        yield from range(first, first + self.steps)

    def __len__(self) -> int:
        return self.steps


class _Steps(Dataset[Batch]):
    """The batch of each step."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Batch:
        return self.batches.batch(step)


def window_loader(
    bank: Bank,
    windows: Windows,
    settings: TrainingSettings | None = None,
    *,
    anchor: bool = True,
    texts: bool = False,
    epoch: int = 0,
    **options: Any,
) -> DataLoader[Batch]:
    """Return a loader of the batches that ``train`` sees, without mined negatives, which depend on the weights.

    Each pass over it is the next epoch: a random permutation of the windows, without the last, incomplete batch, so the
    number of negatives is the same in all steps; contexts are corrupted as the settings state.

    Args:
        bank: holds the vectors.
        windows: windows of the training documents.
        settings: the [training] table; ``batch_size``, ``seed``, ``article_dropout`` and ``span_corruption`` are read.
        anchor: whether the model has an anchor, which the default of ``article_dropout`` depends on.
        texts: whether batches bring the texts of contexts, for a model that reads them.
        epoch: the first epoch, counted from 0, to continue a training.
        options: of ``torch.utils.data.DataLoader``, such as ``num_workers`` and ``persistent_workers``.

    Raises:
        InputError: there are no windows, or an option that Segue decides.
    """
    decided = options.keys() & {"batch_size", "shuffle", "sampler", "batch_sampler", "collate_fn", "drop_last"}
    if decided:
        raise InputError("window_loader decides what is in a batch", got=", ".join(sorted(decided)),
                         fix="set batch_size and seed in TrainingSettings, or give a WindowDataset to a DataLoader",
                         )  # fmt: skip
    settings = settings or TrainingSettings()
    batches = Batches(
        bank,
        windows,
        batch_size=settings.batch_size,
        seed=settings.seed,
        article_dropout=settings.dropout(anchored=anchor),
        span_corruption=settings.span_corruption,
        texts=texts,
    )
    sampler = Epochs(batches.steps_per_epoch, epoch)
    return DataLoader(_Steps(batches), batch_size=None, sampler=sampler, **options)
