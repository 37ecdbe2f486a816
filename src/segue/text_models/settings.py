"""Settings of fine-tuned text models; the defaults take some minutes on two cores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from segue.hardware import Device
from segue.settings import Settings


class FineTuningSettings(Settings):
    """Settings that dual encoder and cross-encoder share."""

    layers: int = Field(2, ge=1, le=1000, description="last layers that are trained; those below stay fixed")
    maximum_tokens: int = Field(
        96, ge=8, le=8192, description="tokens that are read of a text: the end of a context, the start of a passage"
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="highest rate of AdamW")
    weight_decay: float = Field(
        0.01, ge=0, le=10, description="weight decay of matrices; biases and norms do not decay"
    )
    clip: float = Field(1.0, gt=0, description="longest gradient")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps over which the learning rate rises")
    evaluations: int = Field(
        1,
        ge=1,
        le=1000,
        description="validation scorings, evenly spread, the last at the end; each encodes the pool",
    )
    texts_at_once: int = Field(128, ge=1, le=65536, description="texts whose activations are in memory at a time")
    seed: int = Field(1, ge=0, description="seed of the order of the batches")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of the transformer; auto: bfloat16 where it was measured to be faster"
    )
    device: Device = Field("auto", description="device: auto, cpu, cuda or mps")


class DualEncoderSettings(FineTuningSettings):
    """The bank's encoder, fine-tuned to encode the end of a context near the passage that follows."""

    documents: Literal["trained", "frozen"] = Field(
        "trained",
        description="trained: one encoder for contexts and passages, and the bank is encoded again; frozen: contexts "
        "only, against the bank's own vectors, where every training passage is a negative",
    )
    batch_size: int = Field(64, ge=2, le=65536, description="windows per step; in-batch negatives are one fewer")
    windows_per_document: int = Field(
        1,
        ge=1,
        le=65536,
        description="windows of one document that share a batch; more make negatives harder",
    )
    temperature: float = Field(0.05, ge=0.01, le=1, description="τ of InfoNCE")


class CrossEncoderSettings(FineTuningSettings):
    """A model that reads context and candidate together and corrects the reranker's score."""

    layers: int = Field(3, ge=1, le=1000, description="first layers of the encoder that it is made of")
    trained_layers: int | None = Field(
        None, ge=1, le=1000, description="last of its layers that learn; all where none is given; embeddings stay fixed"
    )
    maximum_tokens: int = Field(112, ge=16, le=8192, description="length of context and candidate together, tokens")
    context_tokens: int = Field(64, ge=4, le=8192, description="length of the context's end in a pair, tokens")
    batch_size: int = Field(8, ge=1, le=65536, description="windows per step")
    negatives: int = Field(
        7,
        ge=1,
        le=1000,
        description="candidates of the list in addition to each target, those of its document before others",
    )
    first_weight: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="factor of the reranker's score before training; none: the most probable; learnt",
    )
    evaluations: int = Field(4, ge=1, le=1000, description="validation scorings, evenly spread, the last at the end")
    patience: int = Field(2, ge=1, le=1000, description="scorings without a better one before training ends")
    validation_lists: int = Field(400, ge=1, description="validation lists that are scored, evenly spread")

    @property
    def candidate_tokens(self) -> int:
        """Length of the candidate's start in a pair, tokens."""
        return self.maximum_tokens - self.context_tokens

    @model_validator(mode="after")
    def _room_for_the_candidate(self) -> CrossEncoderSettings:
        if self.context_tokens > self.maximum_tokens - 8:
            raise ValueError(f"context_tokens is {self.context_tokens}, but a pair has {self.maximum_tokens}")
        if self.trained_layers is not None and self.trained_layers > self.layers:
            raise ValueError(f"trained_layers is {self.trained_layers}, but there are {self.layers} layers")
        return self


class TokensSettings(Settings):
    """Training of an option that reads tokens, instead of the same keys of [training]."""

    steps: int = Field(400, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=2, le=65536, description="windows per step")
    learning_rate: float = Field(
        1e-3, gt=0, le=1, description="highest rate of AdamW; the transformer's weights learn at a tenth of it"
    )
    evaluations: int = Field(4, ge=1, le=10_000, description="validation scorings, and one at the start")


class TextSettings(Settings):
    """The [text] table: options that fine-tune the bank's encoder, and how much time they may take."""

    share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="share of budget_minutes for each option; one that takes longer is skipped",
    )
    dual_encoder_steps: int = Field(300, ge=1, description="optimiser steps of the dual encoder")
    dual_encoder: DualEncoderSettings = DualEncoderSettings(documents="frozen")
    cross_encoder_steps: int = Field(400, ge=1, description="optimiser steps of the cross-encoder")
    cross_encoder: CrossEncoderSettings = CrossEncoderSettings()
    tokens: TokensSettings = TokensSettings()
    candidates: int = Field(20, ge=2, le=1000, description="first candidates that the cross-encoder reads again")
