"""From settings to what training steps need: batches with their negatives, the loss with its bank, the optimiser.

Enters: a predictor, a loss, a bank and training windows. Leaves: batches and an optimisation, ready for step 0.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segue.hardware import choose_device
from segue.models.predictor import Predictor
from segue.training.batches import Batches
from segue.training.losses.loss import Loss
from segue.training.losses.mining import Mining, Predict
from segue.training.losses.negatives import NegativeDraws
from segue.training.losses.whole_bank import TrainingBank
from segue.training.optimiser import Optimisation, resolve_precision
from segue.training.settings import TrainingSettings
from segue.types import Bank, Windows
from segue.windows.windows import gather_contexts


def assemble(
    predictor: Predictor, loss: Loss, bank: Bank, windows: Windows, settings: TrainingSettings
) -> tuple[Batches, Optimisation]:
    """Return the batches and the optimisation of a training; the loss gets its training bank where it needs one.

    Raises:
        InputError: no windows, or the device is not there.
    """
    device = choose_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    candidates = _training_bank(loss, bank, windows, dtype=getattr(torch, precision), device=device)
    if loss.needs_bank and candidates is not None:
        loss.attach(candidates, seed=settings.seed)
    batches = Batches(
        bank,
        windows,
        batch_size=settings.batch_size,
        seed=settings.seed,
        article_dropout=settings.dropout(anchored=predictor.anchor is not None),
        span_corruption=settings.span_corruption,
        draws=_draws(loss, bank, windows, candidates, _predictions(predictor, bank, device)),
    )
    optimisation = Optimisation(
        predictor,
        loss,
        seed=settings.seed,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
        precision=precision,
        device=device,
    )
    return batches, optimisation


def _training_bank(loss: Loss, bank: Bank, windows: Windows, *, dtype: torch.dtype, device: str) -> TrainingBank | None:
    mined = any(source.kind == "mined" for source in loss.settings.negatives)
    if len(windows) == 0 or not (loss.needs_bank or mined):
        return None
    return TrainingBank(bank, windows, dtype=dtype, device=device)


def _draws(
    loss: Loss, bank: Bank, windows: Windows, candidates: TrainingBank | None, predict: Predict
) -> NegativeDraws | None:
    sources = loss.settings.negatives
    if not sources or len(windows) == 0:
        return None
    settings = next((source for source in sources if source.kind == "mined"), None)
    mining = Mining(candidates, windows, settings, predict) if settings and candidates else None
    return NegativeDraws(bank, windows, sources, mining=mining)


def _predictions(predictor: Predictor, bank: Bank, device: str) -> Predict:
    """Return the function that mining asks: what the weights of the moment predict for windows, uncorrupted."""

    @torch.no_grad()
    def predict(windows: Windows) -> Float[Tensor, "window dim"]:
        predictor.eval()
        contexts = gather_contexts(bank, windows, exclude="none")
        vectors = torch.from_numpy(np.ascontiguousarray(contexts.vectors)).to(device)
        return torch.nn.functional.normalize(predictor(vectors, torch.from_numpy(contexts.mask).to(device)), dim=-1)

    return predict
