"""Which windows a step of the dual encoder sees: any, or several of each of a few documents.

In-batch negatives of other documents are told from the target by the subject alone; what retrieval gets wrong are
often passages of the same document. So a batch can take its windows in runs from one document each.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from segue.errors import InputError, explain
from segue.training.batches import ORDER, random_stream
from segue.types import Bank, Windows


class DocumentBatches:
    """Training windows in the order of their steps, a pure function of (seed, step).

    Args:
        bank: whose documents they are of.
        windows: at least one.
        batch_size: windows a step; all of them where there are fewer.
        together: windows of one document that share a batch; 1 ignores documents.
        seed: of the order.

    Raises:
        InputError: there are no windows.
    """

    def __init__(self, bank: Bank, windows: Windows, *, batch_size: int, together: int, seed: int) -> None:
        if len(windows) == 0:
            raise InputError(
                explain("there is nothing to train on", got="0 windows", fix="add documents or shorten the context")
            )
        self.windows, self.together, self.seed = windows, together, seed
        self.batch_size = min(batch_size, len(windows))
        self._document = bank.document_of[windows.target]
        self._order: tuple[int, Int[np.ndarray, "window"]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one pass over the windows, at least 1."""
        return len(self.windows) // self.batch_size

    def chosen(self, step: int) -> Int[np.ndarray, "batch"]:
        """Return which windows the step (counted from 0) sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = random_stream(self.seed, ORDER, epoch)
            self._order = (epoch, order_in_runs(self._document, together=self.together, generator=generator))
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size]


def order_in_runs(
    document: Int[np.ndarray, "window"], *, together: int, generator: np.random.Generator
) -> Int[np.ndarray, "window"]:
    """Return all windows in a random order of runs, each of at most ``together`` random windows of one document.

    >>> order = order_in_runs(np.array([7, 7, 7, 7, 8, 8]), together=2, generator=np.random.default_rng(2))
    >>> np.array([7, 7, 7, 7, 8, 8])[order].tolist()
    [7, 7, 8, 8, 7, 7]
    """
    shuffled = generator.permutation(len(document))
    shuffled = shuffled[np.argsort(document[shuffled], kind="stable")]  # document by document, at random within
    _, first, count = np.unique(document[shuffled], return_index=True, return_counts=True)
    place = np.arange(len(document)) - np.repeat(first, count)
    run = np.cumsum(place % together == 0) - 1
    return shuffled[np.argsort(generator.permutation(run[-1] + 1)[run], kind="stable")]
