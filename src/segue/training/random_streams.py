"""Random streams of training: each is named by a seed, a purpose and a number, and independent of the others.

The draws of a step depend on (seed, step) alone, so a resumed run makes the same draws as an uninterrupted one.
"""

from __future__ import annotations

import numpy as np

ORDER, CORRUPTION, WEIGHTS, SAMPLE = 0, 1, 2, 4
LIST_NEGATIVES = 101
"""Negatives that the cross-encoder draws from a first stage's list."""


def random_stream(seed: int, purpose: int, number: int) -> np.random.Generator:
    """Return the generator of one step or epoch."""
    return np.random.default_rng((seed, purpose, number))


def torch_seed(seed: int, step: int) -> int:
    """Return the seed of torch's generator in a step (dropout draws from it)."""
    return int(random_stream(seed, WEIGHTS, step).integers(2**63 - 1))
