"""Checks and their verdicts.

A check is a value: a code, the words that explain it, and one function that examines a ``Case``. Codes SG1xx are
*integrity* checks: an issue blocks the headline number. Codes SG2xx are *diagnosis*: they explain, and block nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

from segue.checks.case import Case
from segue.errors import SegueError

Judgement = Literal["issue", "tip", "passed", "not-applicable"]
"""Outcomes that a check itself may return."""

Need = Literal["texts", "windows", "entries", "evaluations", "trained"]
"""Part of a case that a check needs; without it the check is not applicable."""

Details = Mapping[str, object]
"""Further figures of a verdict; JSON values, or dataclasses of them."""


@dataclass(frozen=True)
class Verdict:
    """The result of examining a case.

    Attributes:
        outcome: ``issue``, ``tip``, ``passed`` or ``not-applicable``.
        statement: one or two sentences with the figures and their controls; for ``not-applicable`` the reason.
        measured: the figure that decides, in the check's unit; None where it is not a number.
        threshold: what ``measured`` is compared with.
        details: further figures: tables by entry, curves, controls. Dataclasses in it become mappings.
        fix: what to do in this case, where that is not the check's own ``fix``.
        caveats: for entries whose headline number this bears on, the sentence that has to stand beside it.
        error: of the first entry that could not be examined; raised, since only an issue can be found on the others.
    """

    outcome: Judgement
    statement: str
    measured: float | None = None
    threshold: float | None = None
    details: Details = field(default_factory=dict)
    fix: str = ""
    caveats: Mapping[str, str] = field(default_factory=dict)
    error: SegueError | None = None

    def __post_init__(self) -> None:
        if self.error is not None and self.outcome != "issue":
            raise self.error
        object.__setattr__(self, "details", _as_json(self.details))


def _as_json(value: object) -> object:
    if is_dataclass(value):
        return {part.name: _as_json(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {name: _as_json(part) for name, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Check:
    """One numbered question.

    Attributes:
        code: ``SG101`` …; never changes. Those of your own begin with other letters: ``MY101``, ``MY201``.
        title: two to five words.
        question: what it answers.
        detection: how, with the source of the formula where there is one.
        why: what goes wrong unnoticed without it.
        healthy: what a healthy experiment measures.
        fix: what to do about an issue; an imperative clause.
        unit: unit of ``measured`` and ``threshold``: ``share``, ``cosine``, ``windows``, ``ms`` …
        examine: the function; it changes nothing.
        needs: parts of the case without which there is nothing to examine.
        slow: left out by ``--fast``.
        data_alone: it reads bank and windows and no entry, so what it finds before a training holds after it.
    """

    code: str
    title: str
    question: str
    detection: str
    why: str
    healthy: str
    fix: str
    unit: str
    examine: Callable[[Case], Verdict]
    needs: tuple[Need, ...] = ()
    slow: bool = False
    data_alone: bool = False


def not_applicable(reason: str, error: SegueError | None = None) -> Verdict:
    """Return the verdict of a check that has nothing to examine."""
    return Verdict("not-applicable", reason, error=error)
