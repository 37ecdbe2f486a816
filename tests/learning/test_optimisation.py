import torch

from segue.learning.losses import LOSSES, build_loss
from segue.learning.models import ModelSettings, build_model
from segue.learning.optimisation import build_optimizer, learning_rate


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
    decaying, other = optimizer.param_groups
    assert (decaying["weight_decay"], other["weight_decay"]) == (0.5, 0.0)
    assert all(weight.ndim >= 2 for weight in decaying["params"])
    assert any(weight is predictor.anchor.weights for weight in other["params"])
