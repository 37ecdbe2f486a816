import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import cycle_world, drift_world, make_bank, noise_world, unit

from segue.errors import InputError
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.graph import GraphEngine, GraphSettings


def walking(pool):
    """A graph with the greatest effort, which in a world of a few hundred passages finds everything."""
    engine = GraphEngine.build(pool, GraphSettings(neighbours=16))
    return ApproximateIndex(pool, engine, engine.efforts()[-1])


INDEXES = [ExactIndex, walking]


@pytest.fixture(params=INDEXES)
def build(request):
    return request.param


def assert_same(found, expected):
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)


def test_every_index_fulfils_the_protocol(build):
    assert isinstance(build(Pool(noise_world())), Index)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 40), width=st.integers(0, 6))
def test_the_exact_index_answers_as_top_k(seed, k, width):
    generator = np.random.default_rng(seed)
    rows = int(generator.integers(2, 60))
    vectors = unit(generator.standard_normal((max(2, rows // 3), 4)))[generator.integers(max(2, rows // 3), size=rows)]
    texts = [f"text {number}" for number in generator.integers(rows, size=rows)]
    bank = make_bank(vectors, [rows], texts, dead=np.flatnonzero(generator.random(rows) < 0.2)[: rows - 1].tolist())
    queries = unit(generator.standard_normal((5, 4)))
    exclude = generator.integers(-1, rows, size=(5, width))
    pool = Pool(bank)
    assert_same(ExactIndex(pool).search(queries, k, exclude=exclude), top_k(queries, pool, k, exclude=exclude))


def test_one_by_one_is_the_batch(build):
    bank = drift_world()
    index = build(Pool(bank))
    exclude = np.arange(40).reshape(20, 2)
    batch = index.search(bank.vectors[:20], 10, exclude=exclude)
    for query in range(20):
        one = index.search(bank.vectors[query : query + 1], 10, exclude=exclude[query : query + 1])
        assert np.array_equal(one.rows[0], batch.rows[query])
        assert np.array_equal(one.scores[0], batch.scores[query])


def test_excluded_passages_and_their_duplicates_are_not_answered(build):
    bank = make_bank([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.5, 1.0]], [4], ["same", "same", "b", "c"])
    rankings = build(Pool(bank)).search(unit([[1.0, 0.0]]), 3, exclude=np.array([[1, -1]]))
    assert rankings.rows.tolist() == [[3, 2, -1]]
    assert np.isneginf(rankings.scores[0, 2])


def test_a_group_is_answered_once_as_its_best_member(build):
    bank = make_bank([[0.0, 1.0], [1.0, 0.0], [0.5, 1.0]], [3], ["same", "same", "b"])
    rankings = build(Pool(bank)).search(unit([[1.0, 0.0]]), 3, exclude=np.empty((1, 0), dtype=np.int64))
    assert rankings.rows.tolist() == [[1, 2, -1]]


def test_a_pool_of_documents_answers_from_those_only(build):
    bank = noise_world(documents=6, length=5)
    pool = Pool(bank, np.array([1, 4]))
    rankings = build(pool).search(bank.vectors[:3], 20, exclude=np.empty((3, 0), dtype=np.int64))
    answered = rankings.rows[rankings.rows >= 0]
    assert set(bank.document_of[answered]) == {1, 4}
    assert len(answered) == 3 * pool.size


def test_equal_scores_of_a_whole_topic_come_by_rising_row():
    bank = cycle_world(noise=0.0)
    rankings = ExactIndex(Pool(bank)).search(bank.vectors[:1], 30, exclude=np.array([[0]]))
    topic = np.flatnonzero((bank.vectors == bank.vectors[0]).all(axis=1))
    assert rankings.rows[0].tolist() == topic[1:31].tolist()


def test_queries_of_another_dimension_are_refused(build):
    with pytest.raises(InputError, match="got 7, expected 16"):
        build(Pool(noise_world())).search(np.ones((1, 7), dtype=np.float32), 3, exclude=np.array([[-1]]))


def test_a_ranking_without_places_is_refused(build):
    bank = noise_world()
    with pytest.raises(InputError, match="at least one place"):
        build(Pool(bank)).search(bank.vectors[:1], 0, exclude=np.array([[-1]]))
