"""Geometry of vectors and rankings: effective rank, anisotropy, hubness.

Input: vectors, or the candidates in the first places of each window. Output: figures without intervals.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from segue.retrieval.retrievers.baselines import normalise

SPECTRUM = 128
"""Values of a spectrum that are kept."""

HUBS = 0.01
"""Share of the candidates that count as the most retrieved."""

POINTS = 101
"""Points of a Lorenz curve."""


def singular_values(vectors: Float[np.ndarray, "vector dim"]) -> Float[np.ndarray, "value"]:
    """Return the singular values, descending, from the smaller of the two Gram matrices (float64)."""
    exact = vectors.astype(np.float64)
    gram = exact.T @ exact if len(exact) > exact.shape[1] else exact @ exact.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))[::-1]


def effective_rank(values: Float[np.ndarray, "value"]) -> float:
    """Return RankMe: the exponential of the entropy of the normalised singular values (Garrido et al., 2023).

    >>> effective_rank(np.array([2.0, 2.0, 0.0])), effective_rank(np.array([3.0]))
    (2.0, 1.0)
    """
    total = values.sum()
    if total == 0:
        return 1.0
    shares = values[values > 1e-9 * total] / total
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 9)


def spectrum(values: Float[np.ndarray, "value"]) -> list[float]:
    """Return the shares of the squared singular values, descending.

    >>> spectrum(np.array([3.0, 1.0]))
    [0.9, 0.1]
    """
    squares = values**2
    return (squares[:SPECTRUM] / max(squares.sum(), 1e-300)).tolist()


def directions(vectors: Float[np.ndarray, "vector dim"]) -> tuple[Float[np.ndarray, "dim"], Float[np.ndarray, "dim"]]:
    """Return the mean, and the first principal direction around it."""
    exact = vectors.astype(np.float64)
    centre = exact.mean(axis=0)
    centred = exact - centre
    return centre, np.linalg.eigh(centred.T @ centred)[1][:, -1]


def repaired(
    vectors: Float[np.ndarray, "vector dim"], centre: Float[np.ndarray, "dim"], axis: Float[np.ndarray, "dim"]
) -> Float[np.ndarray, "vector dim"]:
    """Remove the mean and the first principal direction (Mu and Viswanath, 2018), and normalise to length 1."""
    centred = vectors - centre
    return normalise(centred - np.outer(centred @ axis, axis))


def arcs(
    start: Float[np.ndarray, "*some dim"], end: Float[np.ndarray, "*some dim"], steps: int
) -> list[Float[np.ndarray, "*some dim"]]:
    """Return ``steps`` + 1 evenly spread points of the arc of the sphere between unit vectors, both ends included.

    >>> [point.round(3).tolist() for point in arcs(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 2)]
    [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    angle = np.arccos(np.clip((start * end).sum(axis=-1, keepdims=True), -1.0, 1.0))
    sine = np.sin(angle)
    straight = sine < 1e-3
    points = []
    for share in np.linspace(0.0, 1.0, steps + 1):
        before, after = (np.where(straight, part, np.sin(part * angle) / np.where(straight, 1.0, sine))
                         for part in (1.0 - share, share))  # fmt: skip
        points.append(before * start + after * end)
    return points


def first_share(vectors: Float[np.ndarray, "vector dim"]) -> float:
    """Return the share of all squared length that lies along one direction.

    >>> first_share(np.array([[2.0, 0.0], [0.0, 1.0]]))
    0.8
    """
    exact = vectors.astype(np.float64)
    values = np.linalg.eigvalsh(exact.T @ exact)
    return float(values[-1] / max(values.sum(), 1e-300))


def occurrences(found: Int[np.ndarray, "window slot"], size: int) -> Int[np.ndarray, "candidate"]:
    """Count how often each candidate holds a slot: N_k of Radovanović et al. (2010); -1 is an empty slot.

    >>> occurrences(np.array([[0, 2], [2, -1]]), 3).tolist()
    [1, 0, 2]
    """
    return np.bincount(found[found >= 0], minlength=size)


def skewness(counts: Int[np.ndarray, "candidate"]) -> float:
    """Return the third standardised moment; 0 where all counts are equal.

    >>> round(skewness(np.array([0, 0, 0, 4])), 3)
    1.155
    """
    centred = counts - counts.mean()
    deviation = centred.std()
    return 0.0 if deviation == 0 else float((centred**3).mean() / deviation**3)


def num_hubs(size: int) -> int:
    """Return how many candidates are the most retrieved ones: 1 %, at least one."""
    return max(1, round(HUBS * size))


def lorenz(counts: Int[np.ndarray, "candidate"]) -> dict[str, list[float]]:
    """Return the share of the slots that the most retrieved share of the passages holds.

    >>> lorenz(np.array([3, 1]))["slots"][50]
    0.75
    """
    total = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])]) / max(1, counts.sum())
    passages = np.linspace(0, 1, POINTS)
    slots = np.interp(passages * len(counts), np.arange(len(total)), total)
    return {"passages": passages.tolist(), "slots": slots.tolist()}


def most_retrieved(found: Int[np.ndarray, "window slot"], size: int) -> Int[np.ndarray, "hub"]:
    """Return the 1 % of the candidates that hold the most slots."""
    return np.argsort(-occurrences(found, size), kind="stable")[: num_hubs(size)]


def share_of_slots(found: Int[np.ndarray, "window slot"], hubs: Int[np.ndarray, "hub"]) -> Float[np.ndarray, "window"]:
    """Return the share of each window's filled slots that hubs hold."""
    return np.isin(found, hubs).sum(axis=1) / np.maximum(1, (found >= 0).sum(axis=1))
