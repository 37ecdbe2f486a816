"""SG112 raises when a checkpoint computes something else than when it was saved, or than what was evaluated."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import evaluated, small_case, trained_row
from resealed import edit
from safetensors.torch import load_file, save_file

from segue.checks.integrity.sg112_same_model import CHECK
from segue.files import read_json
from segue.training.losses.loss import LOSSES

BANK = worlds.noise_world(documents=6, length=6)
CASE = small_case(BANK)


def model(folder, **more):
    return trained_row(folder, BANK, loss=LOSSES["infonce"], **more)


def examine(*rows):
    return CHECK.examine(small_case(BANK, *rows))


def test_a_checkpoint_that_answers_as_it_was_saved_and_evaluated_passes(tmp_path):
    verdict = examine(evaluated(CASE, model(tmp_path)))
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    assert verdict.details["rows"]["model"]["largest"] < 1e-6


def test_a_changed_weight_is_an_issue_that_names_the_distance(tmp_path):
    found = model(tmp_path, anchor=False)
    path = tmp_path / "checkpoint" / "model.safetensors"
    weights = load_file(path)
    weights["correction.head.bias"][0] += 0.5
    save_file(weights, path)
    verdict = examine(found)
    assert (verdict.outcome, verdict.measured, verdict.threshold) == ("issue", 1.0, 0.0)
    assert "got a distance of" in verdict.statement


def test_a_missing_file_is_an_issue(tmp_path):
    found = model(tmp_path)
    (tmp_path / "checkpoint" / "golden.safetensors").unlink()
    assert "no golden.safetensors" in examine(found).statement


def test_cosines_that_the_checkpoint_does_not_give_are_an_issue_beside_the_evaluated_mean(tmp_path):
    found = evaluated(CASE, model(tmp_path))
    other = dataclasses.replace(found.evaluation, cosine=found.evaluation.cosine + 0.25, metrics={})
    verdict = examine(dataclasses.replace(found, evaluation=other))
    assert (verdict.outcome, verdict.details["rows"]["model"]["share"]) == ("issue", 1.0)
    assert "for 100% of 12 test windows" in verdict.statement
    assert verdict.details["rows"]["model"]["largest"] == pytest.approx(0.25)


@pytest.mark.parametrize(("shift", "outcome"), [(5e-4, "passed"), (2e-3, "issue")])
def test_what_another_device_rounds_is_let_pass(tmp_path, shift, outcome):
    found = evaluated(CASE, model(tmp_path))
    other = dataclasses.replace(found.evaluation, cosine=found.evaluation.cosine + shift, metrics={})
    assert examine(dataclasses.replace(found, evaluation=other)).outcome == outcome


def test_an_evaluation_of_other_windows_is_not_compared(tmp_path):
    found = evaluated(CASE, model(tmp_path))
    other = dataclasses.replace(found.evaluation, targets=found.evaluation.targets[::-1].copy(), metrics={})
    verdict = examine(dataclasses.replace(found, evaluation=other))
    assert (verdict.outcome, verdict.details["rows"]["model"]["largest"]) == ("passed", None)
    assert "no evaluated cosines could be compared" in verdict.statement


def test_one_broken_row_does_not_hide_another_and_folds_are_named(tmp_path):
    whole, broken = model(tmp_path / "a"), model(tmp_path / "b")
    (tmp_path / "b" / "checkpoint" / "config.json").unlink()
    verdict = examine(whole, dataclasses.replace(broken, fold=1))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert verdict.statement.startswith("1 of 2 trained entries are not what was trained. model, fold 1:")


def test_an_architecture_that_is_not_installed_cannot_be_judged(tmp_path):
    found = model(tmp_path)
    path = tmp_path / "checkpoint" / "config.json"
    edit(path, model=read_json(path)["model"] | {"name": "nowhere.at_all:Net"})
    with pytest.raises(ValueError, match="cannot be imported"):
        examine(found)


def test_ranks_on_record_that_its_answers_do_not_reach_are_an_issue(tmp_path):
    found = evaluated(CASE, model(tmp_path))
    perfect = dataclasses.replace(found.evaluation, ranks=np.ones_like(found.evaluation.ranks), metrics={})
    verdict = examine(dataclasses.replace(found, evaluation=perfect))
    assert verdict.outcome == "issue"
    assert "recorded ranks differ" in verdict.statement
    assert verdict.details["rows"]["model"]["other_ranks"] > 0.5


def test_ranks_on_record_under_another_exclusion_are_not_compared(tmp_path):
    found = evaluated(CASE, model(tmp_path))
    ranks = np.ones_like(found.evaluation.ranks)
    other = dataclasses.replace(found.evaluation, ranks=ranks, exclude="prefix", metrics={})
    verdict = examine(dataclasses.replace(found, evaluation=other))
    assert verdict.details["rows"]["model"]["other_ranks"] == 0.0
