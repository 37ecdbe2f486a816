"""Checks that train, on cases that share what is trained: each such work is done once."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from worlds import MemoryBank

from segue.checks.diagnosis import sg204_loss_terms_agree, short_runs
from segue.checks.integrity import words
from segue.training.batches import TENSORS
from segue.training.train import ShortRun


class Replay(ShortRun):
    """A short training whose states another one with the same inputs went through: training is deterministic."""

    def __init__(self, begin: Callable[[], ShortRun], known: dict[int, SimpleNamespace]) -> None:
        self.begin, self.known = begin, known
        self.run: ShortRun | None = None
        self.advance(0)

    def advance(self, step: int | None = None) -> Replay:
        if step is None:
            step = self.steps
        if step not in self.known:
            self.run = self.run or self.begin()
            trained = self.run.advance(step).optimisation
            self.known[step] = copy.deepcopy(SimpleNamespace(
                settings=self.run.settings, predictor=trained.predictor, loss=trained.loss))  # fmt: skip
        self.done, self.optimisation = step, self.known[step]
        self.settings = self.optimisation.settings
        return self


Known = dict[tuple[Any, ...], dict[int, SimpleNamespace]]
"""The states of each short training by the number of steps, by what it was made of."""


@contextlib.contextmanager
def trained_once(known: Known) -> Iterator[None]:
    """Take the states of trainings from ``known``, and repeat no measurement of a gradient or of a bank's words."""
    begin, measure = short_runs.begin_short_run, sg204_loss_terms_agree.measure
    fit, fits = words._word_fit, {}
    measured: WeakKeyDictionary[Any, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()

    def begin_once(bank, windows, **settings):
        assert type(bank) is MemoryBank
        read = [value.tobytes() for value in vars(bank).values() if isinstance(value, np.ndarray)]
        rows = hashlib.sha256(b" ".join([*read, windows.target.tobytes(), windows.context.tobytes()])).hexdigest()
        key = rows, *(settings[name].model_dump_json() for name in ("model", "loss", "training"))
        return Replay(lambda: begin(bank, windows, **settings), known.setdefault(key, {}))

    def measure_once(predictor, loss, batch):
        """Of a state that is replayed, and its loss, nothing changes any more."""
        key = tuple(getattr(batch, name).numpy().tobytes() for name in TENSORS)
        found = measured.setdefault(predictor, {})
        if key not in found:
            found[key] = measure(predictor, loss, batch)
        return found[key]

    def fit_once(case):
        """Of a bank alone: its vectors, its order and its texts."""
        if type(case.bank) is not MemoryBank:
            return fit(case)
        read = [value.tobytes() for value in vars(case.bank).values() if isinstance(value, np.ndarray)]
        key = hashlib.sha256(b" ".join([*read, *map(str.encode, case.bank.passage_texts)])).hexdigest()
        if key not in fits:
            fits[key] = fit(case)
        return fits[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_word_fit", fit_once)
        patch.setattr(short_runs, "begin_short_run", begin_once)
        patch.setattr(sg204_loss_terms_agree, "measure", measure_once)
        yield
