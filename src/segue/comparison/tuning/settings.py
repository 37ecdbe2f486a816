"""The [tuning] table: whose settings are searched, how often, and for how much of the budget."""

from __future__ import annotations

from pydantic import Field, field_validator

from segue.comparison.options import OPTIONS, choose_options
from segue.errors import SettingsError, explain
from segue.old_names import current_name
from segue.settings import Settings


class TuningSettings(Settings):
    """The [tuning] table; `pip install 'segue[tune]'`."""

    options: tuple[str, ...] = Field(
        (), description="trained options whose settings are searched, where they take part"
    )
    trials: int = Field(8, ge=2, le=1000, description="trials of each of them; the first has the recipe's own settings")
    share: float = Field(
        0.3, gt=0, le=0.9, description="of what the budget leaves for training, for all trials together"
    )

    @field_validator("options")
    @classmethod
    def _trained(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        options = tuple(current_name(name) for name in options)
        choose_options(options)
        trained = {option.name for option in OPTIONS if option.trained}
        idle = [name for name in options if name not in trained]
        if idle:
            raise SettingsError(explain("nothing to tune", got=", ".join(idle), expected="options that are trained",
                                        fix="leave them out"))  # fmt: skip
        if len(set(options)) < len(options):
            raise SettingsError(explain("an option is tuned once", got=", ".join(options), fix="name each once"))
        return options
