"""Settings of the model; the numbers of each size are in the file of the architecture."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from segue.errors import explain
from segue.parts import installed, part_table
from segue.settings import Settings

ARCHITECTURE_NAMES = ("amn", "bidirectional-gru", "gru", "lstm", "transformer", "mamba", "mlp", "tokens")
"""Names of the built-in architectures."""

Size = Literal["toy", "demo", "full"]
DocumentKind = Literal["identity", "linear", "mlp", "shared"]


class ModelSettings(Settings):
    """The table ``[model]`` of a recipe."""

    name: str = Field(
        "gru",
        description="amn, bidirectional-gru, gru, lstm, transformer, mamba, mlp, tokens (reads text with the "
        "bank's encoder), or your own: 'package.module:Class' or an installed one",
    )
    size: Size = Field("demo", description="toy for tests, demo for two cores, full for the published sizes")
    anchor: bool = Field(True, description="add the correction to a learnt weighted mean of the context")
    documents: DocumentKind = Field(
        "identity", description="document tower: identity, linear, mlp, or shared (siamese: the query's own net)"
    )
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of activations dropped in training, [0, 1)")
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the architecture's class; they override the size"
    )

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        return part_table("model", value, key="name")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        """Refuse a name that is neither built in nor an import path; suggest the nearest one."""
        if name in ARCHITECTURE_NAMES or ":" in name or name in installed("model"):
            return name
        near = difflib.get_close_matches(name, ARCHITECTURE_NAMES, n=1, cutoff=0.4)
        raise ValueError(
            explain(
                "unknown architecture",
                got=repr(name),
                expected=f"one of {', '.join(ARCHITECTURE_NAMES)}, or 'package.module:Class'",
                fix=f"write {near[0]!r}" if near else "",
            )
        )
