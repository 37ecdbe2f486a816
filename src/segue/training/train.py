"""One training loop for every model and every loss.

Enters: a predictor, a loss, training windows, and a function that scores a predictor on validation. Leaves: the
predictor with the weights that scored best, and a folder with the curve (``metrics.jsonl``), the weights of the loss
(``loss.safetensors``) and a state from which a killed run goes on (``state.safetensors``).

Decisions. Selection is by validation *retrieval* (MRR), never by loss or cosine: the highest cosine has one of the
lowest recalls. The untrained predictor is scored too, so an anchored model never ends below its anchor. What a step
does depends on (seed, step) and the weights alone; when the state was written has no influence on the result, and with
the same number of threads a killed and resumed run ends in the same bits as an undisturbed one.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.models.predictor import Predictor
from segue.training.assembly import assemble
from segue.training.loop import Score, TrainingLoop
from segue.training.losses.loss import Loss
from segue.training.settings import TrainingSettings
from segue.training.state import TrainingState
from segue.types import Bank, Progress, Windows, no_progress

__all__ = ["Score", "TrainingResult", "TrainingSettings", "steps_per_second", "still_rising", "train"]

WARM_UP_STEPS = 3
LAST_PART = 0.2
RISE = 0.01
"""A run is under-trained when its best validation MRR rose by more than ``RISE`` in its ``LAST_PART``."""


@dataclass(frozen=True)
class TrainingResult:
    """How a training went; the predictor itself was changed in place.

    Attributes:
        best_step: optimiser steps after which the validation MRR was best; 0 is the untrained predictor.
        best_score: all validation scores there.
        steps: optimiser steps taken.
        curve: one record for each evaluation: ``step, seconds, loss, loss/<term>, learning_rate, grad_norm,
            temperature`` (means since the one before; None at the start or where there is none) and the scores.
        under_trained: the plan ended it while the validation MRR still rose (by more than 1 % in the last fifth).
        stopped_early: patience ended it.
        seconds: of training and scoring, over all sessions.
    """

    best_step: int
    best_score: dict[str, Any]
    steps: int
    curve: list[dict[str, Any]]
    under_trained: bool
    stopped_early: bool
    seconds: float


def train(
    predictor: Predictor,
    loss: Loss,
    bank: Bank,
    windows: Windows,
    *,
    settings: TrainingSettings,
    score: Score,
    folder: Path,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a predictor in place; afterwards it (and the loss) has the weights that scored best.

    A folder with a state of the same training is gone on with, to the bit; one that is finished is only read.

    Raises:
        InputError: no windows, vectors that are not finite, a loss that diverged, or a folder of another training.
        StorageError: the folder cannot be written.
    """
    batches, optimisation = assemble(predictor, loss, bank, windows, settings)
    loop = TrainingLoop(batches, optimisation, settings, score=score, folder=folder)
    while not loop.state.finished:
        progress(loop.state.step, loop.steps, loop.note())
        loop.advance()
    progress(loop.state.step, loop.steps, loop.note())
    return _result(loop.state)


def _result(state: TrainingState) -> TrainingResult:
    assert state.best_score is not None, "a finished run has been scored"
    return TrainingResult(
        best_step=state.best_step,
        best_score=state.best_score,
        steps=state.step,
        curve=state.curve,
        under_trained=not state.stopped_early and still_rising(state.curve),
        stopped_early=state.stopped_early,
        seconds=state.seconds,
    )


def still_rising(curve: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the best validation MRR rose by more than 1 % in the last fifth of the steps.

    >>> still_rising([{"step": 0, "MRR": 0.10}, {"step": 80, "MRR": 0.20}, {"step": 100, "MRR": 0.21}])
    True
    >>> still_rising([{"step": 0, "MRR": 0.10}, {"step": 80, "MRR": 0.20}, {"step": 100, "MRR": 0.201}])
    False
    """
    begin = (1.0 - LAST_PART) * curve[-1]["step"]
    before = max(record["MRR"] for record in curve if record["step"] <= begin)
    return max(record["MRR"] for record in curve) > (1.0 + RISE) * before


def steps_per_second(
    predictor: Predictor,
    loss: Loss,
    bank: Bank,
    windows: Windows,
    *,
    settings: TrainingSettings,
    seconds: float = 3.0,
) -> float:
    """Measure the speed of training: the median over ``seconds`` after three steps of warming up.

    It trains copies; predictor, loss and random state stay as they were.
    """
    batches, optimisation = assemble(copy.deepcopy(predictor), copy.deepcopy(loss), bank, windows, settings)
    taken: list[float] = []
    while len(taken) <= WARM_UP_STEPS or sum(taken) < seconds:
        began = time.perf_counter()
        optimisation.step(len(taken), batches.batch(len(taken)), settings.learning_rate)
        taken.append(time.perf_counter() - began)
    return 1.0 / statistics.median(taken[WARM_UP_STEPS:])
