"""SG210: impostors are told apart, and passages read already before the truth are an issue."""

import json

import numpy as np
import pytest
from check_cases import by_hand, small_case, with_rows
from worlds import make_bank, noise_world

from segue.checks.diagnosis.sg210_where_the_truth_is import CHECK, KINDS, impostors, kinds_of

CASE = small_case(noise_world(documents=24, length=6, dimension=16))  # context 2: windows of rows 2 to 5 of each


def case_with(offset, ranks=2):
    """The first place is held by the passage that far from the target; the target itself stands second."""
    targets = CASE.folds[0].test.target
    first = (targets + offset) % len(CASE.bank)
    rankings = np.stack([first, targets], axis=1)
    return with_rows(CASE, by_hand(CASE, "model", ranks, rankings=rankings))


def test_kinds_are_those_of_a_document_read_by_hand():
    vectors = np.eye(10)
    vectors[8] = vectors[4]  # of another document, and the target's own vector
    bank = make_bank(vectors, [6, 4], [f"text {n}" for n in range(9)] + ["text 3"])
    case = small_case(bank, test=1)
    rows = np.array([3, 2, 1, 5, 6, 8, 9])  # the target is row 4, rows 2 and 3 were read, row 9 repeats row 3
    found = [KINDS[kind] for kind in kinds_of(case, np.full(7, 4), rows)]
    assert found == ["read already", "read already", "same document earlier", "same document later",
                     "other document", "near-duplicate", "read already"]  # fmt: skip


def test_the_impostor_is_the_first_that_is_not_the_target():
    row = case_with(-1).entries[0]
    assert np.array_equal(impostors(CASE.bank, row.evaluation), row.evaluation.targets - 1)


def test_passages_read_in_first_place_are_an_issue():
    verdict = CHECK.examine(case_with(-1))
    assert verdict.outcome == "issue"
    assert verdict.measured == 1.0
    assert verdict.details["rows"]["model"]["impostors"]["read already"] == 1.0
    json.dumps(verdict.details, allow_nan=False)


def test_other_documents_in_first_place_pass():
    verdict = CHECK.examine(case_with(60))
    assert verdict.outcome == "passed"
    assert verdict.details["rows"]["model"]["impostors"]["other document"] == 1.0
    assert verdict.details["rows"]["model"]["histogram"]["share"][1] == 1.0  # rank 2 is in the bin 2–5


def test_near_duplicates_in_first_place_are_a_tip():
    groups = np.arange(24) % 12  # document n is a near-duplicate of document n ± 12, 72 rows away
    case = case_with(72)
    assert CHECK.examine(with_rows(case, case.entries[0], groups=groups)).outcome == "tip"


def test_chance_counts_candidates():
    chance = CHECK.examine(case_with(60)).details["chance"]
    # Targets are the 3rd to 6th of six passages: 0 to 3 stand earlier than the context, 3 to 0 later, of 144.
    assert chance["same document earlier"] == pytest.approx(1.5 / 144)
    assert chance["same document later"] == pytest.approx(1.5 / 144)
    assert chance["read already"] == 0.0
    assert sum(chance.values()) == pytest.approx(1.0)


def test_a_truth_that_is_always_first_has_no_impostor():
    verdict = CHECK.examine(case_with(60, ranks=1))
    assert verdict.outcome == "passed"
    assert "first in every window" in verdict.statement


def test_one_document_raises_nothing():
    case = small_case(noise_world(documents=2, length=6, dimension=4), test=1)
    targets = case.folds[0].test.target
    row = by_hand(case, "model", 2, rankings=np.stack([targets - 1, targets], axis=1))
    assert CHECK.examine(with_rows(case, row)).outcome == "passed"
