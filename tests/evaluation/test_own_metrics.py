"""Metrics of one's own: what is accepted, and their values through evaluations, folds and gates."""

import dataclasses

import numpy as np
import pytest

from segue.errors import InputError, SettingsError
from segue.evaluation.gates import GateSettings, Judged, judge
from segue.evaluation.intervals import bootstrap
from segue.evaluation.own_metrics import Metric, as_metric, own_metrics
from segue.evaluation.result import Evaluation, merge

RANKS = np.array([1, 4, 4, 30, 2, 900, 7, 3], dtype=np.int64)


def third(ranks):
    """Share among the first three.

    More words.
    """
    return (ranks <= 3).astype(float)


def test_a_function_is_a_metric_whose_larger_values_are_better():
    metric = as_metric(third, name="x")
    assert (metric.larger_is_better, metric.limits) == (True, None)
    assert metric.description == "Share among the first three."
    assert metric.values(RANKS, name="x").tolist() == [1, 0, 0, 0, 1, 0, 0, 1]
    assert own_metrics({"log": "numpy:log2"})["log"].values(np.array([8]), name="log").tolist() == [3.0]
    given = Metric(third, larger_is_better=False)
    assert as_metric(given, name="x") is given


def test_values_at_the_limits_are_within_them_and_nan_is_no_value():
    metric = Metric(lambda ranks: np.where(ranks > 10, np.nan, 1.0 * (ranks <= 3)), limits=(0, 1))
    assert np.nanmean(metric.values(RANKS, name="x")) == 0.5


@pytest.mark.parametrize("limits", [(1, 1), (1, 0), (0, np.inf), (-np.inf, 0)])
def test_impossible_limits_are_refused(limits):
    with pytest.raises(SettingsError, match="impossible limits"):
        Metric(third, limits=limits)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda ranks: 1 / 0, "metric 'x' fails: got ZeroDivisionError"),
        (lambda ranks: 0.5, "not one value per window: got shape"),
        (lambda ranks: ["a"] * len(ranks), "metric 'x' fails: got ValueError"),
        (lambda ranks: np.where(ranks == 1, np.inf, 1.0), "leaves its limits"),
        (lambda ranks: np.where(ranks == 1, -np.inf, 1.0), "leaves its limits"),
    ],
)
def test_what_is_no_metric_is_refused(function, said):
    with pytest.raises(InputError, match=said):
        as_metric(function, name="x")


def test_one_value_outside_of_the_limits_is_enough():
    for function in (lambda ranks: 1.0 - (ranks == 1) * 1.5, lambda ranks: 0.0 + (ranks == 1) * 1.5):
        with pytest.raises(InputError, match=r"leaves its limits: got .*expected 0 to 1"):
            as_metric(Metric(function, limits=(0, 1)), name="x")
    with pytest.raises(InputError, match="is no function: got int"):
        as_metric(3, name="x")


def evaluation(**more):
    rows = np.arange(8)
    return Evaluation("x", "candidate", "context", 900, rows, rows // 2, rows // 2, RANKS, {}, rows[:, None],
                      resamples=200, **more)  # fmt: skip


def test_values_survive_saving_and_merging_and_keep_their_limits(tmp_path):
    own = {"third": third(RANKS), "log": np.log2(RANKS)}
    found = evaluation(own=own, limits={"third": (0.0, 1.0)})
    assert found.metrics["third"].value == 3 / 8
    assert found.metrics["log"].value == pytest.approx(np.log2(RANKS).mean())
    assert found.metrics["third"].low >= 0
    groups = np.arange(8) // 2
    as_rate = bootstrap({"R@5": third(RANKS)}, groups, resamples=200)["R@5"]
    assert found.metrics["third"] == as_rate  # a metric with these limits has the interval of a rate
    assert bootstrap({"third": third(RANKS)}, groups, resamples=200)["third"] != as_rate
    found.save(tmp_path / "evaluation")
    loaded = Evaluation.load(tmp_path / "evaluation")
    assert loaded.metrics == found.metrics
    assert loaded.limits == found.limits
    assert loaded.macro()["log"] == pytest.approx(np.log2(RANKS).reshape(4, 2).mean())
    twice = merge(
        [loaded, dataclasses.replace(found, ranks=RANKS[::-1].copy(), own={n: v[::-1] for n, v in own.items()})]
    )
    assert len(twice.own["log"]) == 16
    assert twice.metrics["third"].value == 3 / 8
    assert merge([found, evaluation()]).own == {}


def test_gates_judge_them_within_their_limits():
    names = {"metrics": ("third",)}
    table = {"name": "g", "any_of": [{"metric": "third", "at_least": 0.1}]}
    gate = GateSettings.model_validate(table, context=names)
    groups, hits = np.repeat(np.arange(40), 5), np.random.default_rng(0).random(200) < 0.6
    judged = Judged(np.where(hits, 1, 9), groups, values={"third": hits * 1.0}, limits={"third": (0.0, 1.0)})
    (found,) = judge([gate], {"x": judged}, "x", resamples=500)
    assert (found.outcome, found.value) == ("pass", hits.mean())
    assert found.high <= 1
    with pytest.raises(ValueError, match="unknown metric 'third'"):
        GateSettings.model_validate(table)
