"""What the numbered checks answered, read with care from ``triage.json``, and how an outcome is told.

A finding is shown by a mark and a word, never by its colour alone. Whatever is absent in a finding is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segue.reports.document import Tone
from segue.reports.record import Comparison, mapping, number, sequence
from segue.reports.text.numbers import DASH, Scale, count

LOUD = ("issue", "tip")
SILENT = ("skipped", "muted")
"""Outcomes after which nothing vouches for what the check asks."""


@dataclass(frozen=True)
class Shown:
    """How an outcome is told."""

    mark: str
    word: str
    tone: Tone
    colour: str


OUTCOMES: dict[str, Shown] = {
    "issue": Shown("✕", "issue", "fail", "bold red"),
    "tip": Shown("!", "tip", "warn", "yellow"),
    "passed": Shown("✓", "passed", "pass", "green"),
    "skipped": Shown("»", "skipped", "muted", "dim"),
    "muted": Shown("∅", "muted", "muted", "dim"),
    "not-applicable": Shown("–", "not applicable", "muted", "dim"),
}
"""Outcome → how it is told, in the order of urgency."""


def shown_outcome(outcome: str) -> Shown:
    """Return how an outcome is told; one that nobody knows keeps its word.

    >>> shown_outcome("passed").mark, shown_outcome("odd").word
    ('✓', 'odd')
    """
    return OUTCOMES.get(outcome, Shown("?", outcome, "muted", "dim"))


@dataclass(frozen=True)
class CheckFinding:
    """A check's answer as it stands in the file."""

    data: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A sentence of the finding, or nothing."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""

    @property
    def code(self) -> str:
        """``SG101`` …"""
        return self.text("code") or "unnamed"

    @property
    def outcome(self) -> str:
        """A key of ``OUTCOMES``."""
        return self.text("outcome") or "not-applicable"

    @property
    def measured(self) -> str:
        """The figure that decides, printed; a dash where there is none."""
        return quantity(number(self.data.get("measured")), self.text("unit"))

    @property
    def threshold(self) -> str:
        """What it is compared with, printed."""
        return quantity(number(self.data.get("threshold")), self.text("unit"))

    @property
    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """What the details say of each row."""
        return {str(name): mapping(entry) for name, entry in mapping(self.details.get("rows")).items()}

    @property
    def details(self) -> Mapping[str, Any]:
        """Tables and curves."""
        return mapping(self.data.get("details"))


def read_findings(value: Any) -> tuple[CheckFinding, ...]:
    """Read a list of findings; what is no finding is left out."""
    return tuple(CheckFinding(entry) for entry in sequence(value) if isinstance(entry, Mapping))


def audit_of(comparison: Comparison) -> tuple[CheckFinding, ...]:
    """The integrity checks (SG1xx) on record."""
    return read_findings(comparison.data.get("audit"))


def diagnosis_of(comparison: Comparison) -> tuple[CheckFinding, ...]:
    """The diagnosis (SG2xx) on record."""
    return read_findings(comparison.data.get("diagnosis"))


def by_urgency(findings: Iterable[CheckFinding]) -> list[CheckFinding]:
    """Sort: issues, tips, passed, then what was not examined; codes keep their order."""
    order = list(OUTCOMES)
    return sorted(findings, key=lambda f: order.index(f.outcome) if f.outcome in order else len(order))


def having(findings: Iterable[CheckFinding], outcomes: Sequence[str]) -> list[CheckFinding]:
    """Those with one of some outcomes."""
    return [finding for finding in findings if finding.outcome in outcomes]


def unproven(comparison: Comparison) -> dict[str, list[str]]:
    """Codes of integrity checks that were muted or skipped, by outcome; nothing vouches for what they ask."""
    found = {outcome: [f.code for f in having(audit_of(comparison), (outcome,))] for outcome in SILENT}
    muted = [str(name) for name in sequence(comparison.data.get("muted")) if str(name).startswith("SG1")]
    found["muted"] += [name for name in muted if name not in found["muted"]]
    return {outcome: codes for outcome, codes in found.items() if codes}


def quantity(value: float | None, unit: str) -> str:
    """Print a figure in its unit; the unit's further words stand elsewhere.

    >>> quantity(0.0123, "share of windows"), quantity(7.0, "windows"), quantity(0.12345, "cosine"), quantity(None, "")
    ('1.2 %', '7', '0.123', '–')
    >>> quantity(0.0004, "share"), quantity(12.34, "ms"), quantity(-0.012, "gain in R@5"), quantity(0.98, "recall@50")
    ('0.04 %', '12.3', '−1.2 points', '98.0 %')
    """
    if value is None:
        return DASH
    if unit.startswith(("share", "recall@")):
        return f"{_digits(100 * value, 1)} %"
    if "R@" in unit:
        return f"{_digits(100 * value, 1)} points"
    return count(value).replace("-", "−") if value == int(value) else _digits(value, 3 if abs(value) < 10 else 1)


def _digits(value: float, places: int) -> str:
    """Print with so many places, or more where only zeros would be left."""
    while value != 0 and abs(value) < 0.5 * 10**-places and places < 6:
        places += 1
    return Scale(places=places).number(value)
