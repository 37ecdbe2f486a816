"""Measure how often 95 % intervals hold the truth, and how often tests cry wolf, on simulated documents.

Documents hold between 1 and 150 windows (log-normal, mean about 30); each has its own rate (beta, intra-document
correlation 0.15), its windows are hits or misses. Five intervals are compared on the same draws; the last is the one
that ``segue.evaluation.intervals`` computes. Then: the median rank's interval, the paired test under the null, and
gates whose true value is the threshold.

    python -m benchmarks.interval_coverage --simulations 2000 --json benchmarks/results/interval_coverage.json
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.surroundings import surroundings
from segue.evaluation.gates import Condition, GateSettings, Judged, judge
from segue.evaluation.intervals import _jackknife_errors, _resample, median_rank, paired, ratio_intervals
from segue.files import write_json

GROUPS = (5, 10, 30, 100)
RATES = (0.02, 0.1, 0.4)
CORRELATION = 0.15
OTHER_CORRELATIONS = (0.02, 0.5)


def documents(generator: np.random.Generator, num_groups: int) -> np.ndarray:
    """Windows of each document."""
    return np.clip(generator.lognormal(3.08, 0.8, num_groups), 1, 150).astype(int)


def rates_of(
    generator: np.random.Generator, num_groups: int, rate: float, correlation: float = CORRELATION
) -> np.ndarray:
    """Each document's own rate."""
    strength = (1 - correlation) / correlation
    return generator.beta(rate * strength, (1 - rate) * strength, num_groups)


def percentile(ratios: np.ndarray, *_: object) -> tuple[float, float]:
    return tuple(np.quantile(ratios, [0.025, 0.975]))


def bca(ratios: np.ndarray, sums: np.ndarray, sizes: np.ndarray, *_: object) -> tuple[float, float]:
    """Bias-corrected and accelerated; acceleration by leaving out one document (Efron and Tibshirani, 1993, 14.3)."""
    value, left = sums.sum() / sizes.sum(), (sums.sum() - sums) / (sizes.sum() - sizes)
    around = left.mean() - left
    spread = (around**2).sum() ** 1.5
    acceleration = (around**3).sum() / (6 * spread) if spread > 0 else 0.0
    below = ((ratios < value).mean() + (ratios <= value).mean()) / 2
    bias = norm.ppf(np.clip(below, 1 / len(ratios), 1 - 1 / len(ratios)))
    z = norm.ppf([0.025, 0.975])
    return tuple(np.quantile(ratios, norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))))


def studentised(ratios: np.ndarray, sums: np.ndarray, sizes: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Studentise as it is, clipped to 0 … 1."""
    value = sums.sum() / sizes.sum()
    error = _jackknife_errors(sums[:, None], sizes[:, None])[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.quantile(np.nan_to_num((ratios - value) / errors, posinf=1e9, neginf=-1e9), [0.025, 0.975])
    return max(0.0, value - high * error), min(1.0, value - low * error)


def studentised_logit(
    ratios: np.ndarray, sums: np.ndarray, sizes: np.ndarray, errors: np.ndarray
) -> tuple[float, float]:
    """Studentise on the logit scale; nothing is known when no window or every window is a hit."""
    value = sums.sum() / sizes.sum()
    if not 0 < value < 1:
        return 0.0, 1.0
    error = _jackknife_errors(sums[:, None], sizes[:, None])[0] / (value * (1 - value))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (logit(ratios) - logit(value)) * ratios * (1 - ratios) / errors
        t = np.where((ratios <= 0) | (ratios >= 1), np.sign(ratios - value) * 1e9, t)
    low, high = np.quantile(np.nan_to_num(t, posinf=1e9, neginf=-1e9), [0.025, 0.975])
    return float(expit(logit(value) - high * error)), float(expit(logit(value) - low * error))


METHODS = {"percentile": percentile, "BCa": bca, "studentised": studentised, "logit": studentised_logit}


def coverage(
    num_groups: int, rate: float, *, simulations: int, resamples: int, correlation: float = CORRELATION
) -> dict[str, dict[str, float]]:
    """Share of intervals that hold the true rate, and their mean width, for each method."""
    generator = np.random.default_rng(1)
    holds, widths = defaultdict(list), defaultdict(list)
    for seed in range(simulations):
        sizes = documents(generator, num_groups).astype(float)
        sums = generator.binomial(sizes.astype(int), rates_of(generator, num_groups, rate, correlation)).astype(float)
        ratios, errors = _resample(sums[:, None], sizes[:, None], resamples=resamples, seed=seed)
        ends = {name: method(ratios[:, 0], sums, sizes, errors[:, 0]) for name, method in METHODS.items()}
        (ours,) = ratio_intervals(sums[:, None], sizes[:, None], [(0.0, 1.0)], resamples=resamples, seed=seed)
        ends["segue"] = (ours.low, ours.high)
        for name, (low, high) in ends.items():
            holds[name].append(low <= rate <= high)
            widths[name].append(high - low)
    return {name: {"coverage": float(np.mean(holds[name])), "width": float(np.mean(widths[name]))} for name in holds}


def median_coverage(num_groups: int, *, simulations: int, resamples: int) -> float:
    """Share of intervals that hold the true median rank (log-normal ranks with a shift per document)."""
    generator, held, truth = np.random.default_rng(2), 0, 1 + np.floor(np.exp(3.0))
    for seed in range(simulations):
        groups = np.repeat(np.arange(num_groups), documents(generator, num_groups))
        shift = generator.normal(0, 0.5, num_groups)[groups]
        ranks = 1 + np.floor(np.exp(generator.normal(3.0, 1.0, len(groups)) + shift)).astype(int)
        interval = median_rank(ranks, groups, resamples=resamples, seed=seed)
        held += interval.low <= truth <= interval.high
    return held / simulations


def quotient_coverage(num_groups: int, *, simulations: int, resamples: int) -> float:
    """Share of intervals that hold the true Eff@5, a quotient whose denominator is drawn too."""
    generator, held, truth = np.random.default_rng(5), 0, 0.68
    for seed in range(simulations):
        contained = generator.binomial(documents(generator, num_groups), rates_of(generator, num_groups, 0.6))
        hits = generator.binomial(contained, rates_of(generator, num_groups, truth))
        columns = hits[:, None].astype(float), contained[:, None].astype(float)
        (interval,) = ratio_intervals(*columns, [(0.0, 1.0)], resamples=resamples, seed=seed)
        held += interval.low is None or interval.low <= truth <= interval.high
    return held / simulations


def null_comparisons(num_groups: int, *, simulations: int, resamples: int) -> dict[str, float]:
    """Two options of equal rate on the same documents: p-values below 0.05, and intervals that hold 0."""
    generator, p_values, held = np.random.default_rng(3), [], 0
    for seed in range(simulations):
        groups = np.repeat(np.arange(num_groups), documents(generator, num_groups))
        own = [rates_of(generator, num_groups, 0.3) for _ in range(2)]
        a, b = ((generator.random(len(groups)) < rates[groups]).astype(float) for rates in own)
        test = paired(a, b, groups, resamples=resamples, seed=seed)
        p_values.append((test.p_value, test.p_greater))
        held += test.difference.low <= 0 <= test.difference.high
    two, greater = (np.array(p_values) < 0.05).mean(axis=0)
    return {"difference": held / simulations, "two-sided": float(two), "one-sided": float(greater)}


def decided_at_the_threshold(num_groups: int, rate: float, *, simulations: int, resamples: int) -> dict[str, float]:
    """How a gate ends whose true rate is its threshold; both pass and fail would be wrong."""
    gate = GateSettings(name="gate", any_of=(Condition(metric="R@5", at_least=rate),))
    generator, ended = np.random.default_rng(4), []
    for seed in range(simulations):
        groups = np.repeat(np.arange(num_groups), documents(generator, num_groups))
        hits = generator.random(len(groups)) < rates_of(generator, num_groups, rate)[groups]
        judged = {"x": Judged(np.where(hits, 1, 90), groups)}
        ended.append(judge([gate], judged, "x", resamples=resamples, seed=seed)[0].outcome)
    return {outcome: ended.count(outcome) / simulations for outcome in ("pass", "fail")}


def compare_intervals(**sizes: float) -> list[dict]:
    """Print and return coverage and mean width of each interval, in per cent."""
    print("| rate | documents | " + " | ".join([*METHODS, "segue"]) + " |\n" + "|---" * (len(METHODS) + 3) + "|")
    rows = []
    for rate, num_groups in product(RATES, GROUPS):
        row = coverage(num_groups, rate, **sizes)
        cells = [f"{100 * cell['coverage']:.1f} ({100 * cell['width']:.1f})" for cell in row.values()]
        print(f"| {rate} | {num_groups} | {' | '.join(cells)} |", flush=True)
        rows.append({"rate": rate, "documents": num_groups, **row})
    return rows


def measure_the_rest(**sizes: int) -> list[dict]:
    """Print and return coverage of the other intervals, and error rates of tests and gates, in per cent."""
    heads = ("median rank", "Eff@5", "difference", "p two-sided", "p one-sided", "pass / fail at 0.4", "at 0.1")
    print("\n| documents | " + " | ".join(heads) + " |\n" + "|---" * (len(heads) + 1) + "|")
    rows = []
    for num_groups in GROUPS:
        held = {"median rank": median_coverage(num_groups, **sizes), "Eff@5": quotient_coverage(num_groups, **sizes)}
        held |= null_comparisons(num_groups, **sizes)
        gates = {str(rate): decided_at_the_threshold(num_groups, rate, **sizes) for rate in (0.4, 0.1)}
        ends = [f"{100 * gate['pass']:.1f} / {100 * gate['fail']:.1f}" for gate in gates.values()]
        print(f"| {num_groups} | " + " | ".join([*(f"{100 * v:.1f}" for v in held.values()), *ends]) + " |", flush=True)
        rows.append({"documents": num_groups, **held, "gates": gates})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    sizes = {"simulations": chosen.simulations, "resamples": chosen.resamples}
    tables = {"intervals": compare_intervals(**sizes), "others": measure_the_rest(**sizes)}
    for correlation in OTHER_CORRELATIONS:
        print(f"\nintra-document correlation {correlation}")
        tables[f"intervals, correlation {correlation}"] = compare_intervals(**sizes, correlation=correlation)
    if chosen.json:
        write_json(chosen.json, {"environment": surroundings(), **sizes, **tables})


if __name__ == "__main__":
    main()
