"""Encoders turn text into unit vectors; every encoder states the *space* of its vectors.

Input: texts. Output: float32 vectors of length 1, in the order of the texts. One file per kind, imported when an
encoder of that kind is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.encoders.encoder import Encoder, EncoderSettings
from segue.encoders.endpoint import BATCH_SIZE, PREFIX, EndpointEncoder
from segue.encoders.own import as_encoder
from segue.encoders.rules import check_encoder
from segue.errors import InputError, SegueError, SettingsError
from segue.parts import is_own, make_part, require_own_part
from segue.settings import checked

__all__ = ["Encoder", "EncoderSettings", "check_encoder", "load_encoder", "require_own_encoder"]


def load_encoder(settings: EncoderSettings | Any) -> Encoder:
    """Load an encoder and measure its fingerprint.

    Args:
        settings: the table [encoder] of a recipe, the encoder's name alone (``load_encoder("minilm")``), or an encoder
            of your own.

    Raises:
        InputError: there is no such encoder, its weights are not the expected ones, it breaks a rule, or its
            endpoint does not answer.
        MissingExtraError: the packaged encoder, OpenVINO or the client of endpoints is not installed.
        SettingsError: a setting is out of range, an encoder of your own cannot be imported, or a runtime is named for
            an encoder that is no model of sentence-transformers.
    """
    settings = checked(EncoderSettings, settings, "the encoder")
    if settings.name == "minilm":
        from segue.encoders.minilm import load_minilm

        return load_minilm(settings)
    at_endpoint = settings.name.startswith(PREFIX)
    own = not at_endpoint and not Path(settings.name).exists() and is_own("encoder", settings.name)
    if settings.runtime != "torch" and (at_endpoint or own):
        raise SettingsError(f'[encoder] runtime = "{settings.runtime}" needs a model of sentence-transformers',
                            got=f'name = "{settings.name}"', fix="remove runtime and precision")  # fmt: skip
    if at_endpoint:
        return EndpointEncoder(settings.name.removeprefix(PREFIX), settings.endpoint, prompt=settings.prompt,
                               batch_size=settings.batch_size or BATCH_SIZE,
                               maximum_tokens=settings.maximum_tokens)  # fmt: skip
    if own:
        return _load_own(settings)
    from segue.encoders.sentence_transformer import load_sentence_transformer

    return load_sentence_transformer(settings)


def require_own_encoder(settings: EncoderSettings, folder: Path) -> EncoderSettings:
    """Return the encoder's settings of a bundle or a bank, which may be someone else's, if loading it is safe.

    Args:
        settings: as the folder records them.
        folder: the bundle or the bank.

    Raises:
        SettingsError: it is code that is not the user's own.
        InputError: it is behind an endpoint whose address the user has not confirmed.
    """
    if settings.name.startswith(PREFIX):
        settings.endpoint.require_confirmed(folder)
    else:
        require_own_part("encoder", settings.name, folder)
    return settings


def _load_own(settings: EncoderSettings) -> Encoder:
    """Make an encoder of the user's own and check it."""
    try:
        encoder = as_encoder(make_part("encoder", settings.name, settings.options), name=settings.name)
        check_encoder(encoder, name=settings.name)
    except SegueError:
        raise
    except Exception as error:  # making and calling it runs the user's code
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"encoder {settings.name} fails on a few texts", got=got, fix="correct encode()") from error
    return encoder
