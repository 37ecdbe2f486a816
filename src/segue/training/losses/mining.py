"""Hard negatives from the model's own ranking, made again every some steps.

Mining (Xiong et al. 2021, "Approximate Nearest Neighbor Negative Contrastive Learning") finds what the model takes for
the answer now. Much of that *is* an answer, or nearly: so a passage only counts where its cosine with the prediction is
at most a share of the target's, the "positive-aware" threshold of NV-Retriever (de Souza P. Moreira et al. 2024,
TopK-PercPos, 95 %).

The rows found depend on the weights at the time of mining, so they are part of the training state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from segue.training.losses.negatives import Chosen, HardNegatives
from segue.training.losses.softmax_sums import hide, pairs
from segue.training.losses.whole_bank import TrainingBank
from segue.types import Windows

Predict = Callable[[Windows], Float[Tensor, "window dim"]]
"""Returns the unit predictions of windows by the present weights."""

WINDOWS_AT_ONCE = 512


class Mining:
    """The mined rows of the windows that the steps until the next refresh see.

    Args:
        bank: what is ranked.
        windows: training windows.
        settings: how many, how often, how guarded.
        predict: called at each refresh.
    """

    def __init__(self, bank: TrainingBank, windows: Windows, settings: HardNegatives, predict: Predict) -> None:
        self.bank, self.windows, self.settings, self.predict = bank, windows, settings, predict
        self._begun = -1
        self._numbers = np.empty(0, dtype=np.int64)
        self._rows = np.empty((0, settings.count), dtype=np.int64)

    def of_step(self, step: int, chosen: Chosen) -> Int[np.ndarray, "batch own"]:
        """Return the mined rows of a step's windows, hardest first, −1 for none; at a refresh the ranking is made."""
        begin = step - step % self.settings.refresh
        if begin != self._begun:
            assert step == begin, "between two refreshes the state has to be restored"
            seen = [chosen(begin + later) for later in range(self.settings.refresh)]
            self._numbers = np.unique(np.concatenate(seen))
            self._rows = self._mine(self._numbers)
            self._begun = begin
        return self._rows[np.searchsorted(self._numbers, chosen(step))]

    def state(self) -> dict[str, Tensor]:
        """Return what cannot be made again without the weights of the last refresh."""
        if self._begun < 0:
            return {}
        arrays = {"begun": np.array([self._begun]), "numbers": self._numbers, "rows": self._rows}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        if state:
            self._begun = int(state["begun"])
            self._numbers, self._rows = state["numbers"].numpy(), state["rows"].numpy()

    def _mine(self, numbers: Int[np.ndarray, "window"]) -> Int[np.ndarray, "window own"]:
        parts = [self._mine_some(self.windows.take(numbers[start : start + WINDOWS_AT_ONCE]))
                 for start in range(0, len(numbers), WINDOWS_AT_ONCE)]  # fmt: skip
        return np.concatenate(parts)

    def _mine_some(self, windows: Windows) -> Int[np.ndarray, "window own"]:
        bank, device = self.bank.bank, self.bank.device
        target = torch.from_numpy(np.ascontiguousarray(bank.gather(windows.target))).to(device)
        rows = np.concatenate([windows.target[:, None], windows.context], axis=1)
        groups = np.where(rows >= 0, bank.duplicate_group[np.maximum(rows, 0)], -1)
        hidden = self.bank.places(torch.from_numpy(groups).to(device))
        places = hardest(self.predict(windows), target, self.bank, hidden,
                         count=self.settings.count, guard=self.settings.guard).cpu().numpy()  # fmt: skip
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
        hidden: candidates that are no negatives, −1 for none.
        count: how many.
        guard: leave out what exceeds this share of the cosine of prediction and target.
    """
    positive = (prediction * target).sum(dim=1, keepdim=True)
    limit = torch.full_like(positive, torch.inf) if guard is None else guard * positive
    best = torch.full((len(prediction), count), -torch.inf, device=prediction.device)
    places = torch.full((len(prediction), count), -1, dtype=torch.int64, device=prediction.device)
    gone = pairs(hidden)
    for first, vectors in bank.blocks():
        scores = (prediction.to(bank.dtype) @ vectors.T).float()
        hide(scores, gone, first)
        scores.masked_fill_(scores > limit, -torch.inf)
        top, column = scores.topk(min(count, len(vectors)), dim=1)
        best, order = torch.cat([best, top], dim=1).topk(count, dim=1)
        places = torch.cat([places, column + first], dim=1).gather(1, order)
    return places.masked_fill(best == -torch.inf, -1)
