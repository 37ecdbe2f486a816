"""Contrast: each prediction chooses its target among the targets of the batch, and whatever stands beside them.

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

from segue.learning.negatives import Negatives


def info_nce(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"] | None = None,
    context_groups: Int[Tensor, "batch context"] | None = None,
    symmetric: bool = False,
    margin: float = 0.0,
    negatives: Negatives | None = None,
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
        margin: taken off the cosine with the target before it is contrasted, so that the target has to win by it
            (additive margin: Yang et al. 2019, "Improving Multilingual Sentence Embedding", equation 3).
        negatives: more candidates for the predictions; they choose nothing themselves.

    >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> round(float(info_nce(same, same, temperature=0.07)), 4)  # one negative, as near as the target: log 2
    0.6931
    >>> float(info_nce(same, same, temperature=0.07, groups=torch.tensor([4, 4])))  # a duplicate, no negative
    0.0
    """
    logits = contrast_logits(prediction, target, temperature=temperature, groups=groups, context_groups=context_groups)
    truth = torch.arange(len(logits), device=logits.device)
    if margin:
        logits = logits - torch.diag_embed(torch.ones_like(logits[0])) * (margin / temperature)
    more = [] if negatives is None else _extra_logits(prediction, negatives, temperature, groups, context_groups)
    loss = functional.cross_entropy(torch.cat([logits, *more], dim=1), truth)
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


def _extra_logits(
    prediction: Float[Tensor, "batch dim"],
    negatives: Negatives,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"] | None,
    context_groups: Int[Tensor, "batch context"] | None,
) -> list[Float[Tensor, "batch extra"]]:
    """Return cosine / τ of each prediction and its own, and the shared, extra negatives; −inf where it is none."""
    assert groups is not None, "extra negatives are masked by their duplicate groups"
    query = functional.normalize(prediction, dim=-1)
    own = torch.einsum("bd,bnd->bn", query, functional.normalize(negatives.own, dim=-1)) / temperature
    shared = query @ functional.normalize(negatives.shared, dim=-1).T / temperature
    hidden = right_or_read(negatives.own_groups, groups, context_groups) | (negatives.own_groups < 0)
    return [
        own.masked_fill(hidden, -math.inf),
        shared.masked_fill(right_or_read(negatives.shared_groups[None, :], groups, context_groups), -math.inf),
    ]


def context_push(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    read: Float[Tensor, "batch context dim"],
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"] | None = None,
    context_groups: Int[Tensor, "batch context"] | None = None,
    margin: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of each prediction choosing its target among it and the passages just read.

    For rankings that leave the context in: there the passages just read are the nearest wrong answers, and InfoNCE,
    which takes them for no negatives, leaves them where they are. Where rankings exclude the context, as evaluation
    does by default, it buys nothing.

    Args:
        prediction: any length; normalised here.
        target: any length; normalised here.
        read: the context's vectors as the model read them; zeros (padding, dropped passages) count for nothing.
        temperature: τ > 0.
        groups: duplicate group of each target; a context passage with its text is not pushed.
        context_groups: duplicate groups of each window's context.
        margin: taken off the cosine with the target.

    >>> east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> round(float(context_push(east, north, north[:, None], temperature=1.0)), 4)  # as near as the target: log 2
    0.6931
    """
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1)
    positive = ((query * truth).sum(dim=-1, keepdim=True) - margin) / temperature
    pushed = torch.einsum("bd,bcd->bc", query, functional.normalize(read, dim=-1)) / temperature
    hidden = read.abs().amax(dim=-1) == 0
    if groups is not None and context_groups is not None:
        hidden = hidden | (context_groups == groups[:, None])
    logits = torch.cat([positive, pushed.masked_fill(hidden, -math.inf)], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def not_negatives(
    groups: Int[Tensor, "batch"], context_groups: Int[Tensor, "batch context"] | None = None
) -> Bool[Tensor, "batch batch"]:
    """Tell which targets (columns) are no negatives of which predictions (rows); the diagonal, the truth, is False.

    >>> not_negatives(torch.tensor([4, 4, 6]), torch.tensor([[-1], [6], [5]])).int().tolist()
    [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    """
    hidden = right_or_read(groups[None, :], groups, context_groups)
    return hidden & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)


def right_or_read(
    candidates: Int[Tensor, "any candidate"],
    groups: Int[Tensor, "batch"],
    context_groups: Int[Tensor, "batch context"] | None,
) -> Bool[Tensor, "batch candidate"]:
    """Tell which candidates have the text of a window's target, or of a passage of its context.

    Args:
        candidates: duplicate groups, those of each window, or one row for all.
        groups: duplicate group of each target.
        context_groups: duplicate groups of each context, −1 for padding; None where read passages are negatives.

    >>> right_or_read(torch.tensor([[4, 5, 6]]), torch.tensor([4, 6]), torch.tensor([[-1], [5]])).int().tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    hidden = candidates == groups[:, None]
    for read in () if context_groups is None else context_groups.unbind(dim=1):
        hidden = hidden | (candidates == read[:, None])
    return hidden


def num_negatives(logits: Float[Tensor, "batch batch"]) -> Int[Tensor, "batch"]:
    """Count the negatives that each prediction really sees.

    >>> num_negatives(torch.tensor([[9.0, 1.0], [-math.inf, 9.0]])).tolist()
    [1, 0]
    """
    return torch.isfinite(logits).sum(dim=1) - 1
