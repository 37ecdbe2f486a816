"""Two rows, of one run or of two, window by window: what one found and the other did not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError, explain
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import per_window
from segue.runs.failures import passage_of
from segue.runs.runs import Answered, Run
from segue.types import Bank

WITHIN = 5
"""Places within which a passage counts as found."""
MOST_POINTS = 1500
"""Points of the picture, evenly spread over the windows."""
RESAMPLES = 2000
SIDES = ("all", "only-first", "only-second", "both", "neither")


class Difference:
    """The windows that two rows both answered.

    Args:
        runs: whose rows they are.
        answered: their answers.

    Raises:
        InputError: no window is the same.
    """

    def __init__(self, runs: tuple[Run, Run], answered: tuple[Answered, Answered]) -> None:
        self.runs, self.answered = runs, answered
        self.places = common_windows(runs, answered)
        if len(self.places[0]) == 0:
            raise InputError(explain("the two rows have no window in common", got="different documents or banks",
                                     fix="choose runs over the same test documents"))  # fmt: skip
        self.ranks = tuple(one.ranks[places] for one, places in zip(answered, self.places, strict=True))

    @property
    def comparable(self) -> bool:
        """Whether both searched the same candidates under the same rule."""
        first, second = self.answered
        same_bank = self.runs[0].bank.hash == self.runs[1].bank.hash
        return same_bank and (first.pool_size, first.exclude) == (second.pool_size, second.exclude)

    def summary(self) -> dict[str, Any]:
        """Count who found what, and test the paired differences where both answered the same question."""
        counted = {side: int(self.of_side(side).sum()) for side in SIDES[1:]}
        refused = any(run.refused for run in self.runs)
        tested = self._tested() if self.comparable and not refused else None
        pools = [one.pool_size for one in self.answered]
        return {"windows": len(self.places[0]), "counts": counted, "differences": tested, "pools": pools,
                "comparable": self.comparable, "refused": refused, "points": self._points()}  # fmt: skip

    def _tested(self) -> dict[str, Any]:
        groups = self.answered[0].groups[self.places[0]]
        first, second = (per_window(ranks) for ranks in self.ranks)
        tests = {name: paired(second[name], first[name], groups, resamples=RESAMPLES) for name in ("R@5", "MRR")}
        return {name: asdict(test.difference) | {"p": test.p_value} for name, test in tests.items()}

    def _points(self) -> list[list[int]]:
        chosen = np.unique(np.linspace(0, len(self.ranks[0]) - 1, MOST_POINTS).round().astype(np.int64))
        return np.stack([ranks[chosen] for ranks in self.ranks], axis=1).tolist()

    def of_side(self, side: str) -> np.ndarray:
        """Tell which windows were found by the first only, the second only, both, neither; within five places."""
        first, second = (ranks <= WITHIN for ranks in self.ranks)
        return {"all": np.ones_like(first), "only-first": first & ~second, "only-second": second & ~first,
                "both": first & second, "neither": ~first & ~second}[side]  # fmt: skip

    def windows(self, side: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """List windows, those first whose reciprocal rank changed most."""
        changed = np.abs(reciprocal(self.ranks[1]) - reciprocal(self.ranks[0]))
        order = np.lexsort((np.arange(len(changed)), -changed))
        chosen = order[self.of_side(side)[order]][offset : offset + limit]
        return [self._row(int(number)) for number in chosen]

    def _row(self, number: int) -> dict[str, Any]:
        bank, row = self.runs[0].bank, int(self.answered[0].targets[self.places[0][number]])
        ranks = [int(ranks[number]) for ranks in self.ranks]
        return passage_of(bank, row) | {"ranks": ranks}


def reciprocal(ranks: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
    """Return 1 / rank."""
    return 1.0 / ranks


def common_windows(
    runs: tuple[Run, Run], answered: tuple[Answered, Answered]
) -> tuple[Int[np.ndarray, "common"], Int[np.ndarray, "common"]]:
    """Return the places of the windows that ask for the same passage: the same id with the same text."""
    banks = tuple(run.bank for run in runs)
    names = [bank.passage_ids(one.targets) for bank, one in zip(banks, answered, strict=True)]
    place = {name: number for number, name in enumerate(names[1])}
    pairs = [(number, place[name]) for number, name in enumerate(names[0]) if name in place]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    if banks[0].hash != banks[1].hash:
        rows = (answered[0].targets[first], answered[1].targets[second])
        texts = [texts_of(bank, some) for bank, some in zip(banks, rows, strict=True)]
        same = np.array([one == other for one, other in zip(*texts, strict=True)], dtype=bool)
        first, second = first[same], second[same]
    return first, second


def texts_of(bank: Bank, rows: Int[np.ndarray, "some"]) -> list[str | None]:
    """Return texts, None where the bank has vectors only."""
    return list(bank.texts(rows)) if bank.has_texts else [None] * len(rows)
