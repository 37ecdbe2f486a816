"""SG114: rows that were measured otherwise than the rest are named, each with what differs."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import evaluated, small_case, vectors_row, with_rows
from worlds import make_bank, noise_world

from segue.checks import CaseEntry
from segue.checks.integrity.sg114_numbers_comparable import CHECK, distinct_texts
from segue.retrieval.retrievers.baselines import copy_last, mean


@pytest.fixture(scope="module")
def case():
    bank = noise_world(documents=8, length=8)
    found = small_case(bank)
    names = {"copy-last": copy_last, "mean": mean, "again": copy_last}
    return with_rows(found, *(evaluated(found, vectors_row(name, query, bank)) for name, query in names.items()))


def changed(case, which="mean", **parts):
    """Return the case with parts of one row's evaluation replaced; ``which=None``: of every row's."""
    rows = [
        dataclasses.replace(row, evaluation=dataclasses.replace(row.evaluation, **parts, metrics={}))
        if which in (None, row.name) else row
        for row in case.entries
    ]  # fmt: skip
    return with_rows(case, *rows)


def test_rows_measured_alike_pass(case):
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    assert "All 3 entries ranked the same 24 windows over the same 64 candidates" in verdict.statement
    json.dumps(verdict.details, allow_nan=False)


def test_a_smaller_pool_is_an_issue_of_that_row(case):
    ranks = np.minimum(case.entries[1].evaluation.ranks, 32)
    verdict = CHECK.examine(changed(case, pool_size=32, ranks=ranks))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert verdict.details["odd_rows"] == ["mean"]
    assert "mean ranked 32 candidates" in verdict.statement


def test_a_rank_beyond_the_pool_is_an_issue(case):
    ranks = case.entries[1].evaluation.ranks.copy()
    ranks[0] = 65
    assert "ranks beyond the number of candidates" in CHECK.examine(changed(case, ranks=ranks)).statement


def test_duplicates_counted_one_by_one_are_an_issue_even_where_all_rows_agree(case):
    bank = case.bank
    twice = list(bank.passage_texts)
    twice[5] = twice[40]
    bank = make_bank(bank.vectors, [8] * 8, twice)
    assert distinct_texts(bank) == 63
    verdict = CHECK.examine(dataclasses.replace(case, bank=bank))
    assert (verdict.outcome, verdict.measured) == ("issue", 3.0)
    assert "each duplicate counted separately" in verdict.statement


def test_deleted_passages_are_no_candidates():
    assert distinct_texts(make_bank(np.eye(4), [4], ["a", "b", "a", "c"], dead=[0, 1])) == 2


def test_other_windows_fewer_windows_or_another_order_are_an_issue(case):
    own = case.entries[1].evaluation
    for order, said in ((np.arange(24)[::-1], "other 24 windows"), (np.arange(12), "measured on 12 windows")):
        parts = ("targets", "documents", "groups", "ranks", "rankings", "cosine", "contrastive", "copying", "horizon")
        taken = {name: np.ascontiguousarray(getattr(own, name)[order]) for name in parts}
        verdict = CHECK.examine(changed(case, **taken, ranks_by_pool={}))
        assert verdict.outcome == "issue"
        assert said in verdict.statement
        assert "counts its windows" not in verdict.statement  # that follows from the windows


def test_another_exclusion_is_an_issue_unless_the_row_declares_the_context_left_in(case):
    verdict = CHECK.examine(changed(case, exclude="prefix"))
    assert verdict.outcome == "issue"
    assert "mean excluded 'prefix'" in verdict.statement
    assert CHECK.examine(changed(case, None, exclude="prefix")).measured == pytest.approx(3.0)
    left_in = [
        dataclasses.replace(row, intent="context-left-in") if row.name == "mean" else row
        for row in changed(case, exclude="none").entries
    ]
    assert CHECK.examine(with_rows(case, *left_in)).outcome == "passed"


def test_other_groups_of_documents_and_another_fresh_pool_are_issues(case):
    groups = np.zeros_like(case.entries[1].evaluation.groups)
    assert "1 groups of 4 documents" in CHECK.examine(changed(case, groups=groups)).statement
    assert "mean has 9 in the fresh pool" in CHECK.examine(changed(case, fresh_pool_sizes=(9,))).statement


def test_a_row_without_some_fold_is_not_compared_and_that_is_a_tip(case):
    (fold,) = case.folds
    second = dataclasses.replace(fold, split=dataclasses.replace(fold.split, fold=1))
    again = [dataclasses.replace(row, fold=1) for row in case.entries if row.name != "mean"]
    both = dataclasses.replace(case, folds=(fold, second), entries=(*case.entries, *again))
    verdict = CHECK.examine(both)
    assert verdict.outcome == "tip"
    assert "not compared: mean" in verdict.statement
    assert "the same 48 windows" in verdict.statement


def test_rows_that_were_only_trained_are_no_numbers(case):
    trained: CaseEntry = dataclasses.replace(case.entries[1], name="trained", evaluation=None)
    assert CHECK.examine(with_rows(case, *case.entries, trained)).outcome == "passed"
