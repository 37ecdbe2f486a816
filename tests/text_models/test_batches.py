"""Batches in runs of one document: every window once, runs together, another order in every epoch."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import noise_world

from segue.errors import InputError
from segue.text_models.dual_encoder import order_in_runs
from segue.training.batches import Batches
from segue.windows.windows import WindowSettings, make_windows

BANK = noise_world(documents=9, length=12)
WINDOWS = make_windows(BANK, np.arange(9), WindowSettings(context=4))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 99))
def test_an_order_holds_each_window_once_in_runs_of_one_document(documents, together, seed):
    document = np.array(documents)
    order = order_in_runs(document, np.random.default_rng(seed), together=together)
    assert sorted(order.tolist()) == list(range(len(documents)))
    changes = int((np.diff(document[order]) != 0).sum()) + 1
    assert changes <= sum(-(-documents.count(name) // together) for name in set(documents))


def batches_of(seed):
    order = partial(order_in_runs, BANK.document_of[WINDOWS.target], together=4)
    return Batches(BANK, WINDOWS, batch_size=16, seed=seed, order=order)


def test_a_batch_holds_runs_and_depends_on_seed_and_step_alone():
    batches = batches_of(1)
    assert batches.steps_per_epoch == 72 // 16
    for step in (0, 3):
        _, count = np.unique(BANK.document_of[WINDOWS.target[batches.chosen(step)]], return_counts=True)
        assert (count % 4 == 0).all()
    again = batches_of(1)
    assert np.array_equal(again.chosen(6), batches.chosen(6))
    assert not np.array_equal(batches.chosen(0), batches.chosen(4))
    other = batches_of(2)
    assert not np.array_equal(other.chosen(6), batches.chosen(6))


def test_without_windows_there_is_nothing_to_train_on():
    with pytest.raises(InputError, match="nothing to train on"):
        Batches(BANK, WINDOWS.take(slice(0)), batch_size=16, seed=1)
