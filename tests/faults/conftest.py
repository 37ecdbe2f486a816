"""The matrix runs every check on over a hundred cases that differ in one thing each: what is alike is done once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from segue.checks.diagnosis import short_runs
from segue.training.train import ShortRun


class Replay:
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
                steps=self.run.steps, predictor=trained.predictor, loss=trained.loss))  # fmt: skip
        self.done, self.optimisation = step, self.known[step]
        self.predictor, self.steps = self.optimisation.predictor, self.optimisation.steps
        return self


@pytest.fixture(scope="session")
def known():
    """The short trainings that were done, by what they were made of."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def each_short_training_once(known):
    """Checks train the subject again; most faults leave bank, windows and settings as they were."""
    with trained_once(known):
        yield


@contextlib.contextmanager
def trained_once(known):
    begin = short_runs.begin_short_run

    def begin_once(bank, windows, **settings):
        rows = windows.target.tobytes(), windows.context.tobytes()
        key = id(bank), *rows, *(settings[name].model_dump_json() for name in ("model", "loss", "training"))
        _, states = known.setdefault(key, (bank, {}))  # the bank is kept, so that no other one gets its id
        return Replay(lambda: begin(bank, windows, **settings), states)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_runs, "begin_short_run", begin_once)
        yield
