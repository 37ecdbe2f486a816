"""Training lists: candidates that a first stage draws for windows of documents it was not trained on.

A list without its target teaches nothing, but is kept: the number of such lists is what reranking cannot fix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import InputError, SettingsError, StorageError
from segue.files import read_npz, run_sha256, write_npz
from segue.ranking.pool import Pool
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.interface import CandidateLists, Reranker
from segue.types import Bank, Contexts, Exclusion, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

Draw = Callable[[Contexts], CandidateLists]
"""Draws the candidates of a batch of contexts."""


@dataclass(frozen=True)
class TrainingLists:
    """Windows with their candidates.

    Attributes:
        windows: the windows.
        candidates: their candidates.
        label: place of each target among the candidates, -1 where it was not drawn.
    """

    windows: Windows
    candidates: CandidateLists
    label: Int[np.ndarray, "list"]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def hits(self) -> Bool[np.ndarray, "list"]:
        """Whether each target was drawn."""
        return self.label >= 0

    @property
    def reciprocal_rank(self) -> float:
        """Mean reciprocal place of the target in the first stage's order, 0 where it was not drawn.

        It is higher than on validation documents where the first stage was trained on the documents of the lists.
        """
        return float(np.where(self.hits, 1.0 / (1.0 + np.maximum(self.label, 0)), 0.0).mean())

    def take(self, which: Int[np.ndarray, "chosen"] | slice) -> TrainingLists:
        """Return the chosen lists in the order of ``which``."""
        return TrainingLists(self.windows.take(which), self.candidates.take(which), self.label[which])

    def save(self, path: Path) -> None:
        """Write the lists as one ``.npz`` without pickle."""
        found = self.candidates
        arrays = {name: values for name in OPTIONAL if (values := getattr(found, name)) is not None}
        arrays |= {"context": self.windows.context, "target": self.windows.target, "label": self.label}
        write_npz(path, {"rows": found.rows, "first": found.first, **arrays, "run": np.array(run_sha256(path))})

    @classmethod
    def load(cls, path: Path) -> TrainingLists:
        """Read lists back.

        Raises:
            StorageError: the file is missing or broken.
        """
        try:
            stored = read_npz(path)
            if str(stored.pop("run", run_sha256(path))) != run_sha256(path):
                raise InputError("it belongs to another run")
            windows, label = Windows(stored.pop("context"), stored.pop("target")), stored.pop("label")
            return cls(windows, CandidateLists(**stored), label)
        except (InputError, KeyError, TypeError) as error:
            raise StorageError(f"{path} cannot be read back", got=str(error),
                               fix="delete it and run again") from error  # fmt: skip


@dataclass(frozen=True)
class ListFeatures:
    """Lists with the features of their candidates in half precision, since all of them are in memory."""

    lists: TrainingLists
    values: Float[np.ndarray, "list candidate feature"]

    def __len__(self) -> int:
        return len(self.lists)

    def with_target(self) -> ListFeatures:
        """Return the lists that hold their target.

        Raises:
            SettingsError: there are none.
        """
        if not self.lists.hits.any():
            raise SettingsError("no list contains its target, so there is nothing to learn from",
                                got=f"{len(self)} lists", fix="draw more candidates")  # fmt: skip
        return ListFeatures(self.lists.take(np.flatnonzero(self.lists.hits)), self.values[self.lists.hits])

    def take(self, which: Int[np.ndarray, "chosen"] | slice) -> ListFeatures:
        """Return the chosen lists, cut to the longest of them."""
        lists = self.lists.take(which)
        longest = max(1, int(lists.candidates.there.sum(axis=1).max()))
        found = lists.candidates
        cut = replace(found, rows=found.rows[:, :longest], first=found.first[:, :longest], sources=None)
        return ListFeatures(replace(lists, candidates=cut), self.values[which, :longest])


LISTS_AT_ONCE = 256
"""Lists whose features are computed together."""
OPTIONAL = ("queries", "sources")
"""Fields of candidates that may be None."""


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
        pool: the pool they are drawn from.
        windows: windows of documents that the first stage was not trained on.
        exclude: passages that are not candidates.
        texts: whether ``draw`` reads texts.
        batch_size: windows at a time.
        progress: called with the windows done.
    """
    parts: list[TrainingLists] = []
    for batch in windows.batches(batch_size):
        candidates = draw(gather_contexts(bank, batch, exclude=exclude, texts=texts))
        same = pool.candidates_of(candidates.rows) == pool.candidates_of(batch.target)[:, None]
        same &= candidates.there
        parts.append(TrainingLists(batch, candidates, np.where(same.any(axis=1), same.argmax(axis=1), -1)))
        progress(sum(map(len, parts)), len(windows), "lists drawn")
    return join_lists(parts)


def features_of(
    lists: TrainingLists, features: Features, *, exclude: Exclusion, progress: Progress = no_progress
) -> ListFeatures:
    """Compute the features of lists, a batch at a time."""
    shape = (*lists.candidates.rows.shape, len(features.names))
    values = np.full(shape, np.nan, dtype=np.float16)
    for start in range(0, len(lists), LISTS_AT_ONCE):
        part = lists.take(slice(start, start + LISTS_AT_ONCE))
        contexts = gather_contexts(features.bank, part.windows, exclude=exclude, texts=features.reads_text)
        found = features.compute(contexts, part.candidates)
        values[start : start + len(part)] = np.clip(found, -6e4, 6e4)  # half precision ends there
        progress(start + len(part), len(lists), "features of lists")
    return ListFeatures(lists, values)


def score_lists(
    reranker: Reranker, lists: TrainingLists, bank: Bank, *, exclude: Exclusion, progress: Progress = no_progress
) -> Float[np.ndarray, "list candidate"]:
    """Return a reranker's scores of lists, a batch at a time; -inf at the pads."""
    scores = np.full(lists.candidates.rows.shape, -np.inf)
    for start in range(0, len(lists), LISTS_AT_ONCE):
        part = lists.take(slice(start, start + LISTS_AT_ONCE))
        contexts = gather_contexts(bank, part.windows, exclude=exclude, texts=reranker.reads_text)
        scores[start : start + len(part)] = reranker.scores(contexts, part.candidates)
        progress(start + len(part), len(lists), "lists scored")
    return scores


def join_lists(parts: list[TrainingLists]) -> TrainingLists:
    """Put lists one after the other, all padded to the longest."""
    width = max(part.candidates.rows.shape[1] for part in parts)
    padded = [_padded(part.candidates, width) for part in parts]
    context, target = (
        np.concatenate([getattr(part.windows, name) for part in parts]) for name in ("context", "target")
    )
    fields = {name: [getattr(found, name) for found in padded] for name in ("rows", "first", *OPTIONAL)}
    joined = {name: np.concatenate(values) for name, values in fields.items() if values[0] is not None}
    return TrainingLists(
        Windows(context, target), CandidateLists(**joined), np.concatenate([part.label for part in parts])
    )


def _padded(candidates: CandidateLists, width: int) -> CandidateLists:
    """Pad every list at the end."""
    more = (0, width - candidates.rows.shape[1])
    sources: Float[np.ndarray, "batch source candidate"] | None = None
    if candidates.sources is not None:
        sources = np.pad(candidates.sources, ((0, 0), (0, 0), more), constant_values=-np.inf)
    rows = np.pad(candidates.rows, ((0, 0), more), constant_values=-1)
    first = np.pad(candidates.first, ((0, 0), more), constant_values=-np.inf)
    return CandidateLists(rows, first, candidates.queries, sources)
