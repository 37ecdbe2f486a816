"""The loop that all text models are fine-tuned by: step, write down where it stands, score seldom, keep the best.

It differs from ``learning.training_loop`` in what is dear: a validation score costs minutes, since a bank is encoded
anew for it, so the start is not scored, a state is written before each scoring, and a state holds only the weights that
learn. What a step does depends on (seed, step) and the weights alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from segue.errors import InputError, explain
from segue.models.tensors import Tensors, prefixed, without_prefix
from segue.text_models.settings import FineTuningSettings
from segue.training.optimiser import learning_rate
from segue.training.state import TrainingState, load_state, optimizer_tensors, restore_optimizer, save_state
from segue.training.train import TrainingResult, still_rising

STATE_SECONDS = 20.0
"""A state is written this often."""

WARM_UP_STEPS = 1


@runtime_checkable
class Learner(Protocol):
    """Something with weights that learn, one step at a time."""

    def learnt(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn, by name."""
        ...

    def gradients(self, step: int) -> float:
        """Leave the gradient of a step (counted from 0) in the weights, and return its loss."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a state to be gone on with, as JSON values."""
        ...


class FineTuning:
    """A fine-tuning between two steps.

    Args:
        learner: what learns.
        settings: how.
        steps: of the whole run.
        folder: of the run; a state found there is gone on with.
        score: scores the learner as it stands on validation; the answer holds ``MRR``.

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
    ) -> None:
        self.learner, self.settings, self.steps = learner, settings, steps
        self.folder, self.score = folder, score
        self.weights = learner.learnt()
        self.optimizer = adamw(self.weights, settings)
        self.evaluate_at = {round(steps * n / settings.evaluations) for n in range(1, settings.evaluations + 1)}
        self.identity = {"settings": _shaping(settings), "steps": steps, **learner.identity()}
        self.best: Tensors = {}
        self.state = self._resume() or TrainingState()
        self.clock = self.saved = time.perf_counter()

    def advance(self) -> None:
        """Score where that is due, else take one step, else finish."""
        state = self.state
        scored = bool(state.curve) and state.curve[-1]["step"] == state.step
        if state.step in self.evaluate_at and not scored:
            self._evaluate()
        elif state.step < self.steps:
            self._step()
            if state.step in self.evaluate_at or time.perf_counter() - self.saved > STATE_SECONDS:
                self._save()
        else:
            self._finish()

    def note(self) -> str:
        """Say the loss for a progress bar."""
        sums = self.state.sums
        return f"loss {sums['loss'] / sums['steps']:.3f}" if sums else "validation scored"

    def result(self, steps_per_epoch: int) -> TrainingResult:
        """Return how it went; fewer steps than one pass over the windows count as under-trained."""
        state = self.state
        assert state.best_score is not None, "a finished run has been scored"
        rising = len(state.curve) > 1 and still_rising(state.curve)
        return TrainingResult(
            best_step=state.best_step,
            best_score=state.best_score,
            steps=state.step,
            curve=state.curve,
            under_trained=rising or state.step < steps_per_epoch,
            stopped_early=False,
            seconds=state.seconds,
        )

    def _step(self) -> None:
        state, settings = self.state, self.settings
        rate = learning_rate(state.step, steps=self.steps, peak=settings.learning_rate, warmup=settings.warmup)
        values = take_step(self.learner, self.optimizer, state.step, rate=rate, clip=settings.clip)
        state.step += 1
        for name, value in {**values, "learning_rate": rate, "steps": 1.0}.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        self._tick()

    def _evaluate(self) -> None:
        state, sums = self.state, self.state.sums
        with torch.random.fork_rng(devices=[]):
            scores = {name: None if value is None else float(value) for name, value in self.score().items()}
        if state.best_score is None or scores["MRR"] > state.best_score["MRR"]:
            state.best_step, state.best_score = state.step, scores
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._tick()
        means = {name: value / sums["steps"] for name, value in sums.items() if name != "steps"}
        state.curve.append({"step": state.step, "seconds": round(state.seconds, 3), **means, **scores})
        state.sums = {}

    def _tick(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self.clock
        self.clock = now

    def _save(self) -> None:
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        tensors = prefixed("weights.", weights) | prefixed("optimizer.", optimizer_tensors(self.optimizer))
        save_state(self.folder, self.state, tensors | prefixed("best.", self.best), identity=self.identity)
        self.saved = time.perf_counter()

    def _resume(self) -> TrainingState | None:
        found = load_state(self.folder, identity=self.identity)
        if found is None:
            return None
        state, tensors = found
        self.best = without_prefix("best.", tensors)
        self._load(self.best if state.finished else without_prefix("weights.", tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer.", tensors))
        return state

    def _load(self, weights: Tensors) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def _finish(self) -> None:
        """Put the best weights in place; the state written last says that nothing is left to do."""
        self._load(self.best)
        self.state.finished = True
        save_state(self.folder, self.state, prefixed("best.", self.best), identity=self.identity)


def take_step(
    learner: Learner, optimizer: torch.optim.Optimizer, number: int, *, rate: float, clip: float
) -> dict[str, float]:
    """Take one optimiser step and return ``loss`` and ``grad_norm`` before clipping.

    Raises:
        InputError: the loss or its gradient is not finite; the weights are left as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = learner.gradients(number)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(weights, clip))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise InputError(
            explain(f"fine-tuning diverged at step {number + 1}", got=f"loss {loss}, gradient {norm}",
                    expected="finite numbers", fix=f"lower learning_rate (it was {rate:.2g} in this step)")
        )  # fmt: skip
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return {"loss": loss, "grad_norm": norm}


def adamw(weights: Mapping[str, nn.Parameter], settings: FineTuningSettings) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019) over the weights that learn; matrices decay, the rest does not."""
    decaying = [weight for weight in weights.values() if weight.ndim >= 2]
    others = [weight for weight in weights.values() if weight.ndim < 2]
    groups = [{"params": decaying, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0)


def seconds_of_a_step(learner: Learner, settings: FineTuningSettings, *, seconds: float) -> float:
    """Measure a step: the mean over at least ``seconds`` and one step, after one to warm up; the learner is worn."""
    optimizer = adamw(learner.learnt(), settings)
    taken: list[float] = []
    while len(taken) <= WARM_UP_STEPS or sum(taken[WARM_UP_STEPS:]) < seconds:
        began = time.perf_counter()
        take_step(learner, optimizer, len(taken), rate=settings.learning_rate, clip=settings.clip)
        taken.append(time.perf_counter() - began)
    return sum(taken[WARM_UP_STEPS:]) / (len(taken) - WARM_UP_STEPS)


def _shaping(settings: FineTuningSettings) -> dict[str, Any]:
    """Return the settings that shape the result."""
    return settings.model_dump(mode="json", exclude={"device"})
