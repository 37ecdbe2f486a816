"""The base of every settings class: frozen, and unknown keys are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One table of a recipe. Derived classes stand beside the component they configure."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
