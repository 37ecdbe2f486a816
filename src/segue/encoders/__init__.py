"""Encoders: text becomes unit vectors, and every encoder says in which *space* they live.

What enters: texts. What leaves: float32 vectors of length 1, in the order of the texts. One file per kind; nothing
heavy is imported before an encoder is loaded.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from pydantic import Field

from segue.encoders.space import Space
from segue.errors import InputError
from segue.hardware import Device
from segue.settings import Settings
from segue.types import Progress, no_progress


class EncoderSettings(Settings):
    """Which encoder, and everything that changes its vectors or its speed."""

    name: str = Field(
        "minilm",
        min_length=1,
        description='"minilm" (the packaged all-MiniLM-L6-v2), a sentence-transformers id such as '
        '"sentence-transformers/gtr-t5-base", a local folder, or "package.module:Class"',
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; auto: bfloat16 where the processor has units for it, else float32"
    )
    batch_size: int | None = Field(
        None, ge=1, le=4096, description="texts encoded together; null: 8 on a CPU, whose cache holds them, else 64"
    )
    device: Device = Field("auto", description="where the encoder runs")
    prompt: str = Field("", description='text put before every passage, e.g. "passage: "; empty: the encoder\'s own')
    maximum_tokens: int | None = Field(
        None, ge=2, description="longer texts are cut, tokens; null: the encoder's own limit"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for package.module:Class")


@runtime_checkable
class Encoder(Protocol):
    """Text to unit vectors. ``segue.encoders.contract.check_encoder`` tells whether yours keeps the contract."""

    @property
    def space(self) -> Space:
        """The space the vectors live in, with its fingerprint."""
        ...

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one float32 unit vector per text, in order; the same texts always give the same bytes."""
        ...


def load_encoder(settings: EncoderSettings) -> Encoder:
    """Load an encoder and measure its fingerprint.

    Raises:
        InputError: there is no such encoder, its weights are not the expected ones, or it breaks the contract.
        MissingExtraError: the packaged encoder is not installed.
    """
    if settings.name == "minilm":
        from segue.encoders.minilm import load_minilm

        return load_minilm(settings)
    if re.fullmatch(r"[\w.]+:\w+", settings.name) and not Path(settings.name).exists():
        return _load_custom(settings)
    from segue.encoders.sentence_transformer import load_sentence_transformer

    return load_sentence_transformer(settings)


def _load_custom(settings: EncoderSettings) -> Encoder:
    """Import ``package.module:Class``, call it with the options and hold it to the contract."""
    from segue.encoders.contract import check_encoder

    module, name = settings.name.split(":")
    try:
        encoder: Encoder = getattr(importlib.import_module(module), name)(**settings.options)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"cannot make the encoder {settings.name}",
            got=str(error),
            fix="check its import path and [encoder.options]",
        ) from error
    check_encoder(encoder, name=settings.name)
    return encoder
