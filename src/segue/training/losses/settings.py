"""The [loss] table: terms, their weights, extra negatives; and the losses that options name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from segue.settings import Settings
from segue.training.losses.negatives import HardNegatives

LOWEST_TEMPERATURE = 0.01
"""Logits are never scaled by more than 100, as in CLIP (Radford et al. 2021, section 2.5)."""

_BATCH, _BANK, _SAMPLED, _PUSH = "infonce", "infonce-bank", "infonce-sampled", "context-push"
_ALLOWED = {
    "learn_temperature": (_BATCH, _BANK, _SAMPLED, _PUSH),
    "margin": (_BATCH, _BANK, _SAMPLED, _PUSH),
    "symmetric": (_BATCH,),
    "space": (_BATCH,),
    "samples": (_SAMPLED,),
    "drawn": (_SAMPLED,),
}
"""Which kinds have a use for what; a cosine through a learnt head is least for a head that maps all to one point."""


class LossTerm(Settings):
    """One term of the sum."""

    kind: Literal["ar-cosine", "mse", "infonce", "infonce-bank", "infonce-sampled", "context-push"] = Field(
        description="what is measured; InfoNCE against the batch, the whole training bank, or a sample of it; "
        "context-push against the passages just read, for rankings that leave them in"
    )
    weight: float = Field(1.0, gt=0, le=1000, description="factor in the sum")
    temperature: float = Field(
        0.07, ge=LOWEST_TEMPERATURE, le=1, description="τ of InfoNCE; where learnt, the value it starts from"
    )
    learn_temperature: bool = Field(False, description="let training move τ, between 0.01 and 1")
    margin: float = Field(0.0, ge=0, le=1, description="taken off the target's cosine before it is contrasted")
    symmetric: bool = Field(False, description="InfoNCE in both directions, as CLIP")
    mask_context: bool = Field(True, description="passages of a window's context are no negatives of it")
    space: Literal["raw", "projected"] = Field("raw", description="vectors as they are searched, or through a head")
    projection: tuple[int, int] = Field((512, 256), description="hidden and output components of the head")
    samples: int = Field(4096, ge=1, le=1_000_000, description="infonce-sampled: passages drawn in each step")
    drawn: Literal["uniform", "frequency"] = Field(
        "uniform", description="infonce-sampled: all passages alike, or as often as they are a window's target"
    )

    @property
    def contrasts(self) -> bool:
        """Whether the term tells the target from other passages, at a temperature."""
        return self.kind not in ("ar-cosine", "mse")

    @model_validator(mode="after")
    def _meaningful(self) -> LossTerm:
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
        (), description="passages that `infonce` contrasts beside the targets of the batch"
    )

    @model_validator(mode="after")
    def _one_head(self) -> LossSettings:
        heads = {term.projection for term in self.terms if term.space == "projected"}
        if len(heads) > 1:
            raise ValueError(f"projected terms share one head, but name {len(heads)}: {sorted(heads)}")
        return self

    @model_validator(mode="after")
    def _negatives_are_used(self) -> LossSettings:
        if self.negatives and not any(term.kind == _BATCH for term in self.terms):
            raise ValueError("negatives: only for a loss with a term of kind = 'infonce'; others have their own")
        kinds = [source.kind for source in self.negatives]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"negatives: each kind once, not {', '.join(kinds)}")
        return self


_KINDS = {
    "ar-cosine": "AR",
    "mse": "MSE",
    "infonce": "InfoNCE",
    "infonce-bank": "InfoNCE over the whole bank",
    "infonce-sampled": "InfoNCE over a sample of the bank",
    "context-push": "push on the context",
}


def describe_loss(settings: LossSettings) -> str:
    """Say a loss in words.

    >>> describe_loss(LOSSES["infonce-projected"])
    '0.7 InfoNCE (projected, τ 0.07) + 0.3 AR'
    >>> describe_loss(LOSSES["infonce-same-document"])
    'InfoNCE (raw, τ 0.05), extra negatives: 4 same-document'
    """
    words = []
    for term in settings.terms:
        weight = "" if len(settings.terms) == 1 else f"{term.weight:g} "
        learnt = ", learnt" if term.learn_temperature else ""
        margin = f", margin {term.margin:g}" if term.margin else ""
        space = "" if term.kind == "context-push" else f"{term.space}, "
        detail = f" ({space}τ {term.temperature:g}{learnt}{margin})" if term.contrasts else ""
        words.append(f"{weight}{_KINDS[term.kind]}{detail}")
    hard = [f"{source.count} {source.kind}" for source in settings.negatives]
    return " + ".join(words) + (f", extra negatives: {', '.join(hard)}" if hard else "")


def _projected(temperature: float) -> LossSettings:
    """Return the report's second configuration: 0.7 InfoNCE through a head + 0.3 AR."""
    head = LossTerm(kind="infonce", weight=0.7, temperature=temperature, space="projected")
    return LossSettings(terms=(head, LossTerm(kind="ar-cosine", weight=0.3)))


def _raw(temperature: float) -> LossSettings:
    """Return the report's option 1: 0.85 InfoNCE on the vectors that are searched + 0.15 AR."""
    contrast = LossTerm(kind="infonce", weight=0.85, temperature=temperature)
    return LossSettings(terms=(contrast, LossTerm(kind="ar-cosine", weight=0.15)))


_PURE = LossTerm(kind="infonce", temperature=0.05)
_WHOLE = LossTerm(kind="infonce-bank", temperature=0.05)

LOSSES: dict[str, LossSettings] = {
    "ar-cosine": LossSettings(terms=(LossTerm(kind="ar-cosine"),)),
    "mse": LossSettings(terms=(LossTerm(kind="mse"),)),
    "infonce-projected": _projected(0.07),
    "infonce-0.85-ar-0.15": _raw(0.07),
    **{f"infonce-projected-tau-{tau}": _projected(float(tau)) for tau in ("0.05", "0.10", "0.15")},
    **{f"infonce-0.85-ar-0.15-tau-{tau}": _raw(float(tau)) for tau in ("0.05", "0.10", "0.15")},
    "infonce": LossSettings(),
    "infonce-bank": LossSettings(terms=(_WHOLE,)),
    "infonce-bank-margin": LossSettings(terms=(LossTerm(kind="infonce-bank", temperature=0.05, margin=0.1),)),
    "infonce-bank-context-push": LossSettings(
        terms=(_WHOLE, LossTerm(kind="context-push", weight=0.3, temperature=0.05))
    ),
    "infonce-sampled": LossSettings(terms=(LossTerm(kind="infonce-sampled", temperature=0.05),)),
    "infonce-tau-0.05": LossSettings(terms=(_PURE,)),
    "infonce-same-document": LossSettings(terms=(_PURE,), negatives=(HardNegatives(kind="same-document"),)),
    "infonce-nearby-documents": LossSettings(terms=(_PURE,), negatives=(HardNegatives(kind="nearby-documents"),)),
    "infonce-mined": LossSettings(terms=(_PURE,), negatives=(HardNegatives(kind="mined"),)),
    "infonce-queue": LossSettings(terms=(_PURE,), negatives=(HardNegatives(kind="queue"),)),
}
"""The losses of the report, of its proposals and of the ablation of negatives (all at τ 0.05), by name."""
