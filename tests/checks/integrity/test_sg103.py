"""SG103 raises when the truth says nothing about what was read, or a metric does not look at it; never by bad luck."""

import dataclasses
import math

import numpy as np
import pytest
import worlds
from check_cases import row, small_case, vectors_row
from faults_integrity_b import BestIsRight

from segue.checks.integrity.sg103_truth_carries_information import CHECK, _best_blind
from segue.evaluation.intervals import elsewhere
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.types import Windows


def case_of(bank, **more):
    return small_case(bank, vectors_row("copy-last", copy_last, bank), vectors_row("mean", mean, bank), **more)


def with_truth_of_another_order(case):
    (fold,) = case.folds
    order = np.random.default_rng(0).permutation(len(fold.test))
    test = Windows(fold.test.context, fold.test.target[order])
    return dataclasses.replace(case, folds=(dataclasses.replace(fold, test=test),))


def test_a_truth_that_resembles_the_context_passes_beside_its_controls():
    verdict = CHECK.examine(case_of(worlds.drift_world(documents=32)))
    pairs = verdict.details["pairs"]["last passage"]
    assert verdict.outcome == "passed"
    assert pairs["matched"] > 0.5 > 0.2 > pairs["random"]
    assert pairs["p"] == pytest.approx(2.0**-16)  # all 16 groups agree
    assert "where blind answers score" in verdict.statement


def test_a_truth_that_only_a_linear_map_can_find_passes():
    verdict = CHECK.examine(case_of(worlds.transition_world(documents=32)))
    assert verdict.outcome == "passed"
    assert verdict.details["pairs"]["linear map"]["matched"] > 0.95


def test_a_shuffled_truth_is_an_issue():
    assert CHECK.examine(with_truth_of_another_order(case_of(worlds.drift_world(documents=80)))).outcome == "issue"


def test_noise_is_an_issue_where_there_are_enough_documents_and_a_tip_where_there_are_not():
    assert CHECK.examine(case_of(worlds.noise_world(documents=60))).outcome == "issue"
    verdict = CHECK.examine(case_of(worlds.noise_world(documents=20)))
    assert verdict.outcome == "tip"
    assert "too few documents to tell" in verdict.statement
    assert verdict.fix.startswith("evaluate on more documents")  # nothing is shuffled


def test_a_metric_that_does_not_look_at_the_truth_is_an_issue():
    bank = worlds.drift_world(documents=32)
    case = small_case(bank, row("mean", BestIsRight(VectorRetriever("mean", "candidate", mean, Pool(bank)))))
    verdict = CHECK.examine(case)
    assert verdict.outcome == "issue"
    assert verdict.details["shuffled_truth"]["mean"]["value"] == 1.0
    assert "mean scores R@5 100.0%" in verdict.statement


@pytest.mark.parametrize("documents", [1, 2, 4, 6, 12, 26])
@pytest.mark.parametrize("world", [worlds.drift_world, worlds.cycle_world])
def test_few_documents_never_block(world, documents):
    """In a circle of five topics every document resembles every fifth passage of the others: that is no fault."""
    for seed in range(6):
        verdict = CHECK.examine(case_of(world(seed, max(documents, 2)), test=max(1, documents // 2)))
        assert verdict.outcome in ("passed", "tip"), verdict.statement


def test_the_best_blind_answer_names_the_five_most_frequent_targets():
    """Two documents of twelve windows: each window's truth comes from the other one, five of twelve can be named."""
    case = case_of(worlds.noise_world(documents=4, length=14))
    assert _best_blind(case, case.folds[0].test) == pytest.approx(5 / 12)


def test_duplicated_targets_raise_what_a_blind_answer_can_expect():
    texts = [f"passage {number}" for number in range(56)]
    for row_number in (34, 35, 48, 49):  # targets of the two tested documents
        texts[row_number] = "see also"
    bank = worlds.make_bank(np.random.default_rng(0).standard_normal((56, 8)), [14] * 4, texts)
    case = case_of(bank)
    windows = case.folds[0].test
    texts_asked = [texts[target] for target in windows.target]
    groups = case.groups_of(windows)
    frequent = sorted((texts_asked.count(text) for text in set(texts_asked)), reverse=True)[:5]
    naive = np.mean([min(1, sum(frequent) / sum(groups != group)) for group in groups])
    assert sum(frequent) > 5
    assert _best_blind(case, windows) == pytest.approx(naive)


@pytest.mark.parametrize("seed", range(5))
def test_elsewhere_is_always_another_group(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 4, 30)
    assert (groups[elsewhere(groups, generator)] != groups).all()


def test_elsewhere_in_a_single_group_stays_inside():
    assert set(elsewhere(np.zeros(5, dtype=np.int64), np.random.default_rng(0)).tolist()) <= set(range(5))


def test_without_training_windows_the_last_passage_alone_is_compared_and_without_test_windows_nothing():
    bank = worlds.drift_world(documents=2)
    assert set(CHECK.examine(case_of(bank, test=2)).details["pairs"]) == {"last passage"}
    assert CHECK.examine(case_of(worlds.make_bank(np.eye(4)[:2], [2]))).outcome == "not-applicable"


def test_vectors_alone_are_enough():
    bank = dataclasses.replace(worlds.drift_world(documents=32), passage_texts=None)
    assert CHECK.examine(case_of(bank)).outcome == "passed"


@pytest.mark.parametrize(("near", "outcome"), [(26, "passed"), (25, "issue"), (22, "issue")])
def test_the_level_is_one_in_two_thousand(near, outcome):
    """Of 32 documents, each on an axis of its own, some repeat one vector, and the others turn it round each time.

    The truth's cosine is 1 or -1, a random passage's is 0. P(26 or more heads of 32) = 0.00027; of 25, 0.0011.
    """
    signs = np.where(np.arange(32)[:, None] < near, 1.0, (-1.0) ** np.arange(8))
    bank = worlds.make_bank((signs[:, :, None] * np.eye(32)[:, None]).reshape(-1, 32), [8] * 32)
    verdict = CHECK.examine(small_case(bank, test=32))
    assert verdict.measured == pytest.approx(sum(math.comb(32, heads) for heads in range(near, 33)) / 2**32)
    assert (verdict.outcome, verdict.threshold) == (outcome, 0.0005)


def test_queries_that_name_their_documents_are_grouped_by_those_names():
    """Names of two documents each: 8 groups instead of 16, which all agree."""
    case = case_of(worlds.drift_world(documents=32))
    names = [f"volume {case.bank.document_of[target] // 2}" for target in case.folds[0].test.target]
    verdict = CHECK.examine(dataclasses.replace(case, query_documents={0: names}))
    assert verdict.details["pairs"]["last passage"]["p"] == pytest.approx(2.0**-8)
