"""Training of a predictor: one loop for every model and every loss.

Input: a predictor, a loss, training windows, and a function that scores a predictor on validation. Output: the
predictor (and the loss) with the weights that scored best, and a folder with the curve (``metrics.jsonl``) and a
state from which a killed run resumes (``state.safetensors``).

The best weights are selected by validation *retrieval* (MRR), never by loss or cosine: the highest cosine has one of
the lowest recalls. The untrained predictor is scored too, so an anchored model never ends below its anchor. A step
depends on (seed, step) and the weights alone, not on when the state was written: with the same number of threads a
killed and resumed run ends in the same bits as an uninterrupted one.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segue.errors import InputError
from segue.hardware import choose_device
from segue.models import ModelSettings, Predictor, build_model
from segue.training.batches import Batches
from segue.training.loop import Score, TrainingLoop
from segue.training.losses.loss import Loss, LossSettings, build_loss
from segue.training.losses.mining import Mining
from segue.training.losses.whole_bank import TrainingBank
from segue.training.optimiser import Optimisation, learning_rate, resolve_precision
from segue.training.random_streams import seed_generators
from segue.training.ranks import ALONE, ProcessGroup
from segue.training.settings import TrainingSettings
from segue.training.state import Record, TrainingState, selection_score
from segue.training.watch import Follow, follow_nothing
from segue.types import Bank, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "Score",
    "ShortRun",
    "TrainingResult",
    "TrainingSettings",
    "assemble",
    "begin_short_run",
    "steps_per_second",
    "still_rising",
    "train",
]

WARM_UP_STEPS = 3
"""Steps that are not timed."""
LAST_PART = 0.2
"""Share of the steps, the last ones, in which ``still_rising`` looks for a rise."""
RISE = 0.01
"""Relative rise of the best validation MRR above which a run was still rising."""


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training; the predictor itself was changed in place.

    Attributes:
        best_step: optimiser steps after which the validation MRR was best; 0 is the untrained predictor.
        best_score: all validation scores there.
        steps: optimiser steps taken.
        curve: one record for each evaluation: ``step, seconds, loss, loss/<term>, learning_rate, grad_norm,
            temperature`` (means since the previous one; None at the start or where there is none) and the scores.
        under_trained: the plan ended it while the validation MRR still rose (by more than 1 % in the last fifth).
        stopped_early: patience ended it.
        seconds: seconds of training and scoring, over all sessions.
    """

    best_step: int
    best_score: Record
    steps: int
    curve: list[Record]
    under_trained: bool
    stopped_early: bool
    seconds: float

    @classmethod
    def of(cls, state: TrainingState, *, under_trained: bool) -> TrainingResult:
        """Return the result of a finished state."""
        assert state.best_score is not None, "a finished run has been scored"
        return cls(
            best_step=state.best_step,
            best_score=state.best_score,
            steps=state.step,
            curve=state.curve,
            under_trained=under_trained,
            stopped_early=state.stopped_early,
            seconds=state.seconds,
        )


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
    follow: Follow = follow_nothing,
    others: Iterable[Path] = (),
    ranks: ProcessGroup = ALONE,
) -> TrainingResult:
    """Train a predictor in place; afterwards it (and the loss) has the weights that scored best.

    A folder with a state of the same training is resumed, to the bit; a finished one is only read, also where it is
    found in one of ``others``. ``follow`` is called with the curve after each step (``watch.py``). Where ``ranks``
    share the training, each calls this with the same arguments; only the first reads and writes the folder.

    Raises:
        InputError: no windows, vectors that are not finite, a loss that diverged, or a folder of another training.
        SegueError: another rank ended.
        StorageError: the folder cannot be written.
    """
    with ranks.reported_once():
        batches, optimisation = assemble(predictor, loss, bank, windows, settings, ranks=ranks)
    loop = TrainingLoop(batches, optimisation, settings, score=score, folder=folder, others=others, ranks=ranks)
    while not loop.state.finished:
        progress(loop.state.step, loop.steps, loop.note())
        follow(loop.state.curve)
        loop.advance()
    follow(loop.state.curve)
    progress(loop.state.step, loop.steps, loop.note())
    return TrainingResult.of(loop.state, under_trained=not loop.state.stopped_early and still_rising(loop.state.curve))


def assemble(
    predictor: Predictor,
    loss: Loss,
    bank: Bank,
    windows: Windows,
    settings: TrainingSettings,
    *,
    ranks: ProcessGroup = ALONE,
) -> tuple[Batches, Optimisation]:
    """Return the batches and the optimisation of a training, ready for step 0; attach a training bank to the loss.

    Raises:
        InputError: no windows, the device is not there, the model reads texts and the bank has none, or the ranks
            cannot share a batch.
    """
    if predictor.reads_text and not bank.has_texts:
        raise InputError(f"model {predictor.settings.name!r} reads texts, and the bank has none",
                         fix="give the texts along with the vectors, or choose another model")  # fmt: skip
    device = choose_device(settings.device)
    precision = ranks.once(lambda: resolve_precision(settings.precision, device))
    mined = next(iter(loss.settings.negatives), None)

    def candidates(ranks: ProcessGroup) -> TrainingBank:
        return TrainingBank(bank, windows, dtype=getattr(torch, precision), device=device, ranks=ranks)

    if loss.needs_bank and len(windows):
        loss.attach(candidates(ranks), seed=settings.seed)

    @torch.no_grad()
    def predict(windows: Windows) -> Float[Tensor, "window dim"]:
        """Return what the present weights predict for windows, without corruption."""
        predictor.eval()
        contexts = gather_contexts(bank, windows, exclude="none", texts=predictor.reads_text)
        vectors = torch.from_numpy(np.ascontiguousarray(contexts.vectors)).to(device)
        predicted = predictor(vectors, torch.from_numpy(contexts.mask).to(device), contexts.texts)
        return torch.nn.functional.normalize(predicted, dim=-1)

    mining = None
    if mined and len(windows):  # each rank ranks the whole bank for its share of the windows
        whole = loss.bank if loss.bank is not None and ranks.size == 1 else candidates(ALONE)
        mining = Mining(whole, windows, mined, predict, ranks)
    batches = Batches(
        bank,
        windows,
        batch_size=settings.batch_size,
        seed=settings.seed,
        article_dropout=settings.dropout(anchored=predictor.anchor is not None),
        span_corruption=settings.span_corruption,
        mining=mining,
        texts=predictor.reads_text,
        ranks=ranks,
    )
    return batches, Optimisation(predictor, loss, settings, precision=precision, device=device, ranks=ranks)


def still_rising(curve: Sequence[Record]) -> bool:
    """Return whether the best validation MRR rose by more than 1 % in the last fifth of the steps.

    >>> still_rising([{"step": 0, "MRR": 0.10}, {"step": 80, "MRR": 0.20}, {"step": 100, "MRR": 0.21}])
    True
    >>> still_rising([{"step": 0, "MRR": 0.10}, {"step": 80, "MRR": 0.20}, {"step": 100, "MRR": 0.201}])
    False
    """
    begin = (1.0 - LAST_PART) * (curve[-1]["step"] or 0)
    before = max(selection_score(record) for record in curve if (record["step"] or 0) <= begin)
    return max(selection_score(record) for record in curve) > (1.0 + RISE) * before


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

    Copies are trained; predictor, loss and random state stay as they were.
    """
    batches, optimisation = assemble(copy.deepcopy(predictor), copy.deepcopy(loss), bank, windows, settings)
    taken: list[float] = []
    while len(taken) <= WARM_UP_STEPS or sum(taken) < seconds:
        began = time.perf_counter()
        optimisation.step(len(taken), batches.batch(len(taken)), settings.learning_rate)
        taken.append(time.perf_counter() - began)
    return 1.0 / statistics.median(taken[WARM_UP_STEPS:])


@dataclass
class ShortRun:
    """A training without folder, selection or resuming, for measurements between its steps.

    It takes the same steps as ``train`` (same batches, optimiser and schedule) and ends at the last one, not the best.

    Attributes:
        batches: batches of the training windows.
        optimisation: predictor, loss and optimiser.
        settings: settings with the number of steps that the schedule ends at.
        done: steps taken.
    """

    batches: Batches
    optimisation: Optimisation
    settings: TrainingSettings
    done: int = 0

    @property
    def predictor(self) -> Predictor:
        """The predictor as it is now."""
        return self.optimisation.predictor

    @property
    def steps(self) -> int:
        """Number of steps of the schedule."""
        assert self.settings.steps is not None, "a short run has a number of steps"
        return self.settings.steps

    def advance(self, step: int | None = None) -> ShortRun:
        """Train until ``step`` steps (default: all) were taken, and return itself."""
        settings = self.settings
        while self.done < (self.steps if step is None else step):
            rate = learning_rate(self.done, steps=self.steps, peak=settings.learning_rate, warmup=settings.warmup)
            self.optimisation.step(self.done, self.batches.batch(self.done), rate)
            self.done += 1
        return self


def begin_short_run(
    bank: Bank,
    windows: Windows,
    *,
    model: ModelSettings,
    loss: LossSettings,
    training: TrainingSettings,
    reader: SentenceTransformer | None = None,
) -> ShortRun:
    """Build an untrained predictor and its loss, ready for the first step; an anchor starts at copy-last.

    Args:
        bank: holds the vectors.
        windows: windows of the training documents.
        model: architecture and size.
        loss: what is minimised.
        training: batch size, seed, rate; ``steps`` must be given.
        reader: what a model that reads text reads with.

    Raises:
        InputError: there are no windows.
    """
    with torch.random.fork_rng(devices=[]):
        seed_generators(training.seed)
        predictor = build_model(model, dimension=bank.dimension, context=windows.context.shape[1], reader=reader)
    built = build_loss(loss, bank.dimension, seed=training.seed)
    return ShortRun(*assemble(predictor, built, bank, windows, training), training)
