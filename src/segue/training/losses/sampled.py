"""InfoNCE over a sample of the training bank, for banks that are too large to read in every step.

A softmax over a sample estimates that over the bank when each sampled logit is lowered by the logarithm of how often it
is expected in the sample (Bengio and Senécal 2008, "Adaptive Importance Sampling", section 3; Yi et al. 2019,
"Sampling-Bias-Corrected Neural Modeling", equation 3). The corrected sum of exponentials is unbiased, so the loss and
its gradient are nearly so for a large sample. The target's own logit is not corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from segue.training.losses.in_batch import right_or_read
from segue.training.losses.tiny import without_tiny
from segue.training.losses.whole_bank import TrainingBank


@dataclass(frozen=True)
class Sample:
    """Candidates drawn with replacement.

    Attributes:
        vectors: unit, one for each draw.
        groups: their duplicate groups.
        log_expected: logarithm of how often each is expected in such a sample.
    """

    vectors: Float[Tensor, "drawn dim"]
    groups: Int[Tensor, "drawn"]
    log_expected: Float[Tensor, "drawn"]


def draw_sample(
    bank: TrainingBank, count: int, *, drawn: Literal["uniform", "frequency"], generator: np.random.Generator
) -> Sample:
    """Draw candidates and gather their vectors.

    Args:
        bank: the candidates.
        count: draws, with replacement.
        drawn: ``uniform``, or ``frequency``: in proportion to how often a candidate is the target of a training window
            (never for the first passages of documents).
        generator: the only source of randomness.
    """
    weights = np.ones(bank.size, dtype=np.int64) if drawn == "uniform" else bank.frequency
    upto = np.cumsum(weights)
    places = np.searchsorted(upto, generator.integers(upto[-1], size=count), side="right")
    expected = count * weights[places] / upto[-1]
    rows = bank.rows[places]
    return Sample(
        without_tiny(torch.from_numpy(np.ascontiguousarray(bank.bank.gather(rows)))).to(bank.device),
        torch.from_numpy(bank.bank.duplicate_group[rows]).to(bank.device),
        torch.from_numpy(np.log(expected).astype(np.float32)).to(bank.device),
    )


def sampled_info_nce(
    prediction: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    sample: Sample,
    *,
    temperature: float | Float[Tensor, ""],
    groups: Int[Tensor, "batch"],
    context_groups: Int[Tensor, "batch context"] | None = None,
    margin: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of each prediction choosing its target, with the sum over the bank estimated.

    Args:
        prediction: any length; normalised here.
        target: any length; normalised here.
        sample: drawn independently of the windows; candidates that are not negatives of a window are masked.
        temperature: τ > 0.
        groups: duplicate group of each target.
        context_groups: duplicate groups of each window's context, −1 for padding; they are not negatives of it.
        margin: subtracted from the cosine with the target.
    """
    query, truth = functional.normalize(prediction, dim=-1), functional.normalize(target, dim=-1)
    positive = ((query * truth).sum(dim=-1) - margin) / temperature
    logits = query @ functional.normalize(sample.vectors, dim=-1).T / temperature - sample.log_expected
    logits = logits.masked_fill(right_or_read(sample.groups[None, :], groups, context_groups), -torch.inf)
    truth_first = torch.cat([positive[:, None], logits], dim=1)
    return functional.cross_entropy(truth_first, torch.zeros(len(query), dtype=torch.int64, device=query.device))
