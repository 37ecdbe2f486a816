"""Training lists: the candidates that a first stage gives to windows of documents it has not seen, and the right one.

A list without its target teaches an order nothing, but is kept: how many there are is what reranking cannot mend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.data.pool import Pool
from segue.data.windows import gather_contexts
from segue.errors import StorageError, explain
from segue.retrieval.rerank.interface import Candidates
from segue.run_folder import atomic_path
from segue.types import Bank, Contexts, Exclusion, Progress, Windows, no_progress

Draw = Callable[[Contexts], Candidates]
"""Draws the candidates of a batch of contexts; a cascade's ``draw`` with its pool."""


@dataclass(frozen=True)
class TrainingLists:
    """Windows with their candidates.

    Attributes:
        windows: what was read and what followed.
        candidates: of each window.
        label: the place of the target among the candidates, -1 where it was not drawn.
    """

    windows: Windows
    candidates: Candidates
    label: Int[np.ndarray, "list"]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def hits(self) -> Bool[np.ndarray, "list"]:
        """Whether each target was drawn."""
        return self.label >= 0

    def take(self, which: Int[np.ndarray, "chosen"] | slice) -> TrainingLists:
        """Return the chosen lists in the order of ``which``."""
        return TrainingLists(self.windows.take(which), self.candidates.take(which), self.label[which])

    def save(self, path: Path) -> None:
        """Write the lists as one ``.npz`` without pickle."""
        found = self.candidates
        arrays: dict[str, Any] = {"context": self.windows.context, "target": self.windows.target, "label": self.label,
                  "rows": found.rows, "first": found.first}  # fmt: skip
        arrays |= {name: values for name in OPTIONAL if (values := getattr(found, name)) is not None}
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **arrays)

    @classmethod
    def load(cls, path: Path) -> TrainingLists:
        """Read lists back.

        Raises:
            StorageError: the file is missing or broken.
        """
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                more = {name: stored[name] for name in OPTIONAL if name in stored}
                candidates = Candidates(stored["rows"], stored["first"], **more)
                return cls(Windows(stored["context"], stored["target"]), candidates, stored["label"])
        except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
            raise StorageError(explain(f"{path} cannot be read back", got=str(error),
                                       mend="delete it and run again")) from error  # fmt: skip


OPTIONAL = ("queries", "sources")
"""What candidates may lack."""


def draw_lists(
    draw: Draw,
    bank: Bank,
    pool: Pool,
    windows: Windows,
    *,
    exclude: Exclusion,
    texts: bool,
    batch_size: int,
    progress: Progress = no_progress,
) -> TrainingLists:
    """Draw the candidates of windows, a batch at a time.

    Args:
        draw: draws them.
        bank: the bank of the windows.
        pool: what is drawn from.
        windows: of documents that the first stage has not seen.
        exclude: what leaves the candidates.
        texts: whether ``draw`` reads texts.
        batch_size: windows at a time.
        progress: called with the windows done.
    """
    parts = []
    for start in range(0, len(windows), batch_size):
        batch = windows.take(slice(start, start + batch_size))
        candidates = draw(gather_contexts(bank, batch, exclude=exclude, texts=texts))
        parts.append(TrainingLists(batch, candidates, _labels(candidates, pool, batch)))
        progress(start + len(batch), len(windows), "lists drawn")
    return join_lists(parts)


def _labels(candidates: Candidates, pool: Pool, windows: Windows) -> Int[np.ndarray, "list"]:
    same = pool.candidates_of(candidates.rows) == pool.candidates_of(windows.target)[:, None]
    same &= candidates.there
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def join_lists(parts: list[TrainingLists]) -> TrainingLists:
    """Put lists one after the other, all padded to the longest."""
    width = max(part.candidates.rows.shape[1] for part in parts)
    padded = [_padded(part.candidates, width) for part in parts]
    context, target = (
        np.concatenate([getattr(part.windows, name) for part in parts]) for name in ("context", "target")
    )
    fields = {name: [getattr(found, name) for found in padded] for name in ("rows", "first", *OPTIONAL)}
    joined = {name: np.concatenate(values) for name, values in fields.items() if values[0] is not None}
    return TrainingLists(Windows(context, target), Candidates(**joined), np.concatenate([part.label for part in parts]))


def _padded(candidates: Candidates, width: int) -> Candidates:
    """Add pads at the end of every list."""
    more = (0, width - candidates.rows.shape[1])
    sources: Float[np.ndarray, "batch source candidate"] | None = None
    if candidates.sources is not None:
        sources = np.pad(candidates.sources, ((0, 0), (0, 0), more), constant_values=-np.inf)
    rows = np.pad(candidates.rows, ((0, 0), more), constant_values=-1)
    first = np.pad(candidates.first, ((0, 0), more), constant_values=-np.inf)
    return Candidates(rows, first, candidates.queries, sources)
