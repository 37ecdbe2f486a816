"""Random streams: a step draws the same numbers whenever it is taken, and seeding costs no memory."""

import pytest
import torch

from segue.training.random_streams import seed_generators, seed_torch


def test_a_step_seeds_torch_alike_whenever_it_is_taken():
    drawn = []
    for step in (3, 4, 3):
        seed_torch(7, step)
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_number_seeds_as_torch_s_own_call_does():
    seed_generators(5)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator takes its seed at once")
def test_seeding_without_an_accelerator_queues_nothing():
    before = len(torch.cuda._queued_calls)
    for step in range(10):
        seed_torch(0, step)
        seed_generators(step)
    assert len(torch.cuda._queued_calls) == before
