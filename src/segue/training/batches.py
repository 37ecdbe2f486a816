"""Batches: the windows of each training step, and their vectors, some of them corrupted on purpose.

A batch is a pure function of (seed, step), so a resumed run sees the same batches as an uninterrupted one, except for
mined negatives, which are part of the training's state. Memory holds the windows' row numbers, up to two
permutations of them, and the vectors of one batch, gathered from the bank on disk.

An epoch leaves out the last, incomplete batch (other windows in every epoch), so the number of negatives of a
contrastive loss is the same in all steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from segue.errors import InputError
from segue.training.losses.mining import Mining, Negatives, groups_of
from segue.training.losses.tiny import without_tiny
from segue.training.random_streams import CORRUPTION, ORDER, random_stream
from segue.training.ranks import ALONE, ProcessGroup
from segue.types import Bank, Windows
from segue.windows.windows import gather_contexts, target_vectors

MAXIMUM_DROPPED = 3
"""Maximum number of vectors that article dropout zeroes."""
TENSORS = ("context", "mask", "target", "groups", "context_groups")
"""Tensors of a batch that have a row for each window."""


@dataclass(frozen=True)
class Batch:
    """Windows of one step.

    Attributes:
        context: unit vectors, oldest first, zeros where ``mask`` is False; corrupted as the settings state.
        mask: True where there is a passage.
        target: unit vectors.
        groups: duplicate group of each target.
        context_groups: duplicate groups of the context before corruption, −1 for padding.
        negatives: hard negatives in addition to the other targets, or None.
        texts: texts of the context's passages, one tuple for each window without padding; None where nothing reads
            them.
        step: counted from 0; a loss draws its samples for it. Held-out batches are of step 0.
        name: which batch of which epoch it is, for messages; empty where it is none of a training.
    """

    context: Float[Tensor, "batch context dim"]
    mask: Bool[Tensor, "batch context"]
    target: Float[Tensor, "batch dim"]
    groups: Int[Tensor, "batch"]
    context_groups: Int[Tensor, "batch context"]
    negatives: Negatives | None = None
    step: int = 0
    texts: Sequence[tuple[str, ...]] | None = None
    name: str = ""

    def to(self, device: str | torch.device) -> Batch:
        """Return the batch on a device."""
        moved = {name: getattr(self, name).to(device) for name in TENSORS}
        return replace(self, **moved, negatives=self.negatives and self.negatives.to(device))

    def take(self, which: slice) -> Batch:
        """Return some of the windows."""
        taken = {name: getattr(self, name)[which] for name in TENSORS}
        return replace(self, **taken, negatives=self.negatives and self.negatives.take(which),
                       texts=self.texts and self.texts[which])  # fmt: skip


class Batches:
    """Training windows in the order of their steps.

    Args:
        bank: holds the vectors.
        windows: windows of the training documents; at least one.
        batch_size: windows a step; all of them where there are fewer.
        seed: seed of order and corruption.
        article_dropout: share of contexts that lose their last 1 to 3 vectors.
        span_corruption: share of contexts with one passage of another document.
        mining: source of hard negatives, or None.
        order: returns the windows of an epoch in the order they are seen; by default a random permutation.
        texts: whether batches bring the texts of contexts.
        ranks: the processes that share each batch.

    Raises:
        InputError: there are no windows, or a batch cannot be divided among the ranks.
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
        mining: Mining | None = None,
        order: Callable[[np.random.Generator], Int[np.ndarray, "window"]] | None = None,
        texts: bool = False,
        ranks: ProcessGroup = ALONE,
    ) -> None:
        if len(windows) == 0:
            raise InputError(
                "there is nothing to train on", got="0 windows", fix="add documents or shorten the context"
            )
        self.bank = bank
        self.windows = windows
        self.batch_size = min(batch_size, len(windows))
        if self.batch_size % ranks.size:
            raise InputError(
                "the ranks cannot share a batch equally",
                got=f"{self.batch_size} windows a step and {ranks.size} ranks",
                fix=f"set [training] batch_size to a multiple of {ranks.size}, at most {len(windows)}",
            )
        self.seed = seed
        self.article_dropout = article_dropout
        self.span_corruption = span_corruption
        self.mining = mining
        self.texts = texts
        self.ranks = ranks
        self._order = order
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
                del self._orders[old]  # mining looks ahead across the end of an epoch; a step then looks back at one
            generator = random_stream(self.seed, ORDER, epoch)
            self._orders[epoch] = (
                generator.permutation(len(self.windows)) if self._order is None else self._order(generator)
            )
        return self._orders[epoch][place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int) -> Batch:
        """Gather this rank's share of the batch of a step, counted from 0.

        Raises:
            InputError: the bank's vectors are not finite; names a passage, and the batch.
        """
        windows = self.windows.take(self.chosen(step))
        generator = random_stream(self.seed, CORRUPTION, step)
        documents = self.bank.document_of[windows.target].astype(np.int64)
        rows = swap_one(windows.context, documents, rate=self.span_corruption, generator=generator)
        own = self.ranks.share(len(windows))
        batch = gather_batch(self.bank, windows.take(own), read=rows[own], texts=self.texts)
        read, target = batch.context.numpy(), batch.target.numpy()
        broken: list[int] = []
        if not math.isfinite(batch.context.sum() + batch.target.sum()):  # one pass; which passage it is takes more
            broken += rows[own][~np.isfinite(read).all(axis=2)].tolist()
            broken += windows.target[own][~np.isfinite(target).all(axis=1)].tolist()
        if broken:
            raise InputError(
                "the bank holds vectors that are not finite",
                got=f"passage {self.bank.passage_ids(np.array(broken[:1]))[0]} (row {broken[0]}) in training step "
                f"{step + 1}, {self.name(step)}",
                fix="run `segue bank info` on it with verification, and build it again",
            )
        vectors = drop_last(read, rows >= 0, rate=self.article_dropout, generator=generator, own=own)
        negatives = self.mining.of_step(step, self.chosen, own) if self.mining else None
        return replace(batch, context=torch.from_numpy(vectors), negatives=negatives, step=step, name=self.name(step))

    def name(self, step: int) -> str:
        """Return which batch of which epoch a step (counted from 0) sees, both counted from 1."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return f"batch {place + 1} of {self.steps_per_epoch} in epoch {epoch + 1}"

    def state(self) -> dict[str, Tensor]:
        """Return what batches depend on besides (seed, step): the mined negatives."""
        return self.mining.state() if self.mining else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        if self.mining:
            self.mining.restore(state)


def gather_batch(
    bank: Bank, windows: Windows, *, read: Int[np.ndarray, "batch context"] | None = None, texts: bool = False
) -> Batch:
    """Gather windows as a batch of step 0.

    Args:
        bank: holds the vectors.
        windows: of the bank.
        read: rows that stand for those of the contexts (corruption); None: the contexts' own.
        texts: gather the texts of contexts too.
    """
    rows = windows if read is None else Windows(read, windows.target)
    contexts = gather_contexts(bank, rows, exclude="none", texts=texts)
    return Batch(
        context=without_tiny(torch.from_numpy(np.ascontiguousarray(contexts.vectors))),
        mask=torch.from_numpy(contexts.mask),
        target=without_tiny(torch.from_numpy(np.ascontiguousarray(target_vectors(bank, windows)))),
        groups=torch.from_numpy(bank.duplicate_group[windows.target]),
        context_groups=torch.from_numpy(groups_of(bank, windows.context)),
        texts=contexts.texts,
    )


def drop_last(
    vectors: Float[np.ndarray, "own context dim"],
    mask: Bool[np.ndarray, "batch context"],
    *,
    rate: float,
    generator: np.random.Generator,
    own: slice = slice(None),
) -> Float[np.ndarray, "own context dim"]:
    """Zero the last 1 to 3 vectors of a share of the contexts ("article dropout"); at least one passage is left.

    The mask is not changed, as in the original work: the model sees that a passage was there, but not its content.

    Args:
        vectors: contexts, oldest first, padded at the front.
        mask: True where there is a passage, of the whole batch.
        rate: probability for each context, 0 to 1.
        generator: the only source of randomness; always advanced by the same amount.
        own: windows of the batch that ``vectors`` are of.

    Returns:
        A copy, or ``vectors`` itself where nothing is dropped.

    >>> everything = np.ones((1, 4, 2), dtype=np.float32)
    >>> dropped = drop_last(everything, np.ones((1, 4), bool), rate=1.0, generator=np.random.default_rng(1))
    >>> dropped[0, :, 0].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    batch, places = mask.shape
    chosen = generator.random(size=(batch,)) < rate
    drawn = generator.integers(1, MAXIMUM_DROPPED + 1, size=batch)
    count = np.where(chosen, np.minimum(drawn, mask.sum(axis=1) - 1), 0)
    zeroed = np.arange(places) >= places - count[own, None]  # [own, context]
    return np.where(zeroed[:, :, None], np.float32(0), vectors) if zeroed.any() else vectors


def swap_one(
    rows: Int[np.ndarray, "batch context"],
    documents: Int[np.ndarray, "batch"],
    *,
    rate: float,
    generator: np.random.Generator,
) -> Int[np.ndarray, "batch context"]:
    """Replace one passage of a share of the contexts by another document's ("span corruption").

    The replacement is the last context passage of another window of the batch, so it comes from training documents;
    each window of another document is equally likely. In a batch of a single document nothing is swapped.

    Args:
        rows: context rows, oldest first, padded at the front with −1.
        documents: the document of each window.
        rate: probability for each context, 0 to 1.
        generator: the only source of randomness; always advanced by the same amount.

    >>> swap_one(np.array([[-1, 3], [-1, 7]]), np.array([0, 1]), rate=1.0, generator=np.random.default_rng(0)).tolist()
    [[-1, 7], [-1, 3]]
    """
    batch, places = rows.shape
    chosen = generator.random(size=(batch,)) < rate
    place = places - 1 - np.floor(generator.random(size=(batch,)) * (rows >= 0).sum(axis=1)).astype(np.int64)
    donor = _of_another_document(documents, generator.random(size=(batch,)))
    chosen = chosen & (donor >= 0)
    swapped = rows.copy()
    swapped[chosen, place[chosen]] = rows[donor[chosen], -1]
    return swapped


def _of_another_document(
    documents: Int[np.ndarray, "batch"], draws: Float[np.ndarray, "batch"]
) -> Int[np.ndarray, "batch"]:
    """Map a draw in [0, 1) to a window of another document, −1 where there is none.

    >>> _of_another_document(np.array([5, 9, 5]), np.array([0.9, 0.6, 0.0])).tolist()
    [1, 2, 1]
    """
    order = np.argsort(documents, kind="stable")
    ordered = documents[order]
    start = np.searchsorted(ordered, documents, side="left")
    size = np.searchsorted(ordered, documents, side="right") - start
    others = len(documents) - size
    place = np.floor(draws * others).astype(np.int64)
    place += np.where(place >= start, size, 0)  # skip the window's own document
    return np.where(others > 0, order[np.minimum(place, len(order) - 1)], -1)
