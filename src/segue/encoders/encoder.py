"""The interface of encoders: their settings, what they offer, and a check to run on an encoder of your own.

>>> from segue.encoders import check_encoder  # doctest: +SKIP
>>> check_encoder(MyEncoder())  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from segue.encoders.endpoint import PREFIX, EndpointSettings
from segue.encoders.space import COSINE_TOLERANCE, PROBES, Space
from segue.errors import InputError
from segue.hardware import Device
from segue.settings import Settings
from segue.types import Progress, no_progress


class EncoderSettings(Settings):
    """Choice of the encoder, and everything that changes its vectors or its speed."""

    name: str = Field(
        "minilm",
        min_length=1,
        description='"minilm" (the packaged all-MiniLM-L6-v2), a sentence-transformers id such as '
        '"sentence-transformers/gtr-t5-base", a local folder, "openai:MODEL" at an endpoint, or "package.module:Class"',
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
    endpoint: EndpointSettings = EndpointSettings()
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for package.module:Class")

    @model_validator(mode="after")
    def _endpoint_is_used(self) -> EncoderSettings:
        if self.endpoint != EndpointSettings() and not self.name.startswith(PREFIX):
            raise ValueError(f'endpoint is set, but name is "{self.name}": write name = "{PREFIX}MODEL", or remove it')
        return self


@runtime_checkable
class Encoder(Protocol):
    """Text to unit vectors; ``check_encoder`` checks that yours keeps the contract."""

    @property
    def space(self) -> Space:
        """The space of the vectors, with its fingerprint."""

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one float32 unit vector per text, in order; the same texts always give the same bytes."""


def check_encoder(encoder: object, *, name: str = "encoder") -> None:
    """Check that an encoder returns unit float32 vectors, in order, the same each time, and knows its own space.

    Raises:
        InputError: names the first rule that is broken.
    """
    if not isinstance(encoder, Encoder) or not isinstance(encoder.space, Space):
        raise _broken(name, "no attribute space or no method encode()", "a Space and encode(texts, progress=...)")
    space, vectors = encoder.space, encoder.encode(PROBES)
    _check_form(vectors, len(PROBES), space.dimension, name)
    if encoder.encode([]).shape != (0, space.dimension):
        raise _broken(name, "a different shape for an empty list", f"an array of shape (0, {space.dimension})")
    if not np.array_equal(vectors, encoder.encode(PROBES)):
        raise _broken(name, "different vectors the second time", "the same bytes for the same texts")
    if space.fingerprint is None or not _same(vectors, space.fingerprint):
        raise _broken(
            name, "a fingerprint that differs from its vectors of PROBES", "space.fingerprint = encode(PROBES)"
        )
    if not _same(vectors, np.concatenate([encoder.encode([text]) for text in PROBES])):
        raise _broken(name, "different vectors for texts encoded together and one by one", "the order of the texts")


def _check_form(vectors: object, count: int, dimension: int, name: str) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.shape != (count, dimension):
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise _broken(name, got, f"a float32 array of shape ({count}, {dimension})")
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.abs(lengths - 1).max() <= 1e-3:
        raise _broken(name, f"lengths {lengths.min():.4f} to {lengths.max():.4f}", "vectors of length 1")


def _same(a: Float[np.ndarray, "text dim"], b: np.ndarray) -> bool:
    """Return whether two sets of unit vectors agree within the tolerance of one space."""
    return a.shape == b.shape and bool(np.einsum("td,td->t", a, b).min() >= 1 - COSINE_TOLERANCE)


def _broken(name: str, got: str, expected: str) -> InputError:
    return InputError(f"{name} breaks the contract of encoders", got=got, expected=expected)
