"""Random streams of training: each is named by a seed, a purpose and a number, and independent of the others.

The draws of a step depend on (seed, step) alone, so a resumed run makes the same draws as an uninterrupted one.
"""

from __future__ import annotations

import numpy as np
import torch

ORDER, CORRUPTION, WEIGHTS, SAMPLE = 0, 1, 2, 4
LIST_NEGATIVES = 101
"""Negatives that the cross-encoder draws from a first stage's list."""


def random_stream(seed: int, purpose: int, number: int) -> np.random.Generator:
    """Return the generator of one step or epoch."""
    return np.random.default_rng((seed, purpose, number))


def seed_torch(seed: int, step: int, *, rank: int = 0) -> None:
    """Seed torch's generators for a rank's share of a step (dropout draws from them)."""
    seed_generators(int(random_stream(seed, WEIGHTS, step).integers(2**63 - 1, size=rank + 1)[-1]))


def seed_generators(number: int) -> None:
    """Seed torch's generators, to the same states as ``torch.manual_seed``."""
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:  # without an accelerator, `torch.manual_seed` keeps a stack trace of each call until the process ends
        torch.default_generator.manual_seed(number)
