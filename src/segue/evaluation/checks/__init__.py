"""Numbered checks: may a number be printed, and why is it not better?

One file per check, each with one ``CHECK``. Below is the order in which they are read: integrity (SG1xx, an issue
blocks the headline number), then diagnosis (SG2xx).
"""

from __future__ import annotations

from segue.evaluation.checks import (
    sg101_targets_in_the_index,
    sg102_windows_match_the_bank,
    sg103_truth_carries_information,
)
from segue.evaluation.checks.case import Case, Effort, Row, Trained
from segue.evaluation.checks.interface import Check, Examine, Finding, Outcome, Verdict, not_applicable

__all__ = [
    "AUDIT",
    "CHECKS",
    "DIAGNOSIS",
    "Case",
    "Check",
    "Effort",
    "Examine",
    "Finding",
    "Outcome",
    "Row",
    "Trained",
    "Verdict",
    "not_applicable",
]

AUDIT: tuple[Check, ...] = (
    sg101_targets_in_the_index.CHECK,
    sg102_windows_match_the_bank.CHECK,
    sg103_truth_carries_information.CHECK,
)
"""Integrity: may the number be printed?"""

DIAGNOSIS: tuple[Check, ...] = ()
"""Why is it not better?"""

CHECKS: tuple[Check, ...] = (*AUDIT, *DIAGNOSIS)
