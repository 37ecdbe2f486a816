"""A learned predictor as a query function."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from segue.types import Contexts


class PredictorQuery:
    """Runs a predictor on contexts, without gradients and without dropout.

    Args:
        predictor: (context vectors, mask) → unit vectors; it is moved to ``device``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, predictor: nn.Module, device: str | torch.device = "cpu") -> None:
        self._predictor = predictor.to(device)
        self._device = torch.device(device)

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the predictions, unit float32; the predictor is left in the mode it was in."""
        vectors = torch.from_numpy(np.ascontiguousarray(contexts.vectors, dtype=np.float32)).to(self._device)
        mask = torch.from_numpy(np.ascontiguousarray(contexts.mask)).to(self._device)
        training = self._predictor.training
        self._predictor.eval()
        try:
            with torch.inference_mode():
                predicted: torch.Tensor = self._predictor(vectors, mask)
                return predicted.float().cpu().numpy()
        finally:
            self._predictor.train(training)
