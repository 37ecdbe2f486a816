"""InfoNCE with in-batch negatives: each prediction chooses its target among the targets of the batch.

The negatives of a prediction are the other targets of the batch and, optionally, hard negatives. Passages with the text
of the target and passages of the window's own context are not negatives: evaluation does not count them as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from segue.training.losses.mining import Negatives
from segue.training.losses.softmax_sums import ROWS_PER_BLOCK, Pairs, log_sum_exp, shift_of
from segue.training.ranks import ALONE, ProcessGroup

SAFE_TEMPERATURE = 0.0145
"""Minimum temperature at which no logit of unit vectors underflows in the shifted sums of ``softmax_sums.py``."""


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
    ranks: ProcessGroup = ALONE,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of each prediction choosing its target among the targets of the batch.

    −log( exp(p·t⁺/τ) / (exp(p·t⁺/τ) + Σ exp(p·t⁻/τ)) ) on unit vectors: van den Oord et al. 2018, "Representation
    Learning with Contrastive Predictive Coding", equation 4. ``symmetric`` takes the mean with the other direction,
    each target choosing its prediction (CLIP, Radford et al. 2021). Chance is log(1 + negatives).

    Args:
        prediction: any length; normalised here.
        target: any length; normalised here.
        temperature: τ > 0.
        groups: duplicate group of each target; equal ones are not negatives of each other.
        context_groups: duplicate groups of each window's context, −1 for padding; they are not negatives of it.
        symmetric: both directions.
        margin: subtracted from the cosine with the target, so that the target has to win by it (additive margin:
            Yang et al. 2019, "Improving Multilingual Sentence Embedding", equation 3).
        negatives: hard negatives of each prediction.
        products: arithmetic of the products, where predictions are float32, the targets fixed and there are no hard
            negatives (such a loss is differentiable once); the error of bfloat16 is below
            ``whole_bank.bfloat16_bound``.
        ranks: the processes that share the batch, equally; their mean is the loss of the whole batch. With fixed
            targets each contrasts its own predictions; else each computes the loss of the whole batch.

    >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> round(float(info_nce(same, same, temperature=0.07)), 4)  # one negative, as near as the target: log 2
    0.6931
    >>> float(info_nce(same, same, temperature=0.07, groups=torch.tensor([4, 4])))  # a duplicate, no negative
    0.0
    """
    plain = not (target.requires_grad or symmetric or negatives) and prediction.dtype == torch.float32
    if plain and float(temperature.detach() if isinstance(temperature, Tensor) else temperature) >= SAFE_TEMPERATURE:
        hidden = _no_negatives(len(prediction), groups, context_groups, ranks)
        return _with_fixed_targets(prediction, target, hidden, temperature=temperature, margin=margin,
                                   products=products, ranks=ranks)  # fmt: skip
    prediction, target = ranks.gather(prediction), ranks.gather(target)
    groups, context_groups = (None if one is None else ranks.gather(one) for one in (groups, context_groups))
    negatives = negatives and Negatives(ranks.gather(negatives.vectors), ranks.gather(negatives.groups))
    logits = contrast_logits(prediction, target, temperature=temperature, groups=groups, context_groups=context_groups)
    truth = torch.arange(len(logits), device=logits.device)
    if margin:
        logits = logits - torch.diag_embed(torch.ones_like(logits[0])) * (margin / temperature)
    every = logits
    if negatives is not None:
        assert groups is not None, "hard negatives are masked by their duplicate groups"
        query, vectors = functional.normalize(prediction, dim=-1), functional.normalize(negatives.vectors, dim=-1)
        more = torch.einsum("bd,bnd->bn", query, vectors) / temperature
        masked = right_or_read(negatives.groups, groups, context_groups) | (negatives.groups < 0)
        every = torch.cat([logits, more.masked_fill(masked, -math.inf)], dim=1)
    loss = functional.cross_entropy(every, truth)
    return 0.5 * (loss + functional.cross_entropy(logits.T, truth)) if symmetric else loss


@dataclass(frozen=True)
class _Targets:
    """Targets of a batch as candidates."""

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
    ranks: ProcessGroup,
) -> Float[Tensor, ""]:
    """Return InfoNCE and its gradient in one pass over the targets: fewer products, less memory."""
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1)
    temperature = torch.as_tensor(temperature, dtype=query.dtype, device=query.device)
    positive = ((query * truth).sum(dim=-1) - margin) / temperature
    shift = shift_of(positive, temperature, products)
    candidates = _Targets(ranks.gather(truth).to(products))
    negative = log_sum_exp(query, temperature, candidates, hidden=hidden, shift=shift)
    return functional.softplus(negative - positive).mean()


def _no_negatives(
    batch: int, groups: Int[Tensor, "batch"] | None, context_groups: Int[Tensor, "batch context"] | None,
    ranks: ProcessGroup = ALONE,
) -> Pairs:  # fmt: skip
    """Return the pairs (window, target) of ``not_negatives`` and the diagonal, without computing the square.

    >>> window, target = _no_negatives(3, torch.tensor([4, 4, 6]), torch.tensor([[-1], [6], [5]]))
    >>> sorted(zip(window.tolist(), target.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2)]
    """
    if groups is None:
        return torch.arange(batch), torch.arange(batch) + ranks.number * batch
    hidden = groups[:, None] if context_groups is None else torch.cat([groups[:, None], context_groups], dim=1)
    hidden = hidden.sort(dim=1).values
    hidden[:, 1:].masked_fill_(hidden[:, 1:] == hidden[:, :-1], -1)  # each once
    ordered, order = ranks.gather(groups).sort()
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
    """Return cosine / τ of each prediction (row) with each target (column); −inf where a column is not a negative."""
    logits = functional.normalize(prediction, dim=-1) @ functional.normalize(target, dim=-1).T / temperature
    if groups is None:
        return logits
    return logits.masked_fill(not_negatives(groups, context_groups), -math.inf)


def not_negatives(
    groups: Int[Tensor, "batch"], context_groups: Int[Tensor, "batch context"] | None = None
) -> Bool[Tensor, "batch batch"]:
    """Return which targets (columns) are not negatives of which predictions (rows); False on the diagonal, the truth.

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
    """Return which candidates have the text of a window's target, or of a passage of its context.

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


def describe_logits(logits: Float[Tensor, "batch batch"]) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """Return for each prediction the entropy over log(1 + negatives), and the largest probability.

    >>> [round(float(values[0]), 3) for values in describe_logits(torch.zeros(4, 4))]
    [1.0, 0.25]
    """
    log_shares = logits.log_softmax(dim=1)
    shares = log_shares.exp()
    nats = -(shares * log_shares.masked_fill(shares == 0, 0.0)).sum(dim=1)
    limit = torch.log1p(num_negatives(logits).float()).clamp(min=1e-9)
    return nats / limit, shares.max(dim=1).values
