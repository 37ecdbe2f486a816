"""Metrics of your own: a function of ranks, and one whose smaller values are better."""

import numpy as np

from segue.evaluation.own_metrics import Metric


def success_at_3(ranks: np.ndarray) -> np.ndarray:
    """Share of windows with the target among the first three."""
    return (ranks <= 3).astype(float)


def log_rank(ranks: np.ndarray) -> np.ndarray:
    """Logarithm of the rank to base 2: 0 for a hit at once."""
    return np.log2(ranks)


EFFORT = Metric(log_rank, larger_is_better=False, description="Mean of log2 of the rank: halvings left to search.")
SUCCESS = Metric(success_at_3, limits=(0, 1), description="Share of windows with the target among the first three.")
