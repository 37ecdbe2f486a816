"""SG111 raises when a row's query is the truth, and says when training added nothing."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import fixed_queries, row, small_case, trained_row, vectors_row

from segue.checks.integrity.sg111_query_is_a_prediction import CHECK
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import Oracle, copy_last
from segue.retrieval.retrievers.bm25 import Bm25
from segue.training.losses.loss import LOSSES
from segue.types import Windows

BANK = worlds.noise_world(documents=10, length=6)  # 5 tested documents of 4 windows each
CASE = small_case(BANK)
TRUTH = BANK.gather(CASE.folds[0].test.target)


def answering(vectors):
    return small_case(BANK, vectors_row("asked", fixed_queries(CASE, vectors), BANK))


def true_for(count):
    """Return the truth for so many windows, and what was read last for the others."""
    vectors = BANK.gather(CASE.folds[0].test.context[:, -1])
    vectors[:count] = TRUTH[:count]
    return vectors


@pytest.mark.parametrize(("count", "outcome"), [(0, "passed"), (4, "passed"), (5, "issue"), (20, "issue")])
def test_more_than_a_fifth_of_queries_may_not_be_the_truth(count, outcome):
    verdict = CHECK.examine(answering(true_for(count)))
    assert (verdict.outcome, verdict.measured, verdict.threshold) == (outcome, count / 20, 0.2)


def test_the_statement_names_the_row_beside_random_targets():
    verdict = CHECK.examine(answering(true_for(20)))
    assert verdict.statement.startswith("100% of the queries of asked have a cosine of 0.999 or more with the truth")
    assert "a random target's" in verdict.statement


def test_longer_queries_are_the_truth_all_the_same_and_near_ones_are_not():
    assert CHECK.examine(answering(3 * TRUTH)).outcome == "issue"
    beside = worlds.unit(np.random.default_rng(0).standard_normal(TRUTH.shape))
    assert CHECK.examine(answering(worlds.unit(TRUTH + 0.1 * beside))).outcome == "passed"


def test_the_oracle_declares_itself_and_stands_beside_the_rows():
    oracle = VectorRetriever("oracle", "control", Oracle(BANK, CASE.folds[0].test), Pool(BANK))
    verdict = CHECK.examine(small_case(BANK, row("oracle", oracle), vectors_row("copy-last", copy_last, BANK)))
    assert verdict.outcome == "passed"
    assert "of oracle's 100% (control)" in verdict.statement
    undeclared = dataclasses.replace(oracle, intent="candidate")
    assert CHECK.examine(small_case(BANK, row("oracle", undeclared))).outcome == "issue"


def test_a_truth_that_was_read_already_proves_nothing():
    """Copying the last passage is the truth where the target is the last passage: SG102 says what is wrong there."""
    (fold,) = CASE.folds
    shifted = dataclasses.replace(fold, test=Windows(fold.test.context, fold.test.context[:, -1]))
    case = dataclasses.replace(small_case(BANK, vectors_row("copy-last", copy_last, BANK)), folds=(shifted,))
    assert CHECK.examine(case).outcome == "not-applicable"


def test_a_trained_row_that_answers_with_its_anchor_is_a_tip(tmp_path):
    model = trained_row(tmp_path, BANK, loss=LOSSES["infonce"])  # untrained, its anchor copies the last passage
    verdict = CHECK.examine(small_case(BANK, model, vectors_row("copy-last", copy_last, BANK)))
    assert verdict.outcome == "tip"
    assert "model answers with the last passage for 100% of its windows" in verdict.statement
    assert "copy-last answers" not in verdict.statement, "a baseline is a copy by design"
    assert verdict.fix.startswith("train an entry that only copies longer")
    assert [*verdict.caveats] == ["model"]


def test_a_trained_row_whose_own_anchor_answers_is_a_tip(tmp_path):
    model = trained_row(tmp_path, BANK, loss=LOSSES["infonce"])
    predictor = model.trained.predictor
    import torch

    from segue.retrieval.retrievers.predictor import PredictorQuery

    predictor.start_anchor(torch.tensor([0.8, 0.2]))
    query = PredictorQuery(predictor)
    moved = dataclasses.replace(model, load=lambda: VectorRetriever("model", "candidate", query, Pool(BANK)))
    verdict = CHECK.examine(small_case(BANK, moved))
    assert verdict.outcome == "tip"
    assert "its anchor alone" in verdict.statement


def test_a_trained_row_with_a_correction_passes(tmp_path):
    model = trained_row(tmp_path, BANK, loss=LOSSES["infonce"], anchor=False)
    assert CHECK.examine(small_case(BANK, model)).outcome == "passed"


def test_rows_without_query_vectors_are_passed_over():
    assert CHECK.examine(small_case(BANK, row("bm25", Bm25(BANK, Pool(BANK))))).details["rows"] == {}


def test_one_document_is_enough():
    bank = worlds.noise_world(documents=1, length=6)
    assert CHECK.examine(small_case(bank, vectors_row("copy-last", copy_last, bank))).outcome == "passed"


def test_no_test_window_is_not_applicable():
    bank = worlds.make_bank(np.eye(3)[:2], [2])
    assert CHECK.examine(small_case(bank, vectors_row("copy-last", copy_last, bank))).outcome == "not-applicable"
