import numpy as np
import pytest
from worlds import drift_world, make_bank

from benchmarks.speed import structured_bank
from benchmarks.speed.structured_bank import (
    build_structured_bank,
    draw_pairs,
    most_rows,
    neighbour_profile,
    off_manifold_queries,
)
from segue.errors import InputError


def sources():
    """Two sources of two documents each, and one document of its own."""
    lengths = [3, 5, 4, 2, 6]
    names = ["a/1", "a/2", "b/1", "b/2", "c/1"]
    vectors = np.random.default_rng(0).standard_normal((sum(lengths), 8))
    return make_bank(vectors, lengths, [f"text {row}" for row in range(sum(lengths))], document_ids=names)


def test_rows_are_the_halves_side_by_side_and_normalised(tmp_path):
    real = sources()
    bank = build_structured_bank(real, tmp_path, rows=8, seed=3)
    pairs = draw_pairs(real, rows=8, seed=3)
    halves = np.concatenate([real.vectors[pairs.left], real.vectors[pairs.right]], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(bank.gather(np.arange(8)), halves, atol=1e-6)
    assert bank.document_ids == pairs.names
    assert bank.num_rows.tolist() == pairs.num_rows.tolist()


def test_pairs_are_of_one_source_distinct_and_as_long_as_the_shorter_document():
    real = sources()
    pairs = draw_pairs(real, rows=most_rows(real), seed=1)
    assert most_rows(real) == 2 * 3 + 2 * 2  # a with a both ways, b with b both ways; c has nobody
    assert sorted(pairs.names) == ["a/1 + a/2", "a/2 + a/1", "b/1 + b/2", "b/2 + b/1"]
    assert sorted(pairs.num_rows.tolist()) == [2, 2, 3, 3]
    with pytest.raises(InputError, match="pairs of 10 rows"):
        draw_pairs(real, rows=11, seed=1)


def test_documents_without_a_source_pair_with_each_other():
    bank = make_bank(np.eye(4), [2, 2], document_ids=["AC/DC", "Albedo"])
    assert draw_pairs(bank, rows=2, seed=1).names[0] in ("AC/DC + Albedo", "Albedo + AC/DC")


def test_a_killed_build_goes_on_and_gives_the_same_bank(tmp_path, monkeypatch):
    monkeypatch.setattr(structured_bank, "SHARD", 50)
    real = drift_world(0, 12, 15, 8)
    whole = build_structured_bank(real, tmp_path / "whole", rows=300)

    def killed(done, total, note):
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_structured_bank(real, tmp_path / "killed", rows=300, progress=killed)
    assert (tmp_path / "killed" / "shard-00001.json").exists()
    again = build_structured_bank(real, tmp_path / "killed", rows=300)
    assert again.hash == whole.hash


def test_rows_are_duplicates_where_both_halves_are(tmp_path):
    texts = ["same", "a", "same", "b"]
    real = make_bank(np.eye(4)[[0, 1, 0, 3]], [2, 2], texts)
    bank = build_structured_bank(real, tmp_path, rows=4)
    assert bank.duplicate_group.tolist() == [0, 1, 0, 3]


def test_queries_are_means_of_three_rows_of_one_document():
    bank = drift_world(0, 3, 4, 8)
    queries = off_manifold_queries(bank, 6, seed=0)
    means = {tuple(np.round(_mean(bank, row), 5)) for row in (1, 2, 5, 6, 9, 10)}
    assert {tuple(np.round(query, 5)) for query in queries} == means
    with pytest.raises(InputError, match="got 6, expected 7"):
        off_manifold_queries(bank, 7, seed=0)


def _mean(bank, row):
    mean = bank.vectors[row - 1 : row + 2].sum(axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def test_the_profile_of_neighbours_is_that_of_sorted_cosines():
    bank = drift_world(0, 6, 12, 8)
    queries = off_manifold_queries(bank, 60, seed=9)
    cosines = np.sort(queries @ bank.vectors.T, axis=1)[:, ::-1]
    expected = {str(place): np.median(cosines[:, place - 1]) for place in (1, 10, 50)}
    assert neighbour_profile(bank, queries=60) == pytest.approx(expected, abs=1e-4)
