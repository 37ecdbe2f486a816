"""Sums over groups of documents become a ratio with its 95 % interval: the resampling under every interval.

In: per group the sum of a metric and the sum of its weights. Out: their quotient and where it may lie.

A metric is the ratio of two sums over groups; groups are drawn with replacement. The interval is a studentised
bootstrap on the logit scale of the metric's range, held inside the exact binomial interval of as many coin tosses as
there are groups. The method was chosen by measured coverage against percentile, BCa and plain studentised intervals
(``docs/metrics.md``, ``benchmarks/interval_coverage.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv, expit, logit

from segue.types import Interval

TAIL = 0.025
"""Probability left out at each end of an interval."""

FEWEST_GROUPS = 3
"""Below so many groups nothing is known about the spread between documents."""

CELLS = 2_000_000
"""Numbers held at a time: resamples and sign flips are drawn in blocks of this many."""


def group_sums(
    values: Float[np.ndarray, "window metric"], groups: Int[np.ndarray, "window"]
) -> Float[np.ndarray, "group metric"]:
    """Add up the windows of each group, groups in ascending order.

    >>> group_sums(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 7])).tolist()
    [[2.0], [5.0]]
    """
    numbers, places = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(places, column, minlength=len(numbers)) for column in values.T], axis=1)


def ratio_intervals(
    sums: Float[np.ndarray, "group metric"],
    sizes: Float[np.ndarray, "group metric"],
    ranges: Sequence[tuple[float, float]],
    *,
    resamples: int = 10_000,
    seed: int = 1,
) -> list[Interval]:
    """Give Σ sums / Σ sizes of each column with its interval.

    Args:
        sums: what each group adds to the numerator.
        sizes: what it adds to the denominator; each column has a sum above 0.
        ranges: smallest and largest value of each metric; infinite where there is no limit.
        resamples: draws of groups, the same for all metrics.
        seed: of the draws.
    """
    lowest, width, bounded = _unit_scales(ranges)
    scaled = (sums - lowest * sizes) / width  # bounded metrics now run from 0 to 1
    drawn, drawn_errors = _resample(scaled, sizes, resamples=resamples, seed=seed)
    values, errors = scaled.sum(axis=0) / sizes.sum(axis=0), _jackknife_errors(scaled, sizes)
    units = sizes.sum(axis=0) ** 2 / (sizes**2).sum(axis=0)  # groups of equal size that would weigh as much
    enough = ((sizes > 0).sum(axis=0) >= FEWEST_GROUPS) & np.isfinite(errors)
    intervals = []
    for m, value in enumerate(sums.sum(axis=0) / sizes.sum(axis=0)):
        estimate = _Estimate(float(values[m]), float(errors[m]), float(units[m]), bool(bounded[m]))
        ends = _ends(estimate, drawn[:, m], drawn_errors[:, m]) if enough[m] else (-np.inf, np.inf)
        low, high = (float(lowest[m] + width[m] * end) if np.isfinite(end) else None for end in ends)
        intervals.append(Interval(float(value), low, high))
    return intervals


def _unit_scales(
    ranges: Sequence[tuple[float, float]],
) -> tuple[Float[np.ndarray, "metric"], Float[np.ndarray, "metric"], Bool[np.ndarray, "metric"]]:
    """Give offset and width that map each bounded range onto 0 … 1, and which ranges are bounded."""
    limits = np.array(ranges, dtype=np.float64).reshape(-1, 2)
    bounded = np.all(np.isfinite(limits), axis=1, keepdims=True)[:, 0]
    lowest = np.where(bounded, limits[:, 0], 0.0)
    return lowest, np.where(bounded, limits[:, 1] - lowest, 1.0), bounded


def _jackknife_errors(
    sums: Float[np.ndarray, "group metric"], sizes: Float[np.ndarray, "group metric"]
) -> Float[np.ndarray, "metric"]:
    """Standard errors of the ratios from leaving out one group at a time; NaN where one group holds everything."""
    num_groups = len(sums)
    rest = sizes.sum(axis=0) - sizes
    left = np.divide(sums.sum(axis=0) - sums, rest, out=np.full_like(sums, np.nan), where=rest > 0)
    return np.sqrt((num_groups - 1) / num_groups * ((left - left.mean(axis=0)) ** 2).sum(axis=0))


def _resample(
    sums: Float[np.ndarray, "group metric"], sizes: Float[np.ndarray, "group metric"], *, resamples: int, seed: int
) -> tuple[Float[np.ndarray, "resample metric"], Float[np.ndarray, "resample metric"]]:
    """Draw groups with replacement; return each draw's ratios and their linearised standard errors.

    The squared error of a ratio θ is Σ (sum − θ size)² / (Σ size)² · G / (G − 1): five sums over groups, so that one
    matrix product serves all metrics.
    """
    num_groups = len(sums)
    terms = np.concatenate([sums, sizes, sums**2, sums * sizes, sizes**2], axis=1)
    totals = np.concatenate([counts @ terms for counts in group_draws(num_groups, resamples=resamples, seed=seed)])
    top, bottom, top_top, top_bottom, bottom_bottom = np.split(totals, 5, axis=1)  # each [resample, metric]
    ratios = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    squares = top_top - 2 * ratios * top_bottom + ratios**2 * bottom_bottom
    squares[squares < 1e-12 * (top_top + bottom_bottom)] = 0.0  # rounding, not spread
    scale = num_groups / max(num_groups - 1, 1)
    return ratios, np.sqrt(squares * scale) / np.where(bottom > 0, bottom, np.nan)


def group_draws(num_groups: int, *, resamples: int, seed: int) -> Iterable[Float[np.ndarray, "resample group"]]:
    """Return how often each group was drawn, in blocks of bounded memory.

    Draws that fit into one block are kept: every metric of every option of a comparison is resampled alike.
    """
    if resamples * num_groups <= CELLS:
        return _kept_draws(num_groups, resamples, seed)
    return _draws(num_groups, resamples, seed)


@functools.lru_cache(maxsize=4)
def _kept_draws(num_groups: int, resamples: int, seed: int) -> tuple[Float[np.ndarray, "resample group"], ...]:
    return tuple(_draws(num_groups, resamples, seed))


def _draws(num_groups: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "resample group"]]:
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // num_groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, num_groups, (size, num_groups))
        drawn += (np.arange(size) * num_groups)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(np.float64)
        counts.flags.writeable = False
        yield counts


@dataclass(frozen=True)
class _Estimate:
    """A ratio (on 0 … 1 if bounded), its standard error, and the number of equal groups it is worth."""

    value: float
    error: float
    units: float
    bounded: bool


def _ends(
    estimate: _Estimate, drawn: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> tuple[float, float]:
    """Turn one metric's draws into the ends of its interval.

    A draw without spread (all groups drawn agree) lies infinitely many errors away: where such draws are common, the
    data set no end, and the exact binomial interval does.
    """
    if not estimate.bounded:
        return _bootstrap_t(estimate.value, estimate.error, drawn, errors)
    floor, ceiling = _coin_tosses(estimate)
    if not 0 < estimate.value < 1:
        return floor, ceiling
    slope = estimate.value * (1 - estimate.value)
    inside = np.clip(drawn, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # draws at an end of the range: logit ±inf, slope 0
        drawn, errors = logit(inside), errors / (inside * (1 - inside))
    low, high = expit(np.array(_bootstrap_t(float(logit(estimate.value)), estimate.error / slope, drawn, errors)))
    return min(max(float(low), floor), estimate.value), max(min(float(high), ceiling), estimate.value)


def _bootstrap_t(
    value: float, error: float, drawn: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> tuple[float, float]:
    """Studentise: value − error · quantile of (drawn − value) / its own error (Efron and Tibshirani, 1993, 12.5)."""
    if error == 0:
        return value, value
    difference = drawn - value
    far = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    spread = np.isfinite(errors) & (errors > 0) & np.isfinite(difference)
    t = np.divide(difference, errors, out=far, where=spread)[~np.isnan(drawn)]
    low, high = np.quantile(t, [1 - TAIL, TAIL], method="nearest")
    return value - error * float(low), value - error * float(high)


def _coin_tosses(estimate: _Estimate) -> tuple[float, float]:
    """Clopper–Pearson limits as if every group were one toss: groups can't tell less than that.

    It is the only limit left when no group, or every group, scored: never seen in 10 documents is not never.
    """
    hits = min(max(estimate.value, 0.0), 1.0) * estimate.units
    misses = estimate.units - hits
    low = betaincinv(hits, misses + 1, TAIL) if hits > 0 else 0.0
    high = betaincinv(hits + 1, misses, 1 - TAIL) if misses > 0 else 1.0
    return float(low), float(high)
