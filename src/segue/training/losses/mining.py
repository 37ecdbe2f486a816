"""Mined negatives of in-batch InfoNCE: the best of the model's own ranking that are not the answer.

Other targets of a batch are mostly about other topics and soon teach little. Mining (Xiong et al. 2021, "Approximate
Nearest Neighbor Negative Contrastive Learning") finds what the model takes for the answer now. Much of that *is* an
answer, or nearly one, so a passage counts only where its cosine with the prediction is at most a share of the target's:
the "positive-aware" threshold of NV-Retriever (de Souza P. Moreira et al. 2024, TopK-PercPos, 95 %).

The mined rows depend on the weights at the time of mining and are part of the training state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from segue.settings import Settings
from segue.training.losses.softmax_sums import hide, pairs
from segue.training.losses.tiny import without_tiny
from segue.training.losses.whole_bank import TrainingBank
from segue.training.ranks import ALONE, ProcessGroup
from segue.types import Bank, Windows

WINDOWS_AT_ONCE = 512
"""Windows whose rankings are mined together."""
_REMOVED = ("same-document", "nearby-documents", "queue")

Chosen = Callable[[int], Int[np.ndarray, "batch"]]
"""Returns which windows a step sees."""

Predict = Callable[[Windows], Float[Tensor, "window dim"]]
"""Returns the unit predictions of windows by the present weights."""


class HardNegatives(Settings):
    """Negatives in addition to the other targets of a batch."""

    kind: Literal["mined"] = Field(description="the best of the model's own ranking")
    count: int = Field(4, ge=1, le=4096, description="negatives of each window")
    refresh: int = Field(200, ge=1, description="steps after which the model's ranking is made again")
    guard: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="protection against false negatives: none whose cosine with the prediction exceeds this share of "
        "the target's (null: no limit)",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, values: object) -> object:
        """Refuse removed kinds; drop the key ``documents``, which version 0.1 recorded and only they read."""
        if not isinstance(values, Mapping):
            return values
        if values.get("kind") in _REMOVED:
            raise ValueError(
                f"kind = {values['kind']!r} was removed in version 0.2, since mined negatives and the whole bank are "
                "measured better; write kind = 'mined', or use a term of kind = 'infonce-bank'"
            )
        return {key: value for key, value in values.items() if (key, value) != ("documents", 10)}


@dataclass(frozen=True)
class Negatives:
    """Hard negatives of a batch.

    Attributes:
        vectors: unit vectors for each window.
        groups: their duplicate groups; −1 where there is none.
    """

    vectors: Float[Tensor, "batch own dim"]
    groups: Int[Tensor, "batch own"]

    def to(self, device: str | torch.device) -> Negatives:
        """Return them on a device."""
        return Negatives(self.vectors.to(device), self.groups.to(device))

    def take(self, which: slice) -> Negatives:
        """Return those of some windows."""
        return Negatives(self.vectors[which], self.groups[which])

    def through(self, encode: Callable[[Tensor], Tensor]) -> Negatives:
        """Return them with each vector encoded, as the targets are."""
        return Negatives(encode(self.vectors.flatten(0, 1)).unflatten(0, self.groups.shape), self.groups)


def groups_of(bank: Bank, rows: Int[np.ndarray, "*any"]) -> Int[np.ndarray, "*any"]:
    """Return the duplicate group of each row; −1 where there is no passage."""
    return np.where(rows >= 0, bank.duplicate_group[rows], -1)


class Mining:
    """Mined negatives of the windows that the steps until the next refresh see.

    Args:
        bank: candidates that are ranked.
        windows: training windows.
        settings: how many, how often, how guarded.
        predict: called at each refresh.
        ranks: the processes that share the windows at a refresh.
    """

    def __init__(self, bank: TrainingBank, windows: Windows, settings: HardNegatives, predict: Predict,
                 ranks: ProcessGroup = ALONE) -> None:  # fmt: skip
        self.bank, self.windows, self.settings, self.predict = bank, windows, settings, predict
        self.ranks = ranks
        self._begun = -1
        self._numbers = np.empty(0, dtype=np.int64)
        self._rows = np.empty((0, settings.count), dtype=np.int64)

    def of_step(self, step: int, chosen: Chosen, own: slice = slice(None)) -> Negatives:
        """Gather the negatives of some windows of a step, hardest first; at a refresh, rank the bank before."""
        bank, rows = self.bank.bank, self.rows_of_step(step, chosen)[own]
        vectors = np.zeros((*rows.shape, bank.dimension), dtype=np.float32)
        vectors[rows >= 0] = bank.gather(rows[rows >= 0])
        return Negatives(without_tiny(torch.from_numpy(vectors)), torch.from_numpy(groups_of(bank, rows)))

    def rows_of_step(self, step: int, chosen: Chosen) -> Int[np.ndarray, "batch own"]:
        """Return the mined rows of a step's windows, hardest first, −1 for none."""
        begin = step - step % self.settings.refresh
        if begin != self._begun:
            assert step == begin, "between two refreshes the state has to be restored"
            seen = [chosen(begin + later) for later in range(self.settings.refresh)]
            self._numbers = np.unique(np.concatenate(seen))
            own, self._rows = self.ranks.share(len(self._numbers)), np.zeros((len(self._numbers), self.settings.count),
                                                                             dtype=np.int64)  # fmt: skip
            for at in range(own.start, own.stop, WINDOWS_AT_ONCE):
                part = slice(at, min(at + WINDOWS_AT_ONCE, own.stop))
                self._rows[part] = self._mine(self._numbers[part])
            self._rows = self.ranks.sum(torch.from_numpy(self._rows)).numpy()
            self._begun = begin
        return self._rows[np.searchsorted(self._numbers, chosen(step))]

    def state(self) -> dict[str, Tensor]:
        """Return what cannot be computed again without the weights of the last refresh."""
        if self._begun < 0:
            return {}
        arrays = {"begun": np.array([self._begun]), "numbers": self._numbers, "rows": self._rows}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        if state:
            self._begun = int(state["begun"])
            self._numbers, self._rows = state["numbers"].numpy(), state["rows"].numpy()

    def _mine(self, numbers: Int[np.ndarray, "window"]) -> Int[np.ndarray, "window own"]:
        windows, bank, device = self.windows.take(numbers), self.bank.bank, self.bank.device
        target = torch.from_numpy(np.ascontiguousarray(bank.gather(windows.target))).to(device)
        rows = np.concatenate([windows.target[:, None], windows.context], axis=1)
        hidden = self.bank.places(torch.from_numpy(groups_of(bank, rows)).to(device))
        count, guard = self.settings.count, self.settings.guard
        places = hardest(self.predict(windows), target, self.bank, hidden, count=count, guard=guard).cpu().numpy()
        return np.where(places >= 0, self.bank.rows[np.maximum(places, 0)], -1)


@torch.no_grad()
def hardest(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    bank: TrainingBank,
    hidden: Int[Tensor, "batch hidden"],
    *,
    count: int,
    guard: float | None,
) -> Int[Tensor, "batch own"]:
    """Return the candidates nearest to each prediction, best first, −1 where there are no more.

    Args:
        prediction: unit vectors.
        target: unit vectors.
        bank: the candidates.
        hidden: candidates that are not negatives, −1 for none.
        count: maximum number of candidates for each prediction.
        guard: leave out what exceeds this share of the cosine of prediction and target.
    """
    positive = (prediction * target).sum(dim=1, keepdim=True)
    limit = torch.full_like(positive, torch.inf) if guard is None else guard * positive
    best = torch.full((len(prediction), count), -torch.inf, device=prediction.device)
    places = torch.full((len(prediction), count), -1, dtype=torch.int64, device=prediction.device)
    hidden_pairs = pairs(hidden)
    for first, vectors in bank.blocks():
        scores = (prediction.to(bank.dtype) @ vectors.T).float()
        hide(scores, hidden_pairs, first)
        scores.masked_fill_(scores > limit, -torch.inf)
        top, column = scores.topk(min(count, len(vectors)), dim=1)
        best, order = torch.cat([best, top], dim=1).topk(count, dim=1)
        places = torch.cat([places, column + first], dim=1).gather(1, order)
    return places.masked_fill(best == -torch.inf, -1)
