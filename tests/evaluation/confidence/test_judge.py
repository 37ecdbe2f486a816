"""Curves and scores of a confidence against hand arithmetic, naive loops and worlds where the truth is known."""

import numpy as np
import pytest

from segue.evaluation.confidence.judge import (
    Answers,
    auroc_column,
    calibration_error,
    equal_bins,
    judge_confidence,
    separation,
    shares_answered,
)

SIX = Answers(
    np.array([0.9, 0.7, 0.7, 0.4, 0.2, 0.1]),
    np.array([True, True, False, False, True, False]),
    np.ones(6),
    np.arange(6),
)


def step(curve, threshold):
    return next(entry for entry in curve if entry["threshold"] == threshold)


def values(entry):
    return tuple(None if entry[name] is None else entry[name]["value"] for name in ("answered", "right"))


def test_the_curve_of_six_windows_by_hand():
    judged = judge_confidence(SIX, resamples=200)
    assert values(step(judged["curve"], 0.0)) == (1.0, 0.5)
    assert values(step(judged["curve"], 0.15)) == (pytest.approx(5 / 6), pytest.approx(3 / 5))
    assert values(step(judged["curve"], 0.7)) == (0.5, pytest.approx(2 / 3))
    assert values(step(judged["curve"], 0.75)) == (pytest.approx(1 / 6), 1.0)
    assert values(step(judged["curve"], 0.95)) == (0.0, None)
    assert judged["brier"]["value"] == pytest.approx((0.01 + 0.09 + 0.49 + 0.16 + 0.64 + 0.01) / 6)
    assert judged["brier_constant"] == 0.25
    assert judged["auroc"]["value"] == pytest.approx((3 + 2.5 + 1) / 9)


def test_weights_count_as_often_as_they_say():
    twice = np.array([0, 1, 2, 3, 4, 5, 0, 3])
    repeated = Answers(SIX.confidence[twice], SIX.right[twice], np.ones(8), SIX.groups[twice])
    weighted = Answers(SIX.confidence, SIX.right, np.array([2.0, 1, 1, 2, 1, 1]), SIX.groups)
    one, other = (judge_confidence(answers, resamples=200) for answers in (weighted, repeated))
    for name in ("brier", "auroc", "right"):
        assert one[name]["value"] == pytest.approx(other[name]["value"])
        assert one[name]["low"] == pytest.approx(other[name]["low"])
    assert values(step(one["curve"], 0.5)) == pytest.approx(values(step(other["curve"], 0.5)))


def world(groups, each, *, seed=0, distort=lambda p: p, spread=0.0):
    """Answers that are right with a known probability, and a confidence that is a function of it."""
    generator = np.random.default_rng(seed)
    of_group = np.repeat(np.arange(groups), each)
    logits = generator.normal(-1, 1.2, groups * each) + generator.normal(0, 1, groups)[of_group] * spread
    truth = 1 / (1 + np.exp(-logits))
    right = generator.random(groups * each) < truth
    return truth, Answers(distort(truth), right, np.ones(len(truth)), of_group)


def naive_auroc(answers):
    wins = total = 0.0
    for i in np.flatnonzero(answers.right):
        for j in np.flatnonzero(~answers.right):
            weight = answers.weights[i] * answers.weights[j]
            better, same = (
                answers.confidence[i] > answers.confidence[j],
                answers.confidence[i] == answers.confidence[j],
            )
            wins, total = wins + weight * (better + 0.5 * same), total + weight
    return wins / total


def test_auroc_equals_a_naive_loop_over_pairs():
    _, answers = world(10, 12, distort=lambda p: p.round(1))
    weighted = Answers(answers.confidence, answers.right, 1.0 + answers.groups % 3, answers.groups)
    assert separation(weighted, resamples=200).value == pytest.approx(naive_auroc(weighted))


def test_the_interval_of_the_auroc_is_as_wide_as_resampling_documents_makes_it():
    _, answers = world(40, 10, spread=0.8)
    generator, drawn = np.random.default_rng(1), []
    for _ in range(400):
        chosen = np.concatenate([np.flatnonzero(answers.groups == g) for g in generator.integers(0, 40, 40)])
        top, bottom = auroc_column(Answers(*(getattr(answers, n)[chosen] for n in ("confidence", "right", "weights",
                                                                                     "groups"))))  # fmt: skip
        drawn.append(top.sum() / bottom.sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = separation(answers, resamples=2000)
    assert 0.8 < (found.high - found.low) / (high - low) < 1.25
    assert abs(found.low - low) < 0.03
    assert abs(found.high - high) < 0.03


def test_one_kind_of_answer_has_no_auroc():
    wrong = Answers(SIX.confidence, np.zeros(6, dtype=bool), SIX.weights, SIX.groups)
    assert separation(wrong, resamples=200) is None
    judged = judge_confidence(wrong, resamples=200)
    assert judged["auroc"] is None
    assert judged["right"]["value"] == 0.0
    assert [values(entry | {"right": None})[0] for entry in shares_answered(wrong, resamples=200)][14] == 0.5


def test_a_calibrated_confidence_has_the_brier_score_of_chance_and_little_calibration_error():
    truth, answers = world(60, 40)
    judged = judge_confidence(answers, resamples=500)
    assert judged["brier"]["low"] <= (truth * (1 - truth)).mean() <= judged["brier"]["high"]
    assert judged["calibration_error"]["low"] <= 0.01
    inside = [entry["right"]["low"] <= entry["confidence"] <= entry["right"]["high"] for entry in judged["reliability"]]
    assert sum(inside) >= 9


def test_an_overconfident_one_has_the_error_that_it_was_given():
    truth, answers = world(60, 40, distort=np.sqrt)
    expected = (np.sqrt(truth) - truth).mean()
    error = calibration_error(answers, equal_bins(answers.confidence, answers.weights), resamples=500)
    assert error.low <= expected <= error.high
    assert error.value == pytest.approx(expected, abs=0.02)


def test_bins_have_equal_weight_and_equal_confidences_share_one():
    _, answers = world(30, 10)
    bins = equal_bins(answers.confidence, answers.weights)
    assert np.bincount(bins).tolist() == [30] * 10
    assert (np.diff(bins[np.argsort(answers.confidence)]) >= 0).all()
    assert len(np.unique(equal_bins(np.full(50, 0.3), np.ones(50)))) == 1


def test_two_groups_of_documents_have_no_intervals():
    judged = judge_confidence(Answers(SIX.confidence, SIX.right, SIX.weights, SIX.groups % 2), resamples=200)
    for name in ("auroc", "brier", "calibration_error"):
        assert judged[name]["low"] is None
        assert judged[name]["high"] is None
