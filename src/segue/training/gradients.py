"""Gradients of each term of a loss on the predictor's weights: whether the terms agree.

Input: a predictor, a loss and held-out batches. Output: cosines and norms. The measured loss need not be the one that
is trained.

The cosine of gradients measures conflict: Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", definition 1.
Near a stationary point of their weighted sum two gradients are opposed in any task, so early steps count. Two
gradients of one batch share its noise, so a control is computed too: the cosine of the whole loss's gradients on two
halves of a batch, the level of agreement at this amount of noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segue.models import Predictor
from segue.training.batches import Batch, gather_batch
from segue.training.losses.loss import Loss
from segue.training.random_streams import seed_generators
from segue.types import Bank, Windows

MOMENTS = 7
"""Moments of a training at which gradients are measured, in addition to its start."""


@dataclass(frozen=True)
class BatchGradients:
    """Agreement of a loss's terms on one held-out batch.

    Attributes:
        cosine: by pair of terms, ``(a, b)``: the cosine of their weighted gradients.
        norm_ratio: by pair: the shorter weighted gradient over the longer one, in [0, 1].
        control: the cosine of the whole loss's gradients on the batch's two halves.
    """

    cosine: Mapping[tuple[str, str], float]
    norm_ratio: Mapping[tuple[str, str], float]
    control: float


def held_out_batches(
    bank: Bank, windows: Windows, *, size: int, most: int, seed: int = 1, texts: bool = False
) -> Iterator[Batch]:
    """Yield up to ``most`` disjoint batches of ``size`` windows in random order, without corruption."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(windows), generator=generator).numpy()
    for start in range(0, min(most * size, len(order) - size + 1), size):
        yield gather_batch(bank, windows.take(order[start : start + size]), texts=texts)


def moments(steps: int) -> list[int]:
    """Return the steps to measure at: the start, then at growing distances.

    >>> moments(120)
    [0, 1, 2, 5, 11, 24, 54, 120]
    """
    return [0, *np.unique(np.geomspace(1, steps, MOMENTS).round().astype(int)).tolist()]


def measure(predictor: Predictor, loss: Loss, batch: Batch) -> BatchGradients:
    """Return cosines and norms of the weighted terms' gradients on the predictor's weights, and the control."""
    gradients = term_gradients(predictor, loss, batch)
    pairs = list(itertools.combinations(gradients, 2))
    half = len(batch.target) // 2
    halves = [whole_gradient(predictor, loss, batch.take(which)) for which in (slice(half), slice(half, 2 * half))]
    return BatchGradients(
        {pair: cosine(gradients[pair[0]], gradients[pair[1]]) for pair in pairs},
        {pair: norm_ratio(gradients[pair[0]], gradients[pair[1]]) for pair in pairs},
        cosine(*halves),
    )


def term_gradients(predictor: Predictor, loss: Loss, batch: Batch) -> dict[str, Float[Tensor, "weight"]]:
    """Return the gradient of each term times its weight, flat, by the term's name."""
    weights = [weight for weight in predictor.parameters() if weight.requires_grad]
    _, parts = _forward(predictor, loss, batch)
    terms = zip(loss.names, loss.settings.terms, strict=True)
    return {name: _flat(term.weight * parts[name], weights) for name, term in terms}


def whole_gradient(predictor: Predictor, loss: Loss, batch: Batch) -> Float[Tensor, "weight"]:
    """Return the gradient of the weighted sum, flat."""
    weights = [weight for weight in predictor.parameters() if weight.requires_grad]
    return _flat(_forward(predictor, loss, batch)[0], weights)


@torch.no_grad()
def term_values(predictor: Predictor, loss: Loss, batch: Batch) -> dict[str, float]:
    """Return the value of each term, unweighted."""
    return {name: float(value) for name, value in _forward(predictor, loss, batch)[1].items()}


def cosine(a: Float[Tensor, "weight"], b: Float[Tensor, "weight"]) -> float:
    """Return the cosine of two gradients; 0 where one of them is zero.

    >>> round(cosine(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])), 3)
    -0.707
    >>> cosine(torch.zeros(2), torch.ones(2))
    0.0
    """
    length = float(a.norm() * b.norm())
    return float(a @ b) / length if length > 0 else 0.0


def norm_ratio(a: Float[Tensor, "weight"], b: Float[Tensor, "weight"]) -> float:
    """Return the shorter length over the longer one; 0 where both are zero.

    >>> norm_ratio(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 20.0]))
    0.25
    """
    short, long = sorted([float(a.norm()), float(b.norm())])
    return short / long if long > 0 else 0.0


def _forward(predictor: Predictor, loss: Loss, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss as in training, in float32; a model's dropout draws the same mask every time."""
    device = next(predictor.parameters()).device
    batch = batch.to(str(device))
    predictor.train()  # recurrent nets on CUDA have no backward pass in evaluation mode
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_generators(0)
        prediction = predictor(batch.context, batch.mask, batch.texts)
        target = predictor.encode_documents(batch.target)
        negatives = batch.negatives and batch.negatives.through(predictor.encode_documents)
    found: tuple[Tensor, dict[str, Tensor]] = loss(
        prediction, target, batch.groups, batch.context_groups, negatives=negatives, step=batch.step
    )
    return found


def _flat(value: Tensor, weights: Sequence[Tensor]) -> Float[Tensor, "weight"]:
    found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    filled = [torch.zeros_like(weight) if one is None else one for one, weight in zip(found, weights, strict=True)]
    return torch.cat([one.flatten() for one in filled]).detach()
