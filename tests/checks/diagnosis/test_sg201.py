"""SG201: a model below an untrained baseline is an issue, one above all of them passes."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import by_hand, small_case, trained_row, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg201_beats_untrained_baselines import CHECK
from segue.checks.run import run_checks
from segue.training.losses.loss import LOSSES

CASE = small_case(noise_world(documents=24, length=6, dimension=4))  # 12 test documents of 4 windows each


def case_with(ours, **baselines):
    rows = [by_hand(CASE, name, ranks, family="baseline") for name, ranks in baselines.items()]
    return with_rows(CASE, by_hand(CASE, "model", ours), *rows)


def test_a_model_below_one_of_two_baselines_is_an_issue():
    verdict = CHECK.examine(case_with(8, mean=20, bm25=2))
    assert verdict.outcome == "issue"
    assert verdict.measured == -1.0  # R@5 of rank 8 is 0, of rank 2 it is 1
    assert "Clearly worse than bm25." in verdict.statement


def test_the_p_values_are_exact_and_adjusted_as_one_family():
    verdict = CHECK.examine(case_with(1, mean=20))
    # All 12 groups agree: 2 of the 2¹² sign patterns are as extreme; of two tests (R@5, MRR) the least is doubled.
    found = verdict.details["baselines"]["mean"]
    assert found["R@5"]["p"] == pytest.approx(2 * 2 / 2**12)
    assert found["MRR"]["value"] == pytest.approx(1 - 1 / 20)
    assert verdict.outcome == "passed"
    json.dumps(verdict.details, allow_nan=False)


def test_better_in_one_metric_only_suffices_unless_the_other_is_worse():
    assert CHECK.examine(case_with(1, mean=5)).outcome == "passed"  # R@5 is 1 for both, MRR is better


def test_no_difference_is_no_win():
    verdict = CHECK.examine(case_with(3, mean=3))
    assert verdict.outcome == "tip"
    assert "No clear win over mean." in verdict.statement


def test_one_document_tells_nothing():
    case = small_case(noise_world(documents=3, length=6, dimension=4), test=1)
    rows = by_hand(case, "model", 9), by_hand(case, "mean", 1, family="baseline")
    assert CHECK.examine(with_rows(case, *rows)).outcome == "tip"


def test_without_a_baseline_or_a_subject_there_is_nothing_to_compare():
    assert CHECK.examine(case_with(1)).outcome == "not-applicable"
    assert CHECK.examine(CASE).outcome == "not-applicable"


def test_the_hardest_of_several_baselines_is_named_and_measured():
    half = np.where(np.arange(48) % 2, 2, 20)  # R@5 of 0.5, against 0 of the model and 1 of mean
    verdict = CHECK.examine(case_with(8, bm25=half, mean=2))
    assert verdict.measured == -1.0
    assert "mean, the hardest baseline" in verdict.statement
    assert "Clearly worse than bm25, mean." in verdict.statement


def advice(folder, *, anchor, ours, theirs, case=CASE, under_trained=False):
    """Return what the user of a trained model with or without the anchor is told, and the outcome."""
    record = {"batch_size": 16, "under_trained": under_trained}
    trained = trained_row(folder, case.bank, loss=LOSSES["infonce"], anchor=anchor, record=record).trained
    model = dataclasses.replace(by_hand(case, "model", ours), trained=trained)
    baseline = by_hand(case, "mean", theirs, family="baseline")
    (finding,) = run_checks([CHECK], with_rows(case, model, baseline))
    return finding.outcome, finding.fix


@pytest.mark.parametrize(("ours", "outcome"), [(8, "issue"), (3, "tip")])
def test_a_model_with_the_anchor_is_not_told_to_start_from_it(tmp_path, ours, outcome):
    told = "train against the whole bank or on more documents, or serve the baseline"
    assert advice(tmp_path, anchor=True, ours=ours, theirs=3) == (outcome, told)


def test_a_model_with_the_anchor_that_still_improves_is_told_to_train_longer(tmp_path):
    told = "train longer, or serve the baseline"
    assert advice(tmp_path, anchor=True, ours=3, theirs=3, under_trained=True) == ("tip", told)


@pytest.mark.parametrize(("ours", "outcome"), [(8, "issue"), (3, "tip")])
def test_a_model_without_the_anchor_is_told_to_start_from_it(tmp_path, ours, outcome):
    assert CHECK.fix.startswith("start the model from the anchor")
    assert advice(tmp_path, anchor=False, ours=ours, theirs=3) == (outcome, CHECK.fix)


def test_a_model_with_the_anchor_and_too_few_documents_is_not_told_to_start_from_it(tmp_path):
    case = small_case(noise_world(documents=6, length=6, dimension=4))  # 3 tested: no p-value below 0.25
    outcome, told = advice(tmp_path, anchor=True, ours=1, theirs=20, case=case)
    assert (outcome, told) == ("tip", "test on more documents: 3 groups of them can show no clear difference")


def test_a_model_above_the_baselines_has_no_advice_of_its_own():
    assert CHECK.examine(case_with(1, mean=20)).fix == ""
