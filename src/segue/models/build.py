"""Building predictors: the recipe's ``[model]`` table → an untrained predictor."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_type_hints

from torch import nn

from segue.errors import InputError, SettingsError
from segue.models import amn, mamba, mlp, recurrent, tokens, transformer
from segue.models.architecture import Sizes
from segue.models.document_tower import build_document_tower
from segue.models.predictor import Predictor
from segue.models.rules import require_rules
from segue.models.settings import ModelSettings
from segue.parts import GIVEN, is_import_path, load_part

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ARCHITECTURES: dict[str, tuple[type[nn.Module], Sizes]] = {
    "amn": (amn.Amn, amn.SIZES),
    "bidirectional-gru": (recurrent.BidirectionalGru, recurrent.BIDIRECTIONAL_SIZES),
    "gru": (recurrent.Gru, recurrent.GRU_SIZES),
    "lstm": (recurrent.Lstm, recurrent.LSTM_SIZES),
    "transformer": (transformer.Transformer, transformer.SIZES),
    "mamba": (mamba.Mamba, mamba.SIZES),
    "mlp": (mlp.Mlp, mlp.SIZES),
    "tokens": (tokens.Tokens, tokens.SIZES),
}

_KEEP_RULES: set[tuple[object, str, int, int]] = set()
"""Own models that keep the rules, with settings, dimension and context."""


def build_model(
    settings: ModelSettings, *, dimension: int, context: int, reader: SentenceTransformer | None = None
) -> Predictor:
    """Build an untrained predictor.

    First weights come from torch's global generator; call ``torch.manual_seed(...)`` before to repeat them. An anchor
    starts at copy-last; ``predictor.start_anchor(...)`` changes that. A document tower starts at the identity. A class
    of your own has no sizes: it is called with ``settings.options``, and with ``dropout`` where that is not 0; a module
    that was given as an instance is copied. It has to keep the rules of ``rules.py``; they are checked once for each
    class, settings and shape.

    Args:
        settings: architecture and size.
        dimension: components of an embedding.
        context: places of the window, at least 1.
        reader: for ``tokens``: the model that reads (``reader_of(encoder)``); it becomes part of the predictor.

    Raises:
        SettingsError: the class cannot be imported, does not take the options, or cannot be shared with documents.
        InputError: a class of your own breaks a rule, or the reader cannot be trained as the options state.
    """
    predictor, part = assemble_model(settings, dimension=dimension, context=context, reader=reader)
    key = (part, settings.model_dump_json(), dimension, context)
    if settings.name not in ARCHITECTURES and key not in _KEEP_RULES:
        _KEEP_RULES.add(key)
        try:
            require_rules(predictor, lambda: build_model(settings, dimension=dimension, context=context))
        except InputError:
            _KEEP_RULES.remove(key)
            raise
    return predictor


def assemble_model(
    settings: ModelSettings, *, dimension: int, context: int, reader: SentenceTransformer | None = None
) -> tuple[Predictor, object]:
    """Return a predictor whose rules are not checked, and the class, function or module that it is made of."""
    architecture: Any
    if settings.name in ARCHITECTURES:
        architecture, sizes = ARCHITECTURES[settings.name]
        options: dict[str, object] = {**sizes[settings.size], "dropout": settings.dropout, **settings.options}
        if settings.name == "amn":
            options.setdefault("add_mean", not settings.anchor)
    else:
        architecture = _load_own(settings.name)
        options = ({"dropout": settings.dropout} if settings.dropout else {}) | settings.options
    correction = _construct(architecture, dimension, context, options, name=settings.name)
    if isinstance(correction, tokens.Tokens):
        if reader is None:
            raise InputError("model 'tokens' reads with the bank's encoder", got="none",
                             fix="build_model(..., reader=segue.models.reader_of(encoder))")  # fmt: skip
        correction.read_with(reader)
    tower = build_document_tower(settings.documents, correction, dimension=dimension, size=settings.size)
    return Predictor(correction, settings, dimension=dimension, context=context, documents=tower), architecture


def _load_own(name: str) -> Any:
    """Return a user's architecture: a class of modules, a function that makes one, or a module to copy."""
    found = load_part("model", name, known=tuple(ARCHITECTURES))
    # Checked before it is called: the path may come from someone else's checkpoint.
    foreign = is_import_path(name) and not name.startswith(f"{GIVEN}:")
    if not (_makes_modules(found) or isinstance(found, nn.Module) or (callable(found) and not foreign)):
        raise SettingsError(
            f"model {name!r} is not an architecture",
            got=repr(found),
            expected="a subclass of torch.nn.Module, or a function with the annotation -> torch.nn.Module",
        )
    return found


def _makes_modules(found: Any) -> bool:
    """Return whether it is a class of modules, or a function that states that it returns one."""
    try:
        made = found if inspect.isclass(found) else get_type_hints(found).get("return")
        return inspect.isclass(made) and issubclass(made, nn.Module)
    except (TypeError, NameError):
        return False


def _construct(
    architecture: Callable[..., nn.Module] | nn.Module,
    dimension: int,
    context: int,
    options: dict[str, object],
    *,
    name: str,
) -> nn.Module:
    """Call the class, or copy the module; report options that it does not take as a ``SettingsError``."""
    if isinstance(architecture, nn.Module):
        correction = copy.deepcopy(architecture)
        return _with_head(correction, name)
    try:
        inspect.signature(architecture).bind(dimension, context, **options)
        correction = architecture(dimension, context, **options)
    except Exception as error:
        if name in ARCHITECTURES and not isinstance(error, TypeError | ValueError):
            raise  # a class of the user's may fail in any way
        raise SettingsError(
            f"model {name!r} cannot be built",
            got=f"options {options} ({type(error).__name__}: {error})",
            expected=f"{getattr(architecture, '__name__', name)}{inspect.signature(architecture)}",
            fix="correct [model.options]",
        ) from error
    return _with_head(correction, name)


def _with_head(correction: nn.Module, name: str) -> nn.Module:
    """Check that an architecture has the last layer that an anchor sets to zero."""
    if not isinstance(getattr(correction, "head", None), nn.Linear):
        raise SettingsError(
            f"model {name!r} has no last layer",
            got=f"head = {getattr(correction, 'head', None)!r}",
            expected="an attribute 'head' that is a torch.nn.Linear",
            fix="name the last layer 'head'",
        )
    return correction
