"""Gradients of loss terms: against finite differences, and where the answer is known."""

import numpy as np
import pytest
import torch
from worlds import drift_world

from segue.models import ModelSettings, build_model
from segue.training import gradients
from segue.training.batches import TENSORS
from segue.training.losses.loss import LossSettings, LossTerm, build_loss
from segue.windows.windows import WindowSettings, make_windows


@pytest.fixture
def batch():
    bank = drift_world(documents=6)
    windows = make_windows(bank, np.arange(6), WindowSettings(context=3))
    (found,) = gradients.held_out_batches(bank, windows, size=24, most=1)
    return found


@pytest.fixture
def predictor():
    torch.manual_seed(3)
    return build_model(ModelSettings(name="mlp", size="toy", anchor=False), dimension=16, context=3)


def loss_of(*weighted):
    terms = [LossTerm(kind=kind).model_copy(update={"weight": weight}) for kind, weight in weighted]
    return build_loss(LossSettings(terms=tuple(terms)), 16)


def test_a_terms_gradient_is_the_slope_of_its_weighted_value(predictor, batch):
    loss = loss_of(("infonce", 0.7), ("ar-cosine", 0.3))
    found = gradients.term_gradients(predictor, loss, batch)
    weights = list(predictor.parameters())
    direction = [torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) for weight in weights]
    flat = torch.cat([part.flatten() for part in direction])
    values = []
    for side in (1, -1):
        with torch.no_grad():
            for weight, part in zip(weights, direction, strict=True):
                weight.add_(side * 1e-3 * part)
        values.append(gradients.term_values(predictor, loss, batch))
        with torch.no_grad():
            for weight, part in zip(weights, direction, strict=True):
                weight.sub_(side * 1e-3 * part)
    for name, weight in (("infonce", 0.7), ("ar-cosine", 0.3)):
        slope = weight * (values[0][name] - values[1][name]) / 2e-3
        assert float(found[name] @ flat) == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_terms_that_are_the_same_function_agree_completely(predictor, batch):
    # on unit vectors ½‖p − t‖² = 1 − cos
    found = gradients.measure(predictor, loss_of(("ar-cosine", 1.0), ("mse", 0.25)), batch)
    assert found.cosine["ar-cosine", "mse"] == pytest.approx(1.0, abs=1e-4)
    assert found.norm_ratio["ar-cosine", "mse"] == pytest.approx(0.25, rel=1e-3)


def test_a_term_of_the_wrong_sign_is_opposed(predictor, batch):
    found = gradients.measure(predictor, loss_of(("ar-cosine", 1.0), ("mse", -0.25)), batch)
    assert found.cosine["ar-cosine", "mse"] == pytest.approx(-1.0, abs=1e-4)


def test_two_equal_halves_have_the_same_gradient(predictor, batch):
    first = batch.take(slice(12))
    twice = type(batch)(*(torch.cat([getattr(first, name)] * 2) for name in TENSORS))
    assert gradients.measure(predictor, loss_of(("infonce", 1.0)), twice).control == pytest.approx(1.0, abs=1e-5)


def test_held_out_batches_share_no_window():
    bank = drift_world(documents=6)
    windows = make_windows(bank, np.arange(6), WindowSettings(context=3))
    batches = list(gradients.held_out_batches(bank, windows, size=20, most=9))
    targets = torch.cat([batch.groups for batch in batches]).tolist()
    assert len(batches) == 3  # 6 · 12 windows make three whole batches of 20
    assert len(set(targets)) == len(targets) == 60
