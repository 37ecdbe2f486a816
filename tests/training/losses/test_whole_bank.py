"""Whole-bank InfoNCE: against the textbook formula in float64, and never larger than a block."""

import math
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from worlds import make_bank, noise_world

from segue.training.losses import whole_bank
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce, bfloat16_bound
from segue.types import Windows
from segue.windows.windows import WindowSettings, make_windows

BATCH, DIM = 24, 16


def world(seed=0, documents=10, length=12):
    """A bank where every third passage repeats the text (and vector) of an earlier one."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((documents * length, DIM))
    texts = [f"text {row}" for row in range(len(vectors))]
    for row in range(2, len(vectors), 3):
        same = int(generator.integers(row))
        vectors[row], texts[row] = vectors[same], texts[same]
    return make_bank(vectors, [length] * documents, texts, dead=[5, 77])


BANK = world()
TRAIN = make_windows(BANK, np.arange(8), WindowSettings(context=3))


def batch(seed=1, pull=1.0):
    """Predictions that lean towards their targets, and the windows they belong to."""
    generator = np.random.default_rng(seed)
    windows = TRAIN.take(generator.choice(len(TRAIN), BATCH, replace=False))
    prediction = pull * BANK.vectors[windows.target] + 0.2 * generator.standard_normal((BATCH, DIM))
    return torch.from_numpy(prediction.astype(np.float32)), windows


def naive(prediction, windows, *, temperature, margin=0.0, mask_context=True):
    """The textbook formula in float64 with all logits at once, built by loops over passages."""
    candidates, seen = [], set()
    for row in range(len(BANK)):  # one for each text of the live passages of documents 0 to 7
        group = int(BANK.duplicate_group[row])
        if BANK.document_of[row] < 8 and BANK.alive[row] and group not in seen:
            seen.add(group)
            candidates.append(row)
    losses = []
    for query, read, target in zip(prediction, windows.context, windows.target, strict=True):
        hidden = {int(BANK.duplicate_group[row]) for row in read if row >= 0} if mask_context else set()
        hidden.add(int(BANK.duplicate_group[target]))
        others = [row for row in candidates if int(BANK.duplicate_group[row]) not in hidden]
        vectors = torch.from_numpy(BANK.vectors[[target, *others]]).double()
        logits = torch.nn.functional.normalize(vectors, dim=1) @ (query / query.norm()) / temperature
        logits = torch.cat([logits[:1] - margin / temperature, logits[1:]])
        losses.append(logits.logsumexp(0) - logits[0])
    return torch.stack(losses).mean()


def ours(bank, prediction, windows, *, temperature, mask_context=True, **more):
    groups = torch.from_numpy(BANK.duplicate_group)
    context = torch.where(torch.from_numpy(windows.context) >= 0, groups[windows.context], -1)
    target = torch.from_numpy(BANK.vectors[windows.target])
    return bank_info_nce(prediction, target, bank, temperature=temperature, groups=groups[windows.target],
                         context_groups=context if mask_context else None, **more)  # fmt: skip


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(whole_bank, "ROWS_PER_BLOCK", 16)


@pytest.mark.parametrize("mask_context", [True, False])
@pytest.mark.parametrize("temperature", [0.02, 0.05, 1.0])
@pytest.mark.parametrize("pull", [1.0, 0.0, -1.0])
def test_loss_and_gradients_are_those_of_the_textbook(small_blocks, temperature, pull, mask_context):
    query, windows = batch(pull=pull)
    single = query.clone().requires_grad_(), torch.tensor(temperature, requires_grad=True)
    double = query.double().requires_grad_(), single[1].detach().double().requires_grad_()
    how = {"margin": 0.1, "mask_context": mask_context}
    found = ours(TrainingBank(BANK, TRAIN), single[0], windows, temperature=single[1], **how)
    expected = naive(double[0], windows, temperature=double[1], **how)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    gradients = torch.autograd.grad(found, single), torch.autograd.grad(expected, double)
    assert relative(gradients[0][0], gradients[1][0]) < 1e-5
    assert relative(gradients[0][1], gradients[1][1]) < 1e-5


def test_the_lowest_temperature_neither_overflows_nor_vanishes():
    for pull in (1.0, -1.0):
        query, windows = batch(pull=pull)
        found = ours(TrainingBank(BANK, TRAIN), query, windows, temperature=0.01)
        assert float(found) == pytest.approx(
            float(naive(query.double(), windows, temperature=0.01)), rel=1e-5, abs=1e-6
        )


@pytest.mark.parametrize("temperature", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_bfloat16_keeps_its_bound(small_blocks, temperature, seed):
    query, windows = batch(seed, pull=0.3)
    bank = TrainingBank(BANK, TRAIN, dtype=torch.bfloat16)
    single, double = query.clone().requires_grad_(), query.double().requires_grad_()
    found = ours(bank, single, windows, temperature=temperature)
    expected = naive(double, windows, temperature=temperature)
    assert abs(found.item() - expected.item()) <= bfloat16_bound(temperature)
    assert abs(found.item() - expected.item()) < 0.01  # in fact it is far nearer than the bound
    gradients = torch.autograd.grad(found, single)[0], torch.autograd.grad(expected, double)[0]
    assert relative(*gradients) < 0.03


def test_the_bank_holds_each_text_of_the_training_documents_once():
    bank = TrainingBank(BANK, TRAIN)
    live = [row for row in range(8 * 12) if BANK.alive[row]]
    assert {int(BANK.duplicate_group[row]) for row in bank.rows} == {int(BANK.duplicate_group[row]) for row in live}
    assert len(set(BANK.duplicate_group[bank.rows])) == bank.size == len(bank.rows)
    joined = torch.cat([vectors for _, vectors in bank.blocks()])
    np.testing.assert_array_equal(joined.numpy(), BANK.vectors[bank.rows])
    groups = torch.from_numpy(BANK.duplicate_group[bank.rows])
    assert bank.places(groups).tolist() == list(range(bank.size))
    assert bank.places(torch.tensor([-1])).tolist() == [-1]
    counts = [int((BANK.duplicate_group[TRAIN.target] == group).sum()) for group in groups.tolist()]
    assert bank.frequency.tolist() == counts


def test_a_held_out_target_stands_beside_the_bank():
    windows = make_windows(BANK, np.arange(8, 10), WindowSettings(context=3))
    query = torch.from_numpy(BANK.vectors[windows.target]) + 0.1
    found = ours(TrainingBank(BANK, TRAIN), query, windows, temperature=0.1)
    assert float(found) == pytest.approx(float(naive(query.double(), windows, temperature=0.1)), rel=1e-5)


def test_a_bank_that_is_too_large_for_memory_gives_the_same(small_blocks):
    query, windows = batch()
    kept = ours(TrainingBank(BANK, TRAIN), query, windows, temperature=0.05)
    read = ours(TrainingBank(BANK, TRAIN, most_bytes=0), query, windows, temperature=0.05)
    assert torch.equal(kept, read)


def test_a_bank_of_nothing_but_the_window_costs_nothing():
    bank = make_bank(np.eye(4), [4])
    windows = Windows(np.array([[0, 1, 2]]), np.array([3]))
    query = torch.ones(1, 4, requires_grad=True)
    loss = bank_info_nce(query, torch.from_numpy(bank.vectors[[3]]), TrainingBank(bank, windows), temperature=0.05,
                         groups=torch.tensor([3]), context_groups=torch.tensor([[0, 1, 2]]))  # fmt: skip
    loss.backward()
    assert float(loss.detach()) == 0
    assert query.grad is not None
    assert query.grad.tolist() == [[0.0] * 4]


class Alive(TorchDispatchMode):
    """Follows how many bytes of new tensors are alive, and the most there were."""

    def __init__(self, known):
        super().__init__()
        self.bytes = self.most = 0
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage):
        size, place = storage.nbytes(), storage.data_ptr()
        self.known.add(place)
        self.bytes += size
        self.most = max(self.most, self.bytes)
        weakref.finalize(storage, self._remove, place, size)

    def _remove(self, place, size):
        self.known.discard(place)
        self.bytes -= size


def most_bytes(documents):
    bank = noise_world(documents=documents, length=100, dimension=DIM)
    windows = make_windows(bank, np.arange(documents), WindowSettings(context=3))
    candidates = TrainingBank(bank, windows)
    vectors = [block for _, block in candidates.blocks()]  # they are the bank, not the step
    query = torch.ones(64, DIM, requires_grad=True)
    target, groups = torch.from_numpy(bank.vectors[windows.target[:64]]), torch.from_numpy(windows.target[:64])
    with Alive(vectors) as alive:
        bank_info_nce(query, target, candidates, temperature=0.05, groups=groups).backward()
    return alive.most


def test_memory_does_not_grow_with_the_bank(monkeypatch):
    monkeypatch.setattr(whole_bank, "ROWS_PER_BLOCK", 256)
    small, large = most_bytes(10), most_bytes(80)
    assert small == large
    assert small < 4 * 64 * 256 * 4  # a few blocks of logits; 64 × 8,000 of them would be thirty


def test_chance_is_the_logarithm_of_the_candidates():
    bank = make_bank(np.ones((50, 4)), [50])
    windows = Windows(np.array([[0, 1]]), np.array([2]))
    loss = bank_info_nce(torch.ones(1, 4), torch.ones(1, 4), TrainingBank(bank, windows), temperature=0.05,
                         groups=torch.tensor([2]), context_groups=torch.tensor([[0, 1]]))  # fmt: skip
    assert float(loss) == pytest.approx(math.log(48))
