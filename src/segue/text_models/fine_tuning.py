"""Fine-tuning loop of text models: take steps, write the state, score rarely, keep the best weights.

It differs from ``training.loop`` since a validation score costs minutes (the bank is encoded again for it): the start
is not scored, a state is written before each scoring, and it holds only the weights that learn. A step depends on
(seed, step) and the weights alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from segue.errors import InputError
from segue.models.tensors import Tensors, prefixed, without_prefix
from segue.text_models.settings import FineTuningSettings
from segue.training.adamw import AdamW
from segue.training.optimiser import learning_rate
from segue.training.state import Record, TrainingState, load_state, save_state
from segue.training.train import TrainingResult, still_rising
from segue.training.watch import Follow, follow_nothing
from segue.types import Progress

STATE_SECONDS = 20.0
"""Minimum time between two states that are not written before a scoring, seconds."""

WARM_UP_STEPS = 1


@runtime_checkable
class Learner(Protocol):
    """A model that computes its gradient, one step at a time."""

    @property
    def model(self) -> nn.Module:
        """The model; its parameters that require a gradient learn."""
        ...

    def gradients(self, step: int) -> float:
        """Add the gradient of a step (counted from 0) to the weights, and return its loss."""
        ...

    def identity(self) -> dict[str, object]:
        """Return what must be equal for a state to be resumed, as JSON values."""
        ...


class FineTuning:
    """A fine-tuning between two steps.

    Args:
        learner: the model with its gradient.
        settings: how.
        steps: number of steps of the whole run.
        folder: folder of the run; a state found there is resumed.
        score: returns the learner's present validation scores, ``MRR`` among them.
        patience: scorings without a better one before training ends; None: none ends it.

    Raises:
        InputError: the folder holds the state of another run.
    """

    def __init__(
        self,
        learner: Learner,
        settings: FineTuningSettings,
        *,
        steps: int,
        folder: Path,
        score: Callable[[], Mapping[str, float | None]],
        patience: int | None = None,
    ) -> None:
        self.learner, self.settings, self.steps = learner, settings, steps
        self.folder, self.score, self.patience = folder, score, patience
        self.weights = learnt_weights(learner.model)
        self.optimizer = adamw(self.weights, settings)
        self.evaluate_at = {round(steps * n / settings.evaluations) for n in range(1, settings.evaluations + 1)}
        shaping = settings.model_dump(mode="json", exclude={"device"})
        self.identity = {"settings": shaping, "steps": steps, **learner.identity()}
        self.best: Tensors = {}
        self.state = self._resume() or TrainingState()
        self.clock = self.saved = time.perf_counter()

    def advance(self) -> None:
        """Score where that is due, otherwise take one step, otherwise finish."""
        state = self.state
        scored = bool(state.curve) and state.curve[-1]["step"] == state.step
        if state.step in self.evaluate_at and not scored:
            self._evaluate()
        elif state.step < self.steps and not state.stopped_early:
            self._step()
            if state.step in self.evaluate_at or time.perf_counter() - self.saved > STATE_SECONDS:
                self._save()
        else:
            self._finish()

    def run(self, progress: Progress, follow: Follow = follow_nothing) -> None:
        """Train to the end."""
        while not self.state.finished:
            progress(self.state.step, self.steps, self.note())
            follow(self.state.curve)
            self.advance()
        follow(self.state.curve)
        progress(self.steps, self.steps, self.note())

    def note(self) -> str:
        """Return the loss for a progress bar."""
        sums = self.state.sums
        return f"loss {sums['loss'] / sums['steps']:.3f}" if sums else "validation scored"

    def result(self, steps_per_epoch: int) -> TrainingResult:
        """Return the result; fewer steps than one pass over the windows count as under-trained, unless it stopped."""
        curve = self.state.curve
        rising = len(curve) > 1 and still_rising(curve)
        short = self.state.step < steps_per_epoch and not self.state.stopped_early
        return TrainingResult.of(self.state, under_trained=rising or short)

    def _step(self) -> None:
        state, settings = self.state, self.settings
        rate = learning_rate(state.step, steps=self.steps, peak=settings.learning_rate, warmup=settings.warmup)
        values = take_step(self.learner, self.optimizer, state.step, rate=rate, clip=settings.clip)
        state.add({**values, "learning_rate": rate})
        self._tick()

    def _evaluate(self) -> None:
        state = self.state
        with torch.random.fork_rng(devices=[]):
            scores: Record = {name: None if value is None else float(value) for name, value in self.score().items()}
        if state.improves(scores):
            state.best_step, state.best_score, state.stale = state.step, scores, 0
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        else:
            state.stale += 1
            state.stopped_early = self.patience is not None and state.stale >= self.patience
        self._tick()
        state.add_record({**state.means(), **scores})

    def _tick(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self.clock
        self.clock = now

    def _save(self) -> None:
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        tensors = prefixed("weights.", weights) | prefixed("optimizer.", self.optimizer.tensors())
        save_state(self.folder, self.state, tensors | prefixed("best.", self.best), identity=self.identity)
        self.saved = time.perf_counter()

    def _resume(self) -> TrainingState | None:
        found = load_state(self.folder, identity=self.identity)
        if found is None:
            return None
        state, tensors = found
        self.best = without_prefix("best.", tensors)
        self._load(self.best if state.finished else without_prefix("weights.", tensors))
        self.optimizer.restore(without_prefix("optimizer.", tensors))
        return state

    def _load(self, weights: Tensors) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def _finish(self) -> None:
        """Load the best weights, and write them as a finished state."""
        self._load(self.best)
        self.state.finished = True
        save_state(self.folder, self.state, prefixed("best.", self.best), identity=self.identity)


def take_step(learner: Learner, optimizer: AdamW, number: int, *, rate: float, clip: float) -> dict[str, float]:
    """Take one optimiser step and return ``loss`` and ``grad_norm`` before clipping.

    Raises:
        InputError: the loss or its gradient is not finite; the weights are left as they were.
    """
    optimizer.zero_grad()
    loss = learner.gradients(number)
    norm = float(torch.nn.utils.clip_grad_norm_(optimizer.weights, clip))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise InputError(
            f"fine-tuning diverged at step {number + 1}",
            got=f"loss {loss}, gradient {norm}",
            expected="finite numbers",
            fix=f"lower learning_rate (it was {rate:.2g} in this step)",
        )
    optimizer.step(rate)
    return {"loss": loss, "grad_norm": norm}


def learnt_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that learn, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def adamw(weights: Mapping[str, nn.Parameter], settings: FineTuningSettings) -> AdamW:
    """Return AdamW over the weights that learn; matrices decay, the rest does not."""
    decaying = [weight for weight in weights.values() if weight.ndim >= 2]
    others = [weight for weight in weights.values() if weight.ndim < 2]
    return AdamW(decaying, others, weight_decay=settings.weight_decay)


def seconds_of_a_step(learner: Learner, settings: FineTuningSettings, *, seconds: float) -> float:
    """Measure a step: the mean over at least ``seconds`` and one step, after one to warm up. Trains ``learner``."""
    optimizer = adamw(learnt_weights(learner.model), settings)
    taken: list[float] = []
    while len(taken) <= WARM_UP_STEPS or sum(taken[WARM_UP_STEPS:]) < seconds:
        began = time.perf_counter()
        take_step(learner, optimizer, len(taken), rate=settings.learning_rate, clip=settings.clip)
        taken.append(time.perf_counter() - began)
    return sum(taken[WARM_UP_STEPS:]) / (len(taken) - WARM_UP_STEPS)
