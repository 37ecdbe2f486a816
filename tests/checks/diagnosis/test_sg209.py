"""SG209: copies of the last passage and of the mean are found; a prediction of the target passes."""

import numpy as np
import pytest
from check_cases import fixed_queries, small_case, vectors_row, with_rows
from worlds import drift_world, noise_world

from segue.checks.case import CaseEntry
from segue.checks.diagnosis.sg209_copying import CHECK, around
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.chance import Chance
from segue.types import Windows


def asked(query_of, **size):
    bank = noise_world(**{"documents": 16, "length": 14, **size})
    case = small_case(bank, context=3)
    return with_rows(case, vectors_row("model", query_of(case), bank), vectors_row("copy-last", copy_last, bank))


def the_truth(case):
    return fixed_queries(case, case.bank.gather(case.folds[0].test.target))


def test_a_prediction_of_the_target_passes():
    verdict = CHECK.examine(asked(the_truth))
    found = verdict.details["rows"]["model"]
    assert verdict.outcome == "passed"
    assert found["nearest"][found["offsets"].index(1)] == 1
    assert found["cosine"][5] == pytest.approx(1)
    assert abs(found["random"]["other document"]) < 0.2


@pytest.mark.parametrize(("query", "copied"), [(copy_last, "last passage"), (mean, "mean")])
def test_copies_are_found(query, copied):
    verdict = CHECK.examine(asked(lambda case: query))
    assert verdict.outcome == "issue"
    assert verdict.details["copied"] == copied
    assert verdict.measured == pytest.approx(1)


def test_a_prediction_nearest_to_the_last_passage_is_a_tip():
    def leaning(case):
        rows = case.folds[0].test
        return fixed_queries(case, 0.8 * case.bank.gather(rows.context[:, -1]) + 0.6 * case.bank.gather(rows.target))

    verdict = CHECK.examine(asked(leaning))
    assert verdict.outcome == "tip"
    assert verdict.measured < 0.95


def test_three_documents_are_too_few_to_tell():
    assert CHECK.examine(asked(lambda case: copy_last, documents=6)).outcome == "passed"


def test_offsets_stay_inside_the_document_and_among_live_passages():
    bank = drift_world(documents=2, length=6)
    bank.alive[8] = False
    case = small_case(bank, context=1, test=1)
    rows, present = around(case, Windows(np.array([[6], [10]]), np.array([7, 11])))
    assert rows.tolist() == [[-1, -1, -1, -1, 6, 7, -1, 9, 10], [6, 7, -1, 9, 10, 11, -1, -1, -1]]
    assert np.array_equal(present, rows >= 0)


def test_a_row_without_query_vectors_is_not_applicable():
    bank = noise_world()
    case = small_case(bank)
    chance = CaseEntry("chance", "candidate", 0, "baseline", lambda: Chance(Pool(bank), 1))
    assert CHECK.examine(with_rows(case, chance)).outcome == "not-applicable"
