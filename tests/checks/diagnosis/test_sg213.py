"""SG213: a world with a direction, one that only drifts, one without any order."""

import dataclasses

import pytest
from check_cases import small_case
from worlds import drift_world, noise_world, transition_world

from segue.checks import Effort
from segue.checks.diagnosis.sg213_order_to_learn import CHECK

EFFORT = Effort(windows=200, resamples=300)


def examined(bank, **more):
    return CHECK.examine(small_case(bank, effort=EFFORT, test=4, **more))


def test_a_world_that_moves_one_way_has_an_order():
    verdict = examined(transition_world(documents=44))
    assert verdict.outcome == "passed"
    assert verdict.details["probe"]["low"] > 0.8
    assert verdict.details["arms"]["true order"]["R@5"] > 0.9
    assert verdict.details["arms"]["passages shuffled"]["R@5"] < 0.5


def test_a_walk_at_random_has_nearness_and_no_direction():
    verdict = examined(drift_world(seed=2, documents=64, drift=0.7))
    assert verdict.outcome == "tip"
    assert "nearby passages help, but their direction does not" in verdict.statement
    assert verdict.details["probe"]["low"] < 0.5 < verdict.details["probe"]["high"]


def test_noise_has_no_order():
    verdict = examined(noise_world(seed=2, documents=64))
    assert verdict.outcome in ("issue", "tip")
    assert "no order was found" in verdict.statement


@pytest.mark.parametrize("length", [3, 12])
def test_few_windows_are_too_few_to_tell(length):
    bank = noise_world(documents=3, length=length)
    case = dataclasses.replace(small_case(bank, test=1), effort=EFFORT)
    verdict = CHECK.examine(case)
    assert verdict.outcome == "tip"
    assert "Too few" in verdict.statement
