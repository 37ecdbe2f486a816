"""Settings of the training; the defaults are those of the original work."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segue.hardware import Device
from segue.settings import Settings

Tool = Literal["tensorboard", "wandb", "mlflow"]
"""Tool in which trainings are watched; its extra has the same name."""

ORIGINAL_DROPOUT = 0.2
"""Share of article dropout in the original work."""


class TrainingSettings(Settings):
    """The [training] table."""

    batch_size: int = Field(512, ge=2, le=65536, description="windows per step; in-batch negatives are one fewer")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="highest rate of AdamW")
    weight_decay: float = Field(
        0.02, ge=0, le=10, description="weight decay of matrices; biases, norms and the anchor do not decay"
    )
    clip: float = Field(1.0, gt=0, description="longest gradient")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps over which the learning rate rises")
    steps: int | None = Field(None, ge=1, description="optimiser steps (null: as many as `epochs` make)")
    epochs: float = Field(10, gt=0, description="passes over the training windows, where `steps` is not given")
    evaluations: int = Field(
        10, ge=1, le=10_000, description="validation scorings, evenly spread, and one at the start"
    )
    patience: int | None = Field(4, ge=1, description="evaluations without a better MRR that end it (null: never)")
    seed: int = Field(1, ge=0, description="seed of batch order, corruption and dropout")
    article_dropout: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of contexts whose last 1 to 3 vectors are zeroed "
        "(null: 0.2 as originally, but 0 with an anchor, which rests on those vectors)",
    )
    span_corruption: float = Field(0.1, ge=0, le=1, description="share of contexts with another document's passage")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="precision of the model's arithmetic and of the loss's products with fixed documents; auto: "
        "bfloat16 where it was measured to be faster",
    )
    device: Device = Field("auto", description="device: auto, cpu, cuda or mps")
    report_to: tuple[Tool, ...] = Field(
        (), description="tools that the curves of trainings and the table of a comparison are written to"
    )

    def dropout(self, *, anchored: bool) -> float:
        """Return the share of article dropout; its default depends on whether the model has an anchor."""
        if self.article_dropout is None:
            return 0.0 if anchored else ORIGINAL_DROPOUT
        return self.article_dropout
