"""Windows as a Dataset, and a DataLoader with the batches of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from worlds import all_windows, messy_world

from segue.errors import InputError
from segue.training import LOSSES, TrainingSettings, WindowDataset, build_loss, window_loader
from segue.training.batches import TENSORS, Batches

BANK = messy_world()
WINDOWS = all_windows(BANK, context=4, minimum=1)
SETTINGS = TrainingSettings(batch_size=16, seed=3, span_corruption=0.5, article_dropout=0.5)


def test_an_item_is_the_vectors_of_its_rows():
    data = WindowDataset(BANK, WINDOWS)
    assert len(data) == len(WINDOWS)
    for number in (0, 7, len(data) - 1, -1):
        item, rows = data[number], WINDOWS.context[number]
        expected = [BANK.vectors[row] if row >= 0 else np.zeros(BANK.dimension) for row in rows]
        np.testing.assert_array_equal(item["context"], np.array(expected, dtype=np.float32))
        assert item["mask"].tolist() == [row >= 0 for row in rows]
        assert item["target_row"] == WINDOWS.target[number]
        np.testing.assert_array_equal(item["target"], BANK.vectors[WINDOWS.target[number]])
        assert item["groups"] == BANK.duplicate_group[WINDOWS.target[number]]
        assert item["context_groups"].tolist() == [BANK.duplicate_group[row] if row >= 0 else -1 for row in rows]
    with pytest.raises(IndexError):
        data[len(data)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_ones_own_stacks_the_items_with_one_gather_a_batch(workers, monkeypatch):
    gathered = []
    monkeypatch.setattr(type(BANK), "gather", lambda bank, rows: gathered.append(rows) or bank.vectors[rows])
    data = WindowDataset(BANK, WINDOWS)
    batches = list(DataLoader(data, batch_size=10, num_workers=workers))
    assert [len(batch["target"]) for batch in batches] == [10] * (len(data) // 10) + [len(data) % 10]
    for name in ("context", "target", "context_groups"):
        whole = torch.cat([batch[name] for batch in batches])
        assert torch.equal(whole, torch.stack([data[number][name] for number in range(len(data))]))
    if not workers:
        assert len(gathered) == 2 * (len(batches) + 3 * len(data))  # contexts and targets; then one by one, thrice


@pytest.mark.parametrize("workers", [0, 2])
def test_passes_over_the_loader_are_the_epochs_of_training(workers):
    ours = Batches(BANK, WINDOWS, batch_size=16, seed=3, span_corruption=0.5, article_dropout=0.5)
    loader = window_loader(BANK, WINDOWS, SETTINGS, num_workers=workers)
    assert len(loader) == len(WINDOWS) // 16
    seen = [batch for _ in range(2) for batch in loader]
    assert [batch.step for batch in seen] == list(range(2 * len(loader)))
    for step, batch in enumerate(seen):
        for name in TENSORS:
            assert torch.equal(getattr(batch, name), getattr(ours.batch(step), name)), (step, name)


def test_a_training_that_continues_begins_at_its_epoch():
    whole = window_loader(BANK, WINDOWS, SETTINGS)
    targets = [[batch.target for batch in whole] for _ in range(3)]
    later = window_loader(BANK, WINDOWS, SETTINGS, epoch=2)
    assert all(torch.equal(a, b.target) for a, b in zip(targets[2], later, strict=True))
    later.sampler.set_epoch(0)
    assert all(torch.equal(a, b.target) for a, b in zip(targets[0], later, strict=True))


def test_article_dropout_depends_on_the_anchor():
    settings = TrainingSettings(batch_size=len(WINDOWS), span_corruption=0.0)
    for anchor, dropped in ((True, False), (False, True)):
        (batch,) = window_loader(BANK, WINDOWS, settings, anchor=anchor)
        assert bool((batch.context[batch.mask].norm(dim=1) == 0).any()) is dropped


def test_what_is_in_a_batch_is_not_an_option():
    with pytest.raises(InputError, match=r"window_loader decides what is in a batch: got batch_size, shuffle"):
        window_loader(BANK, WINDOWS, batch_size=8, shuffle=True)
    with pytest.raises(InputError, match="nothing to train on"):
        window_loader(BANK, WINDOWS.take(slice(0, 0)))


def test_a_loss_alone_takes_no_duplicate_for_a_negative():
    """By hand: of the targets (1, 0), (1, 0), (0, 1), the first two are copies, so each has one negative."""
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = build_loss(LOSSES["infonce-tau-0.05"], 2)
    total, terms = loss(target, target, torch.tensor([0, 0, 2]))
    expected = (2 * np.log1p(np.exp(-20)) + np.log1p(2 * np.exp(-20))) / 3
    assert float(total) == pytest.approx(expected, abs=1e-7)
    assert terms.keys() == {"infonce"}
