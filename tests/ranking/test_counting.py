import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import cycle_world, make_bank, noise_world, unit

from segue.ranking import blocks, counting
from segue.ranking.exact import target_ranks
from segue.ranking.pool import TIE, Pool
from segue.ranking.rounded import Rounded, RoundedScores, product

KINDS = ["bfloat16", "int8"]


@pytest.fixture(params=KINDS)
def always_rounded(monkeypatch, request):
    """Products of rounded vectors, whatever the processor and however few the queries."""
    monkeypatch.setattr(counting, "MINIMUM_QUERIES", dict.fromkeys(KINDS, 0))
    monkeypatch.setattr(counting, "choices", lambda: {"ranks": request.param})
    return request.param


def multiplied(kind, queries, rows):
    """Scores of rounded vectors."""
    out = np.empty((len(queries), len(rows)), dtype=np.float32)
    return product(Rounded.of(queries, kind), Rounded.of(rows, kind, one_step=True), out=out)


def exact_ranks(bank, queries, targets):
    """Ranks in float64, every passage a candidate of its own."""
    scores = queries.astype(np.float64) @ bank.vectors.astype(np.float64).T
    line = scores[np.arange(len(queries)), targets] - TIE
    return 1 + (scores > line[:, None]).sum(axis=1) - 1


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    dimension=st.integers(1, 90),
    scale=st.sampled_from([1e-3, 1.0, 7.0]),
    length=st.sampled_from([1.0, 5.0]),
)
def test_rounded_products_are_within_their_bound(kind, seed, dimension, scale, length):
    generator = np.random.default_rng(seed)
    queries = (scale * generator.standard_normal((5, dimension))).astype(np.float32)
    rows = np.float32(length) * unit(generator.standard_normal((9, dimension)))
    found = multiplied(kind, queries, rows)
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    last = 2.0**-8 * 1.001 * np.abs(found.scores) if kind == "bfloat16" else 0.0
    assert (np.abs(found.scores * found.step[:, None] - exact) <= found.error[:, None] + last + 1e-30).all()


def test_int8_scores_are_steps_times_integers():
    """By hand: steps 2/127 and 1/127; (127, -64) · (127, 0), and (127, -64) · (32, 127)."""
    queries, rows = np.array([[2.0, -1.0]], np.float32), np.array([[1.0, 0.0], [0.25, 1.0]], np.float32)
    found = multiplied("int8", queries, rows)
    assert found.scores.tolist() == [[127 * 127, 127 * 32 - 64 * 127]]
    assert found.step == pytest.approx([2 / 127**2])


def test_vectors_of_zeros_and_of_one_component_are_rounded_without_loss():
    rows = np.array([[0.0, 0.0], [0.0, -3.0]], np.float32)
    found = Rounded.of(rows, "int8", one_step=True)
    assert found.vectors.tolist() == [[0, 0], [0, -127]]
    assert found.moved == pytest.approx([0.0, 0.0], abs=1e-6)
    assert Rounded.of(np.zeros((2, 2), np.float32), "int8").vectors.tolist() == [[0, 0], [0, 0]]


def test_vectors_of_denormal_numbers_do_not_wrap_around():
    """A step of 200e-45 / 127 rounds to 1.4e-45, so the largest component is 143 steps, beyond 8 bits."""
    found = Rounded.of(np.array([[200e-45, -200e-45]], np.float32), "int8")
    assert found.vectors.tolist() == [[127, -127]]
    lost = abs(200e-45 - 127 * float(found.step[0])) * np.sqrt(2)
    assert found.moved[0] >= 0.99 * lost


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), shift=st.floats(-0.02, 0.02))
def test_beyond_the_lines_a_rounded_product_tells_the_truth(kind, seed, shift):
    generator = np.random.default_rng(seed)
    queries, rows = unit(generator.standard_normal((6, 24))), unit(generator.standard_normal((40, 24)))
    rounded = multiplied(kind, queries, rows)
    found = rounded.scores
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    line = exact[:, 7] + shift
    low, high = rounded.lines(line)
    assert low.dtype == high.dtype == found.dtype
    assert (exact[found > high[:, None]] > np.broadcast_to(line[:, None], exact.shape)[found > high[:, None]]).all()
    assert (exact[found <= low[:, None]] <= np.broadcast_to(line[:, None], exact.shape)[found <= low[:, None]]).all()


@pytest.mark.parametrize("rows", [5, 64, 4096])
def test_coarse_ranks_are_the_exact_ones(rows, always_rounded, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS_PER_BLOCK", rows)
    bank = noise_world(documents=40, length=15, dimension=24)
    generator = np.random.default_rng(3)
    queries = unit(generator.standard_normal((70, 24)))
    targets = generator.integers(len(bank), size=70)
    nothing = np.empty((70, 0), dtype=np.int64)
    assert np.array_equal(
        target_ranks(queries, Pool(bank), targets, exclude=nothing), exact_ranks(bank, queries, targets)
    )


def test_coarse_ranks_keep_exclusions_and_duplicates(always_rounded, monkeypatch):
    bank = noise_world(documents=30, length=20, dimension=32)
    bank.duplicate_group[100:140] = np.repeat(np.arange(100, 140, 4), 4)
    generator = np.random.default_rng(0)
    queries, targets = unit(generator.standard_normal((50, 32))), generator.integers(len(bank), size=50)
    exclude = generator.integers(-1, len(bank), size=(50, 5))
    ranks = target_ranks(queries, Pool(bank), targets, exclude=exclude)
    monkeypatch.setattr(counting, "choices", lambda: {"ranks": "float32"})
    assert np.array_equal(ranks, target_ranks(queries, Pool(bank), targets, exclude=exclude))


def test_a_whole_topic_of_equal_vectors_is_tied_in_rounded_numbers_too(always_rounded):
    bank = cycle_world(noise=0.0)
    topic = np.flatnonzero((bank.vectors == bank.vectors[0]).all(axis=1))
    ranks = target_ranks(bank.vectors[:1], Pool(bank), topic[-1:], exclude=np.empty((1, 0), dtype=np.int64))
    assert ranks.tolist() == [len(topic)]


def test_scores_apart_by_two_ties_are_told_in_rounded_numbers(always_rounded):
    """The cosines round to the same number."""
    cosines = np.array([0.5, 0.5 + 3 * TIE, 0.5 - 3 * TIE])
    bank = make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [3])
    ranks = target_ranks(
        np.array([[1.0, 0.0]] * 3, dtype=np.float32), Pool(bank), np.array([0, 1, 2]), exclude=np.full((3, 1), -1)
    )
    assert ranks.tolist() == [2, 1, 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("of_queries", "of_rows"), [(4, 1), (1, 4)])
def test_the_bound_of_rounded_products_grows_with_both_lengths(kind, of_queries, of_rows):
    """Four is a power of two: every rounding is the same, four times as large."""
    generator = np.random.default_rng(1)
    queries, rows = unit(generator.standard_normal((5, 12))), unit(generator.standard_normal((9, 12)))

    longer = multiplied(kind, np.float32(of_queries) * queries, np.float32(of_rows) * rows).error
    assert longer == pytest.approx(4 * multiplied(kind, queries, rows).error, rel=1e-4)


def test_the_lines_of_a_negative_score_leave_room_for_its_rounding():
    """A product is rounded by at most 2^-8 of the result: the room on both sides of -0.5 is that, and little more."""
    found = RoundedScores(np.zeros((1, 1), np.float32), np.array([0.0]), np.array([1.0]))
    low, high = found.lines(np.array([-0.5]))
    assert low[0] <= -0.5 / (1 - 2**-8)
    assert high[0] >= -0.5 / (1 + 2**-8)
    assert high[0] - low[0] == pytest.approx(0.0039, abs=1e-4)


@pytest.mark.parametrize("line", [np.inf, 1e30, -1e30])
def test_lines_that_no_integer_reaches_count_all_or_none(line):
    found = RoundedScores(np.array([[-(2**31), -5, 2**31 - 2]], np.int32), np.array([0.1]), np.array([1e-6]))
    low, high = found.lines(np.array([line]))
    assert (found.scores > high[:, None]).tolist() == [[False, line < 0, line < 0]]  # the lowest one was removed
    assert (found.scores > low[:, None]).tolist() == [[False, line < 0, line < 0]]


@pytest.mark.parametrize("few", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["float32", *KINDS])
def test_a_block_is_decided_as_by_a_naive_loop(few, kind, monkeypatch):
    """Lines from the lowest to the highest score; the candidates left to float64 are those within the margin."""
    monkeypatch.setattr(counting, "FEW", few)
    generator = np.random.default_rng(5)
    queries, rows = unit(generator.standard_normal((12, 8))), unit(generator.standard_normal((1500, 8)))
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    line, margin = np.linspace(-0.9, 0.9, 12), np.full(12, 1e-3)
    if kind == "float32":
        block = blocks.ScoreBlock(30, 700, (queries @ rows.T).astype(np.float32))
    else:
        found = multiplied(kind, queries, rows)
        block = blocks.ScoreBlock(30, 700, found.scores, found, rows)
    block.scores[:, 3] = -np.inf if block.scores.dtype == np.float32 else -(2**31)
    exact[:, 3] = -np.inf
    surely, pairs = counting._decide(block, queries, line, margin, counting._Float32Products())
    unsure = {(q - 30, c - 700) for q, c in zip(*(part.tolist() for part in pairs), strict=True)}
    near = {(q, c) for q in range(12) for c in range(1500) if abs(exact[q, c] - line[q]) < 0.999e-3}
    assert near <= unsure <= {(q, c) for q, c in np.argwhere(np.abs(exact - line[:, None]) < 1.001e-3).tolist()}
    assert surely.tolist() == [
        sum(exact[q, c] > line[q] and (q, c) not in unsure for c in range(1500)) for q in range(12)
    ]
    assert near
