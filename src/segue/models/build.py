"""Building predictors: the recipe's ``[model]`` table → an untrained predictor."""

from __future__ import annotations

import importlib
import inspect

from torch import nn

from segue.errors import InputError, SettingsError
from segue.models import amn, mamba, mlp, recurrent, transformer
from segue.models.architecture import Sizes
from segue.models.document_tower import build_document_tower
from segue.models.predictor import Predictor
from segue.models.rules import require_rules
from segue.models.settings import ModelSettings

ARCHITECTURES: dict[str, tuple[type[nn.Module], Sizes]] = {
    "amn": (amn.Amn, amn.SIZES),
    "bidirectional-gru": (recurrent.BidirectionalGru, recurrent.BIDIRECTIONAL_SIZES),
    "gru": (recurrent.Gru, recurrent.GRU_SIZES),
    "lstm": (recurrent.Lstm, recurrent.LSTM_SIZES),
    "transformer": (transformer.Transformer, transformer.SIZES),
    "mamba": (mamba.Mamba, mamba.SIZES),
    "mlp": (mlp.Mlp, mlp.SIZES),
}

_KEEP_RULES: set[tuple[object, str, int, int]] = set()
"""Own classes that keep the rules, with settings, dimension and context."""


def build_model(settings: ModelSettings, *, dimension: int, context: int) -> Predictor:
    """Build an untrained predictor.

    First weights come from torch's global generator; call ``torch.manual_seed(...)`` before to repeat them. An anchor
    starts at copy-last; ``predictor.start_anchor(...)`` changes that. A document tower starts at the identity. A class
    of your own has no sizes: it is called with ``settings.options``, and with ``dropout`` where that is not 0. It
    has to keep the rules of ``rules.py``; they are checked once for each class, settings and shape.

    Args:
        settings: architecture and size.
        dimension: components of an embedding.
        context: places of the window, at least 1.

    Raises:
        SettingsError: the class cannot be imported, does not take the options, or cannot be shared with documents.
        InputError: a class of your own breaks a rule.
    """
    if settings.name in ARCHITECTURES:
        architecture, sizes = ARCHITECTURES[settings.name]
        options: dict[str, object] = {**sizes[settings.size], "dropout": settings.dropout, **settings.options}
        if settings.name == "amn":
            options.setdefault("add_mean", not settings.anchor)
    else:
        architecture = _import_class(settings.name)
        options = ({"dropout": settings.dropout} if settings.dropout else {}) | settings.options
    correction = _construct(architecture, dimension, context, options, name=settings.name)
    tower = build_document_tower(settings.documents, correction, dimension=dimension, size=settings.size)
    predictor = Predictor(correction, settings, dimension=dimension, context=context, documents=tower)
    key = (architecture, settings.model_dump_json(), dimension, context)
    if settings.name not in ARCHITECTURES and key not in _KEEP_RULES:
        _KEEP_RULES.add(key)
        try:
            require_rules(predictor, lambda: build_model(settings, dimension=dimension, context=context))
        except InputError:
            _KEEP_RULES.remove(key)
            raise
    return predictor


def _import_class(path: str) -> type[nn.Module]:
    """Import a user's architecture from ``package.module:Class``."""
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # importing runs the user's code
        raise SettingsError(
            f"model {path!r} cannot be imported",
            got=str(error),
            expected="'package.module:Class'",
            fix="put the module beside the recipe, or install its package into this environment",
        ) from error
    # Checked before it is called: the path may come from someone else's checkpoint.
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise SettingsError(
            f"model {path!r} is not an architecture", got=repr(found), expected="a subclass of torch.nn.Module"
        )
    return found


def _construct(
    architecture: type[nn.Module], dimension: int, context: int, options: dict[str, object], *, name: str
) -> nn.Module:
    """Call the class; report options that it does not take as a ``SettingsError``."""
    try:
        inspect.signature(architecture).bind(dimension, context, **options)
        correction = architecture(dimension, context, **options)
    except Exception as error:
        if name in ARCHITECTURES and not isinstance(error, TypeError | ValueError):
            raise  # a class of the user's may fail in any way
        raise SettingsError(
            f"model {name!r} cannot be built",
            got=f"options {options} ({type(error).__name__}: {error})",
            expected=f"{architecture.__name__}{inspect.signature(architecture)}",
            fix="correct [model.options]",
        ) from error
    if not isinstance(getattr(correction, "head", None), nn.Linear):
        raise SettingsError(
            f"model {name!r} has no last layer",
            got=f"head = {getattr(correction, 'head', None)!r}",
            expected="an attribute 'head' that is a torch.nn.Linear",
            fix="name the last layer 'head'",
        )
    return correction
