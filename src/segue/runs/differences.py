"""Two entries, of one run or of two, window by window: what one found and the other did not."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int

from segue.errors import InputError
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import per_window
from segue.runs.failures import passage_of
from segue.runs.runs import EntryAnswers, Run
from segue.types import Bank

WITHIN = 5
"""Places within which a passage counts as found."""
MAXIMUM_POINTS = 1500
"""Points of the picture, evenly spread over the windows."""
RESAMPLES = 2000
Side = Literal["all", "only-first", "only-second", "both", "neither"]
SIDES: tuple[Side, ...] = get_args(Side)


class Difference:
    """The windows that two entries both answered.

    Args:
        runs: the runs that the entries are of.
        answers: answers of the two entries.

    Raises:
        InputError: they have no window in common.
    """

    def __init__(self, runs: tuple[Run, Run], answers: tuple[EntryAnswers, EntryAnswers]) -> None:
        self.runs, self.answers = runs, answers
        self.places = common_windows(runs, answers)
        if len(self.places[0]) == 0:
            raise InputError(
                "the two entries have no window in common",
                got="different documents or banks",
                fix="choose runs over the same test documents",
            )
        self.ranks = tuple(one.ranks[places] for one, places in zip(answers, self.places, strict=True))

    @property
    def comparable(self) -> bool:
        """Whether both searched the same candidates under the same rule."""
        first, second = self.answers
        same_bank = self.runs[0].bank.hash == self.runs[1].bank.hash
        return same_bank and (first.pool_size, first.exclude) == (second.pool_size, second.exclude)

    @cached_property
    def summary(self) -> dict[str, object]:
        """Counts of who found what, and paired differences, as JSON.

        ``differences`` is None where the entries are not comparable, or a run is blocked.
        """
        refused = any(run.record.refused for run in self.runs)
        points = np.unique(np.linspace(0, len(self.ranks[0]) - 1, MAXIMUM_POINTS).round().astype(np.int64))
        return {
            "windows": len(self.places[0]),
            "counts": {side: int(self.of_side(side).sum()) for side in SIDES[1:]},
            "differences": self._paired() if self.comparable and not refused else None,
            "pools": [one.pool_size for one in self.answers],
            "comparable": self.comparable,
            "refused": refused,
            "points": np.stack([ranks[points] for ranks in self.ranks], axis=1).tolist(),
        }

    def _paired(self) -> dict[str, dict[str, float]]:
        groups = self.answers[0].groups[self.places[0]]
        first, second = (per_window(ranks) for ranks in self.ranks)
        tests = {name: paired(second[name], first[name], groups, resamples=RESAMPLES) for name in ("R@5", "MRR")}
        return {name: asdict(test.difference) | {"p": test.p_value} for name, test in tests.items()}

    def of_side(self, side: Side) -> Bool[np.ndarray, "window"]:
        """Return which windows were found by the first entry only, the second only, both, or neither."""
        first, second = (ranks <= WITHIN for ranks in self.ranks)
        return {"all": np.ones_like(first), "only-first": first & ~second, "only-second": second & ~first,
                "both": first & second, "neither": ~first & ~second}[side]  # fmt: skip

    def windows(self, side: Side, offset: int, limit: int) -> list[dict[str, object]]:
        """List windows, those first whose reciprocal rank changed most."""
        changed = np.abs(1.0 / self.ranks[1] - 1.0 / self.ranks[0])
        order = np.lexsort((np.arange(len(changed)), -changed))
        chosen = order[self.of_side(side)[order]][offset : offset + limit].tolist()
        bank, targets = self.runs[0].bank, self.answers[0].targets[self.places[0]]
        return [{**passage_of(bank, int(targets[number])), "ranks": [int(ranks[number]) for ranks in self.ranks]}
                for number in chosen]  # fmt: skip


def common_windows(
    runs: tuple[Run, Run], answers: tuple[EntryAnswers, EntryAnswers]
) -> tuple[Int[np.ndarray, "common"], Int[np.ndarray, "common"]]:
    """Return the numbers of the windows whose target is the same passage: the same id with the same text."""
    banks = tuple(run.bank for run in runs)
    names = [bank.passage_ids(one.targets) for bank, one in zip(banks, answers, strict=True)]
    number_of = {name: number for number, name in enumerate(names[1])}
    pairs = [(number, number_of[name]) for number, name in enumerate(names[0]) if name in number_of]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    if banks[0].hash != banks[1].hash:
        texts = zip(_texts(banks[0], answers[0].targets[first]), _texts(banks[1], answers[1].targets[second]),
                    strict=True)  # fmt: skip
        same = np.array([one == other for one, other in texts], dtype=bool)
        first, second = first[same], second[same]
    return first, second


def _texts(bank: Bank, rows: Int[np.ndarray, "some"]) -> list[str | None]:
    """Return texts, None where the bank has vectors only."""
    return list(bank.texts(rows)) if bank.has_texts else [None] * len(rows)
