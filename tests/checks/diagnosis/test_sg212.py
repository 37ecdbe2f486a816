"""SG212: entropies by hand, and temperatures that are too high, too low and right."""

import math

import numpy as np
import pytest
import torch
from check_cases import small_case, trained_row, with_rows
from worlds import drift_world, make_bank

from segue.checks.diagnosis.sg212_temperature import CHECK, describe_logits
from segue.checks.run import run_checks
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm


def examined(folder, loss, *, documents=24):
    bank = drift_world(documents=documents, length=10, drift=0.8)
    return CHECK.examine(with_rows(small_case(bank), trained_row(folder, bank, loss=loss)))


def at(temperature, **more):
    return LossSettings(terms=(LossTerm(kind="infonce", temperature=temperature, **more),))


def test_entropy_and_largest_probability_by_hand():
    entropy, largest = describe_logits(torch.tensor([[math.log(3.0), 0.0], [-math.inf, 5.0]]))
    nats = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(entropy[0]) == pytest.approx(nats / math.log(2))
    assert largest.tolist() == pytest.approx([0.75, 1.0])
    assert float(entropy[1]) == 0.0  # no negative is left


def test_a_temperature_of_one_is_flat(tmp_path):
    verdict = examined(tmp_path, at(1.0))
    assert verdict.outcome == "issue"
    assert verdict.details["rows"]["model"]["infonce"]["flat"] > 0.9


def test_a_hundredth_is_saturated(tmp_path):
    verdict = examined(tmp_path, at(0.01))
    assert verdict.outcome in ("issue", "tip")
    assert verdict.details["rows"]["model"]["infonce"]["saturated"] > 0.2


def test_the_temperature_of_the_field_passes(tmp_path):
    verdict = examined(tmp_path, at(0.1))
    assert verdict.outcome == "passed"
    assert verdict.details["rows"]["model"]["infonce"]["entropy_at"].keys() == {"0.05", "0.07", "0.1"}


def test_a_projected_term_is_looked_at_in_its_own_space(tmp_path):
    found = examined(tmp_path, LOSSES["infonce-projected"]).details["rows"]["model"]
    assert list(found) == ["infonce"]


def test_without_contrast_there_is_no_temperature(tmp_path):
    assert examined(tmp_path, LOSSES["ar-cosine"]).outcome == "not-applicable"


def test_hardly_any_validation_windows_are_not_applicable(tmp_path):
    bank = drift_world(documents=3, length=5)
    case = small_case(bank, test=1)
    assert CHECK.examine(with_rows(case, trained_row(tmp_path, bank, loss=at(1.0)))).outcome == "not-applicable"


def crowded_world():
    """Passages that are almost one vector: every cosine is above 0.99, as in an encoder with one large direction."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((240, 16))
    return make_bank(np.eye(16)[0] + noise, [10] * 24)


def advice(folder, bank, temperature):
    """Return what the user is told about a temperature, and the outcome."""
    case = with_rows(small_case(bank), trained_row(folder, bank, loss=at(temperature)))
    (finding,) = run_checks([CHECK], case)
    return finding.outcome, finding.fix


@pytest.mark.parametrize("temperature", [0.05, 0.07, 0.1])
def test_a_temperature_in_the_usual_range_is_not_told_to_go_there(tmp_path, temperature):
    """Logits differ by less than 0.01 / 0.05 = 0.2, so the shares of all candidates are within a factor of 1.2."""
    bank = crowded_world()
    assert (bank.vectors @ bank.vectors.T).min() > 0.99
    outcome, told = advice(tmp_path, bank, temperature)
    assert outcome == "issue"
    assert told == "let the loss learn τ ([loss] learn_temperature): the present one is in the usual range"


@pytest.mark.parametrize("temperature", [0.04, 0.2, 1.0])
def test_a_temperature_outside_the_usual_range_is_told_to_go_there(tmp_path, temperature):
    assert CHECK.fix.startswith("set τ between 0.05 and 0.1")
    assert advice(tmp_path, crowded_world(), temperature) == ("issue", CHECK.fix)


def test_a_temperature_that_is_too_high_for_healthy_data_is_told_the_usual_range(tmp_path):
    assert advice(tmp_path, drift_world(documents=24, length=10, drift=0.8), 1.0) == ("issue", CHECK.fix)
