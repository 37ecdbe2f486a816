"""What training minimises: pure functions of predictions and targets, and ``Loss``, a weighted sum of them.

Enters: predicted and target vectors of a batch, both unit, and the duplicate groups of its passages. Leaves: one
number, and each term unweighted. Everything is computed in float32, whatever the model was computed in, but for the
products of a contrast with fixed documents (``products``, and what the ``TrainingBank`` says). Which passages are
negatives of which prediction is told in ``contrast.py``, ``bank_contrast.py`` and ``sampled_contrast.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError, explain
from segue.training.batches import SAMPLE, random_stream
from segue.training.losses.in_batch import context_push, contrast_logits, info_nce, not_negatives, num_negatives
from segue.training.losses.negatives import Negatives
from segue.training.losses.sampled import draw_sample, sampled_info_nce
from segue.training.losses.settings import LOSSES, LOWEST_TEMPERATURE, LossSettings, LossTerm
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce

T = TypeVar("T")

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


@dataclass(frozen=True)
class _Side:
    """What terms may need beside predictions and targets."""

    groups: Int[Tensor, "batch"] | None
    context_groups: Int[Tensor, "batch context"] | None
    read: Float[Tensor, "batch context dim"] | None
    negatives: Negatives | None
    step: int
    products: torch.dtype


class Loss(nn.Module):
    """A weighted sum of terms with what they have to learn: the projection head and the temperatures.

    Attributes:
        settings: the terms.
        names: of the terms in logs: their kinds, numbered from the second on where a kind repeats.
        projection: the head that projected terms share, or None.
        bank: what ``infonce-bank`` and ``infonce-sampled`` contrast with; ``attach`` puts it there.
    """

    def __init__(self, settings: LossSettings, dimension: int) -> None:
        super().__init__()
        self.settings = settings
        self.names = _term_names(settings.terms)
        self.projection = _head(settings, dimension)
        self.bank: TrainingBank | None = None
        self._seed = 1
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
    def needs_bank(self) -> bool:
        """Whether a term contrasts with the training bank."""
        return any(term.kind in ("infonce-bank", "infonce-sampled") for term in self.settings.terms)

    def attach(self, bank: TrainingBank, *, seed: int) -> None:
        """Say what the bank is; a sample of step n is drawn from (seed, n)."""
        self.bank, self._seed = bank, seed

    @property
    def temperatures(self) -> dict[str, float]:
        """The present τ of each term that has one."""
        terms = zip(self.names, self.settings.terms, strict=True)
        with torch.no_grad():
            return {name: float(self._temperature(name, term)) for name, term in terms if term.contrasts}

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
        *,
        read: Float[Tensor, "batch context dim"] | None = None,
        negatives: Negatives | None = None,
        step: int = 0,
        products: torch.dtype = torch.float32,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the weighted sum, and each term unweighted by name (all differentiable).

        Args:
            prediction: unit vectors, any floating type.
            target: unit vectors.
            groups: duplicate group of each target; None makes every other row a negative.
            context_groups: duplicate groups of each context, −1 for padding.
            read: the vectors of the contexts; ``context-push`` needs them.
            negatives: extra candidates of in-batch InfoNCE.
            step: of the training; samples are drawn for it.
            products: arithmetic of in-batch InfoNCE's products (``contrast.info_nce``).

        Raises:
            InputError: a term needs the training bank, duplicate groups or the contexts, and they are not given.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            side = _Side(groups, context_groups, read, negatives, step, products)
            pair = (prediction.float(), target.float())
            terms = list(zip(self.names, self.settings.terms, strict=True))
            parts = {name: self._term(name, term, pair, side) for name, term in terms}
            return torch.stack([term.weight * parts[name] for name, term in terms]).sum(), parts

    def _term(self, name: str, term: LossTerm, pair: tuple[Tensor, Tensor], side: _Side) -> Tensor:
        if not term.contrasts:
            return (ar_cosine if term.kind == "ar-cosine" else mse)(*pair)
        how: dict[str, Any] = {
            "temperature": self._temperature(name, term),
            "margin": term.margin,
            "groups": side.groups,
            "context_groups": side.context_groups if term.mask_context or term.kind == "context-push" else None,
        }
        if term.kind == "infonce":
            return self._in_batch(term, pair, side, how)
        if term.kind == "context-push":
            return context_push(*pair, _given(side.read, term, "the vectors of the contexts"), **how)
        bank = _given(self.bank, term, "the training bank: attach it")
        _given(side.groups, term, "duplicate groups")
        if term.kind == "infonce-bank":
            return bank_info_nce(*pair, bank, **how)
        generator = random_stream(self._seed, SAMPLE, side.step)
        return sampled_info_nce(*pair, draw_sample(bank, term.samples, drawn=term.drawn, generator=generator), **how)

    def _in_batch(self, term: LossTerm, pair: tuple[Tensor, Tensor], side: _Side, how: dict[str, Any]) -> Tensor:
        negatives = side.negatives
        if term.space == "projected":
            # Stop-gradient: the head learns from predictions only, so it cannot gain by moving the targets together.
            pair = (self.project(pair[0]), self.project(pair[1]).detach())
            negatives = negatives and negatives.through(lambda vectors: self.project(vectors).detach())
        return info_nce(*pair, symmetric=term.symmetric, negatives=negatives, products=side.products, **how)

    def _temperature(self, name: str, term: LossTerm) -> float | Tensor:
        return self.log_temperatures[name].exp() if term.learn_temperature else term.temperature


def build_loss(settings: LossSettings, dimension: int, *, seed: int = 1) -> Loss:
    """Build a loss for vectors of ``dimension`` components; its head starts at weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Loss(settings, dimension)


def _given(value: T | None, term: LossTerm, what: str) -> T:
    if value is None:
        raise InputError(explain(f"the loss term {term.kind!r} cannot be computed", got="none", expected=what))
    return value


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
