import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from segue.training.corruption import drop_last, swap_one


def contexts(seed: int, batch: int = 40, places: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mask = np.arange(places) >= places - generator.integers(1, places + 1, size=(batch, 1))
    return np.where(mask[:, :, None], generator.uniform(1, 2, (batch, places, 3)), 0).astype(np.float32), mask


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_dropping_zeroes_one_to_three_of_the_last_and_leaves_a_passage(seed):
    vectors, mask = contexts(seed)
    dropped = drop_last(vectors, mask, rate=1.0, generator=np.random.default_rng(seed))
    present = (dropped != 0).any(axis=2)
    count = mask.sum(axis=1) - present.sum(axis=1)
    assert (present.sum(axis=1) >= 1).all()
    assert ((count >= 1) | (mask.sum(axis=1) == 1)).all()
    assert (count <= 3).all()
    for row in range(len(vectors)):  # what is left is untouched, what is gone stood at the end
        kept = 5 - count[row]
        np.testing.assert_array_equal(dropped[row, :kept], vectors[row, :kept])
        assert (dropped[row, kept:] == 0).all()


def test_dropping_happens_at_its_rate_and_each_count_equally_often():
    vectors, mask = np.ones((9000, 5, 1), dtype=np.float32), np.ones((9000, 5), dtype=bool)
    dropped = drop_last(vectors, mask, rate=0.2, generator=np.random.default_rng(0))
    count = 5 - (dropped != 0).any(axis=2).sum(axis=1)
    assert abs((count > 0).mean() - 0.2) < 0.02
    assert (abs(np.bincount(count)[1:] - 600) < 100).all()


def test_rate_zero_changes_nothing():
    vectors, mask = contexts(1)
    assert drop_last(vectors, mask, rate=0.0, generator=np.random.default_rng(0)) is vectors
    rows = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(swap_one(rows, np.arange(4), rate=0.0, generator=np.random.default_rng(0)), rows)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_swapping_changes_one_passage_to_one_of_another_document_of_the_batch(seed):
    generator = np.random.default_rng(seed)
    documents = generator.integers(0, 4, size=30)
    # Rows name their document (hundreds) and are padded at the front.
    rows = documents[:, None] * 100 + np.arange(5)
    rows[np.arange(5) < generator.integers(0, 5, size=(30, 1))] = -1
    before = rows.copy()
    swapped = swap_one(rows, documents, rate=1.0, generator=generator)
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(swapped < 0, rows < 0)
    changed = swapped != rows
    if len(set(documents)) > 1:
        assert (changed.sum(axis=1) == 1).all()
    assert (swapped[changed] // 100 != documents[changed.any(axis=1)]).all()
    assert (swapped[changed] // 100 < 4).all()


def test_every_place_and_every_other_window_are_equally_likely():
    documents = np.repeat([0, 1, 2], [1, 2, 3]).repeat(2000)
    rows = np.arange(len(documents))[:, None] * 10 + np.arange(4)
    swapped = swap_one(rows, documents, rate=1.0, generator=np.random.default_rng(3))
    place = (swapped != rows).argmax(axis=1)
    donor = documents[swapped[np.arange(len(rows)), place] // 10]
    assert (abs(np.bincount(place) / len(rows) - 0.25) < 0.02).all()
    assert abs((donor[documents == 0] == 2).mean() - 3 / 5) < 0.03


def test_a_single_document_has_nothing_to_swap_with():
    rows = np.arange(20).reshape(4, 5)
    swapped = swap_one(rows, np.zeros(4, dtype=np.int64), rate=1.0, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(swapped, rows)
