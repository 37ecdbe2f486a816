"""The projection-head compatibility test, with the controls that make it mean something.

A head trained by InfoNCE gives *unrelated* pairs a low or negative cosine; a cosine of prediction and target after the
head says nothing until it stands beside the cosine of a random pair, and beside how well each space retrieves.
Measured on validation documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from segue.data.scoring import Pool, target_ranks
from segue.data.windows import gather_contexts
from segue.evaluation.metrics import summarise
from segue.learning.losses import Loss
from segue.retrieval.retrievers import Query
from segue.types import Bank, Windows

BATCH = 1024


class ProjectedBank:
    """A bank seen through a projection head; everything but the vectors is the bank's own."""

    def __init__(self, bank: Bank, loss: Loss) -> None:
        self._bank, self._loss = bank, loss
        self.dimension = int(project(loss, bank.gather(np.zeros(1, dtype=np.int64))).shape[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def __len__(self) -> int:
        return len(self._bank)

    def gather(self, rows: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows dim"]:
        """Return the projected vectors of some rows."""
        return project(self._loss, self._bank.gather(rows))

    def blocks(self, rows_per_block: int = 16_384) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"]]]:
        """Yield all projected vectors, block by block."""
        for start, block in self._bank.blocks(rows_per_block):
            yield start, project(self._loss, np.ascontiguousarray(block))


@torch.inference_mode()
def project(loss: Loss, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows projected"]:
    """Return unit vectors behind the loss's head."""
    device = next(loss.parameters()).device
    return loss.project(torch.from_numpy(np.array(vectors, dtype=np.float32)).to(device)).cpu().numpy()


def compatibility(query: Query, loss: Loss, bank: Bank, windows: Windows, *, seed: int = 1) -> dict[str, Any]:
    """Compare the raw and the projected space.

    Returns:
        For ``raw`` and ``projected``: ``matched``, the mean cosine of prediction and target, and ``random``, that of
        prediction and another window's target; and under ``R@5`` the recall of searching in each space.
    """
    other = np.random.default_rng(seed).permutation(windows.target)
    spaces: dict[str, Any] = {"raw": bank, "projected": ProjectedBank(bank, loss)}
    found: dict[str, Any] = {"R@5": {}}
    queries = np.concatenate([query(gather_contexts(bank, batch)) for batch in _batches(windows)])
    for name, space in spaces.items():
        seen = queries if name == "raw" else project(loss, queries)
        found[name] = {
            "matched": float(np.einsum("bd,bd->b", seen, space.gather(windows.target)).mean()),
            "random": float(np.einsum("bd,bd->b", seen, space.gather(other)).mean()),
        }
        ranks = target_ranks(seen, Pool(space), windows.target, exclude=windows.context)
        found["R@5"][name] = summarise(ranks)["R@5"]
    return found


def _batches(windows: Windows) -> list[Windows]:
    return [windows.take(slice(start, start + BATCH)) for start in range(0, len(windows), BATCH)]
