"""SG219: three documents tell no difference, many do."""

import json

import numpy as np
import pytest
from check_cases import by_hand, small_case, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg219_enough_documents import CHECK, groups_needed
from segue.evaluation.gates import Condition, GateSettings


def examined(test, ours, theirs, *, gates=()):
    case = small_case(noise_world(documents=test + 4, length=6, dimension=4), test=test)
    rows = by_hand(case, "model", ours), by_hand(case, "copy-last", theirs, family="baseline")
    return CHECK.examine(with_rows(case, *rows, gates=gates))


def alternating(documents):
    """All windows of every other document are found, none of the rest."""
    return np.repeat(np.where(np.arange(documents) % 2, 1, 50), 4)


def test_three_documents_that_disagree_are_an_issue():
    verdict = examined(3, alternating(3), 50)
    assert verdict.outcome == "issue"
    assert verdict.measured > 0.1
    assert verdict.details["groups"] == 3
    assert "3 groups of test documents are too few for differences of 10 points" in verdict.caveats["model"]
    assert verdict.details["groups_needed"] > 3
    json.dumps(verdict.details, allow_nan=False)


def test_two_documents_have_no_interval_and_that_is_an_issue():
    verdict = examined(2, 1, 50)
    assert verdict.outcome == "issue"
    assert verdict.measured is None
    json.dumps(verdict.details, allow_nan=False)


def test_a_small_spread_passes():
    quarter = np.tile([1, 50, 50, 50], 100)  # every document has one hit in four
    verdict = examined(100, quarter, 50)
    assert verdict.outcome == "passed"
    assert verdict.measured < 0.1
    assert verdict.details["difference"]["value"] == pytest.approx(0.25)


def test_a_wide_interval_on_one_side_is_enough():
    found = np.repeat(np.where(np.arange(20) % 4, 1, 50), 4)  # three documents in four: 0.75, far above 0.1
    verdict = examined(20, found, 50)
    assert verdict.measured > 0.1
    assert verdict.outcome == "passed"
    assert "one side" in verdict.statement


def test_the_gate_says_which_difference_has_to_be_told():
    gate = GateSettings(name="fine", any_of=(Condition(metric="R@5", at_least=0.01, against="copy-last"),))
    same = np.tile([1, 50], 24)
    verdict = examined(12, same, same[::-1].copy(), gates=(gate,))
    assert verdict.threshold == 0.01


def test_half_the_width_takes_four_times_the_groups():
    assert groups_needed(12, 0.2, 0.1) == 48


def test_without_a_baseline_there_is_no_difference():
    case = small_case(noise_world(documents=8, length=6, dimension=4))
    assert CHECK.examine(with_rows(case, by_hand(case, "model", 1))).outcome == "not-applicable"
