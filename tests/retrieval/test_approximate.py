"""What every approximate engine has to keep, and what saving, loading and tuning add."""

import dataclasses
import json

import numpy as np
import pytest
from worlds import drift_world, make_bank, unit

from segue.errors import InputError, StorageError
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.approximate import ApproximateIndex, ordered
from segue.retrieval.index.engine import Engine
from segue.retrieval.index.graph import shortening
from segue.retrieval.index.store import (
    KINDS,
    MANIFEST,
    build_index,
    index_settings,
    load_index,
    record_tuning,
    save_index,
)
from segue.retrieval.index.tuning import recall_of, tune

WORLD = drift_world(2, 40, 15, 16)
SETTINGS = {
    "graph": index_settings("graph", neighbours=16, energy=0.95),
    "inverted-lists": index_settings("inverted-lists", lists=12, components_per_code=2),
    "lance": index_settings("lance", lists=2, codes="none"),
}


def nothing(count):
    return np.empty((count, 0), dtype=np.int64)


def off_manifold(bank, count=60):
    """Normalised means of three consecutive passages."""
    rows = np.linspace(1, len(bank) - 2, count).astype(int)
    return unit(sum(bank.vectors[rows + step] for step in (-1, 0, 1)))


@pytest.fixture(scope="module", params=KINDS)
def index(request):
    return build_index(Pool(WORLD), SETTINGS[request.param])


def with_duplicates():
    bank = drift_world(2, 40, 15, 16)
    bank.duplicate_group[200:260] = np.repeat(np.arange(200, 260, 3), 3)
    return bank


@pytest.mark.parametrize("kind", KINDS)
def test_the_greatest_effort_answers_as_the_exact_search(kind):
    """Duplicates, exclusions, order and scores included."""
    bank = with_duplicates()
    pool = Pool(bank)
    built = build_index(pool, SETTINGS[kind])
    queries = off_manifold(bank)
    exclude = np.random.default_rng(0).integers(-1, len(bank), size=(len(queries), 5))
    found, wanted = (search(queries) for search in (
        lambda asked: built.search(asked, 20, exclude=exclude), lambda asked: top_k(asked, pool, 20, exclude=exclude)
    ))  # fmt: skip
    assert recall_of(queries, pool, wanted, found).mean() > 0.99
    same = (found.rows == wanted.rows).all(axis=1)
    assert same.mean() > 0.9
    np.testing.assert_allclose(found.scores[same], wanted.scores[same], atol=1e-6)


def test_it_is_an_index_with_an_engine(index):
    assert isinstance(index, Index)
    assert isinstance(index.engine, Engine)


def test_one_by_one_is_the_batch(index):
    exclude = np.arange(40).reshape(20, 2)
    batch = index.search(WORLD.vectors[:20], 10, exclude=exclude)
    for query in range(20):
        one = index.search(WORLD.vectors[query : query + 1], 10, exclude=exclude[query : query + 1])
        assert np.array_equal(one.rows[0], batch.rows[query])
        assert np.array_equal(one.scores[0], batch.scores[query])


def test_excluded_passages_and_their_duplicates_never_come(index):
    bank = with_duplicates()
    built = ApproximateIndex(Pool(WORLD), index.engine, index.effort)
    exclude = np.tile(np.arange(30), (10, 1))
    assert not np.isin(built.search(bank.vectors[:10], 50, exclude=exclude).rows, np.arange(30)).any()


def test_a_group_comes_once_as_its_best_member_with_the_lowest_row():
    bank = drift_world(2, 40, 15, 16)
    bank.duplicate_group[:300] = 0
    bank.vectors[[7, 5]] = bank.vectors[9]
    pool = Pool(bank)
    built = build_index(pool, SETTINGS["graph"])
    found = built.search(bank.vectors[9:10], 40, exclude=nothing(1))
    assert found.rows[0, 0] == 5
    assert len(np.unique(pool.candidates_of(found.rows[0]))) == 40


def test_more_places_than_candidates_stay_empty(index):
    found = index.search(WORLD.vectors[:2], len(WORLD) + 10, exclude=nothing(2))
    assert (found.rows[:, -10:] == -1).all()
    assert np.isneginf(found.scores[:, -10:]).all()


def test_rounded_scores_that_are_too_near_are_put_in_exact_order():
    """Cosines 0.5, 0.5 + 2e-6 and 0.5 + 4e-6 handed over as equal; the fourth candidate is beyond doubt."""
    cosines = np.array([0.5, 0.5 + 2e-6, 0.5 + 4e-6, 0.9])
    bank = make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [4])
    found = ordered(
        np.array([[1.0, 0.0]], dtype=np.float32),
        Pool(bank),
        candidates=np.array([[3, 0, 1, 2, -1]]),
        members=np.array([[3, 0, 1, 2, -1]]),
        scores=np.array([[0.9, 0.5, 0.5, 0.5, 0.0]], dtype=np.float32),
        vectors_of=lambda members: bank.vectors[members],
    )
    assert found.rows[0, :4].tolist() == [3, 2, 1, 0]
    assert found.candidates[0, 4] == -1


def test_a_projection_that_keeps_all_energy_keeps_inner_products():
    sample = unit(np.random.default_rng(0).standard_normal((200, 16)))
    projection = shortening(sample, 1.0)
    short = projection.apply(sample)
    np.testing.assert_allclose(short @ short.T, sample @ sample.T, atol=1e-5)


def test_saving_and_loading_is_identity(index, tmp_path):
    save_index(index, tmp_path / "index")
    again = load_index(tmp_path / "index", Pool(WORLD))
    queries = off_manifold(WORLD)
    one, other = (each.search(queries, 10, exclude=nothing(len(queries))) for each in (index, again))
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.scores, other.scores)
    assert again.effort == index.effort


def test_an_index_of_other_passages_or_vectors_is_refused(index, tmp_path):
    folder = tmp_path / "index"
    save_index(index, folder)
    with pytest.raises(InputError, match="built over other passages: got members 600"):
        load_index(folder, Pool(WORLD, np.arange(20)))
    turned = dataclasses.replace(WORLD, vectors=np.roll(WORLD.vectors, 1, axis=1))
    with pytest.raises(StorageError, match="other vectors than the bank"):
        load_index(folder, Pool(turned))
    for path in [*folder.glob("codes.faiss"), *folder.glob("lance/*/data/*")]:
        path.write_bytes(b"cut")
    with pytest.raises(StorageError, match="build the index again"):
        load_index(folder, Pool(WORLD))


def test_what_is_no_index_is_refused(tmp_path, index):
    with pytest.raises(InputError, match="is not an index"):
        load_index(tmp_path, Pool(WORLD))
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match="not empty"):
        save_index(index, tmp_path)
    with pytest.raises(InputError, match="graph, inverted-lists"):
        index_settings("grpah")
    with pytest.raises(InputError, match="too few passages"):
        build_index(Pool(WORLD, np.array([0])), SETTINGS["graph"])
    with pytest.raises(InputError, match="a multiple of components_per_code = 5"):
        build_index(Pool(WORLD), index_settings("inverted-lists", components_per_code=5))


def test_tuning_takes_an_effort_that_reaches_the_target_and_records_it(index, tmp_path):
    tried = ApproximateIndex(index.pool, index.engine, index.effort)
    save_index(tried, tmp_path / "index")
    queries = off_manifold(WORLD, 200)
    tuned = tune(tried, queries, exclude=nothing(200), target=0.9, k=10)
    assert tuned.chosen in tuned.curve
    assert tuned.chosen.sure >= 0.9
    assert tried.effort == tuned.chosen.effort
    assert all(point.processor_ms >= tuned.chosen.processor_ms for point in tuned.curve if point.sure >= 0.9)
    record_tuning(tmp_path / "index", tuned, source="a test")
    assert load_index(tmp_path / "index", index.pool).effort == tuned.chosen.effort
    assert json.loads((tmp_path / "index" / MANIFEST).read_text())["tuned"]["source"] == "a test"


def test_tuning_refuses_where_no_effort_reaches_the_target():
    rough = build_index(Pool(WORLD), index_settings("inverted-lists", lists=12, components_per_code=16))
    rough.engine.efforts = lambda: [{"lists": 1, "refined": 1}]
    before = rough.effort
    with pytest.raises(InputError, match=r"no effort reaches recall@10 of 0\.99"):
        tune(rough, off_manifold(WORLD), exclude=nothing(60), target=0.99, k=10)
    assert rough.effort == before


def test_tuning_refuses_too_few_queries_and_impossible_targets(index):
    with pytest.raises(InputError, match="20 or more queries"):
        tune(index, off_manifold(WORLD, 10), exclude=nothing(10))
    with pytest.raises(InputError, match="target 2"):
        tune(index, off_manifold(WORLD), exclude=nothing(60), target=2.0)
