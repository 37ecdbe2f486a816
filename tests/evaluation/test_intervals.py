"""Intervals and tests over groups of documents: against naive loops, scipy, and simulated worlds with known truth."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from segue.errors import InputError
from segue.evaluation.intervals import (
    _draws,
    _jackknife_errors,
    _patterns,
    _random_flips,
    _resample,
    bootstrap,
    group_draws,
    group_sums,
    holm,
    median_rank,
    paired,
    ratio_intervals,
    sign_flip,
    t_interval,
)
from segue.evaluation.metrics import chance, per_window
from segue.types import Interval


def clustered(generator: np.random.Generator, num_groups: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Binary windows in groups of unequal size, with an intra-group correlation of 0.15."""
    sizes = generator.integers(5, 40, num_groups)
    rates = generator.beta(rate * 5.67, (1 - rate) * 5.67, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    return (generator.random(len(groups)) < rates[groups]).astype(float), groups


def test_the_value_is_the_mean_over_windows() -> None:
    ranks, groups = np.array([1, 7, 2, 60, 3]), np.array([0, 0, 1, 2, 2])
    intervals = bootstrap(per_window(ranks), groups)
    assert intervals["R@5"].value == pytest.approx(3 / 5)
    assert intervals["MRR"].value == pytest.approx((1 + 1 / 7 + 1 / 2 + 1 / 60 + 1 / 3) / 5)
    assert intervals["Eff@5"].value == pytest.approx(3 / 4)
    assert all(i.low is not None and i.high is not None and i.low <= i.value <= i.high for i in intervals.values())


def test_resampled_ratios_and_errors_equal_a_naive_loop() -> None:
    sums = np.array([[1.0, 0.5], [4.0, 2.0], [0.0, 1.5], [2.0, 3.0]])
    sizes = np.array([[3.0, 1.0], [5.0, 4.0], [2.0, 4.0], [9.0, 5.0]])
    ratios, errors = _resample(sums, sizes, resamples=50, seed=4)
    for draw, counts in enumerate(np.concatenate(list(group_draws(4, resamples=50, seed=4)))):
        drawn = np.repeat(np.arange(4), counts.astype(int))
        assert len(drawn) == 4
        for metric in range(2):
            top, bottom = sums[drawn, metric], sizes[drawn, metric]
            ratio = top.sum() / bottom.sum()
            error = np.sqrt(sum((t - ratio * b) ** 2 for t, b in zip(top, bottom, strict=True)) * 4 / 3) / bottom.sum()
            assert ratios[draw, metric] == pytest.approx(ratio)
            assert errors[draw, metric] == pytest.approx(error, abs=1e-6)


def test_kept_draws_and_patterns_are_those_drawn_again() -> None:
    for seed in (4, 5, 4):
        kept = np.concatenate(list(group_draws(7, resamples=30, seed=seed)))
        assert np.array_equal(kept, np.concatenate(list(_draws(7, 30, seed))))
        flips = np.concatenate(list(_patterns(20, seed)))
        sums = np.arange(20.0)
        assert np.allclose(_random_flips(sums, seed), (2.0 * flips - 1) @ sums)


def test_the_jackknife_equals_leaving_out_each_group() -> None:
    sums, sizes = np.array([[1.0], [4.0], [0.0]]), np.array([[3.0], [5.0], [2.0]])
    left = np.array([4 / 7, 1 / 5, 5 / 8])
    assert _jackknife_errors(sums, sizes)[0] == pytest.approx(np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum()))


def test_many_equal_groups_give_the_interval_of_students_t() -> None:
    values = np.random.default_rng(2).normal(3.0, 1.0, 200)
    ours = bootstrap({"copying ratio": values}, np.arange(200))["copying ratio"]
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert ours.low == pytest.approx(theirs.low, abs=0.015)
    assert ours.high == pytest.approx(theirs.high, abs=0.015)


@pytest.mark.parametrize(("num_groups", "rate"), [(10, 0.4), (30, 0.1)])
def test_intervals_cover_the_truth_about_95_times_in_100(num_groups: int, rate: float) -> None:
    generator, covered = np.random.default_rng(8), 0
    for _ in range(300):
        values, groups = clustered(generator, num_groups, rate)
        interval = bootstrap({"R@5": values}, groups, resamples=400)["R@5"]
        covered += interval.low <= rate <= interval.high
    assert 0.91 <= covered / 300 <= 0.985  # two standard errors of the simulation are 0.025


def test_fewer_than_three_groups_give_no_interval() -> None:
    assert bootstrap({"R@5": np.array([1.0, 0.0])}, np.array([0, 1])) == {"R@5": Interval(0.5)}
    assert median_rank(np.array([1, 9]), np.array([0, 1])) == Interval(5.0)


@pytest.mark.parametrize("num_groups", [3, 10, 144])
def test_never_and_always_are_bounded_by_the_exact_binomial_interval(num_groups: int) -> None:
    groups = np.repeat(np.arange(num_groups), 7)
    for hits in (0, num_groups):
        ours = bootstrap({"R@1": np.full(len(groups), float(hits > 0))}, groups)["R@1"]
        theirs = stats.binomtest(hits, num_groups).proportion_ci(method="exact")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_no_interval_is_wider_than_one_toss_per_group() -> None:
    values = np.zeros(300)
    values[:3] = 1.0
    ours = bootstrap({"R@1": values}, np.repeat(np.arange(10), 30))["R@1"]
    assert ours.high < stats.binomtest(1, 10).proportion_ci(method="exact").high


def test_ends_stay_within_the_range_of_the_metric() -> None:
    groups = np.repeat(np.arange(4), 3)
    values = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1])
    for name, lowest in (("R@5", 0.0), ("cosine", -1.0)):
        ours = bootstrap({name: values}, groups)[name]
        assert lowest <= ours.low <= ours.value <= ours.high <= 1.0


def test_windows_without_the_metric_do_not_count() -> None:
    values, groups = np.array([1.0, np.nan, 0.0, 1.0, np.nan]), np.array([0, 0, 1, 2, 3])
    known = ~np.isnan(values)
    ours = bootstrap({"copying ratio": values, "R@5": np.full(5, np.nan)}, groups)
    assert set(ours) == {"copying ratio"}
    assert ours["copying ratio"].value == pytest.approx(values[known].mean())
    assert bootstrap({"R@5": np.array([])}, np.array([], dtype=int)) == {}


def test_a_metric_known_in_two_groups_only_has_no_interval() -> None:
    values = {"R@5": np.ones(4), "Contain@50": np.array([1.0, 1.0, 0.0, 0.0])}
    intervals = bootstrap(values, np.arange(4))
    assert intervals["Eff@5"].low is None
    assert intervals["Contain@50"].low is not None


def test_order_of_windows_and_names_of_groups_do_not_matter() -> None:
    values, groups = clustered(np.random.default_rng(1), 12, 0.3)
    order = np.random.default_rng(2).permutation(len(values))
    first = bootstrap({"R@5": values}, groups)["R@5"]
    other = bootstrap({"R@5": values[order]}, 1000 + 7 * groups[order])["R@5"]
    assert (first.low, first.high) == pytest.approx((other.low, other.high))
    assert first == bootstrap({"R@5": values}, groups)["R@5"]
    assert first != bootstrap({"R@5": values}, groups, seed=2)["R@5"]


def test_pure_noise_scores_chance_in_every_metric() -> None:
    pool, groups, generator = 400, np.repeat(np.arange(60), 20), np.random.default_rng(0)
    expected, held = chance(pool), dict.fromkeys(chance(pool), 0)
    for _ in range(60):
        ranks = generator.integers(1, pool + 1, len(groups))
        intervals = bootstrap(per_window(ranks), groups, resamples=300)
        intervals["median rank"] = median_rank(ranks, groups, resamples=300)
        for name, interval in intervals.items():
            held[name] += interval.low <= expected[name] <= interval.high
    assert min(held.values()) >= 51  # of 60; 57 expected, less than 51 once in 250 times
    assert sum(held.values()) >= 0.92 * 60 * len(held)


def test_memory_is_bounded_in_the_number_of_groups() -> None:
    sums, sizes = np.random.default_rng(0).random((20_000, 1)), np.ones((20_000, 1))
    tracemalloc.start()
    ratio_intervals(sums, sizes, [(0.0, 1.0)], resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6  # all counts at once would be 48 MB of float64 and as much of indices for each 300 draws


def test_group_sums_equal_a_naive_loop() -> None:
    generator = np.random.default_rng(3)
    values, groups = generator.random((50, 3)), generator.integers(0, 6, 50)
    naive = np.array([values[groups == group].sum(axis=0) for group in sorted(set(groups.tolist()))])
    assert group_sums(values, groups) == pytest.approx(naive)


def test_the_median_interval_covers_the_true_median() -> None:
    generator, covered = np.random.default_rng(4), 0
    groups = np.repeat(np.arange(25), 20)
    for _ in range(200):
        shift = generator.normal(0, 0.5, 25)[groups]
        ranks = 1 + np.floor(np.exp(generator.normal(3.0, 1.0, 500) + shift)).astype(int)
        interval = median_rank(ranks, groups, resamples=300)
        covered += interval.low <= 1 + np.floor(np.exp(3.0)) <= interval.high
    assert 0.90 <= covered / 200 <= 0.995


def test_a_median_shared_by_most_windows_is_certain() -> None:
    ranks = np.where(np.arange(100) % 10 < 8, 1, 50)
    assert median_rank(ranks, np.repeat(np.arange(20), 5)) == Interval(1.0, 1.0, 1.0)
    assert median_rank(np.array([], dtype=int), np.array([], dtype=int)) is None


@pytest.mark.parametrize("num_groups", [5, 12])
def test_exact_sign_flips_agree_with_scipy(num_groups: int) -> None:
    sums = np.random.default_rng(num_groups).normal(0.4, 1.0, num_groups)
    for ours, alternative in zip(sign_flip(sums), ("two-sided", "greater", "less"), strict=True):
        theirs = stats.permutation_test(
            (sums,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=alternative
        )
        assert ours == pytest.approx(theirs.pvalue)


def test_random_sign_flips_agree_with_the_normal_limit() -> None:
    sums = np.random.default_rng(6).normal(0.15, 1.0, 120)
    z = sums.sum() / np.sqrt((sums**2).sum())
    two, greater, less = sign_flip(sums)
    assert two == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)
    assert greater == pytest.approx(stats.norm.sf(z), abs=0.01)
    assert less == pytest.approx(stats.norm.cdf(z), abs=0.01)


def test_no_random_p_value_is_zero() -> None:
    two, greater, less = sign_flip(np.ones(200))
    assert two == greater == pytest.approx(1 / 20_001)
    assert less == 1.0


def test_groups_without_a_difference_say_nothing() -> None:
    assert sign_flip(np.zeros(9)) == (1.0, 1.0, 1.0)
    assert sign_flip(np.array([1.0, 0.0, 2.0, 0.0])) == sign_flip(np.array([1.0, 2.0]))


@pytest.mark.parametrize(("num_groups", "simulations"), [(12, 600), (25, 200)])
def test_five_in_a_hundred_null_comparisons_look_significant(num_groups: int, simulations: int) -> None:
    generator, p_values = np.random.default_rng(11), []
    for _ in range(simulations):
        a, groups = clustered(generator, num_groups, 0.3)
        flipped = generator.random(len(a)) < 0.3  # b is a with some windows redrawn at the same rate
        b = np.where(flipped, generator.random(len(a)) < 0.3, a).astype(float)
        a = np.where(generator.random(len(a)) < 0.3, generator.random(len(a)) < 0.3, a).astype(float)
        p_values.append(sign_flip(group_sums((a - b)[:, None], groups)[:, 0])[0])
    share = np.mean(np.array(p_values) < 0.05)
    assert share == pytest.approx(0.05, abs=0.035)  # two standard errors: 0.018 and 0.031


def test_paired_difference_by_hand() -> None:
    a, b = np.array([1.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0, 0.0])
    test = paired(a, b, np.array([0, 0, 1, 2]))
    assert test.difference.value == pytest.approx(0.5)
    assert (test.p_value, test.p_greater, test.p_less) == (0.5, 0.25, 1.0)  # two informative groups, one each
    assert (test.num_groups, test.threshold) == (3, 0.0)


def test_exchanging_the_options_mirrors_everything() -> None:
    generator = np.random.default_rng(5)
    a, groups = clustered(generator, 20, 0.4)
    b = (generator.random(len(a)) < 0.3).astype(float)
    there, back = paired(a, b, groups, 0.02), paired(b, a, groups, -0.02)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.low == pytest.approx(-back.difference.high, abs=0.01)
    assert there.p_value == pytest.approx(back.p_value, abs=0.01)
    assert there.p_greater == pytest.approx(back.p_less, abs=0.01)


def test_a_difference_equal_to_the_threshold_is_no_evidence() -> None:
    a, groups = np.full(40, 0.75), np.repeat(np.arange(20), 2)
    assert paired(a, a - 0.25, groups, 0.25).p_value == 1.0
    assert paired(a, a - 0.25, groups, 0.1).p_value < 0.001


def test_pairs_without_both_values_are_left_out() -> None:
    a, b = np.array([1.0, np.nan, 0.0, 1.0]), np.array([0.0, 1.0, np.nan, 1.0])
    assert paired(a, b, np.arange(4)).difference.value == 0.5
    with pytest.raises(InputError, match="nothing to compare"):
        paired(a[1:2], b[1:2], np.array([0]))


def test_differences_of_unbounded_metrics_have_unclipped_ends() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.normal(50, 1, 60), generator.normal(10, 1, 60)
    difference = paired(a, b, np.repeat(np.arange(20), 3)).difference
    assert 39 < difference.low < difference.value < difference.high < 41


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert adjusted[order[0]] == pytest.approx(min(1.0, len(p_values) * p_values[order[0]]))


def test_groups_of_unequal_size_weigh_as_much_as_fewer_equal_ones() -> None:
    """Sizes 1, 1, 2 and 4 weigh as much as 8² / (1 + 1 + 4 + 16) = 64 / 22 equal ones; never in n: 1 − 0.025^(1/n)."""
    groups = np.repeat(np.arange(4), [1, 1, 2, 4])
    never, always = (bootstrap({"R@1": np.full(8, value)}, groups)["R@1"] for value in (0.0, 1.0))
    assert (never.low, never.high) == (0.0, pytest.approx(1 - 0.025 ** (22 / 64)))
    assert (always.low, always.high) == (pytest.approx(0.025 ** (22 / 64)), 1.0)


def test_the_t_interval_of_cosines_ends_at_one_and_others_do_not() -> None:
    """t(0.975, 1) = 12.706; mean 0.5, standard error 0.5."""
    free, bounded = t_interval([0.0, 1.0]), t_interval([0.0, 1.0], bounded=True)
    assert (free.low, free.high) == (pytest.approx(-5.853, abs=1e-3), pytest.approx(6.853, abs=1e-3))
    assert (bounded.low, bounded.high) == (-1.0, 1.0)
