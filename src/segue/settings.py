"""The base of every settings class: frozen, and unknown keys are errors."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from segue.errors import SettingsError


class Settings(BaseModel):
    """One table of a recipe. Each derived class is in the file of the component that it configures."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def checked(model: type[AnySettings], values: object, what: str) -> AnySettings:
    """Return the settings that values from Python make; ``what`` names them in messages.

    Raises:
        SettingsError: names every problem.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"invalid settings of {what}", got=found.removeprefix(": ")) from error
