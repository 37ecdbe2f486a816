"""Extra negatives beside the other targets of a batch: which passages, and why those.

Random targets of a batch are mostly of other topics, and soon teach little. Harder ones come from the target's own
document, from documents like it, from the model's own ranking (``mining.py``), or simply from more batches (a queue).

Enters: the windows of a step. Leaves: rows and their duplicate groups; the loss masks what is no wrong answer (the
target's text, context passages), as it does in the batch. All but the mined ones are a pure function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from segue.settings import Settings
from segue.types import Bank, Windows

Encode = Callable[[Tensor], Tensor]
Chosen = Callable[[int], Int[np.ndarray, "batch"]]
"""Tells which windows a step sees."""


@runtime_checkable
class Mined(Protocol):
    """Knows rows that were mined from the model's own ranking (``mining.Mining``)."""

    def of_step(self, step: int, chosen: Chosen) -> Int[np.ndarray, "batch own"]:
        """Return the mined rows of a step's windows, −1 for none."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what cannot be made again."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        ...


_DOCUMENTS_AT_ONCE = 1024


class HardNegatives(Settings):
    """One source of extra negatives."""

    kind: Literal["same-document", "nearby-documents", "mined", "queue"] = Field(
        description="other passages of the target's document; of documents with a near mean vector; the best of the "
        "model's own ranking; the targets of the batches before"
    )
    count: int = Field(4, ge=1, le=4096, description="of each window; queue: how many batches stay")
    documents: int = Field(10, ge=1, le=1000, description="nearby-documents: how many of the nearest are drawn from")
    refresh: int = Field(200, ge=1, description="mined: steps after which the model's ranking is made again")
    guard: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="mined: against false negatives; none whose cosine with the prediction exceeds this share of the "
        "target's (null: take them too)",
    )

    @model_validator(mode="after")
    def _meaningful(self) -> HardNegatives:
        for name, kind in (("documents", "nearby-documents"), ("refresh", "mined"), ("guard", "mined")):
            if self.kind != kind and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: only for kind = {kind!r}, not for {self.kind!r}")
        return self


@dataclass(frozen=True)
class Negatives:
    """Extra negatives of a batch.

    Attributes:
        own: unit vectors for each window.
        own_groups: their duplicate groups; −1 where there is none.
        shared: unit vectors for all windows.
        shared_groups: their duplicate groups.
    """

    own: Float[Tensor, "batch own dim"]
    own_groups: Int[Tensor, "batch own"]
    shared: Float[Tensor, "shared dim"]
    shared_groups: Int[Tensor, "shared"]

    def to(self, device: str) -> Negatives:
        """Return them on a device."""
        return Negatives(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def take(self, which: slice) -> Negatives:
        """Return those of some windows."""
        return Negatives(self.own[which], self.own_groups[which], self.shared, self.shared_groups)

    def through(self, encode: Encode) -> Negatives:
        """Return them in another space; ``encode`` takes vectors one below the other."""
        own = encode(self.own.flatten(0, 1)).unflatten(0, self.own.shape[:2])
        return Negatives(own, self.own_groups, encode(self.shared), self.shared_groups)


def gather_negatives(bank: Bank, own: Int[np.ndarray, "batch own"], shared: Int[np.ndarray, "shared"]) -> Negatives:
    """Gather the vectors of rows; −1 stands for none."""
    vectors = np.zeros((*own.shape, bank.dimension), dtype=np.float32)
    vectors[own >= 0] = bank.gather(own[own >= 0])
    groups = np.where(own >= 0, bank.duplicate_group[np.maximum(own, 0)], -1)
    return Negatives(
        torch.from_numpy(vectors),
        torch.from_numpy(groups),
        torch.from_numpy(np.ascontiguousarray(bank.gather(shared))),
        torch.from_numpy(bank.duplicate_group[shared]),
    )


def of_documents(
    bank: Bank, documents: Int[np.ndarray, "batch own"], generator: np.random.Generator
) -> Int[np.ndarray, "batch own"]:
    """Draw a passage of each document; −1 for a deleted one, and for one that its window has drawn already."""
    draws = generator.random(size=documents.shape)
    rows = bank.first_row[documents] + np.floor(draws * bank.num_rows[documents]).astype(np.int64)
    rows = np.sort(np.where(bank.alive[rows], rows, -1), axis=1)[:, ::-1].copy()
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
    return rows


class NegativeDraws:
    """Which rows are the extra negatives of each step.

    Args:
        bank: where the vectors stand.
        windows: training windows.
        sources: what is drawn; each kind at most once.
        mining: what ``mined`` rows come from, where that is among the sources.
    """

    def __init__(
        self, bank: Bank, windows: Windows, sources: Sequence[HardNegatives], *, mining: Mined | None = None
    ) -> None:
        self.bank, self.windows = bank, windows
        self.sources = {source.kind: source for source in sources}
        near = self.sources.get("nearby-documents")
        self._nearby = NearbyDocuments(bank, windows, nearest=near.documents) if near else None
        self.mining = mining

    def of_step(self, step: int, chosen: Chosen, *, generator: np.random.Generator) -> Negatives:
        """Gather the extra negatives of a step.

        Args:
            step: counted from 0.
            chosen: which windows a step sees.
            generator: of the step; the only source of randomness.
        """
        own = [self._own(source, step, chosen, generator) for source in self.sources.values() if source.kind != "queue"]
        empty = np.empty((len(chosen(step)), 0), dtype=np.int64)
        return gather_negatives(self.bank, np.concatenate([empty, *own], axis=1), self._queue(step, chosen))

    def _own(
        self, source: HardNegatives, step: int, chosen: Chosen, generator: np.random.Generator
    ) -> Int[np.ndarray, "batch own"]:
        if source.kind == "mined":
            assert self.mining is not None, "mined negatives need the model's ranking"
            return self.mining.of_step(step, chosen)
        documents = self.bank.document_of[self.windows.target[chosen(step)]].astype(np.int64)
        if self._nearby is not None and source.kind == "nearby-documents":
            return of_documents(self.bank, self._nearby.draw(documents, source.count, generator), generator)
        return of_documents(self.bank, np.repeat(documents[:, None], source.count, axis=1), generator)

    def _queue(self, step: int, chosen: Chosen) -> Int[np.ndarray, "shared"]:
        """Return the targets of the batches before; fewer at the start.

        A queue as in MoCo (He et al. 2020), but exact: document vectors do not age, so it needs no state either.
        """
        length = self.sources["queue"].count if "queue" in self.sources else 0
        steps = range(max(step - length, 0), step)
        empty = np.empty(0, dtype=np.int64)
        return np.concatenate([empty, *(self.windows.target[chosen(before)] for before in steps)])


class NearbyDocuments:
    """For each document that windows are of, the documents with the nearest mean vectors.

    Args:
        bank: where the vectors stand.
        windows: training windows; only their documents count.
        nearest: how many, itself left out; fewer where there are fewer.
    """

    def __init__(self, bank: Bank, windows: Windows, *, nearest: int) -> None:
        self.documents = np.unique(bank.document_of[windows.target]).astype(np.int64)
        means = np.stack([_mean(bank, number) for number in self.documents.tolist()])
        self.nearest = self.documents[_nearest(means, min(nearest, len(means) - 1))]

    def draw(
        self, documents: Int[np.ndarray, "batch"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, "batch own"]:
        """Draw ``count`` documents near each of ``documents``, all of its nearest alike; none where it is alone."""
        own = np.searchsorted(self.documents, documents)
        near = self.nearest[own]  # [batch, nearest]
        if near.shape[1] == 0:
            return np.empty((len(documents), 0), dtype=np.int64)
        return np.take_along_axis(near, generator.integers(near.shape[1], size=(len(documents), count)), axis=1)


def _mean(bank: Bank, document: int) -> Float[np.ndarray, "dim"]:
    rows = bank.first_row[document] + np.arange(bank.num_rows[document])
    mean = bank.gather(rows[bank.alive[rows]]).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _nearest(means: Float[np.ndarray, "document dim"], count: int) -> Int[np.ndarray, "document nearest"]:
    """Return for each row the ``count`` others with the highest product, best first.

    >>> _nearest(np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), 1).tolist()
    [[2], [2], [0]]
    """
    found = np.empty((len(means), count), dtype=np.int64)
    for first in range(0, len(means), _DOCUMENTS_AT_ONCE):
        scores = means[first : first + _DOCUMENTS_AT_ONCE] @ means.T
        scores[np.arange(len(scores)), first + np.arange(len(scores))] = -np.inf
        found[first : first + len(scores)] = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return found
