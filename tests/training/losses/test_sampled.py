"""Sampled softmax: the corrected sum is right on average, and a sample is a function of its generator."""

import numpy as np
import pytest
import torch
from worlds import make_bank, noise_world

from segue.training.losses.loss import LossSettings, LossTerm, build_loss
from segue.training.losses.sampled import Sample, draw_sample, sampled_info_nce
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.windows.windows import WindowSettings, make_windows

BANK = make_bank(np.random.default_rng(3).standard_normal((60, 4)), [20] * 3, [f"text {row % 47}" for row in range(60)])
TRAIN = make_windows(BANK, np.arange(3), WindowSettings(context=2))
CANDIDATES = TrainingBank(BANK, TRAIN)


def generators(count):
    return (np.random.default_rng((7, number)) for number in range(count))


@pytest.mark.parametrize("drawn", ["uniform", "frequency"])
def test_the_corrected_sum_over_a_sample_is_unbiased(drawn):
    query = torch.tensor([0.5, -0.5, 0.5, 0.5])
    sums = []
    for generator in generators(4000):
        sample = draw_sample(CANDIDATES, 8, drawn=drawn, generator=generator)
        sums.append(float((sample.vectors @ query / 0.5 - sample.log_expected).exp().sum()))
    targets = set(BANK.duplicate_group[TRAIN.target].tolist())
    candidates = [row for row in range(47) if drawn == "uniform" or row in targets]  # text n is first in row n
    exact = sum(float(np.exp(BANK.vectors[row] @ query.numpy() / 0.5)) for row in candidates)
    standard_error = np.std(sums) / len(sums) ** 0.5
    assert abs(np.mean(sums) - exact) < 4 * standard_error
    assert standard_error < 0.02 * exact


@pytest.mark.parametrize("drawn", ["uniform", "frequency"])
def test_passages_are_drawn_as_often_as_is_expected(drawn):
    counts, expected = np.zeros(60), np.zeros(60)
    sample = draw_sample(CANDIDATES, 50_000, drawn=drawn, generator=np.random.default_rng(1))
    np.add.at(counts, sample.groups.numpy(), 1)
    expected[sample.groups.numpy()] = sample.log_expected.exp().numpy()
    np.testing.assert_allclose(counts, expected, atol=5 * expected.max() ** 0.5)
    assert expected.sum() == pytest.approx(50_000, rel=1e-5)
    never = set(range(47)) - set(BANK.duplicate_group[TRAIN.target].tolist())
    assert never
    assert all(counts[row] == 0 for row in never) == (drawn == "frequency")


def test_a_sample_of_everything_once_is_the_whole_bank():
    windows = TRAIN.take(slice(0, 12))
    groups = torch.from_numpy(BANK.duplicate_group)
    given = {"groups": groups[windows.target], "context_groups": groups[windows.context], "temperature": 0.2}
    query, target = torch.randn(12, 4, generator=torch.Generator().manual_seed(2)), BANK.vectors[windows.target]
    everything = Sample(torch.from_numpy(BANK.vectors[CANDIDATES.rows]), groups[CANDIDATES.rows],
                        torch.zeros(CANDIDATES.size))  # fmt: skip
    found = sampled_info_nce(query, torch.from_numpy(target), everything, margin=0.1, **given)
    exact = bank_info_nce(query, torch.from_numpy(target), CANDIDATES, margin=0.1, **given)
    torch.testing.assert_close(found, exact)


def test_a_sample_with_nothing_but_the_target_and_the_context_costs_nothing():
    query = torch.randn(2, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    sample = Sample(torch.eye(4)[:2], torch.tensor([5, 6]), torch.zeros(2))
    loss = sampled_info_nce(query, torch.eye(4)[:2], sample, temperature=0.1, groups=torch.tensor([5, 6]),
                            context_groups=torch.tensor([[6], [5]]))  # fmt: skip
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None
    assert query.grad.abs().max() == 0


def test_the_loss_draws_again_in_each_step_and_the_same_for_the_same_step():
    bank = noise_world(documents=4, length=30, dimension=8)
    windows = make_windows(bank, np.arange(4), WindowSettings(context=2)).take(slice(0, 10))
    loss = build_loss(LossSettings(terms=(LossTerm(kind="infonce-sampled", samples=16),)), 8)
    target, groups = torch.from_numpy(bank.vectors[windows.target]), torch.from_numpy(windows.target)

    def of_step(step, seed=1):
        loss.attach(TrainingBank(bank, windows), seed=seed)
        return loss(target.roll(1, 0), target, groups, step=step)[0].item()

    assert of_step(3) == of_step(3)
    assert len({of_step(3), of_step(4), of_step(3, seed=2)}) == 3
