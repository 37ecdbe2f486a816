"""A regularised logistic regression: small, weighted, and the same bits on every run.

In: features, which of them stand for a hit, weights. Out: coefficients and an intercept.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

PENALTY = 10.0
"""Half of it times the sum of squared coefficients is added to the loss of all observations together."""

PRIOR = 0.5
"""So many hits and as many misses are added at average features, which keeps the intercept finite."""

STEPS = 100
SMALL = 1e-10


def fit_logistic(
    features: Float[np.ndarray, "observation feature"],
    hits: Bool[np.ndarray, "observation"],
    weights: Float[np.ndarray, "observation"],
    *,
    penalty: float = PENALTY,
) -> tuple[Float[np.ndarray, "feature"], float]:
    """Minimise −Σ weight · log-likelihood + penalty / 2 · ‖coefficients‖² by Newton's method with halved steps.

    The intercept is not penalised; half a hit and half a miss are added at features of 0 (for standardised features:
    at their average), after Haldane (1956), so that it stays finite where all observations agree.

    Args:
        features: standardised.
        hits: what is predicted.
        weights: how often each observation counts.
        penalty: above 0.

    Returns:
        The coefficients and the intercept.
    """
    count = features.shape[1]
    columns = np.concatenate([features, np.zeros((2, count))])
    columns = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    truth = np.concatenate([hits.astype(np.float64), [1.0, 0.0]])
    each = np.concatenate([weights, [PRIOR, PRIOR]])
    ridge = np.append(np.full(count, penalty), 0.0)
    solution = np.zeros(count + 1)
    for _ in range(STEPS):
        chance = expit(columns @ solution)
        slope = columns.T @ (each * (chance - truth)) + ridge * solution
        curvature = (columns * (each * chance * (1 - chance))[:, None]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        solution, moved = _descend(columns, truth, each, ridge=ridge, start=solution, step=step)
        if moved < SMALL:
            break
    return solution[:-1], float(solution[-1])


def _descend(
    columns: Float[np.ndarray, "observation column"],
    truth: Float[np.ndarray, "observation"],
    weights: Float[np.ndarray, "observation"],
    *,
    ridge: Float[np.ndarray, "column"],
    start: Float[np.ndarray, "column"],
    step: Float[np.ndarray, "column"],
) -> tuple[Float[np.ndarray, "column"], float]:
    """Go a Newton step, halved until the loss does not rise; return the place and how far that was."""

    def loss(solution: Float[np.ndarray, "column"]) -> float:
        logits = columns @ solution
        return float(weights @ (np.logaddexp(0.0, logits) - truth * logits) + 0.5 * ridge @ solution**2)

    before, size = loss(start), 1.0
    while size > SMALL and loss(start - size * step) > before:
        size /= 2
    return start - size * step, float(np.abs(size * step).max())
