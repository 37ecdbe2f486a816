"""One option on one fold: the unit of work of a comparison, and what it is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.evaluation.experiment import Fold
from segue.types import Progress, no_progress


@dataclass(frozen=True)
class OptionOnFold:
    """One option on one fold.

    Attributes:
        job: the comparison, with the option's tuned settings.
        option: what is trained or read back.
        fold: its training windows are trained on, its validation windows select.
        baselines: the job's; for the anchor's start and the index.
        loss: preset of ``LOSSES`` that a model is trained under; ``recipe`` is the recipe's own.
        steps: optimiser steps, from the plan.
        progress: called at every step.
        like: folder of the option trained on other windows, whose choices are taken (steps, schedule, trees, epochs)
            instead of those that validation would select.
    """

    job: Job
    option: Option
    fold: Fold
    baselines: Baselines
    loss: str | None = None
    steps: int = 0
    progress: Progress = no_progress
    like: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of the option on the fold."""
        return self.job.folder(self.option, self.fold)

    def name_in_run(self, folder: Path) -> str:
        """Return the name of a training in one of the run's folders: ``infonce/fold-0``, ``rerank/fold-0/half-1``."""
        return folder.relative_to(self.job.out / "options").as_posix()
