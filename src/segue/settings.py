"""The base of every settings class: frozen, and unknown keys are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One table of a recipe. Each derived class is in the file of the component that it configures."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
