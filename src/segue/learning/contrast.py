"""Contrast: each prediction chooses its target among the targets of the batch.

The negatives of a prediction are the other targets of the batch, minus what evaluation would not count as a wrong
answer: passages with the text of the target, and passages of the window's own context, which evaluation takes out of
the candidates. Pushing a prediction away from those would teach what no ranking rewards.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def info_nce(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"] | None = None,
    context_groups: Int[Tensor, "batch context"] | None = None,
    symmetric: bool = False,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of each prediction choosing its target among the targets of the batch.

    −log( exp(p·t⁺/τ) / (exp(p·t⁺/τ) + Σ exp(p·t⁻/τ)) ) on unit vectors: van den Oord et al. 2018, "Representation
    Learning with Contrastive Predictive Coding", equation 4. ``symmetric`` takes the mean with the other direction,
    each target choosing its prediction (CLIP, Radford et al. 2021). Chance is log(1 + negatives).

    Args:
        prediction: any length; normalised here.
        target: any length; normalised here.
        temperature: τ > 0.
        groups: duplicate group of each target; equal ones are no negatives of each other.
        context_groups: duplicate groups of each window's context, −1 for padding; they are no negatives of it.
        symmetric: both directions.

    >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> round(float(info_nce(same, same, temperature=0.07)), 4)  # one negative, as near as the target: log 2
    0.6931
    >>> float(info_nce(same, same, temperature=0.07, groups=torch.tensor([4, 4])))  # a duplicate, no negative
    0.0
    """
    logits = contrast_logits(prediction, target, temperature=temperature, groups=groups, context_groups=context_groups)
    truth = torch.arange(len(logits), device=logits.device)
    loss = functional.cross_entropy(logits, truth)
    return 0.5 * (loss + functional.cross_entropy(logits.T, truth)) if symmetric else loss


def contrast_logits(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"] | None = None,
    context_groups: Int[Tensor, "batch context"] | None = None,
) -> Float[Tensor, "batch batch"]:
    """Return cosine / τ of each prediction (row) with each target (column); −inf where a column is no negative."""
    logits = functional.normalize(prediction, dim=-1) @ functional.normalize(target, dim=-1).T / temperature
    if groups is None:
        return logits
    return logits.masked_fill(not_negatives(groups, context_groups), -math.inf)


def not_negatives(
    groups: Int[Tensor, "batch"], context_groups: Int[Tensor, "batch context"] | None = None
) -> Bool[Tensor, "batch batch"]:
    """Tell which targets (columns) are no negatives of which predictions (rows); the diagonal, the truth, is False.

    >>> not_negatives(torch.tensor([4, 4, 6]), torch.tensor([[-1], [6], [5]])).int().tolist()
    [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    """
    hidden = groups[:, None] == groups[None, :]
    if context_groups is not None:
        hidden = hidden | (context_groups[:, :, None] == groups[None, None, :]).any(dim=1)
    return hidden & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)


def num_negatives(logits: Float[Tensor, "batch batch"]) -> Int[Tensor, "batch"]:
    """Count the negatives that each prediction really sees.

    >>> num_negatives(torch.tensor([[9.0, 1.0], [-math.inf, 9.0]])).tolist()
    [1, 0]
    """
    return torch.isfinite(logits).sum(dim=1) - 1
