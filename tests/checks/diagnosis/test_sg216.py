"""SG216: the ceiling of a reranker is counted from exact ranks."""

import json

import numpy as np
from check_cases import by_hand, small_case, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg216_reranker_ceiling import CHECK
from segue.evaluation.gates import REPORT_GATES, Condition, GateSettings

CASE = small_case(noise_world(documents=24, length=6, dimension=4))  # 48 test windows of 12 documents, 144 passages


def examined(ranks, **changes):
    return CHECK.examine(with_rows(CASE, by_hand(CASE, "model", ranks), **changes))


def ranks_of(inside: int):
    """Of the four windows of each document that many stand in place 30, the others in place 120."""
    return np.tile([30] * inside + [120] * (4 - inside), 12)


def test_targets_outside_the_first_fifty_are_an_issue():
    verdict = examined(100)
    assert verdict.outcome == "issue"
    assert verdict.measured == 0.0
    assert verdict.threshold == 0.4


def test_targets_in_the_first_fifty_pass_with_the_gain_they_allow():
    verdict = examined(ranks_of(4), gates=REPORT_GATES)
    assert verdict.outcome == "passed"
    assert verdict.details["gain"]["value"] == 1.0  # none in the first 5, all in the first 50
    assert verdict.details["rows"]["model"] == {"k": [5, 10, 20, 50, 100, 200, 500],
                                                "contain": [0, 0, 0, 1, 1, 1, 1]}  # fmt: skip
    json.dumps(verdict.details, allow_nan=False)


def test_half_in_the_first_fifty_is_below_a_gate_of_ninety_per_cent_for_them():
    gate = GateSettings(name="contain", any_of=(Condition(metric="Contain@50", at_least=0.9),))
    verdict = examined(ranks_of(2), gates=(gate,))
    assert verdict.measured == 0.5
    assert 0.4 < verdict.details["contain"]["high"] < 0.9
    assert verdict.outcome == "tip"
    assert verdict.threshold == 0.9


def test_gates_set_the_thresholds():
    gate = GateSettings(name="recall", any_of=(Condition(metric="R@5", at_least=0.9),))
    verdict = examined(ranks_of(1), gates=(gate,))
    assert verdict.outcome == "issue"
    assert verdict.threshold == 0.9


def test_one_document_blames_nobody():
    case = small_case(noise_world(documents=2, length=6, dimension=4), test=1)
    assert CHECK.examine(with_rows(case, by_hand(case, "model", 11))).outcome == "passed"


def test_an_unevaluated_subject_is_not_applicable():
    assert CHECK.examine(CASE).outcome == "not-applicable"
