"""SG113 raises when an index does not find what an exact search finds."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import row, small_case, vectors_row
from faults_integrity_b import InvertedLists

from segue.checks.integrity.sg113_index_finds_the_exact import CHECK
from segue.ranking.pool import Pool
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.store import KINDS, build_index, index_settings
from segue.retrieval.index.tuning import recall_of
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.types import Rankings

BANK = worlds.noise_world(documents=30, length=12)
POOL = Pool(BANK)


def indexed(name, query, index):
    found = vectors_row(name, query, BANK)
    return dataclasses.replace(found, load=lambda: dataclasses.replace(found.retriever, pool=POOL, index=index))


def examine(*rows, **more):
    return CHECK.examine(small_case(BANK, *rows, **more))


def test_an_exact_index_finds_everything_and_is_searched_once():
    exact = ExactIndex(POOL)
    verdict = examine(indexed("copy-last", copy_last, exact), indexed("mean", mean, exact))
    assert (verdict.outcome, verdict.measured, set(verdict.details["rows"])) == ("passed", 1.0, {"copy-last"})


def test_an_index_that_looks_into_all_lists_passes_and_one_probe_is_an_issue():
    assert examine(indexed("mean", mean, InvertedLists(POOL, lists=8, probes=8))).outcome == "passed"
    verdict = examine(
        indexed("mean", mean, InvertedLists(POOL, lists=8, probes=1)), indexed("copy-last", copy_last, ExactIndex(POOL))
    )
    assert verdict.outcome == "issue"
    assert verdict.measured < 0.6
    assert "those of 1 other entries find 98% or more" in verdict.statement


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_approximate_index_passes_with_its_greatest_effort(kind):
    verdict = examine(indexed("mean", mean, build_index(POOL, index_settings(kind))))
    assert verdict.outcome == "passed"
    assert verdict.details["rows"]["mean"]["index"] == "ApproximateIndex"


def test_a_real_approximate_index_that_looks_into_one_list_is_an_issue():
    built = build_index(POOL, index_settings("inverted-lists", lists=12))
    verdict = examine(indexed("mean", mean, ApproximateIndex(POOL, built.engine, {"lists": 1, "refined": 1})))
    assert verdict.outcome == "issue"
    assert verdict.measured < 0.6


def test_every_row_with_an_approximate_index_is_searched_with_its_own_queries():
    index = InvertedLists(POOL, lists=8, probes=8)
    assert set(examine(indexed("a", mean, index), indexed("b", copy_last, index)).details["rows"]) == {"a", "b"}


def test_an_exact_index_over_stale_vectors_is_no_exact_index():
    stale = Pool(dataclasses.replace(BANK, vectors=np.roll(BANK.vectors, 1, axis=1)))
    assert examine(indexed("mean", mean, ExactIndex(stale))).outcome == "issue"


def test_the_same_passages_are_excluded_in_both_searches():
    """Every other place would be lost if the index kept what was read: the last passage is nearest to itself."""
    assert examine(indexed("copy-last", copy_last, ExactIndex(POOL)), exclude="prefix").measured == 1.0


def test_two_documents_are_too_few_to_block():
    verdict = examine(indexed("mean", mean, InvertedLists(POOL, lists=8, probes=1)), test=2)
    assert verdict.outcome == "tip"
    assert "too few documents" in verdict.statement


def test_rows_without_an_index_are_not_applicable():
    assert examine(vectors_row("mean", mean, BANK), row("bm25", Bm25(BANK, POOL))).outcome == "not-applicable"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 1, 2], 1.0),
        ([2, 0, 1], 1.0),
        ([0, 1, 3], 1.0),  # as near as the third
        ([0, 4, 5], 1 / 3),
        ([-1, -1, -1], 0.0),
        ([0, 0, 0], 1 / 3),  # the same answer again is no answer
    ],
)
def test_recall_by_hand(found, expected):
    """One query with cosines 1, 0.9, 0.5, 0.5, 0 and −1 to six passages."""
    cosines = np.array([1, 0.9, 0.5, 0.5, 0.0, -1.0])
    bank = worlds.make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [6])
    wanted = Rankings(np.array([[0, 1, 2]]), np.array([[1, 0.9, 0.5]], dtype=np.float32))
    answer = Rankings(np.array([found]), np.zeros((1, 3), dtype=np.float32))
    query = np.array([[1, 0]], dtype=np.float32)
    assert recall_of(query, Pool(bank), wanted, answer).tolist() == [pytest.approx(expected)]


def test_a_duplicate_of_an_exact_answer_is_that_answer():
    bank = worlds.make_bank(np.eye(4), [4], ["a", "b", "same", "same"])
    wanted = Rankings(np.array([[2]]), np.array([[1.0]], dtype=np.float32))
    answer = Rankings(np.array([[3]]), np.zeros((1, 1), dtype=np.float32))
    assert recall_of(np.eye(4, dtype=np.float32)[2:3], Pool(bank), wanted, answer).tolist() == [1.0]
