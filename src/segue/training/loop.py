"""Training loop: take steps, score on validation, keep the best weights, write the state, resume after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from segue.models.predictor import Predictor
from segue.models.tensors import Tensors, copy_weights, prefixed, without_prefix
from segue.training.batches import Batches
from segue.training.optimiser import Optimisation, learning_rate
from segue.training.ranks import ALONE, ProcessGroup
from segue.training.settings import TrainingSettings
from segue.training.state import (
    Record,
    TrainingState,
    find_finished,
    load_state,
    save_state,
    selection_score,
    windows_hash,
)

Score = Callable[[Predictor], Mapping[str, float | None]]
"""Returns the validation scores of a predictor, ``MRR`` among them, which selects; None means "not computed".

Every rank calls it, so that they may share the windows; the first one's scores count.
"""

STATE_SECONDS = 20.0
"""Minimum time between two states written between evaluations, seconds."""
EVALUATION_SECONDS = 2.0
"""Minimum time between a state written at an evaluation and the one before, seconds."""
STATE_SHARE = 0.05
"""Maximum share of the time for writing states, approximately."""


class TrainingLoop:
    """A training between two steps; ``advance`` goes to the next point at which it may be interrupted."""

    def __init__(
        self, batches: Batches, optimisation: Optimisation, settings: TrainingSettings, *, score: Score, folder: Path,
        others: Iterable[Path] = (), ranks: ProcessGroup = ALONE,
    ) -> None:  # fmt: skip
        self.batches, self.optimisation, self.settings = batches, optimisation, settings
        self.score, self.folder, self.ranks = score, folder, ranks
        self.steps = settings.steps or max(1, round(settings.epochs * batches.steps_per_epoch))
        self.evaluate_at = {round(self.steps * n / settings.evaluations) for n in range(1, settings.evaluations + 1)}
        self.identity = _identity(batches, optimisation, settings)
        self.best: Tensors = {}
        self.state = self._resume(others) or TrainingState()
        self.clock = self.saved = time.perf_counter()
        self.pause = 0.0

    def advance(self) -> None:
        """Score the start, take one step and what is due after it, or finish."""
        state = self.state
        if not state.curve:
            self._evaluate()
        elif state.step < self.steps and not state.stopped_early:
            self._step()
            scored = state.step in self.evaluate_at
            if scored:
                self._evaluate()
            if time.perf_counter() - self.saved > max(EVALUATION_SECONDS if scored else STATE_SECONDS, self.pause):
                self._save()
        else:
            self._finish()

    def note(self) -> str:
        """Return loss and validation MRR for a progress bar."""
        last: Record = self.state.curve[-1] if self.state.curve else {}
        value = self.state.means().get("loss", last.get("loss"))
        words = [] if value is None else [f"loss {value:.3f}"]
        if self.state.best_score:
            best = selection_score(self.state.best_score)
            words.append(f"validation MRR {selection_score(last):.3f} (best {best:.3f})")
        return ", ".join(words)

    def _step(self) -> None:
        state, settings = self.state, self.settings
        rate = learning_rate(state.step, steps=self.steps, peak=settings.learning_rate, warmup=settings.warmup)
        values = self.optimisation.step(state.step, self.batches.batch(state.step), rate)
        state.add({**values, "learning_rate": rate})
        self._tick()

    def _evaluate(self) -> None:
        """Score on validation, remember the best weights, add a record to the curve."""
        state, means = self.state, self.state.means()
        found = _scored(self.optimisation.predictor, self.score)
        scores = self.ranks.once(lambda: found)
        if state.improves(scores):
            state.best_step, state.best_score, state.stale = state.step, scores, 0
            self.best = self._weights()
        else:
            state.stale += 1
        state.stopped_early = self.settings.patience is not None and state.stale >= self.settings.patience
        self._tick()
        temperature = next(iter(self.optimisation.loss.temperatures.values()), None)
        always: Record = {name: means.get(name) for name in ("loss", "learning_rate", "grad_norm")}
        state.add_record({**always, **means, "temperature": temperature, **scores})

    def _tick(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self.clock
        self.clock = now

    def _weights(self) -> Tensors:
        predictor, loss = copy_weights(self.optimisation.predictor), copy_weights(self.optimisation.loss)
        return prefixed("predictor.", predictor) | prefixed("loss.", loss)

    def _save(self) -> None:
        if not self.ranks.first:
            return
        began = time.perf_counter()
        tensors = self._weights() | prefixed("optimizer.", self.optimisation.optimizer.tensors())
        tensors |= prefixed("batches.", self.batches.state())
        save_state(self.folder, self.state, tensors | prefixed("best.", self.best), identity=self.identity)
        self.saved = time.perf_counter()
        self.pause = (self.saved - began) / STATE_SHARE

    def _find(self, others: Iterable[Path]) -> tuple[TrainingState, Tensors] | None:
        """Return the state of this training: its own, or a finished one of another folder, which is copied."""
        found = load_state(self.folder, identity=self.identity)
        if found is None and (found := find_finished(others, identity=self.identity)) is not None:
            save_state(self.folder, *found, identity=self.identity)
        return found

    def _resume(self, others: Iterable[Path]) -> TrainingState | None:
        found = self.ranks.once(lambda: self._find(others))
        if found is None:
            return None
        state, tensors = found
        self.best = without_prefix("best.", tensors)
        self._load(self.best if state.finished else tensors)
        self.optimisation.optimizer.restore(without_prefix("optimizer.", tensors))
        self.batches.restore(without_prefix("batches.", tensors))
        return state

    def _load(self, weights: Tensors) -> None:
        self.optimisation.predictor.eval()
        self.optimisation.predictor.load_state_dict(without_prefix("predictor.", weights))
        self.optimisation.loss.load_state_dict(without_prefix("loss.", weights))

    def _finish(self) -> None:
        """Load the best weights, and write them in a finished state."""
        self._load(self.best)
        self.state.finished = True
        if self.ranks.first:
            save_state(self.folder, self.state, prefixed("best.", self.best), identity=self.identity)


def _identity(batches: Batches, optimisation: Optimisation, settings: TrainingSettings) -> dict[str, object]:
    """Return what must be equal for a state to be resumed."""
    return {
        "training settings": settings.model_dump(mode="json", exclude={"device", "precision", "report_to"}),
        "precision": optimisation.precision,
        "model": optimisation.predictor.settings.model_dump(mode="json"),
        "loss": optimisation.loss.settings.model_dump(mode="json"),
        "bank": {"passages": len(batches.bank), "dimension": batches.bank.dimension},
        "windows": windows_hash(batches.windows),
    }


def _scored(predictor: Predictor, score: Score) -> Record:
    """Score without gradients and dropout, and leave the random state alone."""
    predictor.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return {name: None if value is None else float(value) for name, value in score(predictor).items()}
