"""SG109 raises when another order of the bank, under other names, changes a rank or an order."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import worlds
from check_cases import row, small_case, vectors_row
from faults_integrity_b import GapReranker, NextRow, TiesByRow

from segue.checks.integrity.sg109_ranking_ignores_ids import (
    CHECK,
    COPIES,
    DOCUMENTS,
    MAXIMUM_WINDOWS,
    _reorder,
    _windows_of_some_documents,
)
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.types import Windows

BANK = worlds.drift_world(documents=8, length=8)  # 4 tested documents of 6 windows each


def case_of(*rows, bank=BANK, **more):
    return small_case(bank, *rows, **more)


def honest(bank=BANK):
    return vectors_row("mean", mean, bank)


def test_rankings_by_vectors_and_by_words_pass_with_ties_planted():
    verdict = CHECK.examine(
        case_of(honest(), vectors_row("copy-last", copy_last, BANK), row("b", Bm25(BANK, Pool(BANK))))
    )
    assert (verdict.outcome, verdict.measured, verdict.details["windows"]) == ("passed", 0.0, 24)
    assert verdict.details["ties"] > 0
    assert verdict.details["ties_turned"] > 0, "the check would see a tie broken by row number"


def test_a_bonus_for_the_next_position_is_an_issue():
    verdict = CHECK.examine(case_of(row("gap", GapReranker(BANK)), honest()))
    assert verdict.outcome == "issue"
    assert verdict.details["rows"]["gap"]["ranks"] > 0.3
    assert verdict.details["rows"]["mean"] == {"ranks": 0.0, "orders": 0.0}
    assert "1 other entries do not change" in verdict.statement


def test_ties_by_row_number_change_exactly_the_ranks_that_the_control_counts():
    retriever = TiesByRow(VectorRetriever("ties", "candidate", mean, Pool(BANK)))
    verdict = CHECK.examine(case_of(row("ties", retriever)))
    assert verdict.outcome == "issue"
    assert verdict.details["rows"]["ties"]["ranks"] == verdict.details["ties_turned"] / verdict.details["windows"]
    assert verdict.details["rows"]["ties"]["orders"] == 0.0, "in a ranking equal scores may stand in any order"


def test_a_query_that_reads_row_numbers_is_an_issue():
    assert CHECK.examine(case_of(vectors_row("next", NextRow(BANK), BANK))).outcome == "issue"


@dataclass
class Stored:
    """Looks up what it stored by row number, and cannot be moved to another bank."""

    vectors: np.ndarray

    def __call__(self, contexts):
        return self.vectors[contexts.rows[:, -1]]


def test_a_query_that_looks_up_by_row_is_an_issue_though_it_has_no_over():
    assert CHECK.examine(case_of(vectors_row("stored", Stored(BANK.vectors), BANK))).outcome == "issue"


def test_duplicates_deleted_passages_and_the_whole_prefix_excluded_change_nothing():
    generator = np.random.default_rng(0)
    texts = [f"text {n % 29}" for n in range(64)]
    bank = worlds.make_bank(generator.standard_normal((64, 8)), [8] * 8, texts, dead=(5, 40))
    verdict = CHECK.examine(case_of(honest(bank), row("bm25", Bm25(bank, Pool(bank))), bank=bank, exclude="prefix"))
    assert (verdict.outcome, verdict.details["windows"] > 0) == ("passed", True)


def test_controls_are_not_asked():
    by_row = TiesByRow(VectorRetriever("ties", "control", mean, Pool(BANK)))
    assert CHECK.examine(case_of(row("ties", by_row))).outcome == "passed"


def test_ties_are_copies_of_targets_in_rows_that_nobody_reads_or_asks_for():
    case = case_of(bank=worlds.drift_world(documents=30, length=8), test=20, context=2)
    trial = _reorder(case, _windows_of_some_documents(case))
    asked = set(trial.windows.context.ravel().tolist()) | set(trial.windows.target.tolist())
    planted = [
        (other, target)
        for target, ties in zip(trial.windows.target.tolist(), trial.ties.tolist(), strict=True)
        for other in ties
        if other >= 0
    ]
    assert planted
    assert len({other for other, _ in planted}) == len(planted)
    assert len(planted) == COPIES * len({target for _, target in planted})
    for other, target in planted:
        assert other not in asked
        assert np.array_equal(trial.copy.vectors[other], trial.copy.vectors[target])
        assert trial.copy.passage_texts[other] != trial.copy.passage_texts[target]
    assert np.array_equal(trial.other.vectors[trial.place], trial.copy.vectors)


def test_only_some_documents_and_windows_are_asked():
    case = case_of(bank=worlds.noise_world(documents=2 * DOCUMENTS + 20, length=8), test=DOCUMENTS + 10)
    windows = _windows_of_some_documents(case)
    assert len(np.unique(case.documents(windows))) == DOCUMENTS
    assert len(windows) == MAXIMUM_WINDOWS


def test_vectors_alone_and_a_single_document_pass():
    bank = dataclasses.replace(BANK, passage_texts=None)
    assert CHECK.examine(case_of(honest(bank), bank=bank)).outcome == "passed"
    alone = worlds.noise_world(documents=1, length=6)
    assert CHECK.examine(case_of(honest(alone), bank=alone)).outcome == "passed"


def test_questions_without_rows_are_left_to_sg102():
    (fold,) = case_of().folds
    unknown = Windows(np.full_like(fold.test.context, -1), fold.test.target)
    case = dataclasses.replace(case_of(honest()), folds=(dataclasses.replace(fold, test=unknown),))
    assert CHECK.examine(case).outcome == "not-applicable"


@dataclass
class OrderByRow(TiesByRow):
    """Knows the exact ranks, and answers with the right passages in the order of their rows."""

    def over(self, bank):
        return OrderByRow(self.inner.over(bank))

    def rank(self, contexts, k, **how):
        found = self.inner.rank(contexts, k, **how)
        return dataclasses.replace(found, rows=np.sort(found.rows, axis=1))

    def target_ranks(self, contexts, targets, **how):
        return self.inner.target_ranks(contexts, targets, **how)


def test_an_order_by_row_number_is_an_issue_though_every_rank_is_right():
    retriever = OrderByRow(VectorRetriever("order", "candidate", mean, Pool(BANK)))
    verdict = CHECK.examine(case_of(row("order", retriever)))
    assert verdict.details["rows"]["order"] == {"ranks": 0.0, "orders": 1.0}
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
