"""Mined negatives: what hides them in the loss, and that mining keeps its guard."""

import dataclasses

import numpy as np
import pytest
import torch
from worlds import noise_world, unit

from segue.training.batches import Batches
from segue.training.losses import whole_bank
from segue.training.losses.in_batch import info_nce
from segue.training.losses.loss import LossSettings, LossTerm, build_loss
from segue.training.losses.mining import (
    HardNegatives,
    Mining,
    Negatives,
    hardest,
)
from segue.training.losses.whole_bank import TrainingBank
from segue.windows.windows import WindowSettings, make_windows

BANK = noise_world(documents=12, length=15, dimension=8)
TRAIN = make_windows(BANK, np.arange(12), WindowSettings(context=3))


def extra(count=2, batch=6, dim=4, seed=9):
    vectors = torch.randn(batch, count, dim, generator=torch.Generator().manual_seed(seed))
    groups = torch.arange(100, 100 + count * batch).view(batch, count)
    return Negatives(torch.nn.functional.normalize(vectors, dim=-1), groups)


def test_infonce_with_extra_negatives_is_the_textbook_sum():
    generator = torch.Generator().manual_seed(1)
    prediction, target = (torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in "pt")
    more = extra()
    groups, context = torch.arange(6), torch.full((6, 2), -1)
    more.groups[0, 0] = -1  # none
    more.groups[1, 1] = 1  # window 1's own target
    context[4, 0] = more.groups[4, 1]  # window 4 has read its second one
    losses = []
    for row in range(6):
        logits = [float(prediction[row] @ target[other]) for other in range(6)]
        hidden = {row, *(group for group in context[row].tolist() if group >= 0)}
        pairs = zip(more.vectors[row], more.groups[row].tolist(), strict=True)
        logits += [float(prediction[row] @ vector) for vector, name in pairs if name >= 0 and name not in hidden]
        exponents = np.exp(np.array(logits) / 0.1)
        losses.append(-np.log(exponents[row] / exponents.sum()))
    found = info_nce(prediction, target, temperature=0.1, groups=groups, context_groups=context, negatives=more)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_extra_negatives_go_through_the_head_too():
    loss = build_loss(LossSettings(terms=(LossTerm(kind="infonce", space="projected", projection=(8, 3)),)), 4)
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.randn(6, 4, generator=generator), torch.randn(6, 4, generator=generator)
    more = extra()
    found = loss(prediction, target, torch.arange(6), negatives=more)[0]
    projected = torch.stack([loss.project(more.vectors[:, place]) for place in range(2)], dim=1)
    ready = dataclasses.replace(more, vectors=projected)
    expected = info_nce(loss.project(prediction), loss.project(target), temperature=0.07, groups=torch.arange(6),
                        negatives=ready)  # fmt: skip
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("guard", [None, 0.9])
def test_the_hardest_are_the_nearest_below_the_guard(monkeypatch, guard):
    monkeypatch.setattr(whole_bank, "ROWS_PER_BLOCK", 16)
    bank = TrainingBank(BANK, TRAIN)
    generator = np.random.default_rng(4)
    target = BANK.vectors[[5, 40, 70, 100]]
    prediction = unit(target + 0.6 * generator.standard_normal((4, 8)))
    hidden = generator.integers(-1, bank.size, size=(4, 3))
    found = hardest(torch.from_numpy(prediction), torch.from_numpy(target), bank, torch.from_numpy(hidden), count=5,
                    guard=guard)  # fmt: skip
    for row in range(4):
        score = {place: float(prediction[row] @ BANK.vectors[bank.rows[place]]) for place in range(bank.size)}
        limit = np.inf if guard is None else guard * float(prediction[row] @ target[row])
        allowed = [place for place in score if place not in hidden[row] and score[place] <= limit]
        assert found[row].tolist() == sorted(allowed, key=lambda place: -score[place])[:5]


def test_where_nothing_is_below_the_guard_nothing_is_mined():
    bank, one = TrainingBank(BANK, TRAIN), torch.from_numpy(BANK.vectors[:1])
    found = hardest(one, -one, bank, torch.full((1, 1), -1), count=3, guard=0.95)  # the target's cosine is −1
    assert found.tolist() == [[-1, -1, -1]]


def mined(calls, refresh=4):
    def predict(windows):
        calls.append(len(windows))
        return torch.from_numpy(BANK.vectors[windows.context[:, -1]])

    settings = HardNegatives(kind="mined", count=3, refresh=refresh)
    mining = Mining(TrainingBank(BANK, TRAIN), TRAIN, settings, predict)
    return Batches(BANK, TRAIN, batch_size=16, seed=1, mining=mining)


def test_mining_asks_the_model_once_per_refresh_for_the_windows_it_will_see():
    calls = []
    made = mined(calls)
    for step in range(8):
        found = made.batch(step)
        shown = found.context_groups, found.groups[:, None]
        for hidden in shown:
            assert not (found.negatives.groups[:, :, None] == hidden[:, None, :]).any()
    assert len(calls) == 2
    assert max(calls) <= 4 * 16


@pytest.mark.parametrize("steps", [2, 6])  # within the first refresh, within the second
def test_mined_rows_are_part_of_the_state(steps):
    one, other = mined([]), mined([])
    assert one.state() == {}
    for step in range(steps):
        one.batch(step)
    other.restore({name: tensor.clone() for name, tensor in one.state().items()})
    assert torch.equal(one.batch(steps).negatives.vectors, other.batch(steps).negatives.vectors)


def test_a_batch_is_cut_with_its_negatives():
    whole = mined([]).batch(0)
    half = whole.take(slice(4, 8))
    assert torch.equal(half.negatives.vectors, whole.negatives.vectors[4:8])
    assert len(half.to("cpu").negatives.groups) == len(half.target) == 4
