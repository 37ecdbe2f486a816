"""The [checks] table: checks of your own.

A check of your own is a ``Check``. Its code is two to six capital letters that do not begin with SG, and three digits.
``MY101`` (1xx) is an integrity check, whose issues block the headline number; ``MY201`` (2xx) is diagnosis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import Field

from segue.checks.check import Check, Need
from segue.comparison.record import is_integrity
from segue.errors import SettingsError
from segue.parts import PartName, load_part, part_name
from segue.settings import Settings

OWN_CODE = re.compile(r"(?!SG)[A-Z]{2,6}[12]\d\d")
"""Form of the code of a check of your own."""


class CheckSettings(Settings):
    """The [checks] table; an issue of MY101 (1xx) blocks the headline number, one of MY201 (2xx) explains it."""

    own: tuple[PartName, ...] = Field((), description="import paths of checks of your own, each a `segue.checks.Check`")


@dataclass(frozen=True)
class OwnChecks:
    """Checks of your own, by what an issue of theirs does: block the headline number, or explain it."""

    integrity: tuple[Check, ...] = ()
    diagnosis: tuple[Check, ...] = ()

    @property
    def all(self) -> tuple[Check, ...]:
        """Both kinds."""
        return (*self.integrity, *self.diagnosis)


def load_checks(given: Iterable[Any]) -> OwnChecks:
    """Return checks of your own.

    Args:
        given: checks, import paths of checks, or names of installed entry points.

    Raises:
        SettingsError: one cannot be loaded, is no ``Check``, needs what no case has, or has a code of another form or
            of another check.
    """
    found: dict[str, Check] = {}
    for part in given:
        check = load_part("check", part) if isinstance(part, str) else part
        name = part_name(part)
        if not isinstance(check, Check):
            raise SettingsError(f"{name} is no check", got=type(check).__name__, expected="a segue.checks.Check",
                                fix="name a value, Check(code=..., examine=...)")  # fmt: skip
        if not OWN_CODE.fullmatch(check.code):
            expected = "two to six capital letters that do not begin with SG, then 1xx (integrity) or 2xx (diagnosis)"
            raise SettingsError(f"{name} has the code of no check of your own", got=check.code, expected=expected,
                                fix="choose a code such as MY101")  # fmt: skip
        if check.code in found:
            raise SettingsError("two checks of your own have one code", got=check.code, fix="choose another code")
        if unknown := sorted(set(check.needs) - set(get_args(Need))):
            raise SettingsError(f"{name} needs what no case has", got=", ".join(unknown),
                                expected=", ".join(get_args(Need)), fix="correct its `needs`")  # fmt: skip
        found[check.code] = check
    integrity = tuple(check for check in found.values() if is_integrity(check.code))
    return OwnChecks(integrity, tuple(check for check in found.values() if check not in integrity))
