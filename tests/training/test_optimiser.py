import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from segue.errors import SettingsError
from segue.models import ModelSettings, build_model
from segue.models.conformance import as_if_trained
from segue.training.adamw import AdamW
from segue.training.batches import Batch
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm, build_loss
from segue.training.optimiser import Optimisation, build_optimizer, learning_rate
from segue.training.settings import TrainingSettings


def test_the_learning_rate_rises_to_its_peak_and_falls_towards_zero():
    rates = [learning_rate(step, steps=200, peak=2.0, warmup=0.1) for step in range(200)]
    assert max(rates) == 2.0
    assert rates.index(2.0) == 19
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 2e-3


def test_only_matrices_decay():
    torch.manual_seed(1)
    predictor = build_model(ModelSettings(name="transformer", size="toy"), dimension=8, context=3)
    optimizer = build_optimizer(predictor, build_loss(LOSSES["infonce-projected"], 8),
                                weight_decay=0.5, device="cpu")  # fmt: skip
    before = [weight.detach().clone() for weight in optimizer.weights]
    for weight in optimizer.weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step(0.1)  # without a gradient, decay alone moves a weight: by rate times decay
    for weight, was in zip(optimizer.weights, before, strict=True):
        decays = weight.ndim >= 2 and weight is not predictor.anchor.weights
        assert torch.allclose(weight, was * (0.95 if decays else 1.0), rtol=1e-6, atol=0)
    assert {id(weight) for weight in optimizer.weights} >= {id(weight) for weight in predictor.parameters()}


@pytest.mark.parametrize("fused", [True, None])
def test_its_steps_are_those_of_pytorch_s_optimizer_to_the_bit(fused):
    generator = torch.Generator().manual_seed(3)
    ours, theirs = ([torch.nn.Parameter(torch.arange(n * 4.0).reshape(n, 4)) for n in (2, 3)] for _ in range(2))
    ours_optimizer = AdamW(ours[:1], ours[1:], weight_decay=0.1, fused=fused)
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    theirs_optimizer = torch.optim.AdamW(groups, lr=0.0, fused=fused)
    for step in range(6):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        if step == 2:  # a weight without a gradient stays
            ours_optimizer.zero_grad()
            theirs_optimizer.zero_grad()
            ours[1].grad, theirs[1].grad = torch.ones(3, 4), torch.ones(3, 4)
        if step == 4:  # resumed from what a state holds
            saved = {name: moment.clone() for name, moment in ours_optimizer.tensors().items()}
            ours_optimizer = AdamW(ours[:1], ours[1:], weight_decay=0.1, fused=fused)
            ours_optimizer.restore(saved)
        for group in theirs_optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        theirs_optimizer.step()
        ours_optimizer.step(0.1 / (step + 1))
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    assert sorted(ours_optimizer.tensors()) == [
        f"{n}.{name}" for n in (0, 1) for name in ("exp_avg", "exp_avg_sq", "step")
    ]


def test_training_leaves_pytorch_s_compiler_unimported():
    """It takes two seconds of every process that trains."""
    code = (
        "import sys, torch; from segue.training.adamw import AdamW; weight = torch.nn.Parameter(torch.ones(2, 2));"
        "weight.grad = torch.ones(2, 2); AdamW([weight], [], weight_decay=0.1).step(0.1);"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def towers(documents):
    torch.manual_seed(1)
    return build_model(ModelSettings(name="gru", size="toy", documents=documents), dimension=8, context=3)


def one_batch(seed=2):
    generator = torch.Generator().manual_seed(seed)
    vectors = functional.normalize(torch.randn(6, 4, 8, generator=generator), dim=-1)
    rows = torch.arange(24).reshape(6, 4)
    return Batch(vectors[:, :3], torch.ones(6, 3, dtype=torch.bool), vectors[:, 3], rows[:, 3], rows[:, :3])


def optimise(predictor, loss):
    settings = TrainingSettings(seed=1, weight_decay=0.0, clip=1e9)
    return Optimisation(predictor, loss, settings, precision="float32", device="cpu")


@pytest.mark.parametrize("documents", ["linear", "mlp", "shared"])
def test_the_targets_of_a_step_go_through_the_document_tower(documents):
    predictor, batch = as_if_trained(towers(documents)), one_batch()
    # By hand: cross-entropy over cosines of predictions and encoded targets; with three passages of context each, no
    # passage of one window is read by another.
    encoded = predictor.encode_documents(batch.target)
    logits = predictor(batch.context, batch.mask) @ encoded.T / 0.07
    by_hand = functional.cross_entropy(logits, torch.arange(6)).item()
    before = predictor.documents.head.weight.clone()
    values = optimise(predictor, build_loss(LOSSES["infonce"], 8)).step(0, batch, 1e-2)
    assert values["loss"] == pytest.approx(by_hand, rel=1e-5)
    assert not torch.equal(predictor.documents.head.weight, before)


@pytest.mark.parametrize("kind", ["ar-cosine", "mse"])
def test_a_learnt_document_tower_needs_contrast(kind):
    loss = build_loss(LossSettings(terms=(LossTerm(kind=kind),)), 8)
    with pytest.raises(SettingsError, match=rf"documents = 'linear' cannot be trained.*got terms {kind}"):
        optimise(towers("linear"), loss)
    optimise(towers("identity"), loss)


@pytest.mark.parametrize("name", ["infonce-projected", "infonce-bank"])
def test_a_learnt_document_tower_needs_the_vectors_of_the_batch_as_they_are_searched(name):
    with pytest.raises(SettingsError, match="cannot be trained with this loss"):
        optimise(towers("linear"), build_loss(LOSSES[name], 8))


def test_a_tower_may_learn_beside_a_cosine_term():
    predictor, batch = as_if_trained(towers("mlp")), one_batch()
    encoded, predicted = predictor.encode_documents(batch.target), predictor(batch.context, batch.mask)
    cosines = functional.normalize(predicted, dim=1) @ functional.normalize(encoded, dim=1).T
    contrast = functional.cross_entropy(cosines / 0.07, torch.arange(6)).item()
    by_hand = 0.85 * contrast + 0.15 * (1 - cosines.diag().mean().item())
    before = predictor.documents.head.weight.clone()
    values = optimise(predictor, build_loss(LOSSES["infonce-ar"], 8)).step(0, batch, 1e-2)
    assert values["loss"] == pytest.approx(by_hand, rel=1e-5)
    assert not torch.equal(predictor.documents.head.weight, before)


def test_dropout_depends_on_the_seed_and_on_the_step_and_on_nothing_else():
    def loss(seed, step, *, drawn):
        torch.manual_seed(1)
        settings = ModelSettings(name="mlp", size="toy", dropout=0.5, anchor=False)
        predictor = build_model(settings, dimension=8, context=3)
        torch.manual_seed(drawn)  # what else the process has drawn
        how = TrainingSettings(seed=seed, weight_decay=0.0, clip=1e9)
        step_of = Optimisation(predictor, build_loss(LOSSES["infonce"], 8), how, precision="float32", device="cpu")
        return step_of.step(step, one_batch(), 1e-2)["loss"]

    assert loss(1, 5, drawn=10) == loss(1, 5, drawn=11)
    assert len({loss(1, 5, drawn=10), loss(2, 5, drawn=10), loss(1, 6, drawn=10)}) == 3


def test_a_step_forgets_the_gradient_of_the_step_before():
    taken = optimise(as_if_trained(towers("identity")), build_loss(LOSSES["infonce"], 8))
    norms = [taken.step(0, one_batch(), 0.0)["grad_norm"] for _ in range(3)]  # at a rate of 0 nothing is learnt
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-6)
    assert norms[0] > 0


def test_a_step_after_an_evaluation_trains_with_dropout_again():
    predictor = towers("identity")
    predictor.eval()
    optimise(predictor, build_loss(LOSSES["infonce"], 8)).step(0, one_batch(), 1e-3)
    assert predictor.training
