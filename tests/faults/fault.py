"""A fault: what is broken on purpose, which checks must notice, and what the root cause is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from healthy import Healthy

from segue.checks import Case, Finding


@dataclass(frozen=True)
class Fault:
    """One row of the fault matrix.

    Attributes:
        name: short, in kebab-case.
        what: what was done wrong, a clause.
        inject: makes the broken case; may write below the folder it is given.
        raises: every check whose outcome is another one than on the healthy experiment, and what it becomes
            (``issue`` or ``tip``). All others must answer as on the healthy one, pass, or be impossible to carry out.
        why_more: where a second check is rightly raised: why.
        cause: the root cause that must be named, or None where there is nothing to name.
        enters: how it gets in: the experiment is run from the start with another recipe or corpus, or with a class of a
            user's; or a finished case, or part of one, is changed.
        half: rules for causes were written looking at the ``written`` faults and are scored on the ``unseen`` ones.
    """

    name: str
    what: str
    inject: Callable[[Healthy, Path], Case]
    raises: Mapping[str, str] = field(default_factory=dict)
    why_more: str = ""
    cause: str | None = None
    half: Literal["written", "unseen"] = "written"
    enters: Literal["case", "recipe", "corpus", "class"] = "case"


LOUD = ("issue", "tip")


def changed(findings: list[Finding], healthy: list[Finding]) -> dict[str, str]:
    """Return the outcomes that are loud and were not the same on the healthy experiment."""
    before = {finding.code: finding.outcome for finding in healthy}
    return {f.code: f.outcome for f in findings if f.outcome in LOUD and f.outcome != before[f.code]}
