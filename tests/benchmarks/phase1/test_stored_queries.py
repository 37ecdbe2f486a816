"""Stored queries lose their rows: what the repair does to them, how they are read, and what searching them finds."""

import numpy as np
import pytest
import worlds

from benchmarks.phase1.stored_queries import (
    QueryReader,
    TruthAsQuery,
    evaluate_stored_queries,
    joined_windows,
    placeholder_keys,
    repair,
    rows_of_keys,
    store_queries,
)
from segue.bank.copies import copy_documents, permuted, renumbered
from segue.evaluation.evaluate import EvaluationSettings
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

SETTINGS = WindowSettings(context=2)


@pytest.fixture(scope="module")
def world():
    """Six documents of 5 passages; the last two are asked about, the first four are the index."""
    vectors = worlds.unit(np.random.default_rng(0).standard_normal((30, 8)))
    bank = worlds.make_bank(vectors, [5] * 6)
    index = copy_documents(bank, np.arange(4))
    windows = make_windows(bank, np.array([4, 5]), SETTINGS)
    return bank, index, store_queries(bank, windows, keys_per_document=4)


def test_queries_are_stored_as_vectors_in_order(world):
    bank, _, stored = world
    assert len(stored) == 6  # passages 2, 3, 4 of each of two documents
    np.testing.assert_array_equal(stored.contexts[0], bank.vectors[[20, 21]])
    np.testing.assert_array_equal(stored.targets, bank.vectors[[22, 23, 24, 27, 28, 29]])
    assert stored.document_ids == (bank.document_ids[4],) * 3 + (bank.document_ids[5],) * 3
    assert stored.groups.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_key_is_a_row_only_where_the_document_is_long_enough_and_there():
    index = copy_documents(worlds.make_bank(worlds.unit(np.eye(5)), [2, 3]), np.array([0, 1]))
    keys = np.array([[0, 1], [0, 2], [1, 2], [2, 0]])
    assert rows_of_keys(index, keys).tolist() == [1, -1, 4, -1]


def test_placeholder_keys_count_and_nothing_else():
    assert placeholder_keys(201)[[0, 99, 100, 200]].tolist() == [[0, 0], [0, 99], [1, 0], [2, 0]]


def test_the_repair_drops_unknown_keys_and_overwrites_targets_but_not_contexts(world):
    bank, _, stored = world
    index = copy_documents(bank, np.array([0]))  # one document of 5 passages: keys (0, 0) to (0, 3), then (1, 0) …
    fixed = repair(stored, index)
    assert len(fixed) == 4
    np.testing.assert_array_equal(fixed.contexts, stored.contexts[:4])
    np.testing.assert_array_equal(fixed.targets, bank.vectors[:4])
    assert fixed.document_ids == stored.document_ids[:4]


def test_joined_windows_know_their_target_row_and_no_context_row(world):
    _, index, stored = world
    windows = joined_windows(repair(stored, index), index)
    assert windows.target.tolist() == [0, 1, 2, 3, 5, 6]
    assert (windows.context == -1).all()


def test_the_reader_reads_stored_queries_from_their_file_in_any_order(world):
    _, index, stored = world
    reader = QueryReader(repair(stored, index), index)
    order = np.array([4, 0, 2])
    contexts = reader.gather(index, reader.windows.take(order), exclude="none")
    np.testing.assert_array_equal(contexts.vectors, stored.contexts[order])
    assert contexts.mask.all()
    assert (contexts.rows == -1).all()


def test_the_reader_reads_other_windows_from_the_bank(world):
    _, index, stored = world
    reader = QueryReader(repair(stored, index), index)
    windows = make_windows(index, np.array([0, 1]), SETTINGS)
    ours, theirs = reader.gather(index, windows), gather_contexts(index, windows)
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    np.testing.assert_array_equal(ours.exclude, theirs.exclude)
    np.testing.assert_array_equal(reader.truth(index, windows), index.vectors[windows.target])


def test_the_reader_follows_rows_into_a_permuted_copy(world):
    _, index, stored = world
    reader = QueryReader(repair(stored, index), index)
    other, place = permuted(copy_documents(index, np.array([0, 1])), np.random.default_rng(1))
    moved = renumbered(reader.windows, place)
    np.testing.assert_array_equal(reader.gather(other, moved).vectors, stored.contexts)


def test_real_answers_that_are_not_in_the_index_are_found_by_chance_only_and_the_truth_finds_itself(world):
    _, index, stored = world
    reader, pool = QueryReader(repair(stored, index), index), Pool(index)
    settings = EvaluationSettings(resamples=100, latency_queries=0, run_depth=3)
    honest = evaluate_stored_queries(
        VectorRetriever("copy-last", "candidate", copy_last, pool), index, reader, settings
    )
    told = TruthAsQuery([reader.queries])
    oracle = evaluate_stored_queries(VectorRetriever("amn", "candidate", told, pool), index, reader, settings)
    scores = stored.contexts[:, -1].astype(np.float64) @ index.vectors.T.astype(np.float64)
    own = scores[np.arange(6), reader.windows.target]
    assert honest.ranks.tolist() == (scores >= own[:, None]).sum(axis=1).tolist()
    np.testing.assert_allclose(honest.cosine, own, atol=1e-6)
    assert honest.groups.tolist() == [0, 0, 0, 1, 1, 1]
    assert oracle.ranks.tolist() == [1] * 6
    np.testing.assert_allclose(oracle.cosine, 1.0, atol=1e-6)


def test_truth_as_query_copies_where_it_was_told_nothing(world):
    _, index, stored = world
    contexts = gather_contexts(index, make_windows(index, np.array([0]), SETTINGS))
    np.testing.assert_array_equal(TruthAsQuery([stored])(contexts), contexts.vectors[:, -1])
