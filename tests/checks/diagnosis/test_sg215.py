"""SG215: a curve that rises, one that does not, and what counts as rising."""

import itertools

import numpy as np
import pytest
from check_cases import small_case, trained_row, with_rows
from worlds import noise_world, transition_world

from segue.checks import Effort
from segue.checks.diagnosis.sg215_more_data import CHECK, _outcome, subsets
from segue.training.losses.loss import LOSSES
from segue.types import Interval

EFFORT = Effort(windows=100, steps=5, resamples=200)


def examined(folder, bank, **settings):
    case = small_case(bank, effort=EFFORT, test=4)
    return CHECK.examine(with_rows(case, trained_row(folder, bank, loss=LOSSES["infonce"], **settings)))


def test_parts_are_nested_and_double():
    case = small_case(noise_world())
    parts = subsets(np.arange(32), case)
    assert [len(part) for part in parts] == [4, 8, 16, 32]
    assert all(set(small) <= set(large) for small, large in itertools.pairwise(parts))


def test_noise_has_a_flat_curve(tmp_path):
    verdict = examined(tmp_path, noise_world(documents=44))
    assert verdict.outcome == "passed"
    assert verdict.details["documents"] == [2, 5, 10, 20]
    assert verdict.details["windows"] == [20, 50, 100, 200]
    assert len(verdict.details["R@5"]) == 4
    assert verdict.details["steps"] == 20


def test_a_rule_gives_a_curve_above_chance(tmp_path):
    verdict = examined(tmp_path, transition_world(documents=44, dimension=4), learning_rate=0.05)
    assert verdict.details["low"][-1] > 5 / 400


def test_few_training_documents_are_a_tip(tmp_path):
    verdict = examined(tmp_path, noise_world(documents=12))
    assert verdict.outcome == "tip"
    assert "Only 4 groups" in verdict.statement


@pytest.mark.parametrize(
    ("slope", "noise", "outcome"),
    [
        (Interval(0.06, 0.02, 0.10), 0.0, "issue"),
        (Interval(0.03, 0.01, 0.05), 0.0, "tip"),
        (Interval(0.03, 0.01, 0.05), 0.02, "passed"),  # another seed moves it as much
        (Interval(0.03, -0.01, 0.07), 0.0, "passed"),
        (Interval(0.005, 0.001, 0.009), 0.0, "passed"),
        (Interval(0.3), 0.0, "passed"),
    ],
)
def test_a_slope_counts_above_chance_seed_and_a_point(slope, noise, outcome):
    assert _outcome(slope, noise) == outcome


def test_without_training_there_is_no_curve():
    assert CHECK.examine(small_case(noise_world())).outcome == "not-applicable"
