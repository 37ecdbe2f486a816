"""The logistic regression against a general optimiser, and where there is little to fit."""

import numpy as np
import pytest
from scipy.optimize import minimize

from segue.evaluation.confidence.fit import PRIOR, fit_logistic


def questions(count: int = 300, seed: int = 0):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((count, 3))
    hits = generator.random(count) < 1 / (1 + np.exp(-(features @ np.array([1.5, -0.5, 0.0]) - 1)))
    return features, hits, generator.uniform(0.2, 3.0, count)


def by_optimiser(features, hits, weights, penalty):
    """Minimise the same loss without its derivatives."""

    def loss(solution):
        logits = features @ solution[:3] + solution[3]
        likelihood = np.where(hits, -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits)))
        prior = PRIOR * (np.log1p(np.exp(-solution[3])) + np.log1p(np.exp(solution[3])))
        return -(weights @ likelihood) + prior + penalty / 2 * (solution[:3] ** 2).sum()

    return minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_the_minimum_is_that_of_a_general_optimiser(penalty):
    features, hits, weights = questions()
    coefficients, intercept = fit_logistic(features, hits, weights, penalty=penalty)
    assert np.allclose([*coefficients, intercept], by_optimiser(features, hits, weights, penalty), atol=1e-4)


def test_a_weight_of_two_is_the_observation_twice():
    features, hits, _ = questions(60)
    twice = np.arange(60) % 2
    weighted = fit_logistic(features, hits, 1.0 + twice)
    repeated = np.concatenate([np.arange(60), np.flatnonzero(twice)])
    again = fit_logistic(features[repeated], hits[repeated], np.ones(len(repeated)))
    assert np.allclose(weighted[0], again[0])
    assert weighted[1] == pytest.approx(again[1])


@pytest.mark.parametrize("hit", [True, False])
def test_where_all_agree_the_intercept_is_that_of_half_an_exception(hit):
    coefficients, intercept = fit_logistic(np.zeros((20, 1)), np.full(20, hit), np.ones(20))
    assert coefficients.tolist() == [0.0]
    assert intercept == pytest.approx((1 if hit else -1) * np.log(20.5 / 0.5))


def test_separable_observations_have_finite_coefficients():
    features = np.linspace(-3, 3, 40)[:, None]
    coefficients, intercept = fit_logistic(features, features[:, 0] > 0, np.ones(40))
    assert 0.5 < coefficients[0] < 10
    assert abs(intercept) < 0.1
