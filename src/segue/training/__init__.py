"""Training: one loop for every model and every loss, and its parts for loops of the user's own."""

from segue.training.batches import Batch
from segue.training.dataset import WindowDataset, window_loader
from segue.training.losses.in_batch import info_nce
from segue.training.losses.loss import LOSSES, Loss, LossSettings, LossTerm, ar_cosine, build_loss, mse
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.training.optimiser import build_optimizer, learning_rate
from segue.training.settings import TrainingSettings

__all__ = [
    "LOSSES",
    "Batch",
    "Loss",
    "LossSettings",
    "LossTerm",
    "TrainingBank",
    "TrainingSettings",
    "WindowDataset",
    "ar_cosine",
    "bank_info_nce",
    "build_loss",
    "build_optimizer",
    "info_nce",
    "learning_rate",
    "mse",
    "window_loader",
]
