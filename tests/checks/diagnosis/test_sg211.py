"""SG211: choosing by cosine is a tip where it chooses another retriever; Segue itself never does."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import by_hand, small_case, with_rows
from scipy.stats import spearmanr
from worlds import noise_world

from segue.checks.diagnosis.sg211_cosine_and_rank import CHECK

CASE = small_case(noise_world(documents=24, length=6, dimension=4))
COUNT = len(CASE.folds[0].test)


def option(name, ranks, cosine, mrr):
    noise = np.random.default_rng(0).random(COUNT)
    row = by_hand(CASE, name, ranks, cosine=cosine + 0.1 * noise)
    return dataclasses.replace(row, validation={"cosine": cosine, "MRR": mrr, "R@5": 0.5})


def test_a_higher_cosine_with_a_lower_recall_is_a_tip():
    verdict = CHECK.examine(with_rows(CASE, option("infonce", 1, 0.4, 0.9), option("ar-cosine", 30, 0.6, 0.1)))
    assert verdict.outcome == "tip"
    assert verdict.measured == -1.0
    assert verdict.details["chosen"] == {"cosine": "ar-cosine", "MRR": "infonce"}
    assert verdict.details["options"] == pytest.approx(-1.0)
    json.dumps(verdict.details, allow_nan=False)


def test_one_choice_by_both_passes():
    verdict = CHECK.examine(with_rows(CASE, option("infonce", 1, 0.6, 0.9), option("ar-cosine", 30, 0.4, 0.1)))
    assert verdict.outcome == "passed"
    assert verdict.details["options"] == pytest.approx(1.0)


def test_two_choices_of_equal_recall_are_a_tip():
    verdict = CHECK.examine(with_rows(CASE, option("infonce", 1, 0.4, 0.9), option("ar-cosine", 1, 0.6, 0.8)))
    assert verdict.outcome == "tip"


def test_the_correlation_over_windows_is_spearmans():
    ranks = np.random.default_rng(1).integers(1, 40, COUNT)
    rows = option("infonce", ranks, 0.4, 0.9), option("ar-cosine", 30, 0.3, 0.1)
    cosine = rows[0].evaluation.cosine
    expected = spearmanr(cosine, 1.0 / ranks).statistic
    found = CHECK.examine(with_rows(CASE, *rows)).details["windows"]
    assert found["value"] == pytest.approx(expected)
    assert found["low"] < expected < found["high"]


def test_projected_rows_and_controls_cannot_be_chosen():
    control = dataclasses.replace(option("oracle", 1, 1.0, 1.0), intent="control")
    rows = option("infonce", 1, 0.6, 0.9), option("ar-cosine", 30, 0.4, 0.1), control
    assert CHECK.examine(with_rows(CASE, *rows)).details["chosen"]["cosine"] == "infonce"


def test_one_option_leaves_no_choice():
    assert CHECK.examine(with_rows(CASE, option("infonce", 1, 0.4, 0.9))).outcome == "not-applicable"
