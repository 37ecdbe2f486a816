"""A small training that one process and several ranks take, for ``test_ranks.py``; ranks import this module."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from worlds import make_bank, transition_world

from segue.errors import SegueError
from segue.models import ModelSettings, build_model
from segue.training import loop
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm, build_loss
from segue.training.losses.mining import HardNegatives
from segue.training.ranks import ProcessGroup, joined
from segue.training.train import TrainingSettings, assemble, train
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

_WORLD = transition_world(documents=30, length=12, dimension=8)
BANK = make_bank(_WORLD.vectors, [12] * 30, [f"Text {row % 300}." for row in range(360)])
"""Some passages repeat others, so there are targets that are not negatives of each other."""
TRAIN = make_windows(BANK, np.arange(24), WindowSettings(context=3))
VALIDATION = make_windows(BANK, np.arange(24, 30), WindowSettings(context=3))
SETTINGS = TrainingSettings(
    batch_size=48, steps=10, evaluations=5, patience=None, learning_rate=1e-3, precision="float32", clip=1e6,
    span_corruption=0.4, article_dropout=0.4,
)  # fmt: skip


def worst_pair(prediction: torch.Tensor, target: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Compare every prediction with every target: a loss of the user's own that no rank can compute alone."""
    cosines = prediction @ target.T
    others = cosines.masked_fill(groups[:, None] == groups[None, :], -1.0)
    return (others.max(dim=1).values - cosines.diagonal()).square().mean()


def _term(**more: Any) -> LossSettings:
    return LossSettings(terms=(LossTerm(**more),))


CASES: dict[str, tuple[LossSettings, dict[str, Any]]] = {
    "in the batch": (LOSSES["infonce"], {}),
    "whole bank": (LOSSES["infonce-bank-margin"], {}),
    "whole bank, learnt temperature": (_term(kind="infonce-bank", learn_temperature=True), {"name": "gru"}),
    "projected": (LOSSES["infonce-projected"], {}),
    "both directions": (_term(kind="infonce", symmetric=True, learn_temperature=True), {}),
    "low temperature": (_term(kind="infonce", temperature=0.012), {}),
    "document tower": (LOSSES["infonce"], {"documents": "mlp"}),
    "sampled": (LOSSES["infonce-sampled"], {}),
    "mined": (LossSettings(negatives=(HardNegatives(kind="mined", refresh=4),)), {}),
    "distances": (LossSettings(terms=(LossTerm(kind="mse"), LossTerm(kind="ar-cosine", weight=0.5))), {}),
    "a loss of one's own": (_term(kind="training_of_ranks:worst_pair"), {}),
}
"""Losses and settings of models."""
FOR_FOUR = ("in the batch", "whole bank", "document tower")
"""Cases that four ranks take too."""


def parts(case: str) -> tuple[Any, Any]:
    """Return a new predictor and a new loss, always with the same weights."""
    loss, model = CASES[case]
    torch.manual_seed(1)
    made = build_model(ModelSettings(**{"name": "mlp", "size": "toy", **model}), dimension=8, context=3)
    return made, build_loss(loss, 8)


def score(model: Any) -> dict[str, float]:
    """Return the MRR and the cosine on validation windows."""
    contexts = gather_contexts(BANK, VALIDATION)
    predicted = model(torch.from_numpy(contexts.vectors), torch.from_numpy(contexts.mask)).numpy()
    scores = predicted @ BANK.vectors.T
    truth = scores[np.arange(len(scores)), VALIDATION.target]
    mrr = float((1 / ((scores > truth[:, None]).sum(axis=1) + 1)).mean())
    return {"MRR": mrr, "cosine": float(truth.mean())}


def gradient(case: str, ranks: ProcessGroup) -> np.ndarray:
    """Return the gradient of the first step on all weights."""
    model, loss = parts(case)
    batches, optimisation = assemble(model, loss, BANK, TRAIN, SETTINGS, ranks=ranks)
    optimisation.step(0, batches.batch(0), 0.0)
    weights = optimisation.optimizer.weights
    return np.concatenate([weight.grad.numpy().ravel() for weight in weights if weight.grad is not None])


def curve(
    case: str, folder: Path, ranks: ProcessGroup, *, stop: int | None = None, **more: Any
) -> list[dict[str, Any]]:
    """Train and return the curve; ``stop``: end before that step, with the state saved."""

    class Stop(Exception):
        pass

    def progress(done: int, total: int | None, note: str) -> None:
        if done == stop:
            raise Stop

    model, loss = parts(case)
    settings = SETTINGS.model_copy(update=more)
    try:
        with patch.multiple(loop, STATE_SECONDS=0.0, EVALUATION_SECONDS=0.0, STATE_SHARE=1e9):
            found = train(model, loss, BANK, TRAIN, settings=settings, score=score, folder=folder, progress=progress,
                          ranks=ranks)  # fmt: skip
    except Stop:
        return []
    return found.curve


def everything(folder: Path, stop: int | None = None) -> dict[str, Any]:
    """Return gradients and curves of all cases, then of a training that another number of ranks continues."""
    with joined("cpu") as ranks:
        cases = CASES if ranks.size == 2 else FOR_FOUR
        found = {case: (gradient(case, ranks), curve(case, folder / str(ranks.size) / case, ranks)) for case in cases}
        rounded = curve("whole bank", folder / str(ranks.size) / "bfloat16", ranks, precision="bfloat16")
        return {**found, "bfloat16": rounded, "resumed": curve("mined", folder / "resumed", ranks, stop=stop)}


def killed(folder: Path) -> str:
    """Kill the second rank in the middle; return the error of the others."""
    with joined("cpu") as ranks:

        def score_or_die(model: Any) -> dict[str, float]:
            if ranks.number == 1 and (folder / "state.safetensors").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return score(model)

        model, loss = parts("whole bank")
        try:
            with patch.multiple(loop, STATE_SECONDS=0.0, STATE_SHARE=1e9):
                train(model, loss, BANK, TRAIN, settings=SETTINGS, score=score_or_die, folder=folder, ranks=ranks)
        except SegueError as error:
            return str(error)
    return ""
