"""What a check is and what it answers.

A check is a value: a code, the words that explain it, and one function that examines a ``Case``. Codes SG1xx are
*integrity* checks: an issue blocks the headline number. Codes SG2xx are *diagnosis*: they explain, and block nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from segue.checks.case import Case

Outcome = Literal["issue", "tip", "passed", "not-applicable", "skipped", "muted"]
"""``skipped``: too slow for ``--fast``; ``muted``: switched off by code, and recorded as such."""

Part = Literal["texts", "windows", "rows", "evaluations", "trained"]
"""What of a case a check needs; where it is missing the check is not applicable."""


@dataclass(frozen=True)
class Verdict:
    """What examining a case came to.

    Attributes:
        outcome: ``issue``, ``tip``, ``passed`` or ``not-applicable``.
        statement: one or two sentences with the figures and their controls; for ``not-applicable`` the reason.
        measured: the figure that decides, in the check's unit; None where it is no number.
        threshold: what ``measured`` is compared with.
        details: further figures as JSON values: tables by row, curves, controls. Pictures are drawn from them.
    """

    outcome: Literal["issue", "tip", "passed", "not-applicable"]
    statement: str
    measured: float | None = None
    threshold: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Examine(Protocol):
    """Looks at a case and says what it found; changes nothing."""

    def __call__(self, case: Case) -> Verdict:
        """Return the verdict."""
        ...


@dataclass(frozen=True)
class Check:
    """One numbered question.

    Attributes:
        code: ``SG101`` …; stable for ever.
        title: two to five words.
        question: what it answers.
        detection: how, with the formula's source where there is one.
        why: what goes wrong unnoticed without it.
        healthy: what a healthy experiment measures.
        fix: what to do about an issue; an imperative clause.
        unit: of ``measured`` and ``threshold``: ``share``, ``cosine``, ``windows``, ``ms`` …
        examine: the function.
        needs: parts of the case without which there is nothing to examine.
        slow: left out by ``--fast``.
    """

    code: str
    title: str
    question: str
    detection: str
    why: str
    healthy: str
    fix: str
    unit: str
    examine: Examine
    needs: tuple[Part, ...] = ()
    slow: bool = False

    @property
    def blocks(self) -> bool:
        """Whether an issue blocks the headline number."""
        return self.code.startswith("SG1")


@dataclass(frozen=True)
class Finding:
    """A check's answer on one case, ready for JSON, terminal and report."""

    code: str
    title: str
    question: str
    outcome: Outcome
    statement: str
    measured: float | None
    threshold: float | None
    unit: str
    healthy: str
    fix: str
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether this finding blocks the headline number."""
        return self.code.startswith("SG1") and self.outcome == "issue"


def not_applicable(reason: str) -> Verdict:
    """Return the verdict of a check that has nothing to examine."""
    return Verdict("not-applicable", reason)
