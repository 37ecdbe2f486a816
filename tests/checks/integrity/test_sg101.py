"""SG101 raises when what is asked about is not searched."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import small_case, vectors_row

from segue.checks import CaseEntry
from segue.checks.integrity.sg101_targets_in_the_index import CHECK
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers.baselines import copy_last

BANK = worlds.noise_world(documents=6, length=6)  # 3 tested documents of 4 windows each


def indexed(index):
    row = vectors_row("copy-last", copy_last, BANK)
    return small_case(BANK, dataclasses.replace(row, load=lambda: dataclasses.replace(row.retriever, index=index)))


def test_a_case_whose_targets_are_all_candidates_passes():
    verdict = CHECK.examine(indexed(ExactIndex(Pool(BANK))))
    assert (verdict.outcome, verdict.measured, verdict.details["targets"]) == ("passed", 0.0, 12)


def test_the_share_of_missing_targets_is_counted():
    case = dataclasses.replace(small_case(BANK), pool=Pool(BANK, np.arange(5)))  # without the last tested document
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured, verdict.details["targets_absent"]) == ("issue", 4 / 12, 4)


def test_questions_about_documents_that_the_bank_does_not_hold_are_counted():
    names = [BANK.document_ids[3]] * 9 + ["8471"] * 3
    verdict = CHECK.examine(dataclasses.replace(small_case(BANK), query_documents={0: names}))
    assert (verdict.outcome, verdict.measured, verdict.details["documents_absent"]) == ("issue", 3 / 12, 3)


def test_an_index_over_other_vectors_does_not_find_targets_by_their_own():
    old = dataclasses.replace(BANK, vectors=np.roll(BANK.vectors, 1, axis=1))
    verdict = CHECK.examine(indexed(ExactIndex(Pool(old))))
    assert verdict.outcome == "issue"
    assert verdict.details["lost_by_index"]["copy-last"] > 0.5


def test_a_duplicate_of_the_target_is_as_good_as_the_target():
    vectors = np.eye(6)[[0, 1, 2, 3, 4, 2]]
    bank = worlds.make_bank(vectors, [3, 3], ["a", "b", "same", "c", "d", "same"])
    case = small_case(bank, test=1)  # its one target is row 5, whose text row 2 has too
    assert CHECK.examine(dataclasses.replace(case, pool=Pool(bank, np.array([0])))).outcome == "passed"


@pytest.mark.parametrize("length", [3, 2])
def test_one_document_and_no_window_at_all_do_not_crash(length):
    bank = worlds.make_bank(np.eye(4)[:length], [length])
    assert CHECK.examine(small_case(bank)).outcome == "passed"


def test_a_row_that_cannot_be_asked_hides_no_missing_target():
    def broken():
        raise InputError("no such encoder")

    case = dataclasses.replace(
        small_case(BANK), entries=(CaseEntry("encoder-context", "candidate", 0, "baseline", broken),)
    )
    with pytest.raises(InputError, match="no such encoder"):
        CHECK.examine(case)
    assert CHECK.examine(dataclasses.replace(case, pool=Pool(BANK, np.arange(5)))).outcome == "issue"


def test_an_index_is_not_blamed_where_no_target_is_a_candidate():
    case = dataclasses.replace(indexed(ExactIndex(Pool(BANK))), pool=Pool(BANK, np.arange(3)))
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured, verdict.details["lost_by_index"]) == ("issue", 1.0, {})
