"""Rules of losses of the user's own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from segue.parts import hand_in
from segue.training.losses.loss import Loss, LossSettings, LossTerm

BATCH, DIMENSION = 8, 16
Build = Callable[[], Loss]
"""Returns a new loss, with its first weights."""


def subject(make: Callable[[], Any]) -> Build:
    """Return what builds the loss as a term of its own, as training does."""

    def build() -> Loss:
        name, options = hand_in("loss", make())
        torch.manual_seed(1)
        return Loss(LossSettings(terms=(LossTerm(kind=name, options=options),)), DIMENSION)

    return build


def _batch(size: int = BATCH) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return predictions that want a gradient, targets, and the groups of a batch without duplicates."""
    generator = torch.Generator().manual_seed(3)
    prediction, target = functional.normalize(torch.randn(2, size, DIMENSION, generator=generator), dim=-1)
    groups = torch.arange(size)
    more = {"groups": groups, "context_groups": 100 + groups[:, None]}
    return prediction.clone().requires_grad_(), target, more


def _value(loss: Loss, prediction: Tensor, target: Tensor, more: dict[str, Tensor]) -> float:
    return float(loss(prediction, target, more["groups"], more["context_groups"])[0].detach())


def check_one_finite_number(build: Build) -> None:
    """Check that a batch gives one finite number."""
    prediction, target, more = _batch()
    value = _value(build(), prediction, target, more)
    assert torch.isfinite(torch.tensor(value)), f"the loss is {value}"


def check_gradient_reaches_predictions(build: Build) -> None:
    """Check that predictions get a finite gradient that is not zero; without it nothing is learnt."""
    prediction, target, more = _batch()
    build()(prediction, target, more["groups"], more["context_groups"])[0].backward()
    assert prediction.grad is not None, "no gradient: the loss was detached from the predictions"
    assert bool(torch.isfinite(prediction.grad).all()), "the gradient is not finite"
    assert bool(prediction.grad.any()), "the gradient is zero"


def check_finite_at_a_perfect_prediction(build: Build) -> None:
    """Check that a prediction that equals its target has a finite gradient; square roots and arccos have none there."""
    _, target, more = _batch()
    prediction = target.clone().requires_grad_()
    build()(prediction, target, more["groups"], more["context_groups"])[0].backward()
    grad = prediction.grad
    assert grad is None or bool(torch.isfinite(grad).all()), "the gradient of a perfect prediction is not finite"


def check_less_for_the_target_than_for_its_opposite(build: Build) -> None:
    """Check that predicting the targets costs less than predicting their opposites."""
    _, target, more = _batch()
    loss = build()
    right, wrong = _value(loss, target, target, more), _value(loss, -target, target, more)
    assert right < wrong, f"{right:.4g} for the targets, {wrong:.4g} for their opposites"


def check_same_value_again(build: Build) -> None:
    """Check that the same batch has the same loss again: a resumed training ends in the same bits."""
    prediction, target, more = _batch()
    loss = build()
    first = _value(loss, prediction, target, more)
    _value(loss, prediction.flip(0), target, more)
    again = _value(loss, prediction, target, more)
    assert first == again, f"{first:.8g}, then {again:.8g}"


def check_order_of_the_batch_does_not_matter(build: Build) -> None:
    """Check that the order of the windows in a batch, which is drawn, changes nothing but rounding."""
    prediction, target, more = _batch()
    loss = build()
    turned = {name: values.flip(0) for name, values in more.items()}
    first, other = _value(loss, prediction, target, more), _value(loss, prediction.flip(0), target.flip(0), turned)
    assert abs(first - other) <= 1e-5 * (1 + abs(first)), f"{first:.8g} against {other:.8g} in the other order"


def check_batch_of_one(build: Build) -> None:
    """Check that the last batch may hold a single window."""
    prediction, target, more = _batch(1)
    value = _value(build(), prediction, target, more)
    assert torch.isfinite(torch.tensor(value)), f"the loss of a batch of one is {value}"


def check_input_is_kept(build: Build) -> None:
    """Check that the tensors of the batch are not changed."""
    prediction, target, more = _batch()
    before = prediction.detach().clone(), target.clone()
    _value(build(), prediction, target, more)
    assert torch.equal(prediction, before[0]), "the predictions were changed"
    assert torch.equal(target, before[1]), "the targets were changed"


def check_weights_are_all(build: Build) -> None:
    """Check that another loss with the same weights has the same value: nothing else has to be saved."""
    prediction, target, more = _batch()
    loss, other = build(), build()
    with torch.no_grad():
        for weight in loss.parameters():
            weight.add_(0.1)
    other.load_state_dict(loss.state_dict())
    first, second = _value(loss, prediction, target, more), _value(other, prediction, target, more)
    assert first == second, f"{first:.8g} against {second:.8g} of another one with the same weights"


RULES: tuple[Callable[[Build], None], ...] = (
    check_one_finite_number,
    check_gradient_reaches_predictions,
    check_finite_at_a_perfect_prediction,
    check_less_for_the_target_than_for_its_opposite,
    check_same_value_again,
    check_order_of_the_batch_does_not_matter,
    check_batch_of_one,
    check_input_is_kept,
    check_weights_are_all,
)
