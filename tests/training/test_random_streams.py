"""Random streams: a step draws the same numbers whenever it is taken, and seeding costs no memory."""

import pytest
import torch

from segue.training.random_streams import seed_torch


def test_a_step_seeds_torch_alike_whenever_it_is_taken():
    drawn = []
    for step in (3, 4, 3):
        seed_torch(7, step)
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[2] != drawn[1]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator takes its seed at once")
def test_seeding_without_an_accelerator_queues_nothing():
    before = len(torch.cuda._queued_calls)
    for step in range(10):
        seed_torch(0, step)
    assert len(torch.cuda._queued_calls) == before
