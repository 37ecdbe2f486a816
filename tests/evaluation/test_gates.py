"""Gates pass on evidence only: worlds whose true rates are known, and every reason for having none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from segue.errors import InputError
from segue.evaluation import gates
from segue.evaluation.gates import (
    EFFICIENCY,
    LATENCY,
    PHASE_1,
    RECALL,
    REPORT_GATES,
    SHIP,
    STANDARD_GATES,
    Condition,
    GateSettings,
    Judged,
    judge,
)
from segue.evaluation.intervals import PairedTest, paired
from segue.types import Interval

GROUPS = np.repeat(np.arange(40), 25)


def option(rate: float, *, groups: np.ndarray = GROUPS, seed: int = 0, **more: object) -> Judged:
    """Judge a retriever that finds the target first in a share of windows, else at place 40."""
    hits = np.random.default_rng(seed).random(len(groups)) < rate
    return Judged(np.where(hits, 1, 40), groups, **more)  # type: ignore[arg-type]


def outcome(gate: GateSettings, *, candidate: Judged, **others: Judged) -> str:
    judged = {"candidate": candidate, **{name.replace("_", "-"): other for name, other in others.items()}}
    return judge([gate], judged, "candidate", resamples=1000)[0].outcome


def test_a_rate_far_above_passes_far_below_fails_near_has_not_enough_evidence() -> None:
    assert outcome(RECALL, candidate=option(0.6)) == "pass"
    assert outcome(RECALL, candidate=option(0.2)) == "fail"
    assert outcome(RECALL, candidate=option(0.41)) == "not-enough-evidence"


def test_a_point_estimate_on_the_right_side_of_few_documents_is_no_pass() -> None:
    few = np.repeat(np.arange(5), 20)
    ended = judge([RECALL], {"x": option(0.9, groups=few)}, "x")[0]
    assert ended.value > 0.8
    assert ended.outcome == "not-enough-evidence"  # 5 groups: no two-sided p below 2 / 32
    ended = judge([RECALL], {"x": option(0.9, groups=few // 4)}, "x")[0]
    assert ended.outcome == "not-enough-evidence"
    assert "too few documents" in ended.reason
    assert ended.low is None


def test_the_phase_1_gate_compares_with_ar_only_on_the_same_windows() -> None:
    ar_only = option(0.2, seed=1)
    assert outcome(PHASE_1, candidate=option(0.5), ar_cosine=ar_only) == "pass"
    assert outcome(PHASE_1, candidate=option(0.2, seed=2), ar_cosine=ar_only) == "fail"
    ended = judge([PHASE_1], {"x": option(0.5), "ar-cosine": ar_only}, "x")[0]
    assert ended.value == pytest.approx(0.3, abs=0.04)
    assert ended.threshold == 0.10
    assert ended.text == "ΔR@5 over ar-cosine ≥ 0.1, or ΔMRR over ar-cosine ≥ 0.05"


@pytest.mark.parametrize("candidate", [0.5, 0.02])
def test_a_difference_to_an_under_trained_reference_is_no_evidence(candidate: float) -> None:
    late = option(0.2, seed=1, under_trained=True)
    ended = judge([PHASE_1], {"x": option(candidate), "ar-cosine": late}, "x")[0]
    assert (ended.outcome, ended.value) == ("not-enough-evidence", None)
    assert "ar-cosine is under-trained" in ended.reason
    assert outcome(RECALL, candidate=option(0.6, under_trained=True)) == "pass"  # a lower bound that is high enough


def test_every_standard_gate_states_where_its_threshold_comes_from() -> None:
    ended = judge(REPORT_GATES, {"x": option(0.5)}, "x")
    assert all("original report" in gate.to_json()["source"] for gate in ended)  # type: ignore[operator]
    assert "plus a margin" in LATENCY.source
    own = GateSettings(name="mine", any_of=(Condition(metric="R@5", at_least=0.1),), source="our contract")
    assert judge([own], {"x": option(0.5)}, "x")[0].source == "our contract"


def test_any_condition_that_passes_is_enough_and_all_must_fail() -> None:
    ranks = np.full(len(GROUPS), 4)  # R@5 = 1, MRR = 0.25
    high_mrr = GateSettings(
        name="g", any_of=(Condition(metric="MRR", at_least=0.9), Condition(metric="R@5", at_least=0.5))
    )
    ended = judge([high_mrr], {"x": Judged(ranks, GROUPS)}, "x")[0]
    assert (ended.outcome, ended.value, ended.threshold) == ("pass", 1.0, 0.5)  # numbers of the condition that passed
    assert [c.outcome for c in ended.conditions] == ["fail", "pass"]
    unknown = GateSettings(
        name="g", any_of=(Condition(metric="MRR", at_least=0.9), Condition(metric="cosine", at_least=0.5))
    )
    assert outcome(unknown, candidate=Judged(ranks, GROUPS)) == "not-enough-evidence"
    assert outcome(SHIP, candidate=option(0.05)) == "fail"


def test_eff_is_judged_as_a_quotient() -> None:
    ranks = np.where(np.arange(len(GROUPS)) % 10 < 8, 1, 40)
    assert outcome(EFFICIENCY, candidate=Judged(ranks, GROUPS)) == "pass"  # 0.8 of what is contained
    ranks = np.where(np.arange(len(GROUPS)) % 10 < 8, ranks, 900)
    ended = judge([EFFICIENCY], {"x": Judged(ranks, GROUPS)}, "x")[0]
    assert ended.value == 1.0
    nothing = judge([EFFICIENCY], {"x": Judged(np.full(len(GROUPS), 900), GROUPS)}, "x")[0]
    assert (nothing.outcome, nothing.value) == ("not-enough-evidence", None)
    assert "no value in any window" in nothing.reason


def test_latency_is_judged_by_its_interval() -> None:
    for interval, expected in [
        (Interval(0.9, 0.8, 1.1), "pass"),
        (Interval(1.4, 1.2, 1.6), "not-enough-evidence"),
        (Interval(2.4, 2.2, 2.6), "fail"),
        (Interval(0.9), "not-enough-evidence"),
        (Interval(0.9, 0.9, 0.9), "pass"),
    ]:
        assert outcome(LATENCY, candidate=option(0.5, scalars={"search_p95_ms": interval})) == expected


def test_what_was_not_measured_is_named() -> None:
    judged = {"x": option(0.5), "ar-cosine": option(0.2, groups=GROUPS[:-1])}
    latency, phase_1 = judge([LATENCY, PHASE_1], judged, "x")
    assert "search_p95_ms was not computed" in latency.reason
    assert "evaluated on other windows" in phase_1.reason
    assert "ar-cosine was not evaluated" in judge([PHASE_1], {"x": option(0.5)}, "x")[0].reason
    targets = np.arange(len(GROUPS))
    judged = {"x": option(0.5, targets=targets), "ar-cosine": option(0.2, targets=targets[::-1].copy())}
    assert "evaluated on other windows" in judge([PHASE_1], judged, "x")[0].reason
    assert latency.outcome == phase_1.outcome == "not-enough-evidence"
    with pytest.raises(InputError, match="no such option to judge"):
        judge([LATENCY], judged, "winner")


def test_further_metrics_come_from_values() -> None:
    cosine = np.random.default_rng(0).normal(0.5, 0.1, len(GROUPS))
    gate = GateSettings(name="g", any_of=(Condition(metric="cosine", at_least=0.4),))
    assert outcome(gate, candidate=option(0.5, values={"cosine": cosine})) == "pass"
    assert outcome(gate, candidate=option(0.5, values={"cosine": None})) == "not-enough-evidence"
    against = GateSettings(name="g", any_of=(Condition(metric="cosine", at_least=0.0, against="mean"),))
    assert outcome(against, candidate=option(0.5), mean=option(0.5)) == "not-enough-evidence"


def test_at_most_turns_the_sides_round() -> None:
    gate = GateSettings(name="g", any_of=(Condition(metric="median rank", at_most=10),))
    assert outcome(gate, candidate=option(0.8)) == "pass"
    assert outcome(gate, candidate=option(0.2)) == "fail"


def test_a_larger_family_asks_for_more_evidence() -> None:
    groups = np.repeat(np.arange(8), 25)
    judged = {"x": option(0.8, groups=groups)}
    assert judge([RECALL], judged, "x")[0].outcome == "pass"  # p = 2 / 256
    family = [RECALL.model_copy(update={"name": str(n)}) for n in range(8)]
    assert {ended.outcome for ended in judge(family, judged, "x")} == {"not-enough-evidence"}


def test_what_cannot_be_tested_costs_the_family_nothing() -> None:
    groups = np.repeat(np.arange(8), 25)
    family = [RECALL, *[PHASE_1] * 8]
    assert judge(family, {"x": option(0.8, groups=groups)}, "x")[0].outcome == "pass"


def test_pure_noise_passes_no_gate() -> None:
    ranks = np.random.default_rng(0).integers(1, 5001, len(GROUPS))
    judged = {"noise": Judged(ranks, GROUPS), "ar-cosine": Judged(ranks[::-1].copy(), GROUPS)}
    ended = {gate.name: gate.outcome for gate in judge(REPORT_GATES, judged, "noise")}
    assert ended.pop("latency") == "not-enough-evidence"  # nothing was timed
    assert ended.pop("efficiency") in ("fail", "not-enough-evidence")
    assert set(ended.values()) == {"fail"}


def test_a_rate_at_the_threshold_is_rarely_decided() -> None:
    generator, decided = np.random.default_rng(3), 0
    groups = np.repeat(np.arange(20), 10)
    for _ in range(150):
        rates = generator.beta(0.4 * 6, 0.6 * 6, 20)
        ranks = np.where(generator.random(200) < rates[groups], 1, 90)
        decided += judge([RECALL], {"x": Judged(ranks, groups)}, "x", resamples=300)[0].outcome != "not-enough-evidence"
    assert decided / 150 <= 0.085  # 5 % and two standard errors


def test_outcomes_are_json_with_the_promised_keys() -> None:
    ended = judge(REPORT_GATES, {"x": option(0.5)}, "x")
    records = json.loads(json.dumps([gate.to_json() for gate in ended], allow_nan=False))
    assert [record["name"] for record in records] == [gate.name for gate in REPORT_GATES]
    for record in records:
        assert {"name", "outcome", "value", "low", "high", "threshold", "candidate", "text"} <= set(record)


def test_families_hold_what_their_names_say() -> None:
    names = {gate.name for gate in REPORT_GATES}
    assert names == {"phase-1", "contain", "efficiency", "recall", "latency", "ship"}
    assert "efficiency" not in {gate.name for gate in STANDARD_GATES}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"metric": "R@5"}, "exactly one of at_least and at_most"),
        ({"metric": "R@5", "at_least": 0.1, "at_most": 0.2}, "exactly one of at_least and at_most"),
        ({"metric": "R@6", "at_least": 0.1}, "unknown metric 'R@6', did you mean 'R@"),
        ({"metric": "R@5", "atleast": 0.1}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused(condition: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateSettings.model_validate({"name": "g", "any_of": [condition]})


def test_the_worked_example_of_the_documentation() -> None:
    hits = [7, 8, 6, 9, 7, 8, 6, 7, 9, 8]
    ranks = np.concatenate([np.where(np.arange(10) < count, 1, 90) for count in hits])
    family = [
        GateSettings(name=metric, any_of=(Condition(metric=metric, at_least=threshold),))
        for metric, threshold in [("R@5", 0.4), ("Contain@50", 0.6), ("R@10", 0.7), ("MRR", 0.9)]
    ]
    ended = judge(family, {"x": Judged(ranks, np.repeat(np.arange(10), 10))}, "x")
    assert [gate.outcome for gate in ended] == ["pass", "pass", "not-enough-evidence", "fail"]
    adjusted = [gate.conditions[0].p_adjusted for gate in ended]
    assert adjusted == pytest.approx([8 / 1024, 3 * 8 / 1024, 288 / 1024, 3 * 8 / 1024])
    assert (ended[0].low, ended[0].high) == pytest.approx((0.67, 0.83), abs=0.005)


@pytest.mark.parametrize("targets", [None, np.arange(len(GROUPS))])
def test_as_many_windows_of_other_groups_are_other_windows(targets: np.ndarray | None) -> None:
    judged = {"x": option(0.5, targets=targets), "ar-cosine": option(0.2, groups=GROUPS[::-1].copy(), targets=targets)}
    ended = judge([PHASE_1], judged, "x")[0]
    assert ended.outcome == "not-enough-evidence"
    assert "ar-cosine was evaluated on other windows" in ended.reason


def test_a_comparison_is_resampled_as_often_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(*given: object, resamples: int, seed: int) -> PairedTest:
        asked.append((resamples, seed))
        return paired(*given, resamples=resamples, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(gates, "paired", counted)
    judge([PHASE_1], {"x": option(0.5), "ar-cosine": option(0.2, seed=1)}, "x", resamples=333, seed=5)
    assert set(asked) == {(333, 5)}
