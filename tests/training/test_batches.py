import tracemalloc

import numpy as np
import torch
from worlds import make_bank, noise_world, transition_world

from segue.training.batches import TENSORS, Batches
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
