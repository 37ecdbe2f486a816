"""SG208: passages that come first for unrelated documents are hubs; the passages of one subject are not."""

import json

import numpy as np
import pytest
from check_cases import evaluated, small_case, vectors_row, with_rows
from worlds import drift_world, noise_world

from segue.checks.diagnosis.sg208_hubs import CHECK
from segue.evaluation.geometry import lorenz, most_retrieved, occurrences, share_of_slots, skewness
from segue.retrieval.retrievers.baselines import copy_last, mean


def case_with(rankings_of, bank=None, **size):
    bank = bank or drift_world(**{"documents": 30, "length": 12, **size})
    case = small_case(bank)
    copied = evaluated(case, vectors_row("copy-last", copy_last, bank))
    subject = evaluated(case, vectors_row("model", mean, bank))
    rankings = rankings_of(subject.evaluation.rankings)
    return with_rows(case, evaluated(case, vectors_row("model", mean, bank), rankings=rankings), copied)


def as_they_are(rankings):
    return rankings


def one_on_top(rankings):
    return np.concatenate([np.zeros((len(rankings), 1), dtype=np.int64), rankings[:, :-1]], axis=1)


def test_rankings_of_their_own_subject_pass():
    verdict = CHECK.examine(case_with(as_they_are))
    assert verdict.outcome == "passed"
    assert verdict.measured < 0.04
    json.dumps(verdict.details, allow_nan=False)


def test_a_passage_on_top_of_every_ranking_is_a_hub():
    verdict = CHECK.examine(case_with(one_on_top))
    assert verdict.outcome == "issue"
    assert verdict.measured >= 0.1
    rows = verdict.details["rows"]
    assert rows["copy-last"]["skew"] < rows["model"]["skew"]
    assert rows["queries = bank vectors"]["share_of_hubs_of_other_documents"] < 0.04


def test_hubs_that_copy_last_has_too_are_the_banks():
    case = case_with(one_on_top)
    model, copied = case.entries
    both = with_rows(case, model, evaluated(case, copied, rankings=model.evaluation.rankings))
    assert CHECK.examine(both).outcome == "tip"


def test_few_documents_are_said_and_nothing_is_raised():
    verdict = CHECK.examine(case_with(one_on_top, documents=4))
    assert verdict.outcome == "passed"
    assert "too few documents" in verdict.statement


def test_an_unevaluated_row_is_not_applicable():
    bank = noise_world()
    case = small_case(bank)
    assert CHECK.examine(with_rows(case, vectors_row("model", mean, bank))).outcome == "not-applicable"


def test_counts_skewness_and_curve_by_a_naive_loop():
    found = np.array([[0, 1, -1], [0, 2, 3], [0, 1, 4]])
    naive = [sum(number in window for window in found.tolist()) for number in range(6)]
    counts = occurrences(found, 6)
    assert counts.tolist() == naive
    centre, spread = np.mean(naive), np.std(naive)
    assert skewness(counts) == pytest.approx(np.mean([((n - centre) / spread) ** 3 for n in naive]))
    curve = lorenz(counts)["slots"]
    assert curve[0] == 0
    assert curve[-1] == 1
    assert curve[50] == pytest.approx((3 + 2 + 1) / 8)


def test_the_share_of_hubs_counts_filled_slots_only():
    found = np.array([[0, 1, -1], [2, -1, -1], [-1, -1, -1]])
    assert share_of_slots(found, np.array([0, 2])).tolist() == [0.5, 1.0, 0.0]
    assert most_retrieved(np.array([[3, 1], [3, 0]]), 150).tolist() == [3, 0]
