"""What training minimises: pure functions of predictions and targets, and ``Loss``, a weighted sum of them.

Enters: predicted and target vectors of a batch, both unit, and the duplicate groups of its passages. Leaves: one
number, and each term unweighted. Everything is computed in float32, whatever the model was computed in.
Which passages are negatives of which prediction is told in ``contrast.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from segue.learning.contrast import contrast_logits, info_nce, not_negatives, num_negatives
from segue.settings import Settings

__all__ = [
    "LOSSES",
    "Loss",
    "LossSettings",
    "LossTerm",
    "ar_cosine",
    "build_loss",
    "contrast_logits",
    "info_nce",
    "mse",
    "not_negatives",
    "num_negatives",
]

LOWEST_TEMPERATURE = 0.01
"""Logits are never scaled by more than 100, as in CLIP (Radford et al. 2021, section 2.5)."""


def ar_cosine(prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return the mean of 1 − cos(prediction, target), in [0, 2].

    >>> float(ar_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
    0.5
    """
    return (1.0 - functional.cosine_similarity(prediction, target, dim=-1)).mean()


def mse(prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return the mean of ½‖prediction − target‖², which on unit vectors equals 1 − cos.

    A mean over components would be ``dim / 2`` times smaller, and its weight beside another term would mean nothing.

    >>> float(mse(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])))
    1.0
    """
    return 0.5 * (prediction - target).square().sum(dim=-1).mean()


class LossTerm(Settings):
    """One term of the sum."""

    kind: Literal["ar-cosine", "mse", "infonce"] = Field(description="what is measured")
    weight: float = Field(1.0, gt=0, le=1000, description="factor in the sum")
    temperature: float = Field(
        0.07, ge=LOWEST_TEMPERATURE, le=1, description="τ of InfoNCE; where learnt, the value it starts from"
    )
    learn_temperature: bool = Field(False, description="let training move τ, between 0.01 and 1")
    symmetric: bool = Field(False, description="InfoNCE in both directions, as CLIP")
    mask_context: bool = Field(True, description="passages of a window's context are no negatives of it")
    space: Literal["raw", "projected"] = Field("raw", description="vectors as they are searched, or through a head")
    projection: tuple[int, int] = Field((512, 256), description="hidden and output components of the head")

    @model_validator(mode="after")
    def _meaningful(self) -> LossTerm:
        special = {"learn_temperature": self.learn_temperature, "symmetric": self.symmetric,
                   'space = "projected"': self.space == "projected"}  # fmt: skip
        said = [name for name, given in special.items() if given]
        if self.kind != "infonce" and said:
            # A cosine through a learnt head is least for a head that maps everything to one point.
            raise ValueError(f"{', '.join(said)}: only for kind = 'infonce', not for {self.kind!r}")
        if min(self.projection) < 1:
            raise ValueError("projection: both sizes must be at least 1")
        return self


class LossSettings(Settings):
    """The [loss] table: a weighted sum of terms."""

    terms: tuple[LossTerm, ...] = Field((LossTerm(kind="infonce"),), min_length=1, description="added up, weighted")

    @model_validator(mode="after")
    def _one_head(self) -> LossSettings:
        heads = {term.projection for term in self.terms if term.space == "projected"}
        if len(heads) > 1:
            raise ValueError(f"projected terms share one head, but name {len(heads)}: {sorted(heads)}")
        return self


class Loss(nn.Module):
    """A weighted sum of terms with what they have to learn: the projection head and the temperatures.

    Attributes:
        settings: the terms.
        names: of the terms in logs: their kinds, numbered from the second on where a kind repeats.
        projection: the head that projected terms share, or None.
    """

    def __init__(self, settings: LossSettings, dimension: int) -> None:
        super().__init__()
        self.settings = settings
        self.names = _term_names(settings.terms)
        self.projection = _head(settings, dimension)
        # log τ, as CLIP: steps are relative and τ stays positive
        self.log_temperatures = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(math.log(term.temperature)))
             for name, term in zip(self.names, settings.terms, strict=True) if term.learn_temperature}
        )  # fmt: skip

    @property
    def space(self) -> Literal["raw", "projected"]:
        """Where the loss is computed; one projected term makes it ``projected``."""
        return "raw" if self.projection is None else "projected"

    @property
    def temperatures(self) -> dict[str, float]:
        """The present τ of each InfoNCE term."""
        terms = zip(self.names, self.settings.terms, strict=True)
        with torch.no_grad():
            return {name: float(self._temperature(name, term)) for name, term in terms if term.kind == "infonce"}

    def project(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch projected"]:
        """Return unit vectors in the projected space; without a head that is the raw space."""
        head = self.projection
        return functional.normalize(vectors if head is None else head(vectors), dim=-1)

    def clamp(self) -> None:
        """Bring learnt temperatures back into their range; called after each optimiser step."""
        with torch.no_grad():
            for log_temperature in self.log_temperatures.values():
                log_temperature.clamp_(math.log(LOWEST_TEMPERATURE), 0.0)

    def forward(
        self,
        prediction: Float[Tensor, "batch dim"],
        target: Float[Tensor, "batch dim"],
        groups: Int[Tensor, "batch"] | None = None,
        context_groups: Int[Tensor, "batch context"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the weighted sum, and each term unweighted by name (all differentiable).

        Args:
            prediction: unit vectors, any floating type.
            target: unit vectors.
            groups: duplicate group of each target; None makes every other row a negative.
            context_groups: duplicate groups of each context, −1 for padding.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            pair = (prediction.float(), target.float())
            parts = {
                name: self._term(name, term, pair, groups, context_groups if term.mask_context else None)
                for name, term in zip(self.names, self.settings.terms, strict=True)
            }
            weighted = [term.weight * parts[name] for name, term in zip(self.names, self.settings.terms, strict=True)]
            return torch.stack(weighted).sum(), parts

    def _term(
        self,
        name: str,
        term: LossTerm,
        pair: tuple[Tensor, Tensor],
        groups: Tensor | None,
        context_groups: Tensor | None,
    ) -> Tensor:
        if term.kind != "infonce":
            return (ar_cosine if term.kind == "ar-cosine" else mse)(*pair)
        if term.space == "projected":
            # Stop-gradient: the head learns from predictions only, so it cannot gain by moving the targets together.
            pair = (self.project(pair[0]), self.project(pair[1]).detach())
        return info_nce(
            *pair,
            temperature=self._temperature(name, term),
            groups=groups,
            context_groups=context_groups,
            symmetric=term.symmetric,
        )

    def _temperature(self, name: str, term: LossTerm) -> float | Tensor:
        return self.log_temperatures[name].exp() if term.learn_temperature else term.temperature


def build_loss(settings: LossSettings, dimension: int, *, seed: int = 1) -> Loss:
    """Build a loss for vectors of ``dimension`` components; its head starts at weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Loss(settings, dimension)


def _term_names(terms: tuple[LossTerm, ...]) -> tuple[str, ...]:
    """Name the terms.

    >>> _term_names((LossTerm(kind="infonce"), LossTerm(kind="mse"), LossTerm(kind="infonce")))
    ('infonce', 'mse', 'infonce-2')
    """
    seen: Counter[str] = Counter()
    names = []
    for term in terms:
        seen[term.kind] += 1
        names.append(term.kind if seen[term.kind] == 1 else f"{term.kind}-{seen[term.kind]}")
    return tuple(names)


def _head(settings: LossSettings, dimension: int) -> nn.Module | None:
    """Return the multilayer perceptron that projected terms share: dimension → hidden → output."""
    sizes = next((term.projection for term in settings.terms if term.space == "projected"), None)
    if sizes is None:
        return None
    hidden, output = sizes
    return nn.Sequential(nn.Linear(dimension, hidden), nn.GELU(), nn.Linear(hidden, output))


def _projected(temperature: float) -> LossSettings:
    """Return the report's second configuration: 0.7 InfoNCE through a head + 0.3 AR."""
    head = LossTerm(kind="infonce", weight=0.7, temperature=temperature, space="projected")
    return LossSettings(terms=(head, LossTerm(kind="ar-cosine", weight=0.3)))


def _raw(temperature: float) -> LossSettings:
    """Return the report's option 1: 0.85 InfoNCE on the vectors that are searched + 0.15 AR."""
    contrast = LossTerm(kind="infonce", weight=0.85, temperature=temperature)
    return LossSettings(terms=(contrast, LossTerm(kind="ar-cosine", weight=0.15)))


LOSSES: dict[str, LossSettings] = {
    "ar-cosine": LossSettings(terms=(LossTerm(kind="ar-cosine"),)),
    "mse": LossSettings(terms=(LossTerm(kind="mse"),)),
    "infonce-projected": _projected(0.07),
    "infonce-0.85-ar-0.15": _raw(0.07),
    **{f"infonce-projected-tau-{tau}": _projected(float(tau)) for tau in ("0.05", "0.10", "0.15")},
    **{f"infonce-0.85-ar-0.15-tau-{tau}": _raw(float(tau)) for tau in ("0.05", "0.10", "0.15")},
    "infonce": LossSettings(),
}
"""The losses of the report and of its proposals, by name."""
