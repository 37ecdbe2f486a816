"""SG110 raises when a row searches another space than its loss's and does not say so, with both numbers."""

import dataclasses
import json

import numpy as np
import pytest
import worlds
from check_cases import small_case, trained_row

from segue.checks.integrity.sg110_loss_space_is_served import CHECK
from segue.evaluation.compatibility import project, projected_bank
from segue.files import read_json
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm

BANK = worlds.noise_world(documents=4, length=5)
HEAD = LossSettings(terms=(LossTerm(kind="infonce", space="projected", projection=(8, 4)),))
BOTH = {"compatibility": {"R@5": {"raw": 0.25, "projected": 0.5}}}


def trained(folder, loss, *, said=None, intent="candidate", record=None):
    """Return a row whose checkpoint says what it should (or ``said``) about the space of its loss."""
    found = trained_row(folder, BANK, loss=loss, record=record)
    path = folder / "checkpoint" / "config.json"
    space = said or ("projected" if loss is HEAD else "raw")
    path.write_text(json.dumps({**read_json(path), "loss_space": space}))
    return dataclasses.replace(found, intent=intent)


def examine(*rows):
    return CHECK.examine(small_case(BANK, *rows))


def test_a_loss_on_the_vectors_that_are_searched_passes(tmp_path):
    verdict = examine(trained(tmp_path, LOSSES["infonce"]))
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    assert (verdict.details["rows"]["model"]["loss"], verdict.details["rows"]["model"]["searched"]) == ("raw", "raw")


def test_an_undeclared_projection_is_an_issue_with_both_numbers(tmp_path):
    verdict = examine(trained(tmp_path, HEAD, record=BOTH))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert "searches the raw one without declaring it (validation R@5 25.0% raw, 50.0% projected)" in verdict.statement


def test_a_declared_projection_measured_in_both_spaces_passes_beside_chance(tmp_path):
    verdict = examine(trained(tmp_path, HEAD, intent="projected", record=BOTH))
    assert verdict.outcome == "passed"
    assert "model (validation R@5 25.0% raw, 50.0% projected), where chance is 25.00%" in verdict.statement


@pytest.mark.parametrize("record", [{"steps": 3}, {"compatibility": {"R@5": {"raw": 0.25, "projected": None}}}])
def test_a_declared_projection_that_was_not_measured_in_both_spaces_is_an_issue(tmp_path, record):
    verdict = examine(trained(tmp_path, HEAD, intent="projected", record=record))
    assert verdict.outcome == "issue"
    assert "R@5 was not measured in both" in verdict.statement


@pytest.mark.parametrize(("loss", "said"), [(HEAD, "raw"), (LOSSES["infonce"], "projected")])
def test_a_checkpoint_that_contradicts_its_loss_is_an_issue(tmp_path, loss, said):
    verdict = examine(trained(tmp_path, loss, said=said, record=BOTH))
    assert verdict.outcome == "issue"
    assert f"the checkpoint says {said}" in verdict.statement


def test_a_head_among_the_weights_contradicts_a_raw_loss(tmp_path):
    found = trained(tmp_path, HEAD, said="raw", record=BOTH)
    quiet = dataclasses.replace(found.trained, loss_settings=LOSSES["infonce"])
    verdict = examine(dataclasses.replace(found, trained=quiet))
    assert verdict.outcome == "issue"
    assert "the loss's weights says projected" in verdict.statement


def test_a_row_that_searches_behind_its_head_needs_no_declaration(tmp_path):
    found = trained(tmp_path, HEAD)
    loss = found.trained.loss
    pool = Pool(projected_bank(BANK, loss))
    retriever = VectorRetriever("model", "candidate", lambda contexts: project(loss, contexts.vectors[:, -1]), pool)
    verdict = examine(dataclasses.replace(found, load=lambda: retriever))
    assert (verdict.outcome, verdict.details["rows"]["model"]["searched"]) == ("passed", "projected")


def test_a_raw_loss_searched_in_another_space_is_an_issue(tmp_path):
    found = trained(tmp_path, LOSSES["infonce"])
    other = Pool(dataclasses.replace(BANK, vectors=np.roll(BANK.vectors, 1, axis=1)))
    moved = dataclasses.replace(found.retriever, pool=other)
    verdict = examine(dataclasses.replace(found, load=lambda: moved))
    assert (verdict.outcome, verdict.details["rows"]["model"]["searched"]) == ("issue", "another")


def test_rows_of_other_folds_are_asked_too(tmp_path):
    first, second = (trained(tmp_path / name, loss, record=BOTH) for name, loss in
                     (("a", LOSSES["infonce"]), ("b", HEAD)))  # fmt: skip
    verdict = examine(first, dataclasses.replace(second, fold=1))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert "model, fold 1 was trained in the projected space" in verdict.statement
