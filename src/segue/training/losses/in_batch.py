"""Contrast: each prediction chooses its target among the targets of the batch, and whatever stands beside them.

The negatives of a prediction are the other targets of the batch, minus what evaluation would not count as a wrong
answer: passages with the text of the target, and passages of the window's own context, which evaluation takes out of
the candidates. Pushing a prediction away from those would teach what no ranking rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from segue.training.losses.negatives import Negatives
from segue.training.losses.softmax_sums import ROWS_PER_BLOCK, Pairs, log_sum_exp, shift_of

SAFE_TEMPERATURE = 0.0145
"""From here on no logit of unit vectors underflows in sums that are shifted beforehand (``softmax_sums.py``)."""


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
    products: torch.dtype = torch.float32,
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
        products: arithmetic of the products, where predictions are float32, the targets fixed, and nothing stands
            beside them (such a loss is differentiable once); bfloat16 keeps ``bank_contrast.bfloat16_bound``.

    >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> round(float(info_nce(same, same, temperature=0.07)), 4)  # one negative, as near as the target: log 2
    0.6931
    >>> float(info_nce(same, same, temperature=0.07, groups=torch.tensor([4, 4])))  # a duplicate, no negative
    0.0
    """
    plain = not (target.requires_grad or symmetric or negatives) and prediction.dtype == torch.float32
    if plain and float(temperature.detach() if isinstance(temperature, Tensor) else temperature) >= SAFE_TEMPERATURE:
        hidden = _no_negatives(len(prediction), groups, context_groups)
        return _with_fixed_targets(prediction, target, hidden, temperature=temperature, margin=margin,
                                   products=products)  # fmt: skip
    logits = contrast_logits(prediction, target, temperature=temperature, groups=groups, context_groups=context_groups)
    truth = torch.arange(len(logits), device=logits.device)
    if margin:
        logits = logits - torch.diag_embed(torch.ones_like(logits[0])) * (margin / temperature)
    more = [] if negatives is None else _extra_logits(prediction, negatives, temperature, groups, context_groups)
    loss = functional.cross_entropy(torch.cat([logits, *more], dim=1), truth)
    return 0.5 * (loss + functional.cross_entropy(logits.T, truth)) if symmetric else loss


@dataclass(frozen=True)
class _Targets:
    """The targets of a batch as candidates."""

    vectors: Float[Tensor, "batch dim"]

    @property
    def dtype(self) -> torch.dtype:
        return self.vectors.dtype

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "batch dim"]]]:
        for first in range(0, len(self.vectors), ROWS_PER_BLOCK):
            yield first, self.vectors[first : first + ROWS_PER_BLOCK]


def _with_fixed_targets(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    hidden: Pairs,
    *,
    temperature: float | Float[Tensor, ""],
    margin: float,
    products: torch.dtype,
) -> Float[Tensor, ""]:
    """Return InfoNCE in one pass over the targets, which leaves the gradient behind: fewer products, less memory."""
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1)
    temperature = torch.as_tensor(temperature, dtype=query.dtype, device=query.device)
    positive = ((query * truth).sum(dim=-1) - margin) / temperature
    shift = shift_of(positive, temperature, products)
    negative = log_sum_exp(query, temperature, _Targets(truth.to(products)), hidden=hidden, shift=shift)
    return functional.softplus(negative - positive).mean()


def _no_negatives(
    batch: int, groups: Int[Tensor, "batch"] | None, context_groups: Int[Tensor, "batch context"] | None
) -> Pairs:
    """Return the pairs of window and target that ``not_negatives`` tells, and the diagonal, without the square.

    >>> window, target = _no_negatives(3, torch.tensor([4, 4, 6]), torch.tensor([[-1], [6], [5]]))
    >>> sorted(zip(window.tolist(), target.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2)]
    """
    if groups is None:
        return torch.arange(batch), torch.arange(batch)
    hidden = groups[:, None] if context_groups is None else torch.cat([groups[:, None], context_groups], dim=1)
    hidden = hidden.sort(dim=1).values
    hidden[:, 1:].masked_fill_(hidden[:, 1:] == hidden[:, :-1], -1)  # each once
    ordered, order = groups.sort()
    first = torch.searchsorted(ordered, hidden.flatten())
    count = torch.searchsorted(ordered, hidden.flatten(), right=True) - first
    window = torch.arange(batch, device=groups.device).repeat_interleave(hidden.shape[1])
    run = torch.arange(int(count.sum()), device=groups.device) - (count.cumsum(0) - count).repeat_interleave(count)
    return window.repeat_interleave(count), order[first.repeat_interleave(count) + run]


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
