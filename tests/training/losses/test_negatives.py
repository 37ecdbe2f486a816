"""Extra negatives: where they come from, what hides them, and that mining keeps its guard."""

import dataclasses

import numpy as np
import pytest
import torch
from worlds import make_bank, noise_world, unit

from segue.training.batches import Batches
from segue.training.losses import whole_bank
from segue.training.losses.in_batch import info_nce
from segue.training.losses.loss import LossSettings, LossTerm, build_loss
from segue.training.losses.mining import Mining, hardest
from segue.training.losses.negatives import HardNegatives, NearbyDocuments, NegativeDraws, Negatives, of_documents
from segue.training.losses.whole_bank import TrainingBank
from segue.windows.windows import WindowSettings, make_windows

BANK = noise_world(documents=12, length=15, dimension=8)
TRAIN = make_windows(BANK, np.arange(12), WindowSettings(context=3))


def batches(*sources, mining=None, seed=1, size=16):
    return Batches(BANK, TRAIN, batch_size=size, seed=seed, draws=NegativeDraws(BANK, TRAIN, sources, mining=mining))


def extra(count=5, batch=6, dim=4, seed=9):
    generator = torch.Generator().manual_seed(seed)
    own, shared = torch.randn(batch, 2, dim, generator=generator), torch.randn(count, dim, generator=generator)
    unit_own, unit_shared = (torch.nn.functional.normalize(part, dim=-1) for part in (own, shared))
    return Negatives(unit_own, torch.arange(100, 100 + 2 * batch).view(batch, 2), unit_shared,
                     torch.arange(200, 200 + count))  # fmt: skip


def test_infonce_with_extra_negatives_is_the_textbook_sum():
    generator = torch.Generator().manual_seed(1)
    prediction, target = (torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in "pt")
    more = extra()
    groups, context = torch.arange(6), torch.full((6, 2), -1)
    more.own_groups[0, 0] = -1  # none
    more.own_groups[1, 1] = 1  # window 1's own target
    more.shared_groups[3] = 2  # window 2's own target
    context[4, 0] = 204  # window 4 has read the last shared one
    losses = []
    for row in range(6):
        logits = [float(prediction[row] @ target[other]) for other in range(6)]
        hidden = {row, *(group for group in context[row].tolist() if group >= 0)}
        for vectors, names in ((more.own[row], more.own_groups[row]), (more.shared, more.shared_groups)):
            logits += [float(prediction[row] @ vector) for vector, name in zip(vectors, names.tolist(), strict=True)
                       if name >= 0 and name not in hidden]  # fmt: skip
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
    own = torch.stack([loss.project(more.own[:, place]) for place in range(2)], dim=1)
    ready = dataclasses.replace(more, own=own, shared=loss.project(more.shared))
    expected = info_nce(loss.project(prediction), loss.project(target), temperature=0.07, groups=torch.arange(6),
                        negatives=ready)  # fmt: skip
    torch.testing.assert_close(found, expected)


def test_passages_of_a_document_are_live_and_drawn_once():
    bank = make_bank(np.eye(6), [5, 1], dead=[2])
    rows = of_documents(bank, np.repeat([[0], [1]], 40, axis=1), np.random.default_rng(0))
    assert sorted(row for row in rows[0] if row >= 0) == [0, 1, 3, 4]
    assert [row for row in rows[1] if row >= 0] == [5]


def test_same_document_negatives_are_of_the_targets_document():
    found = batches(HardNegatives(kind="same-document", count=6)).batch(2)
    windows = TRAIN.take(batches(HardNegatives(kind="queue")).chosen(2))
    rows = found.negatives.own_groups.numpy()
    assert rows.shape == (16, 6)
    drawn = rows >= 0
    assert (BANK.document_of[rows] == BANK.document_of[windows.target][:, None])[drawn].all()
    np.testing.assert_array_equal(found.negatives.own.numpy()[drawn], BANK.vectors[rows[drawn]])
    assert len(found.negatives.shared) == 0


def test_nearby_documents_are_those_with_near_means():
    generator = np.random.default_rng(0)
    topics = np.repeat(np.eye(3), 8, axis=0)  # three pairs of documents of one topic each, four passages a document
    bank = make_bank(topics + 0.1 * generator.standard_normal(topics.shape), [4] * 6)
    windows = make_windows(bank, np.arange(6), WindowSettings(context=2))
    near = NearbyDocuments(bank, windows, nearest=1)
    assert near.nearest[:, 0].tolist() == [1, 0, 3, 2, 5, 4]
    assert near.draw(np.array([4, 0]), 3, generator).tolist() == [[5, 5, 5], [1, 1, 1]]
    alone = make_windows(bank, np.arange(1), WindowSettings(context=2))
    assert NearbyDocuments(bank, alone, nearest=4).draw(np.array([0]), 3, generator).shape == (1, 0)


def test_nearby_negatives_are_of_other_documents():
    found = batches(HardNegatives(kind="nearby-documents", documents=3)).batch(0)
    rows = found.negatives.own_groups.numpy()
    own = BANK.document_of[found.groups.numpy()][:, None]
    assert (rows >= 0).sum() > 16
    assert (BANK.document_of[rows] != own)[rows >= 0].all()


def test_a_queue_holds_the_targets_of_the_batches_before_across_epochs():
    made = batches(HardNegatives(kind="queue", count=3))
    for step in (0, 2, made.steps_per_epoch + 1):
        before = [TRAIN.target[batches(HardNegatives(kind="queue")).chosen(step - back)]
                  for back in (3, 2, 1) if step >= back]  # fmt: skip
        expected = np.concatenate([np.empty(0, dtype=np.int64), *before])
        np.testing.assert_array_equal(made.batch(step).negatives.shared_groups.numpy(), expected)


@pytest.mark.parametrize("kind", ["same-document", "nearby-documents", "queue"])
def test_what_is_drawn_depends_on_seed_and_step_only(kind):
    one = batches(HardNegatives(kind=kind))
    one.batch(3)
    first, again, other = (made.batch(9).negatives for made in (one, batches(HardNegatives(kind=kind)),
                                                               batches(HardNegatives(kind=kind), seed=2)))  # fmt: skip
    rows = [torch.cat([made.own_groups.flatten(), made.shared_groups]).tolist() for made in (first, again, other)]
    assert rows[0] == rows[1] != rows[2]


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
    return batches(settings, mining=Mining(TrainingBank(BANK, TRAIN), TRAIN, settings, predict))


def test_mining_asks_the_model_once_per_refresh_for_the_windows_it_will_see():
    calls = []
    made = mined(calls)
    for step in range(8):
        found = made.batch(step)
        shown = found.context_groups, found.groups[:, None]
        for hidden in shown:
            assert not (found.negatives.own_groups[:, :, None] == hidden[:, None, :]).any()
    assert len(calls) == 2
    assert max(calls) <= 4 * 16


def test_mined_rows_are_part_of_the_state():
    one, other = mined([]), mined([])
    assert one.state() == {}
    for step in range(6):
        one.batch(step)
    other.restore({name: tensor.clone() for name, tensor in one.state().items()})
    assert torch.equal(one.batch(6).negatives.own, other.batch(6).negatives.own)


def test_a_batch_is_cut_with_its_negatives():
    whole = batches(HardNegatives(kind="same-document"), HardNegatives(kind="queue")).batch(3)
    half = whole.take(slice(4, 8))
    assert torch.equal(half.negatives.own, whole.negatives.own[4:8])
    assert torch.equal(half.negatives.shared, whole.negatives.shared)
    assert len(half.to("cpu").negatives.own_groups) == len(half.target) == 4
