"""Dead components of an encoder reach neither a batch nor the candidates of a loss."""

import numpy as np
import pytest
import torch
from worlds import make_bank, unit

from segue.training.batches import Batches, gather_batch
from segue.training.losses.tiny import TINY, without_tiny
from segue.training.losses.whole_bank import TrainingBank
from segue.windows.windows import WindowSettings, make_windows


@pytest.fixture
def bank():
    """Two documents of eight passages; component 3 lies near 1e-34, as in all-MiniLM-L6-v2."""
    vectors = unit(np.random.default_rng(0).standard_normal((16, 6)))
    vectors[:, 3] = np.linspace(-2e-34, 2e-34, 16)
    return make_bank(vectors, [8, 8])


def test_only_what_is_tiny_becomes_zero_and_what_is_not_finite_stays():
    given = torch.tensor([0.0, 1e-34, -TINY, 2 * TINY, -0.25, torch.inf, -torch.inf, torch.nan])
    assert torch.equal(without_tiny(given)[:-1], torch.tensor([0.0, 0.0, 0.0, 2 * TINY, -0.25, torch.inf, -torch.inf]))
    assert without_tiny(given)[-1].isnan()


def test_batches_and_candidates_have_zeros_there_and_everything_else_as_stored(bank):
    windows = make_windows(bank, np.arange(2), WindowSettings())
    stored = bank.vectors.copy()
    stored[:, 3] = 0
    batch = gather_batch(bank, windows)
    assert torch.equal(batch.target, torch.from_numpy(stored[windows.target]))
    read = np.where(windows.context[..., None] >= 0, stored[windows.context], 0)
    assert torch.equal(batch.context, torch.from_numpy(read).float())
    step = Batches(bank, windows, batch_size=4, seed=0).batch(0)
    assert not step.context[..., 3].any()
    candidates = TrainingBank(bank, windows)
    (_, vectors), *_ = candidates.blocks()
    assert torch.equal(vectors, torch.from_numpy(stored[candidates.rows]))


def test_gradients_of_a_weight_that_reads_a_dead_component_are_no_denormal_numbers(bank):
    batch = gather_batch(bank, make_windows(bank, np.arange(2), WindowSettings()))
    weight = torch.full((2, 6), 0.1, requires_grad=True)
    (1e-8 * (batch.context.sum(1) @ weight.T)).sum().backward()
    assert weight.grad is not None
    smallest = torch.finfo(torch.float32).tiny
    assert not ((weight.grad != 0) & (weight.grad.abs() < smallest)).any()
    stored = torch.from_numpy(bank.vectors)
    plain = torch.full((2, 6), 0.1, requires_grad=True)
    (1e-8 * (stored @ plain.T)).sum().backward()
    assert plain.grad is not None
    assert (plain.grad[:, 3].abs() < smallest).all()  # so they were, before
