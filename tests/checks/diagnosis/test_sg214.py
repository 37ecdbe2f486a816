"""SG214: a stage is blamed only against a gate, and only by the interval of its percentile."""

import dataclasses

import numpy as np
import pytest
from check_cases import evaluated, small_case, vectors_row, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg214_latency import CHECK
from segue.evaluation.gates import Condition, GateSettings
from segue.retrieval.retrievers.baselines import copy_last, mean


def gate(metric="search_p95_ms", at_most=1.0, **more):
    return GateSettings(name="latency", any_of=(Condition(metric=metric, at_most=at_most, **more),))


def timed(predict, search, *gates):
    bank = noise_world()
    case = small_case(bank)
    predict, search = np.asarray(predict, dtype=float), np.asarray(search, dtype=float)
    timings = {"predict": predict, "search": search, "total": predict + search}
    subject = evaluated(case, vectors_row("model", mean, bank), timings=timings)
    return with_rows(case, subject, evaluated(case, vectors_row("copy-last", copy_last, bank)), gates=gates)


def test_shares_and_percentiles_by_hand():
    verdict = CHECK.examine(timed(np.full(40, 3.0), np.full(40, 1.0)))
    stages = verdict.details["rows"]["model"]
    assert stages["predict"] == {"p50_ms": 3.0, "p95_ms": 3.0, "share": 0.75}
    assert verdict.outcome == "passed"
    assert verdict.statement.startswith("Predict is most of the time: predict 75 %")
    assert "No gate" in verdict.statement


def test_a_stage_wholly_above_its_gate_is_an_issue():
    verdict = CHECK.examine(timed(np.full(100, 0.1), np.full(100, 1.2), gate()))
    assert (verdict.outcome, verdict.measured, verdict.threshold) == ("issue", pytest.approx(1.2), 1.0)


def test_an_interval_over_the_gate_is_a_tip_and_one_below_passes():
    reaching = np.concatenate([np.full(94, 0.5), np.full(6, 1.5)])
    assert CHECK.examine(timed(np.full(100, 0.1), reaching, gate())).outcome == "tip"
    assert CHECK.examine(timed(np.full(100, 9.0), np.full(100, 0.5), gate())).outcome == "passed"


def test_gates_about_other_things_or_other_stages_are_no_latency_gates():
    gates = (gate("rerank_p95_ms", 0.01), GateSettings(name="r", any_of=(Condition(metric="R@5", at_least=0.4),)))
    assert CHECK.examine(timed(np.full(30, 5.0), np.full(30, 5.0), *gates)).measured is None


def test_an_untimed_row_is_not_applicable():
    case = timed(np.ones(5), np.ones(5))
    subject = case.entries[0]
    untimed = dataclasses.replace(subject, evaluation=dataclasses.replace(subject.evaluation, timings={}))
    assert CHECK.examine(with_rows(case, untimed)).outcome == "not-applicable"
