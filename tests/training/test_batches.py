import tracemalloc

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings
from worlds import make_bank, noise_world, transition_world

from segue.training.batches import TENSORS, Batches, drop_last, swap_one
from segue.windows.windows import WindowSettings, make_windows

BANK = transition_world(documents=30, length=12, dimension=8)
TRAIN = make_windows(BANK, np.arange(24), WindowSettings(context=3))


def test_an_epoch_sees_every_window_once_and_epochs_differ():
    batches = Batches(BANK, TRAIN, batch_size=27, seed=1)
    assert batches.steps_per_epoch == 8
    first, second = (np.concatenate([batches.chosen(8 * epoch + step) for step in range(8)]) for epoch in (0, 1))
    assert sorted(first) == list(range(len(TRAIN)))
    assert sorted(second) == list(range(len(TRAIN)))
    assert not np.array_equal(first, second)


def test_a_batch_is_what_the_bank_holds_and_depends_on_its_step_only():
    batches = Batches(BANK, TRAIN, batch_size=32, seed=1, article_dropout=0.5, span_corruption=0.5)
    batches.batch(3)
    one, other = batches.batch(9), Batches(
        BANK, TRAIN, batch_size=32, seed=1, article_dropout=0.5, span_corruption=0.5
    ).batch(9)  # fmt: skip
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in TENSORS)
    clean = Batches(BANK, TRAIN, batch_size=32, seed=1).batch(9)
    rows = TRAIN.take(batches.chosen(9))
    np.testing.assert_array_equal(clean.context.numpy(), BANK.vectors[rows.context])
    np.testing.assert_array_equal(clean.target.numpy(), BANK.vectors[rows.target])
    np.testing.assert_array_equal(clean.context_groups.numpy(), rows.context)
    assert torch.equal(one.target, clean.target)
    assert not torch.equal(one.context, clean.context)
    assert torch.equal(one.context_groups, clean.context_groups)


def test_short_contexts_are_padded_with_zeros_and_masked():
    windows = make_windows(BANK, np.arange(4), WindowSettings(context=3, minimum_context=1))
    batch = Batches(BANK, windows, batch_size=len(windows), seed=1).batch(0)
    assert not batch.mask.all()
    assert (batch.context[~batch.mask] == 0).all()
    assert (batch.context_groups[~batch.mask] == -1).all()


def test_fewer_windows_than_a_batch_are_one_batch():
    batches = Batches(noise_world(documents=2), make_windows(noise_world(documents=2), np.arange(2), WindowSettings()),
                      batch_size=512, seed=1)  # fmt: skip
    assert (batches.batch_size, batches.steps_per_epoch) == (14, 1)


def peak_of_training_on(documents: int) -> tuple[int, int]:
    """Peak bytes of numpy while windows are held and batches of three epochs gathered; the number of windows."""
    bank = make_bank(np.ones((documents * 45, 2)), [45] * documents)
    tracemalloc.start()
    try:
        windows = make_windows(bank, np.arange(documents), WindowSettings())
        tracemalloc.reset_peak()
        batches = Batches(bank, windows, batch_size=256, seed=1, article_dropout=0.2, span_corruption=0.1)
        for epoch in range(3):
            batches.batch(epoch * batches.steps_per_epoch)
        return tracemalloc.get_traced_memory()[1], len(windows)
    finally:
        tracemalloc.stop()


def test_a_window_costs_its_row_numbers_only():
    (small, few), (large, many) = peak_of_training_on(250), peak_of_training_on(1000)
    assert (few, many) == (10_000, 40_000)
    assert 48 <= (large - small) / (many - few) <= 100


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
