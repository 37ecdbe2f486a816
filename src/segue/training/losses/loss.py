"""Training losses: settings, presets, and ``Loss``, a weighted sum of terms.

Input: predicted and target unit vectors of a batch, and the duplicate groups of its passages. Output: one number, and
each term unweighted. Everything is computed in float32, except the products of a contrast with fixed documents
(``products``, and the ``TrainingBank``'s type). ``in_batch.py``, ``whole_bank.py`` and ``sampled.py`` define which
passages are negatives of which prediction.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError, SegueError, explain
from segue.parts import installed, is_own, make_part, part_table
from segue.settings import Settings
from segue.training.losses.in_batch import info_nce
from segue.training.losses.mining import HardNegatives, Negatives
from segue.training.losses.sampled import draw_sample, sampled_info_nce
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.training.random_streams import SAMPLE, random_stream, seed_generators
from segue.training.ranks import ALONE, ProcessGroup

LOWEST_TEMPERATURE = 0.01
"""Minimum τ: logits are never scaled by more than 100, as in CLIP (Radford et al. 2021, section 2.5)."""

_WORDS = {
    "ar-cosine": "AR",
    "mse": "MSE",
    "infonce": "InfoNCE",
    "infonce-bank": "InfoNCE over the whole bank",
    "infonce-sampled": "InfoNCE over a sample of the bank",
}
_CONTRASTS = ("infonce", "infonce-bank", "infonce-sampled")
_ALLOWED = {
    "learn_temperature": _CONTRASTS,
    "margin": _CONTRASTS,
    "symmetric": ("infonce",),
    "space": ("infonce",),
    "samples": ("infonce-sampled",),
    "drawn": ("infonce-sampled",),
}
"""Kinds that a key is for. A cosine through a learnt head would be least for a head that maps all to one point."""


class LossTerm(Settings):
    """One term of the sum."""

    kind: str = Field(
        description='what is measured: "ar-cosine", "mse", InfoNCE against the batch ("infonce"), the whole training '
        'bank ("infonce-bank") or a sample of it ("infonce-sampled"), or a loss of your own: "package.module:Name" or '
        "an installed one"
    )
    weight: float = Field(1.0, gt=0, le=1000, description="factor in the sum")
    temperature: float = Field(
        0.07, ge=LOWEST_TEMPERATURE, le=1, description="τ of InfoNCE; where learnt, the value it starts from"
    )
    learn_temperature: bool = Field(False, description="let training move τ, between 0.01 and 1")
    margin: float = Field(0.0, ge=0, le=1, description="subtracted from the target's cosine before it is contrasted")
    symmetric: bool = Field(False, description="InfoNCE in both directions, as CLIP")
    mask_context: bool = Field(True, description="passages of a window's context are not negatives of it")
    space: Literal["raw", "projected"] = Field("raw", description="vectors as they are searched, or through a head")
    projection: tuple[int, int] = Field((512, 256), description="hidden and output components of the head")
    samples: int = Field(4096, ge=1, le=1_000_000, description="infonce-sampled: passages drawn in each step")
    drawn: Literal["uniform", "frequency"] = Field(
        "uniform", description="infonce-sampled: all passages alike, or as often as they are a window's target"
    )

    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for a loss of your own")

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        return part_table("loss", value, key="kind")

    @property
    def is_own(self) -> bool:
        """Whether the term is a loss of the user's own."""
        return self.kind not in _WORDS

    @property
    def contrasts(self) -> bool:
        """Whether the term contrasts the target with other passages, at a temperature."""
        return self.kind in _CONTRASTS

    @field_validator("kind", mode="before")
    @classmethod
    def _not_removed(cls, kind: object) -> object:
        if kind == "context-push":
            raise ValueError(
                "'context-push' was removed in version 0.2, since it never improved on copying the last passage; "
                "leave the term out"
            )
        if isinstance(kind, str) and kind not in _WORDS and not is_own("loss", kind):
            near = difflib.get_close_matches(kind, [*_WORDS, *installed("loss")], n=1)
            raise ValueError(explain("unknown kind", got=repr(kind),
                                     expected=f"{', '.join(_WORDS)}, 'package.module:Name' or an installed loss",
                                     fix=f"write {near[0]!r}" if near else ""))  # fmt: skip
        return kind

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> LossTerm:
        for name, kinds in _ALLOWED.items():
            value = getattr(self, name)
            if self.kind not in kinds and value != type(self).model_fields[name].default:
                allowed = " or ".join(repr(kind) for kind in kinds)
                raise ValueError(f"{name} = {value!r}: only for kind = {allowed}, not for {self.kind!r}")
        if min(self.projection) < 1:
            raise ValueError("projection: both sizes must be at least 1")
        return self


class LossSettings(Settings):
    """The [loss] table: a weighted sum of terms."""

    terms: tuple[LossTerm, ...] = Field((LossTerm(kind="infonce"),), min_length=1, description="added up, weighted")
    negatives: tuple[HardNegatives, ...] = Field(
        (), max_length=1, description="passages that `infonce` contrasts in addition to the targets of the batch"
    )

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        table = part_table("loss", value, key="kind")
        return {"terms": [table]} if isinstance(table, Mapping) and "kind" in table else table

    @property
    def projected(self) -> bool:
        """Whether a term is computed behind a projection head."""
        return any(term.space == "projected" for term in self.terms)

    @model_validator(mode="after")
    def _consistent(self) -> LossSettings:
        heads = {term.projection for term in self.terms if term.space == "projected"}
        if len(heads) > 1:
            raise ValueError(f"projected terms share one head, but name {len(heads)}: {sorted(heads)}")
        if self.negatives and not any(term.kind == "infonce" for term in self.terms):
            raise ValueError("negatives: only for a loss with a term of kind = 'infonce'; others have their own")
        return self


def describe_loss(settings: LossSettings) -> str:
    """Return a loss in words.

    >>> describe_loss(LOSSES["infonce-projected"])
    '0.7 InfoNCE (projected, τ 0.07) + 0.3 AR'
    >>> describe_loss(LOSSES["infonce-mined"])
    'InfoNCE (raw, τ 0.05), extra negatives: 4 mined'
    """
    words = []
    for term in settings.terms:
        weight = "" if len(settings.terms) == 1 else f"{term.weight:g} "
        learnt = ", learnt" if term.learn_temperature else ""
        margin = f", margin {term.margin:g}" if term.margin else ""
        detail = f" ({term.space}, τ {term.temperature:g}{learnt}{margin})" if term.contrasts else ""
        words.append(f"{weight}{_WORDS.get(term.kind) or own_words(term)}{detail}")
    hard = [f"{source.count} {source.kind}" for source in settings.negatives]
    return " + ".join(words) + (f", extra negatives: {', '.join(hard)}" if hard else "")


def own_words(term: LossTerm) -> str:
    """Return an own loss in words.

    >>> own_words(LossTerm(kind="math:hypot", options={"gamma": 2}))
    'hypot (gamma 2)'
    """
    options = ", ".join(f"{name} {value}" for name, value in term.options.items())
    return _short(term.kind) + (f" ({options})" if options else "")


def _short(kind: str) -> str:
    """Return the name of a kind of loss, without its module."""
    return kind.rpartition(":")[2]


def _with_ar(weight: float, temperature: float, space: Literal["raw", "projected"]) -> LossSettings:
    """Return ``weight`` InfoNCE + (1 − ``weight``) AR, as the original report combined them."""
    contrast = LossTerm(kind="infonce", weight=weight, temperature=temperature, space=space)
    return LossSettings(terms=(contrast, LossTerm(kind="ar-cosine", weight=round(1.0 - weight, 2))))


_IN_BATCH = LossTerm(kind="infonce", temperature=0.05)

LOSSES: dict[str, LossSettings] = {
    "ar-cosine": LossSettings(terms=(LossTerm(kind="ar-cosine"),)),
    "mse": LossSettings(terms=(LossTerm(kind="mse"),)),
    "infonce-projected": _with_ar(0.7, 0.07, "projected"),
    "infonce-ar": _with_ar(0.85, 0.07, "raw"),
    **{f"infonce-projected-tau-{tau}": _with_ar(0.7, float(tau), "projected") for tau in ("0.05", "0.10", "0.15")},
    **{f"infonce-ar-tau-{tau}": _with_ar(0.85, float(tau), "raw") for tau in ("0.05", "0.10", "0.15")},
    "infonce": LossSettings(),
    "infonce-bank": LossSettings(terms=(LossTerm(kind="infonce-bank", temperature=0.05),)),
    "infonce-bank-margin": LossSettings(terms=(LossTerm(kind="infonce-bank", temperature=0.05, margin=0.1),)),
    "infonce-sampled": LossSettings(terms=(LossTerm(kind="infonce-sampled", temperature=0.05),)),
    "infonce-tau-0.05": LossSettings(terms=(_IN_BATCH,)),
    "infonce-mined": LossSettings(terms=(_IN_BATCH,), negatives=(HardNegatives(kind="mined"),)),
}
"""Presets by name: the losses of the original report, whole-bank and sampled ones, and kinds of negatives at τ 0.05."""


def ar_cosine(prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return the mean of 1 − cos(prediction, target), in [0, 2].

    >>> float(ar_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
    0.5
    """
    return (1.0 - functional.cosine_similarity(prediction, target, dim=-1)).mean()


def mse(prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return the mean of ½‖prediction − target‖², which on unit vectors equals 1 − cos.

    A mean over components would be ``dim / 2`` times smaller, so its weight relative to other terms would mean nothing.

    >>> float(mse(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])))
    1.0
    """
    return 0.5 * (prediction - target).square().sum(dim=-1).mean()


@dataclass(frozen=True)
class _Inputs:
    """Arguments of ``Loss.forward``."""

    prediction: Float[Tensor, "batch dim"]
    target: Float[Tensor, "batch dim"]
    groups: Int[Tensor, "batch"] | None
    context_groups: Int[Tensor, "batch context"] | None
    negatives: Negatives | None
    step: int
    products: torch.dtype


class OwnTerm:
    """A loss of the user's own: called with predictions and targets, and with what else it has parameters for.

    Raises:
        InputError: it cannot be called.
    """

    def __init__(self, term: LossTerm) -> None:
        self.name = term.kind
        part = make_part("loss", term.kind, term.options)
        self.part = copy.deepcopy(part) if isinstance(part, nn.Module) else part
        if not callable(part):
            raise InputError(f"the loss {self.name} cannot be called", got=type(part).__name__,
                             expected="a function (prediction, target), or a torch.nn.Module")  # fmt: skip
        self.wanted = set(inspect.signature(part.forward if isinstance(part, nn.Module) else part).parameters)

    def __call__(self, prediction: Tensor, target: Tensor, **more: Tensor | None) -> Tensor:
        """Return the loss of a batch.

        Raises:
            InputError: it raised an error, or is not one number.
        """
        try:
            value = self.part(prediction, target, **{name: more[name] for name in more if name in self.wanted})
        except SegueError:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise InputError(f"the loss {self.name} failed", got=f"{type(error).__name__}: {error}",
                             fix="correct it") from error  # fmt: skip
        if not isinstance(value, Tensor) or value.ndim != 0:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"the loss {self.name} is not one number", got=got, expected="a tensor of shape ()")
        return value


class Loss(nn.Module):
    """A weighted sum of terms with its learnt weights: the projection head and the temperatures.

    Attributes:
        settings: the terms.
        names: names of the terms in logs: their kinds, numbered from the second on where a kind repeats.
        projection: the head that projected terms share, or None.
        bank: the candidates of ``infonce-bank`` and ``infonce-sampled``; set by ``attach``.
        ranks: the processes that share each batch. Each computes the loss of its windows; the mean over the ranks is
            the loss of the batch, in value and gradient.
    """

    def __init__(self, settings: LossSettings, dimension: int) -> None:
        super().__init__()
        self.settings = settings
        self.names = _term_names(settings.terms)
        self.projection = _head(settings, dimension)
        self.bank: TrainingBank | None = None
        self.ranks: ProcessGroup = ALONE
        self._own = {name: OwnTerm(term) for name, term in self._terms() if term.is_own}
        self.own_weights = nn.ModuleList(own.part for own in self._own.values() if isinstance(own.part, nn.Module))
        self._seed = 1
        learnt = [pair for pair in self._terms() if pair[1].learn_temperature]
        # log τ, as CLIP: steps are relative and τ stays positive
        self.log_temperatures = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(math.log(term.temperature))) for name, term in learnt}
        )

    @property
    def space(self) -> Literal["raw", "projected"]:
        """Space in which the loss is computed: ``projected`` if one term is, otherwise ``raw``."""
        return "raw" if self.projection is None else "projected"

    @property
    def needs_bank(self) -> bool:
        """Whether a term contrasts with the training bank."""
        return any(term.kind in ("infonce-bank", "infonce-sampled") for term in self.settings.terms)

    def attach(self, bank: TrainingBank, *, seed: int) -> None:
        """Set the training bank; a sample of step n is drawn from (seed, n)."""
        self.bank, self._seed = bank, seed

    @property
    def temperatures(self) -> dict[str, float]:
        """The present τ of each term that has one."""
        with torch.no_grad():
            return {name: float(self._temperature(name, term)) for name, term in self._terms() if term.contrasts}

    def project(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch projected"]:
        """Return unit vectors in the projected space; without a head that is the raw space."""
        head = self.projection
        return functional.normalize(vectors if head is None else head(vectors), dim=-1)

    def clamp(self) -> None:
        """Clamp learnt temperatures to their range; called after each optimiser step."""
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
        negatives: Negatives | None = None,
        step: int = 0,
        products: torch.dtype = torch.float32,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the weighted sum, and each term unweighted by name (all differentiable).

        Args:
            prediction: unit vectors, any floating type.
            target: unit vectors.
            groups: duplicate group of each target; None makes every other target a negative.
            context_groups: duplicate groups of each context, −1 for padding.
            negatives: hard negatives of in-batch InfoNCE.
            step: step of the training; samples are drawn for it.
            products: arithmetic of in-batch InfoNCE's products (``in_batch.info_nce``).

        Raises:
            InputError: a term needs the training bank or duplicate groups, and they are not given.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            batch = _Inputs(prediction.float(), target.float(), groups, context_groups, negatives, step, products)
            parts = {name: self._term(name, term, batch) for name, term in self._terms()}
            return torch.stack([term.weight * parts[name] for name, term in self._terms()]).sum(), parts

    def _term(self, name: str, term: LossTerm, batch: _Inputs) -> Tensor:
        prediction, target, groups, ranks = batch.prediction, batch.target, batch.groups, self.ranks
        if term.is_own:  # it may compare windows, so every rank computes it for the whole batch
            more = {"groups": groups, "context_groups": batch.context_groups}
            every = {key: None if one is None else ranks.gather(one) for key, one in more.items()}
            return self._own[name](ranks.gather(prediction), ranks.gather(target), **every)
        if not term.contrasts:
            return (ar_cosine if term.kind == "ar-cosine" else mse)(prediction, target)
        temperature, margin = self._temperature(name, term), term.margin
        context_groups = batch.context_groups if term.mask_context else None
        if term.kind == "infonce":
            negatives = batch.negatives
            if term.space == "projected":
                # Stop-gradient: the head learns from predictions only, so it cannot gain by moving the targets together
                prediction, target = self.project(prediction), self.project(target).detach()
                negatives = negatives and negatives.through(lambda vectors: self.project(vectors).detach())
            return info_nce(prediction, target, temperature=temperature, groups=groups, context_groups=context_groups,
                            symmetric=term.symmetric, margin=margin, negatives=negatives,
                            products=batch.products, ranks=ranks)  # fmt: skip
        if self.bank is None or groups is None:
            missing = "the training bank: attach it" if self.bank is None else "duplicate groups"
            raise InputError(f"the loss term {term.kind!r} cannot be computed", got="none", expected=missing)
        if term.kind == "infonce-bank":
            return bank_info_nce(prediction, target, self.bank, temperature=temperature, groups=groups,
                                 context_groups=context_groups, margin=margin)  # fmt: skip
        generator = random_stream(self._seed, SAMPLE, batch.step)
        sample = draw_sample(self.bank, term.samples, drawn=term.drawn, generator=generator)
        return sampled_info_nce(prediction, target, sample, temperature=temperature, groups=groups,
                                context_groups=context_groups, margin=margin)  # fmt: skip

    def _terms(self) -> list[tuple[str, LossTerm]]:
        return list(zip(self.names, self.settings.terms, strict=True))

    def _temperature(self, name: str, term: LossTerm) -> float | Tensor:
        return self.log_temperatures[name].exp() if term.learn_temperature else term.temperature


def build_loss(settings: LossSettings, dimension: int, *, seed: int = 1) -> Loss:
    """Build a loss for vectors of ``dimension`` components; its head starts at weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        seed_generators(seed)
        return Loss(settings, dimension)


def _term_names(terms: tuple[LossTerm, ...]) -> tuple[str, ...]:
    """Name the terms.

    >>> _term_names((LossTerm(kind="infonce"), LossTerm(kind="mse"), LossTerm(kind="infonce")))
    ('infonce', 'mse', 'infonce-2')
    """
    seen: Counter[str] = Counter()
    names = []
    for term in terms:
        kind = _short(term.kind)
        seen[kind] += 1
        names.append(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}")
    return tuple(names)


def _head(settings: LossSettings, dimension: int) -> nn.Module | None:
    """Return the multilayer perceptron that projected terms share: dimension → hidden → output."""
    sizes = next((term.projection for term in settings.terms if term.space == "projected"), None)
    if sizes is None:
        return None
    hidden, output = sizes
    return nn.Sequential(nn.Linear(dimension, hidden), nn.GELU(), nn.Linear(hidden, output))


ZERO_GRADIENT = 1e-6
"""Replaces weight 0: too little to move the predictor, but AdamW does not depend on scale, so a head still learns from
it and the term's value stays comparable."""


def varied_term(settings: LossSettings) -> int:
    """Return the place of the term whose share is varied: the first that contrasts nothing, else the last."""
    others = [place for place, term in enumerate(settings.terms) if not term.contrasts]
    return others[0] if others else len(settings.terms) - 1


def with_share(settings: LossSettings, share: float) -> LossSettings:
    """Return the loss with another share of the varied term; the sum of the weights stays.

    >>> [round(term.weight, 3) for term in with_share(LOSSES["infonce-projected"], 0.6).terms]
    [0.4, 0.6]
    """
    place = varied_term(settings)
    weights = np.array([term.weight for term in settings.terms])
    total, others = np.abs(weights).sum(), np.abs(np.delete(weights, place)).sum()
    factor = np.full(len(weights), (1 - share) * total / others)
    factor[place] = share * total / abs(weights[place])
    wanted = np.where(factor == 0, np.sign(weights) * ZERO_GRADIENT, weights * factor).tolist()
    terms = [term.model_copy(update={"weight": w}) for term, w in zip(settings.terms, wanted, strict=True)]
    return LossSettings(terms=tuple(terms))
