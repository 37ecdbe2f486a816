"""Findings and root causes for a terminal, as ``segue audit`` and ``segue diagnose`` print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from segue.release.report.check_findings import (
    LOUD,
    CheckFinding,
    by_urgency,
    read_findings,
    shown_outcome,
)
from segue.release.report.facts import mapping, sequence
from segue.release.report.inline import plain, to_text
from segue.release.report.wording import DASH, listing


def findings_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of findings, issues first; loud ones with measured value, threshold and what to do.

    Args:
        findings: as ``Finding`` objects look in JSON.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head, least in (("check", 5), ("outcome", 9), ("title", 12)):
        table.add_column(head, no_wrap=head != "title", min_width=least, max_width=24)
    table.add_column("what was found", overflow="fold", ratio=1)
    for finding in by_urgency(read_findings(list(findings))):
        shown = shown_outcome(finding.outcome)
        dim = "" if finding.outcome in (*LOUD, "passed") else "dim"
        table.add_row(
            Text(_line(finding.code), shown.colour if finding.outcome in LOUD else dim),
            Text(_line(f"{shown.mark} {shown.word}"), shown.colour),
            Text(_line(finding.text("title")), dim),
            _found(finding, dim),
        )
    return table


def _found(finding: CheckFinding, style: str) -> Text:
    """The statement; below it, for loud findings, the figures and the mend."""
    text = Text(_line(finding.text("statement")), style)
    if finding.outcome in LOUD:
        text.append(f"\n{figures_line(finding)}", "dim")
        if finding.text("mend"):
            text.append(f"\n→ {_line(finding.text('mend'))}", "bold" if finding.outcome == "issue" else "")
    return text


def figures_line(finding: CheckFinding) -> str:
    """Measured, threshold and healthy on one line; what is not known is left out."""
    unit = _line(finding.text("unit").removeprefix("share").strip())
    parts = [
        f"measured {finding.measured}{f' {unit}' if unit else ''}" if finding.measured != DASH else "",
        f"threshold {finding.threshold}" if finding.threshold != DASH else "",
        f"healthy: {_line(finding.text('healthy'))}" if finding.text("healthy") else "",
    ]
    return " · ".join(part for part in parts if part)


def causes_lines(causes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return root causes as lines of plain text; that none was found is an answer too."""
    found = [mapping(cause) for cause in causes if isinstance(cause, Mapping)]
    if not found:
        return ["No cause found: none of the written rules has the evidence it asks for."]
    return [line for place, cause in enumerate(found, 1) for line in _cause_lines(place, cause)]


def _cause_lines(place: int, cause: Mapping[str, Any]) -> list[str]:
    title = _line(cause.get("title") or cause.get("name") or "unnamed")
    evidence = listing([_line(name) for name in sequence(cause.get("evidence"))])
    options = listing([_line(name) for name in sequence(cause.get("options"))])
    lines = (
        f"{place}. {title}{f' ({evidence})' if evidence else ''}",
        f"   {_line(cause.get('statement') or '')}",
        f"   → {_line(cause['mend'])}" if cause.get("mend") else "",
        f"   options: {options}" if options else "",
    )
    return [line for line in lines if line.strip()]


def _line(value: object) -> str:
    """Bring a text onto one line without control characters."""
    return to_text(plain(value))
