"""Encoders turn text into unit vectors; every encoder states the *space* of its vectors.

Input: texts. Output: float32 vectors of length 1, in the order of the texts. One file per kind, imported when an
encoder of that kind is loaded.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from segue.encoders.encoder import Encoder, EncoderSettings, check_encoder
from segue.encoders.endpoint import BATCH_SIZE, PREFIX, EndpointEncoder
from segue.errors import InputError, SegueError

__all__ = ["Encoder", "EncoderSettings", "check_encoder", "load_encoder"]


def load_encoder(settings: EncoderSettings | str) -> Encoder:
    """Load an encoder and measure its fingerprint.

    Args:
        settings: the table [encoder] of a recipe, or the encoder's name alone: ``load_encoder("minilm")``.

    Raises:
        InputError: there is no such encoder, its weights are not the expected ones, it breaks the contract, or its
            endpoint does not answer.
        MissingExtraError: the packaged encoder, or the client of endpoints, is not installed.
    """
    if isinstance(settings, str):
        settings = EncoderSettings(name=settings)
    if settings.name == "minilm":
        from segue.encoders.minilm import load_minilm

        return load_minilm(settings)
    if settings.name.startswith(PREFIX):
        return EndpointEncoder(settings.name.removeprefix(PREFIX), settings.endpoint, prompt=settings.prompt,
                               batch_size=settings.batch_size or BATCH_SIZE,
                               maximum_tokens=settings.maximum_tokens)  # fmt: skip
    if re.fullmatch(r"[\w.]+:\w+", settings.name) and not Path(settings.name).exists():
        return _load_custom(settings)
    from segue.encoders.sentence_transformer import load_sentence_transformer

    return load_sentence_transformer(settings)


def _load_custom(settings: EncoderSettings) -> Encoder:
    """Import ``package.module:Class``, call it with the options and check it."""
    module, name = settings.name.split(":")
    try:
        encoder: Encoder = getattr(importlib.import_module(module), name)(**settings.options)
    except Exception as error:  # importing and making it runs the user's code
        fix = "put the module beside the recipe or install its package, and check [encoder.options]"
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot make the encoder {settings.name}", got=got, fix=fix) from error
    try:
        check_encoder(encoder, name=settings.name)
    except SegueError:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"encoder {settings.name} fails on a few texts", got=got, fix="correct encode()") from error
    return encoder
