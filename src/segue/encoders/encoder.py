"""The interface of encoders: their settings, and what they offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from segue.encoders.endpoint import PREFIX, EndpointSettings
from segue.encoders.space import Space
from segue.hardware import Device
from segue.parts import part_table
from segue.settings import Settings
from segue.types import Progress, no_progress


class EncoderSettings(Settings):
    """Choice of the encoder, and everything that changes its vectors or its speed."""

    name: str = Field(
        "minilm",
        min_length=1,
        description='"minilm" (the packaged all-MiniLM-L6-v2), a sentence-transformers id such as '
        '"sentence-transformers/gtr-t5-base", a local folder, "openai:MODEL" at an endpoint, or an encoder of your '
        'own: "package.module:Class" or an installed one',
    )
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="what runs a sentence-transformers model's transformer; openvino: segue[fast], on a CPU"
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="arithmetic; auto: bfloat16 where it was measured to be faster, else float32; int8, of openvino "
        "alone, makes a space of its own",
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
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for an encoder of your own")

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        return part_table("encoder", value, key="name")

    @model_validator(mode="after")
    def _endpoint_is_used(self) -> EncoderSettings:
        if self.endpoint != EndpointSettings() and not self.name.startswith(PREFIX):
            raise ValueError(f'endpoint is set, but name is "{self.name}": write name = "{PREFIX}MODEL", or remove it')
        return self

    @model_validator(mode="after")
    def _int8_has_a_runtime(self) -> EncoderSettings:
        if self.precision == "int8" and self.runtime != "openvino":
            raise ValueError(f'precision is "int8", but runtime is "{self.runtime}": write runtime = "openvino"')
        return self


@runtime_checkable
class Encoder(Protocol):
    """Text to unit vectors; ``segue.conformance.rules("encoder", ...)`` checks that yours keeps the rules."""

    @property
    def space(self) -> Space:
        """The space of the vectors, with its fingerprint."""

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one float32 unit vector per text, in order; the same texts always give the same bytes."""


@runtime_checkable
class TokenEncoder(Encoder, Protocol):
    """An encoder that gives the vectors of tokens too, as late interaction reads them."""

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Int[np.ndarray, "token"], Float[np.ndarray, "token dim"]]]:
        """Return the tokens of each text and their vectors before pooling; no special tokens, no prompt."""
