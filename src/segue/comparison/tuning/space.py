"""What tuning searches: seven settings around the recipe's own, small enough for a handful of trials.

==================  ==================================================================================
learning rate       a fifth to five times the recipe's, in the logarithm
weight decay        0 to 0.2
dropout             0 to 0.3
temperature         0.02 to 0.2, in the logarithm; of InfoNCE terms only
width               half, once or twice the architecture's ``width`` and ``hidden``
article dropout     off, or on at the recipe's rate (0.2 where that is 0)
span corruption     off, or on at the recipe's rate (0.1 where that is 0)
==================  ==================================================================================

Ranges are widened to hold the recipe's own values. The anchor, the document tower, the batch size and the weights of
the terms stay: they are what options differ in, or what makes their costs comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from segue.comparison.entries.trained import model_settings
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.models import ModelSettings
from segue.models.build import ARCHITECTURES
from segue.training.losses.loss import LossSettings
from segue.training.settings import ORIGINAL_DROPOUT

LEARNING_RATE_FACTOR = 5.0
MOST_WEIGHT_DECAY = 0.2
MOST_DROPOUT = 0.3
TEMPERATURES = (0.02, 0.2)
WIDTHS = (0.5, 1.0, 2.0)
SPAN_CORRUPTION = 0.1
WIDENED = ("width", "hidden")
"""Options of an architecture that its width multiplies."""


@dataclass(frozen=True)
class Choice:
    """The settings of one trial.

    Attributes:
        learning_rate: highest rate of AdamW.
        weight_decay: of matrices.
        dropout: share of activations dropped; None where the architecture is not known to have any.
        temperature: τ of the InfoNCE terms; None where there is none.
        width: factor of the architecture's width; None where it has none.
        article_dropout: whether last passages are zeroed.
        span_corruption: whether passages are swapped.
    """

    learning_rate: float
    weight_decay: float
    dropout: float | None
    temperature: float | None
    width: float | None
    article_dropout: bool
    span_corruption: bool


def own_choice(job: Job, option: Option, *, loss: str | None) -> Choice:
    """Return what the recipe itself says of an option trained under a loss."""
    model, training = model_settings(job, option), job.training
    temperatures = [term.temperature for term in loss_settings(job, loss).terms if term.kind.startswith("infonce")]
    dropout = float(model.options.get("dropout", model.dropout))
    return Choice(
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        dropout=dropout if dropout or model.name in ARCHITECTURES else None,
        temperature=temperatures[0] if temperatures else None,
        width=1.0 if _widths(model) else None,
        article_dropout=training.dropout(anchored=model.anchor) > 0,
        span_corruption=training.span_corruption > 0,
    )


def suggest(trial: Any, own: Choice) -> Choice:
    """Ask an Optuna trial for settings; ``own`` is always inside what it may answer."""
    rate, factor = own.learning_rate, LEARNING_RATE_FACTOR
    return Choice(
        learning_rate=trial.suggest_float("learning_rate", rate / factor, min(1.0, rate * factor), log=True),
        weight_decay=trial.suggest_float("weight_decay", 0.0, max(MOST_WEIGHT_DECAY, own.weight_decay)),
        dropout=None if own.dropout is None else trial.suggest_float("dropout", 0.0, max(MOST_DROPOUT, own.dropout)),
        temperature=None if own.temperature is None else _temperature(trial, own.temperature),
        width=None if own.width is None else trial.suggest_categorical("width", WIDTHS),
        article_dropout=trial.suggest_categorical("article_dropout", (False, True)),
        span_corruption=trial.suggest_categorical("span_corruption", (False, True)),
    )


def _temperature(trial: Any, own: float) -> float:
    low, high = TEMPERATURES
    return trial.suggest_float("temperature", min(low, own), max(high, own), log=True)


def with_choice(job: Job, option: Option, choice: Choice, *, loss: str | None) -> Job:
    """Return the job under which an option has a trial's settings; with the recipe's own, the job itself."""
    own = own_choice(job, option, loss=loss)
    if choice == own:
        return job
    update: dict[str, Any] = {"learning_rate": choice.learning_rate, "weight_decay": choice.weight_decay}
    anchored = model_settings(job, option).anchor
    rates = (
        job.training.dropout(anchored=anchored) or ORIGINAL_DROPOUT,
        job.training.span_corruption or SPAN_CORRUPTION,
    )
    update["article_dropout"] = rates[0] if choice.article_dropout else 0.0
    update["span_corruption"] = rates[1] if choice.span_corruption else 0.0
    tuned = replace(job, training=job.training.model_copy(update=update), model=_model(job, option, choice))
    return _with_temperature(tuned, choice.temperature, loss) if choice.temperature != own.temperature else tuned


def widest(job: Job, option: Option) -> Job:
    """Return the job with the dearest model that tuning may choose, so that no plan reckons with less."""
    own = own_choice(job, option, loss=None)
    return job if own.width is None else with_choice(job, option, replace(own, width=max(WIDTHS)), loss=None)


def loss_settings(job: Job, loss: str | None) -> LossSettings:
    """Return a preset by name; None and ``recipe`` are the recipe's own."""
    return job.loss if loss in (None, "recipe") else job.losses[str(loss)]


def _model(job: Job, option: Option, choice: Choice) -> ModelSettings:
    """Return a [model] table under which ``model_settings`` gives the option the choice's model."""
    model = model_settings(job, option)
    options = {name: value for name, value in model.options.items() if name != "dropout" or choice.dropout is None}
    if choice.width not in (None, 1.0):
        options |= {name: _times(value, float(choice.width)) for name, value in _widths(model).items()}
    update: dict[str, Any] = {"name": model.name, "options": options}
    return job.model.model_copy(update=update | ({} if choice.dropout is None else {"dropout": choice.dropout}))


def _widths(model: ModelSettings) -> Mapping[str, Any]:
    """Return the options that say how wide a model is, from its size or from the recipe."""
    size = ARCHITECTURES[model.name][1][model.size] if model.name in ARCHITECTURES else {}
    return {name: value for name, value in {**size, **model.options}.items() if name in WIDENED}


def _times(value: Any, factor: float) -> Any:
    """Multiply a width, or each of several.

    >>> _times((512, 3), 0.5)
    [256, 1]
    """
    if isinstance(value, int | float):
        return max(1, int(value * factor))
    return [_times(one, factor) for one in value]


def _with_temperature(job: Job, temperature: float | None, loss: str | None) -> Job:
    settings = loss_settings(job, loss)
    terms = tuple(
        term.model_copy(update={"temperature": temperature}) if term.kind.startswith("infonce") else term
        for term in settings.terms
    )
    tuned = settings.model_copy(update={"terms": terms})
    return (
        replace(job, loss=tuned) if loss in (None, "recipe") else replace(job, losses={**job.losses, str(loss): tuned})
    )
