"""Sums over groups of documents become a ratio with its 95 % interval: the resampling under every interval.

In: per group the sum of a metric and the sum of its weights. Out: their quotient and where it may lie.

A metric is the ratio of two sums over groups; groups are drawn with replacement. The interval is a studentised
bootstrap on the logit scale of the metric's range, held inside the exact binomial interval of as many coin tosses as
there are groups. The method was chosen by measured coverage against percentile, BCa and plain studentised intervals
(``docs/metrics.md``, ``benchmarks/interval_coverage.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
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
    """Give Σ sums / Σ sizes of each column with its interval; ``ranges`` are the limits of each metric."""
    estimates = sums.sum(axis=0) / sizes.sum(axis=0)
    errors = _jackknife_errors(sums, sizes)
    drawn, drawn_errors = _resample(sums, sizes, resamples=resamples, seed=seed)
    units = sizes.sum(axis=0) ** 2 / (sizes**2).sum(axis=0)  # groups of equal size that would weigh as much
    enough = (sizes > 0).sum(axis=0) >= FEWEST_GROUPS
    return [
        _studentised(_Estimate(estimates[m], errors[m], units[m], *limits), drawn[:, m], drawn_errors[:, m])
        if enough[m]
        else Interval(float(estimates[m]))
        for m, limits in enumerate(ranges)
    ]


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
    totals = np.concatenate([counts @ terms for counts in _draws(num_groups, resamples=resamples, seed=seed)])
    top, bottom, top_top, top_bottom, bottom_bottom = np.split(totals, 5, axis=1)  # each [resample, metric]
    ratios = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    squares = top_top - 2 * ratios * top_bottom + ratios**2 * bottom_bottom
    squares[squares < 1e-12 * (top_top + bottom_bottom)] = 0.0  # rounding, not spread
    scale = num_groups / max(num_groups - 1, 1)
    return ratios, np.sqrt(squares * scale) / np.where(bottom > 0, bottom, np.nan)


def _draws(num_groups: int, *, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "resample group"]]:
    """Yield how often each group was drawn, in blocks of bounded memory."""
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // num_groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, num_groups, (size, num_groups))
        drawn += (np.arange(size) * num_groups)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(np.float64)


@dataclass(frozen=True)
class _Estimate:
    """A ratio, its standard error, the number of equal groups it is worth, and its limits."""

    value: float
    error: float
    units: float
    lowest: float
    highest: float

    @property
    def bounded(self) -> bool:
        return bool(np.isfinite(self.lowest) and np.isfinite(self.highest))

    def to_unit(self, values: Float[np.ndarray, "*resample"]) -> Float[np.ndarray, "*resample"]:
        """Map the metric's range onto 0 … 1."""
        return np.clip((values - self.lowest) / (self.highest - self.lowest), 0.0, 1.0)


def _studentised(
    estimate: _Estimate, drawn: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> Interval:
    """Turn one metric's draws into its interval.

    A draw without spread (all groups drawn agree) lies infinitely many errors away: where such draws are common, the
    data set no end, and the exact binomial interval does.
    """
    if not np.isfinite(estimate.error):
        return Interval(float(estimate.value))
    low, high = _bootstrap_t(estimate, drawn, errors)
    if estimate.bounded:
        floor, ceiling = _coin_tosses(estimate)
        low, high = max(low, floor), min(high, ceiling)
    low, high = max(low, estimate.lowest), min(high, estimate.highest)
    value = float(estimate.value)
    return Interval(value, _finite(min(low, value)), _finite(max(high, value)))


def _finite(end: float) -> float | None:
    """An infinite end is none."""
    return float(end) if np.isfinite(end) else None


def _bootstrap_t(
    estimate: _Estimate, drawn: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> tuple[float, float]:
    """Studentise on the logit scale (bounded metrics) or as it is, and transform the ends back."""
    if not estimate.bounded:
        low, high = _quantiles_of_t(drawn - estimate.value, errors)
        return estimate.value - _times(high, estimate.error), estimate.value - _times(low, estimate.error)
    width = estimate.highest - estimate.lowest
    here, there = estimate.to_unit(np.asarray(estimate.value)), estimate.to_unit(drawn)
    if not 0 < here < 1:
        return estimate.lowest, estimate.highest
    with np.errstate(divide="ignore", invalid="ignore"):  # draws at the end of the range: logit ±inf, no slope
        low, high = _quantiles_of_t(logit(there) - logit(here), errors / width / (there * (1 - there)))
    step = estimate.error / width / (here * (1 - here))
    ends = expit(logit(here) - np.array([_times(high, step), _times(low, step)]))
    return estimate.lowest + width * float(ends[0]), estimate.lowest + width * float(ends[1])


def _quantiles_of_t(
    differences: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> tuple[float, float]:
    """Quantiles of difference / error; without an error the quotient is infinite, or 0 when nothing differs."""
    far = np.where(differences == 0, 0.0, np.copysign(np.inf, differences))
    spread = np.isfinite(errors) & (errors > 0) & np.isfinite(differences)
    t = np.divide(differences, errors, out=far, where=spread)
    known = t[~np.isnan(differences)]
    low, high = np.quantile(known, [TAIL, 1 - TAIL], method="nearest")
    return float(low), float(high)


def _times(quantile: float, step: float) -> float:
    """Multiply, where no step stays no step even at infinity."""
    return quantile * step if step > 0 else 0.0


def _coin_tosses(estimate: _Estimate) -> tuple[float, float]:
    """Clopper–Pearson limits as if every group were one toss: groups can't tell less than that.

    It is the only limit left when no group, or every group, scored: never seen in 10 documents is not never.
    """
    hits = float(estimate.to_unit(np.asarray(estimate.value))) * estimate.units
    misses = estimate.units - hits
    width = estimate.highest - estimate.lowest
    low = betaincinv(hits, misses + 1, TAIL) if hits > 0 else 0.0
    high = betaincinv(hits + 1, misses, 1 - TAIL) if misses > 0 else 1.0
    return estimate.lowest + width * float(low), estimate.lowest + width * float(high)
