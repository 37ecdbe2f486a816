"""Read back what the training of an option left on a fold: ``checkpoint/``, ``training/`` and ``training.json``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from segue.comparison.entries.trained import read_training, training_settings
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.tuning import tuned
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.models import CheckpointConfig, Predictor, load_predictor, read_config
from segue.retrieval.retrievers.predictor import PredictorDocuments
from segue.training.losses.loss import Loss, LossSettings, build_loss
from segue.training.settings import TrainingSettings
from segue.training.state import LOSS_FILE

HEAD = "projection."
"""Prefix of a projection head's weights in the loss's file."""


@dataclass(frozen=True)
class Trained:
    """Files of a trained entry: weights, their loss, the record, the settings.

    Attributes:
        folder: folder of the option on its fold; holds ``checkpoint/``, ``training/`` and ``training.json``.
        loss_settings: settings of the loss as it was trained.
        settings: settings of the training as it was run, steps and seed included.
    """

    folder: Path
    loss_settings: LossSettings
    settings: TrainingSettings

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The predictor with its best weights, on the CPU.

        Raises:
            InputError: the checkpoint is broken, or computes something else than when it was saved.
        """
        return load_predictor(self.folder / "checkpoint")[0]

    @functools.cached_property
    def config(self) -> CheckpointConfig:
        """The checkpoint's ``config.json``, with ``training_documents``; read without the weights."""
        return read_config(self.folder / "checkpoint")

    @property
    def loss_space(self) -> str:
        """The space of the loss by its settings: ``projected`` behind a head, else ``raw``."""
        return "projected" if any(term.space == "projected" for term in self.loss_settings.terms) else "raw"

    @property
    def weights_space(self) -> str:
        """The space of the loss by its trained weights: ``projected`` where they hold those of a head.

        Raises:
            InputError: their file is broken.
        """
        path = self.folder / "training" / LOSS_FILE
        if not path.exists():
            return self.loss_space
        try:
            with safe_open(path, framework="np") as stored:
                return "projected" if any(name.startswith(HEAD) for name in stored.keys()) else "raw"  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path} cannot be read", got=str(error), fix="train the option again") from error

    @property
    def encoder(self) -> PredictorDocuments | None:
        """The document tower; None where the bank is searched as it is."""
        learnt = self.config.model.documents != "identity"
        return PredictorDocuments(self.predictor) if learnt else None

    @functools.cached_property
    def record(self) -> Mapping[str, Any]:
        """``training.json``: model, loss, steps, curve, batch size, compatibility."""
        return read_training(self.folder, compare=False)

    @functools.cached_property
    def loss(self) -> Loss:
        """The loss with its learnt weights (projection head, temperatures).

        Raises:
            InputError: the loss has learnt weights, and their file is missing.
        """
        loss = build_loss(self.loss_settings, self.predictor.dimension, seed=self.settings.seed)
        path = self.folder / "training" / LOSS_FILE
        if loss.state_dict():
            if not path.exists():
                missing = f"{path} is missing, so the projection head or temperature is unknown"
                raise InputError(missing, fix="restore the file, or train the option again")
            loss.load_state_dict(load_file(path))
        return loss.eval()


def trained_files(job: Job, option: Option, fold: Fold) -> Trained:
    """Return the files of a trained option on a fold, with the settings of its training."""
    folder = job.folder(option, fold)
    record = read_training(folder, compare=False)
    name = record["loss_name"]
    job = tuned(job, option, fold, loss=name)
    return Trained(folder, job.loss_settings(name), training_settings(job, option, fold, steps=record["planned_steps"]))
