"""A short training that can be looked at between its steps: no folder, no selection, no resuming.

For measurements: the same steps as ``training.train`` takes (same batches, optimiser and schedule), the end of which is
the last step and not the best one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from segue.models import ModelSettings, Predictor, build_model
from segue.training.assembly import assemble
from segue.training.batches import Batches
from segue.training.losses.loss import LossSettings, build_loss
from segue.training.optimiser import Optimisation, learning_rate
from segue.training.settings import TrainingSettings
from segue.types import Bank, Windows


@dataclass
class ShortRun:
    """A training that stands between two steps; ``advance`` goes on.

    Attributes:
        batches: of the training windows.
        optimisation: predictor, loss and optimiser.
        settings: with the number of steps that the schedule ends at.
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
        """How many steps the schedule has."""
        assert self.settings.steps is not None, "a short run is begun with a number of steps"
        return self.settings.steps

    def advance(self, step: int | None = None) -> ShortRun:
        """Train until ``step`` steps (default: all) were taken, and return itself."""
        last = self.steps if step is None else step
        while self.done < last:
            rate = learning_rate(
                self.done, steps=self.steps, peak=self.settings.learning_rate, warmup=self.settings.warmup
            )
            self.optimisation.step(self.done, self.batches.batch(self.done), rate)
            self.done += 1
        return self


def begin(
    bank: Bank, windows: Windows, *, model: ModelSettings, loss: LossSettings, training: TrainingSettings
) -> ShortRun:
    """Build an untrained predictor and its loss, ready for the first step; an anchor starts at copy-last.

    Args:
        bank: where the vectors stand.
        windows: of the training documents.
        model: architecture and size.
        loss: what is minimised.
        training: batch size, seed, rate; ``steps`` must be given.

    Raises:
        InputError: there are no windows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        predictor = build_model(model, dimension=bank.dimension, context=windows.context.shape[1])
    batches, optimisation = assemble(
        predictor, build_loss(loss, bank.dimension, seed=training.seed), bank, windows, training
    )
    return ShortRun(batches, optimisation, training)
