"""Intervals and tests over groups of near-duplicate documents.

Input: values per window and the group of each window. Output: 95 % intervals, paired differences, p-values.

Windows of one document are not independent draws, so intervals resample groups and tests flip the signs of groups.
Below three groups there is no interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8
from scipy.special import betaincinv, expit, logit

from segue.errors import InputError
from segue.evaluation.metrics import RATIOS, metric_range
from segue.types import Interval

EXACT_GROUPS = 14
"""Maximum number of groups for which all sign patterns are tried."""

FLIPS = 20_000
"""Random sign patterns for more groups."""


def bootstrap(
    values: Mapping[str, Float[np.ndarray, "window"]],
    groups: Int[np.ndarray, "window"],
    *,
    ratios: Mapping[str, tuple[str, str]] = RATIOS,
    limits: Mapping[str, tuple[float, float]] = {},
    resamples: int = 10_000,
    seed: int = 1,
) -> dict[str, Interval]:
    """Average each metric over windows, with its 95 % interval over groups of documents.

    All metrics see the same resamples. Ends are None with fewer than three groups, and where no limit is known.

    Args:
        values: per metric one value per window; NaN where the window has none.
        groups: group of each window, any integers.
        ratios: name → (numerator, denominator), added where both are among ``values``; a quotient of two means.
        limits: smallest and largest value of metrics that ``metric_range`` does not know.
        resamples: draws of groups.
        seed: seed of the draws.

    Returns:
        One interval per metric; a metric without a single value is left out (not computed is never 0).
    """
    columns = {name: (np.nan_to_num(value), (~np.isnan(value)).astype(np.float64)) for name, value in values.items()}
    for name, (top, bottom) in ratios.items():
        if top in columns and bottom in columns:
            columns[name] = (columns[top][0], columns[bottom][0])
    known = {name: column for name, column in columns.items() if column[1].sum() > 0}
    if not known:
        return {}
    sums = group_sums(np.stack([top for top, _ in known.values()], axis=1), groups)
    sizes = group_sums(np.stack([bottom for _, bottom in known.values()], axis=1), groups)
    ranges = [limits.get(name) or metric_range(name) for name in known]
    return dict(zip(known, ratio_intervals(sums, sizes, ranges, resamples=resamples, seed=seed), strict=True))


def median_rank(
    ranks: Int[np.ndarray, "window"], groups: Int[np.ndarray, "window"], *, resamples: int = 10_000, seed: int = 1
) -> Interval | None:
    """Return the median rank with its interval by Woodruff's method; None without windows.

    The share of windows at or below the median has a bootstrap interval like any rate. One half less its upper margin,
    and plus its lower, are the quantiles of the ranks that bound the median (Woodruff, 1952).

    >>> median_rank(np.array([1, 3, 8]), np.array([0, 1, 1]))
    Interval(value=3.0, low=None, high=None)
    """
    if not len(ranks):
        return None
    median = float(np.median(ranks))
    below = (ranks <= median).astype(np.float64)
    sums = group_sums(np.stack([below, np.ones_like(below)], axis=1), groups)  # [group, 2]
    (rate,) = ratio_intervals(sums[:, :1], sums[:, 1:], [(0.0, 1.0)], resamples=resamples, seed=seed)
    if rate.low is None or rate.high is None:
        return Interval(median)
    places = np.clip([0.5 - (rate.high - rate.value), 0.5 + (rate.value - rate.low)], 0.0, 1.0)
    low, high = np.quantile(ranks, places, method="inverted_cdf")
    return Interval(median, float(min(low, median)), float(max(high, median)))


@dataclass(frozen=True)
class PairedTest:
    """Paired comparison of two retrievers on the same windows.

    Attributes:
        difference: mean of a − b over windows, with its interval.
        p_value: two-sided, that the difference equals ``threshold``.
        p_greater: one-sided, that it is not above the threshold.
        p_less: one-sided, that it is not below the threshold.
        threshold: what the difference is tested against.
        num_groups: groups of documents.
    """

    difference: Interval
    p_value: float
    p_greater: float
    p_less: float
    threshold: float
    num_groups: int


def paired(
    a: Float[np.ndarray, "window"],
    b: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
    threshold: float = 0.0,
    *,
    resamples: int = 10_000,
    seed: int = 1,
) -> PairedTest:
    """Compare two options on the same windows, over groups of documents.

    The interval is that of :func:`bootstrap` for the mean of a − b (limits −1 and 1 where both are fractions), the
    p-values come from :func:`sign_flip` of the groups' sums of a − b − threshold.

    Raises:
        InputError: no window has both values.
    """
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any():
        raise InputError("nothing to compare", got="no window with both values", fix="evaluate both options")
    a, b, groups = a[known], b[known], groups[known]
    fractions = min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) <= 1
    sums = group_sums(np.stack([a - b, np.ones_like(a)], axis=1), groups)  # [group, 2]
    limits = (-1.0, 1.0) if fractions else (-np.inf, np.inf)
    (difference,) = ratio_intervals(sums[:, :1], sums[:, 1:], [limits], resamples=resamples, seed=seed)
    two, greater, less = sign_flip(sums[:, 0] - threshold * sums[:, 1], seed=seed)
    return PairedTest(difference, two, greater, less, threshold, len(sums))


def sign_flip(sums: Float[np.ndarray, "group"], *, seed: int = 1) -> tuple[float, float, float]:
    """Test that the groups' sums are centred on 0 by flipping their signs.

    Exact up to 14 groups (all patterns); beyond that 20,000 random patterns and the observed one (Phipson and Smyth,
    2010: add one to both counts). Groups whose sum is 0 are left out.

    Returns:
        p-values: two-sided, one-sided for "above 0", one-sided for "below 0".

    >>> sign_flip(np.array([1.0, 2.0, 3.0]))
    (0.25, 0.125, 1.0)
    """
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0, 1.0, 1.0
    exact = len(sums) <= EXACT_GROUPS
    totals = _all_flips(sums) if exact else np.append(_random_flips(sums, seed), sums.sum())
    edge = sums.sum()
    slack = 1e-9 * np.abs(sums).sum()  # equal patterns must count as equal in spite of rounding
    return (
        float((np.abs(totals) >= abs(edge) - slack).mean()),
        float((totals >= edge - slack).mean()),
        float((totals <= edge + slack).mean()),
    )


def _all_flips(sums: Float[np.ndarray, "group"]) -> Float[np.ndarray, "pattern"]:
    """Return the total under each of the 2^G sign patterns."""
    totals = np.zeros(1)
    for value in sums:
        totals = np.concatenate([totals + value, totals - value])
    return totals


def _random_flips(sums: Float[np.ndarray, "group"], seed: int) -> Float[np.ndarray, "pattern"]:
    """Return the total under random sign patterns, in blocks of bounded memory; a single block is cached."""
    patterns = _cached_patterns(len(sums), seed) if FLIPS * len(sums) <= CELLS else _patterns(len(sums), seed)
    return 2 * np.concatenate([flips @ sums for flips in patterns]) - sums.sum()


@functools.lru_cache(maxsize=16)
def _cached_patterns(num_groups: int, seed: int) -> tuple[Int8[np.ndarray, "pattern group"], ...]:
    return tuple(_patterns(num_groups, seed))


def _patterns(num_groups: int, seed: int) -> Iterator[Int8[np.ndarray, "pattern group"]]:
    """Yield 0 or 1 for every group of every pattern."""
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // num_groups)
    for start in range(0, FLIPS, block):
        yield generator.integers(0, 2, (min(block, FLIPS - start), num_groups), dtype=np.int8)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down (1979): each is below 0.05 only if all smaller ones are.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.minimum(np.asarray(p_values)[order] * factors, 1.0))
    adjusted = np.empty(len(p_values))
    adjusted[order] = stepped
    return adjusted.tolist()


TAIL = 0.025
"""Probability left out at each end of an interval."""

MINIMUM_GROUPS = 3
"""Minimum number of groups for an interval."""

CELLS = 2_000_000
"""Numbers in memory at a time: resamples and sign flips are drawn in blocks of this size."""


def group_sums(
    values: Float[np.ndarray, "window metric"], groups: Int[np.ndarray, "window"]
) -> Float[np.ndarray, "group metric"]:
    """Add up the windows of each group, groups in ascending order.

    >>> group_sums(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 7])).tolist()
    [[2.0], [5.0]]
    """
    numbers, places = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(places, column, minlength=len(numbers)) for column in values.T], axis=1)


def elsewhere(groups: Int[np.ndarray, "window"], generator: np.random.Generator) -> Int[np.ndarray, "window"]:
    """Draw for each window another one of another group (of its own only where there is a single group).

    >>> elsewhere(np.array([7, 7, 3]), np.random.default_rng(0)).tolist()[:2]
    [2, 2]
    """
    order = np.argsort(groups, kind="stable")
    _, first, count = np.unique(groups[order], return_index=True, return_counts=True)
    begin, own = np.repeat(first, count), np.repeat(count, count)  # of each window in order
    others = len(groups) - own
    drawn = generator.integers(0, np.maximum(others, 1))
    anywhere = generator.integers(0, len(groups), len(groups))
    place = np.where(others > 0, drawn + np.where(drawn >= begin, own, 0), anywhere)
    answer = np.empty(len(groups), dtype=np.int64)
    answer[order] = order[place]
    return answer


def ratio_intervals(
    sums: Float[np.ndarray, "group metric"],
    sizes: Float[np.ndarray, "group metric"],
    ranges: Sequence[tuple[float, float]],
    *,
    resamples: int = 10_000,
    seed: int = 1,
) -> list[Interval]:
    """Return Σ sums / Σ sizes of each column with its interval.

    Args:
        sums: sums of each group, the numerators.
        sizes: sizes of each group, the denominators; each column has a sum above 0.
        ranges: smallest and largest value of each metric; infinite where there is no limit.
        resamples: draws of groups, the same for all metrics.
        seed: seed of the draws.
    """
    lowest, width, bounded = _unit_scales(ranges)
    scaled = (sums - lowest * sizes) / width  # bounded metrics now run from 0 to 1
    drawn, drawn_errors = _resample(scaled, sizes, resamples=resamples, seed=seed)
    values, errors = scaled.sum(axis=0) / sizes.sum(axis=0), _jackknife_errors(scaled, sizes)
    units = sizes.sum(axis=0) ** 2 / (sizes**2).sum(axis=0)  # groups of equal size that would weigh as much
    enough = ((sizes > 0).sum(axis=0) >= MINIMUM_GROUPS) & np.isfinite(errors)
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
    """Return offset and width that map each bounded range onto 0 … 1, and which ranges are bounded."""
    limits = np.array(ranges, dtype=np.float64).reshape(-1, 2)
    bounded = np.all(np.isfinite(limits), axis=1, keepdims=True)[:, 0]
    lowest = np.where(bounded, limits[:, 0], 0.0)
    return lowest, np.where(bounded, limits[:, 1] - lowest, 1.0), bounded


def _jackknife_errors(
    sums: Float[np.ndarray, "group metric"], sizes: Float[np.ndarray, "group metric"]
) -> Float[np.ndarray, "metric"]:
    """Return jackknife standard errors of the ratios; NaN where one group holds everything."""
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
    """Return how often each group was drawn, in blocks of bounded memory; a single block is cached."""
    if resamples * num_groups <= CELLS:
        return _cached_draws(num_groups, resamples, seed)
    return _draws(num_groups, resamples, seed)


@functools.lru_cache(maxsize=4)
def _cached_draws(num_groups: int, resamples: int, seed: int) -> tuple[Float[np.ndarray, "resample group"], ...]:
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
    """A ratio (on 0 … 1 if bounded), its standard error, and the number of groups of equal size that weigh as much."""

    value: float
    error: float
    units: float
    bounded: bool


def _ends(
    estimate: _Estimate, drawn: Float[np.ndarray, "resample"], errors: Float[np.ndarray, "resample"]
) -> tuple[float, float]:
    """Return the ends of one metric's interval from its draws.

    A draw without spread (all groups drawn agree) is infinitely many errors away: where such draws are common, the
    exact binomial interval sets the end.
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
    """Return value − error · quantile of (drawn − value) / its own error (Efron and Tibshirani, 1993, 12.5)."""
    if error == 0:
        return value, value
    difference = drawn - value
    far = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    spread = np.isfinite(errors) & (errors > 0) & np.isfinite(difference)
    t = np.divide(difference, errors, out=far, where=spread)[~np.isnan(drawn)]
    low, high = np.quantile(t, [1 - TAIL, TAIL], method="nearest")
    return value - error * float(low), value - error * float(high)


def _coin_tosses(estimate: _Estimate) -> tuple[float, float]:
    """Return Clopper–Pearson limits as if every group were one coin toss.

    They are the only limits where no group, or every group, scored.
    """
    hits = min(max(estimate.value, 0.0), 1.0) * estimate.units
    misses = estimate.units - hits
    low = betaincinv(hits, misses + 1, TAIL) if hits > 0 else 0.0
    high = betaincinv(hits + 1, misses, 1 - TAIL) if misses > 0 else 1.0
    return float(low), float(high)


MINIMUM_GROUPS_FOR_LIMIT = 4
"""Groups of documents below which there is no lower limit."""


def lower_limit(
    values: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"], *, resamples: int
) -> float | None:
    """Return the lower end of the mean's 95 % interval over groups of documents; None with fewer than four.

    Where nearly all groups agree, some resamples have no spread and a studentised interval has no end. The lowest mean
    of a group then replaces it, which is lower.

    >>> lower_limit(np.array([1.0, 1.0, 1.0, 0.9]), np.arange(4), resamples=200)
    0.9
    """
    sums = group_sums(np.stack([values, np.ones_like(values)], axis=1), groups)
    if len(sums) < MINIMUM_GROUPS_FOR_LIMIT:
        return None
    rounded = np.round(values, 6)  # rounding errors are no spread
    low = bootstrap({"value": rounded}, groups, ratios={}, resamples=resamples)["value"].low
    return float((sums[:, 0] / sums[:, 1]).min()) if low is None else low


def t_interval(values: Sequence[float], *, bounded: bool = False) -> Interval:
    """Return the mean and its 95 % interval by Student's t; no ends for fewer than two values.

    Args:
        values: independent measurements.
        bounded: keep the ends between −1 and 1, as for cosines.

    >>> t_interval([1.0, 2.0, 3.0]).value
    2.0
    >>> round(t_interval([1.0, 2.0, 3.0]).low, 3)  # 2 − 4.303 · 1 / √3
    -0.484
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean)
    from scipy.stats import t  # takes a second: imported where it is needed

    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    low, high = mean - half, mean + half
    return Interval(mean, max(-1.0, low), min(1.0, high)) if bounded else Interval(mean, low, high)


def standard_score(values: Float[np.ndarray, "value"]) -> float:
    """Return the mean of values in standard errors of the mean; 0 without any spread or with fewer than two values.

    >>> round(standard_score(np.array([1.0, 2.0, 3.0])), 3)  # 2 over 1/√3
    3.464
    """
    if len(values) < 2:
        return 0.0
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean() / error) if error > 0 else 0.0


def difference(a: Interval, b: Interval, *, weight: float = 1.0) -> Interval:
    """Return weight · a − b of two independent estimates, with its interval (MOVER: Zou and Donner, 2008).

    The lower end is the value − √((a − a.low)² + (b.high − b)²), the upper one likewise.

    >>> found = difference(Interval(0.9, 0.6, 1.0), Interval(0.3, 0.2, 0.7))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.6, 0.1, 0.741)
    """
    value = weight * a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Interval(value)
    down = math.sqrt((weight * (a.value - a.low)) ** 2 + (b.high - b.value) ** 2)
    up = math.sqrt((weight * (a.high - a.value)) ** 2 + (b.value - b.low) ** 2)
    return Interval(value, value - down, value + up)


def correlation(
    a: Float[np.ndarray, "window"],
    b: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
    generator: np.random.Generator,
    *,
    resamples: int,
) -> Interval:
    """Return Pearson's correlation with a percentile interval over groups drawn with replacement.

    >>> ends = correlation(np.arange(6.0), np.arange(6.0), np.arange(6) // 2, np.random.default_rng(0), resamples=99)
    >>> round(ends.value, 6), round(ends.low, 6), round(ends.high, 6)
    (1.0, 1.0, 1.0)
    """
    a, b = a - a.mean(), b - b.mean()
    sums = group_sums(np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1), groups)
    value = float(_pearson(sums.sum(axis=0)[None])[0])
    if len(sums) < MINIMUM_GROUPS:
        return Interval(value)
    drawn = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    low, high = np.quantile(_pearson(drawn @ sums), [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _pearson(totals: Float[np.ndarray, "draw six"]) -> Float[np.ndarray, "draw"]:
    """Return the correlation from n, Σa, Σb, Σa², Σb², Σab; 0 where one side does not vary."""
    n, a, b, aa, bb, ab = totals.T
    deviation = np.sqrt(np.maximum(n * aa - a * a, 0.0) * np.maximum(n * bb - b * b, 0.0))
    return np.divide(n * ab - a * b, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9)
