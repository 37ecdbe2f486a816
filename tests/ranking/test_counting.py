import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import cycle_world, make_bank, noise_world, unit

from segue.ranking import bfloat16, blocks, counting
from segue.ranking.exact import target_ranks
from segue.ranking.pool import TIE, Pool


@pytest.fixture
def always_coarse(monkeypatch):
    """Products in bfloat16, whatever the processor and however few the queries."""
    monkeypatch.setattr(counting, "MINIMUM_QUERIES_FOR_COARSE", 0)
    monkeypatch.setattr(counting, "has_fast_bfloat16", lambda *_: True)


def exact_ranks(bank, queries, targets):
    """Ranks in float64, every passage a candidate of its own."""
    scores = queries.astype(np.float64) @ bank.vectors.astype(np.float64).T
    line = scores[np.arange(len(queries)), targets] - TIE
    return 1 + (scores > line[:, None]).sum(axis=1) - 1


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    dimension=st.integers(1, 90),
    scale=st.sampled_from([1e-3, 1.0, 7.0]),
    length=st.sampled_from([1.0, 5.0]),
)
def test_rounded_products_are_within_their_bound(seed, dimension, scale, length):
    generator = np.random.default_rng(seed)
    queries = (scale * generator.standard_normal((5, dimension))).astype(np.float32)
    rows = np.float32(length) * unit(generator.standard_normal((9, dimension)))
    found = np.empty((5, 9), dtype=np.float32)
    error = bfloat16.product(bfloat16.Rounded.of(queries), bfloat16.Rounded.of(rows), out=found)
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    assert (np.abs(found - exact) <= error[:, None] + 2.0**-8 * 1.001 * np.abs(found) + 1e-30).all()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), shift=st.floats(-0.02, 0.02))
def test_beyond_the_lines_a_rounded_product_tells_the_truth(seed, shift):
    generator = np.random.default_rng(seed)
    queries, rows = unit(generator.standard_normal((6, 24))), unit(generator.standard_normal((40, 24)))
    found = np.empty((6, 40), dtype=np.float32)
    error = bfloat16.product(bfloat16.Rounded.of(queries), bfloat16.Rounded.of(rows), out=found)
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    line = exact[:, 7] + shift
    low, high = bfloat16.lines(line, error)
    assert (exact[found > high[:, None]] > np.broadcast_to(line[:, None], exact.shape)[found > high[:, None]]).all()
    assert (exact[found <= low[:, None]] <= np.broadcast_to(line[:, None], exact.shape)[found <= low[:, None]]).all()


@pytest.mark.parametrize("rows", [5, 64, 4096])
def test_coarse_ranks_are_the_exact_ones(rows, always_coarse, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS_PER_BLOCK", rows)
    bank = noise_world(documents=40, length=15, dimension=24)
    generator = np.random.default_rng(3)
    queries = unit(generator.standard_normal((70, 24)))
    targets = generator.integers(len(bank), size=70)
    nothing = np.empty((70, 0), dtype=np.int64)
    assert np.array_equal(
        target_ranks(queries, Pool(bank), targets, exclude=nothing), exact_ranks(bank, queries, targets)
    )


def test_coarse_ranks_keep_exclusions_and_duplicates(always_coarse, monkeypatch):
    bank = noise_world(documents=30, length=20, dimension=32)
    bank.duplicate_group[100:140] = np.repeat(np.arange(100, 140, 4), 4)
    generator = np.random.default_rng(0)
    queries, targets = unit(generator.standard_normal((50, 32))), generator.integers(len(bank), size=50)
    exclude = generator.integers(-1, len(bank), size=(50, 5))
    ranks = target_ranks(queries, Pool(bank), targets, exclude=exclude)
    monkeypatch.setattr(counting, "has_fast_bfloat16", lambda *_: False)
    assert np.array_equal(ranks, target_ranks(queries, Pool(bank), targets, exclude=exclude))


def test_a_whole_topic_of_equal_vectors_is_tied_in_bfloat16_too(always_coarse):
    bank = cycle_world(noise=0.0)
    topic = np.flatnonzero((bank.vectors == bank.vectors[0]).all(axis=1))
    ranks = target_ranks(bank.vectors[:1], Pool(bank), topic[-1:], exclude=np.empty((1, 0), dtype=np.int64))
    assert ranks.tolist() == [len(topic)]


def test_scores_apart_by_two_ties_are_told_in_bfloat16(always_coarse):
    """Both cosines round to the same bfloat16."""
    cosines = np.array([0.5, 0.5 + 3 * TIE, 0.5 - 3 * TIE])
    bank = make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [3])
    ranks = target_ranks(
        np.array([[1.0, 0.0]] * 3, dtype=np.float32), Pool(bank), np.array([0, 1, 2]), exclude=np.full((3, 1), -1)
    )
    assert ranks.tolist() == [2, 1, 3]


@pytest.mark.parametrize(("of_queries", "of_rows"), [(4, 1), (1, 4)])
def test_the_bound_of_rounded_products_grows_with_both_lengths(of_queries, of_rows):
    """Four is a power of two: every rounding is the same, four times as large."""
    generator = np.random.default_rng(1)
    queries, rows = unit(generator.standard_normal((5, 12))), unit(generator.standard_normal((9, 12)))

    def bound(queries, rows):
        out = np.empty((5, 9), dtype=np.float32)
        return bfloat16.product(bfloat16.Rounded.of(queries), bfloat16.Rounded.of(rows), out=out)

    longer = bound(np.float32(of_queries) * queries, np.float32(of_rows) * rows)
    assert longer == pytest.approx(4 * bound(queries, rows), rel=1e-4)


def test_the_lines_of_a_negative_score_leave_room_for_its_rounding():
    """A product is rounded by at most 2^-8 of the result: the room on both sides of -0.5 is that, and little more."""
    low, high = bfloat16.lines(np.array([-0.5]), np.array([0.0]))
    assert low[0] <= -0.5 / (1 - 2**-8)
    assert high[0] >= -0.5 / (1 + 2**-8)
    assert high[0] - low[0] == pytest.approx(0.0039, abs=1e-4)
