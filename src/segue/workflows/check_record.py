"""What checks add to a comparison's record: findings, causes, what is blocked, and whether numbers are labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segue.checks import AUDIT, CHECKS, DIAGNOSIS, Case, Effort, Finding
from segue.checks.causes import causes_json, root_causes
from segue.checks.run import blocked, require_codes, run_checks, to_json, unproven
from segue.progress import Stages

QUICK = Effort(windows=400)
"""Of the diagnosis that a comparison ends with."""


@dataclass(frozen=True)
class Refusal:
    """How headline numbers are refused.

    Attributes:
        mute: codes of checks that are not run; an integrity check among them leaves the numbers labelled unsafe.
        unsafe: print numbers, labelled, although a check blocks them.

    Raises:
        SettingsError: a code does not exist.
    """

    mute: tuple[str, ...] = ()
    unsafe: bool = False

    def __post_init__(self) -> None:
        require_codes(self.mute, CHECKS)


def check_record(case: Case, refusal: Refusal, *, stages: Stages) -> dict[str, Any]:
    """Audit a comparison, diagnose it quickly, and return the keys that ``triage.json`` gets.

    Diagnosis asks about fewer windows and leaves the slow checks out; ``segue diagnose`` does it in full.
    """
    with stages("Auditing") as progress:
        audit = run_checks(AUDIT, case, mute=refusal.mute, progress=progress)
    with stages("Diagnosing") as progress:
        quick = replace(case, effort=QUICK, _cache={})  # what was remembered is of other windows
        diagnosis = run_checks(DIAGNOSIS, quick, fast=True, mute=refusal.mute, progress=progress)
    return findings_record(audit, diagnosis, refusal) | {"subject": case.subject}


def findings_record(audit: Sequence[Finding], diagnosis: Sequence[Finding], refusal: Refusal) -> dict[str, Any]:
    """Return the keys of ``triage.json`` that follow from findings."""
    codes = blocked(audit)
    return {
        "audit": to_json(audit),
        "diagnosis": to_json(diagnosis),
        "causes": causes_json(root_causes([*audit, *diagnosis])),
        "muted": [finding.code for finding in (*audit, *diagnosis) if finding.outcome == "muted"],
        "blocked": codes,
        "unsafe": is_unsafe(audit, asked=refusal.unsafe),
    }


def is_unsafe(audit: Sequence[Finding], *, asked: bool) -> bool:
    """Tell whether numbers are printed with a label: a check blocks them and it was asked for, or none vouches."""
    codes = blocked(audit)
    return asked if codes else bool(unproven(audit))


def read_findings(record: Mapping[str, Any], key: str) -> list[Finding]:
    """Read the findings of a record back; none where it has none."""
    return [Finding(**finding) for finding in record.get(key) or []]
