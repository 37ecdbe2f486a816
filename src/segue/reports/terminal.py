"""The comparison as a table and a few lines for a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from segue.comparison.record import Cause, Finding, Record
from segue.reports.findings import (
    LOUD,
    CheckFinding,
    by_urgency,
    read_findings,
    shown_outcome,
)
from segue.reports.record import FAMILIES, Comparison, Row, mapping, sequence
from segue.reports.sections.header import notices
from segue.reports.sections.summary import headline
from segue.reports.tables.checks import blocking_findings
from segue.reports.tables.metrics import HEADLINE, SIGNS, best_value, gate_sentence, tags
from segue.reports.text.markup import plain, to_text
from segue.reports.text.numbers import DASH, PERCENT, SCALES, count, listing
from segue.reports.unsafe import UNSAFE

SHORT = {"Contain@50": "C@50", "total_p95_ms": "P95 ms", "cosine": "cos"}
FEW_DIGITS = {"Eff@5", "cosine", "total_p95_ms"}
"""Shown without their interval, for want of room."""
UNSAFE_TITLE = f"{UNSAFE}: an integrity check failed or was not carried out"
COLOURS = {"better": "green", "worse": "red", "undecided": "dim"}


def terminal_table(triage: Record | Mapping[str, Any]) -> Table:
    """Return the table of options, intervals as ±; a blocked triage gives the failed checks instead."""
    comparison = Comparison.of(triage)
    return _blocked_table(comparison) if comparison.refused else _metric_table(comparison)


def _blocked_table(comparison: Comparison) -> Table:
    table = findings_table([finding.data for finding in blocking_findings(comparison)])
    table.title, table.title_justify = "Blocked: no number is printed", "left"
    return table


def _metric_table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if comparison.unsafe:
        table.title, table.title_style, table.title_justify = UNSAFE_TITLE, "bold red", "left"
    table.add_column(UNSAFE if comparison.unsafe else "", no_wrap=True, overflow="ellipsis", max_width=30)
    for name in HEADLINE:
        table.add_column(SHORT.get(name, name), justify="right", no_wrap=True)
    table.add_column("ΔR@5 vs copy", justify="right", no_wrap=True)
    best = {name: best_value(comparison, name) for name in HEADLINE}
    for family, title in FAMILIES.items():
        rows = [row for row in comparison.rows if row.family == family]
        if rows:
            table.add_row(Text(title.split(":")[0].split(",")[0], "italic dim"))
        for row in rows:
            table.add_row(*_line(comparison, row, best))
    return table


def _line(comparison: Comparison, row: Row, best: Mapping[str, float | None]) -> list[Text]:
    won = comparison.won(row)
    style = "bold" if won else "dim" if row.intent == "control" or row.metric("R@5") is None else ""
    marks = {"projected": "ᵖ", "context left in": "ᶜ", "under-trained": "ᵘ"}
    tagged = "".join(marks.get(tag, "") for tag in tags(comparison, row))
    tagged += f" {row.status}" if row.status in ("skipped", "aborted", "failed") else ""
    name = Text(f"{'★' if won else ' '} {row.name}{tagged}", style)
    return [name, *(_metric(row, metric, best[metric], style) for metric in HEADLINE), _difference(comparison, row)]


def _metric(row: Row, name: str, best: float | None, style: str) -> Text:
    found, scale = row.metric(name), SCALES[name]
    if found is None:
        return Text(DASH, "dim")
    marked = "bold" if best is not None and found.value == best and row.can_win else style
    half = "" if name in FEW_DIGITS else scale.half_width(found)
    return Text.assemble((scale.number(found.value), marked), (f" {half}" if half else "", "dim"))


def _difference(comparison: Comparison, row: Row) -> Text:
    reference = comparison.measured("copy-last")
    contrast = row.against(reference) if reference and row.name != reference.name else None
    if contrast is None or not contrast.paired:
        return Text(DASH, "dim")
    difference = contrast.difference
    text = f"{SIGNS[contrast.outcome]} {PERCENT.signed(difference.value)} {PERCENT.half_width(difference)}"
    return Text(text.strip(), COLOURS[contrast.outcome])


def summary_lines(triage: Record | Mapping[str, Any]) -> list[str]:
    """What to print below the table: the key to its marks, the winner, the gates; plain text, one item a line."""
    comparison = Comparison.of(triage)
    if comparison.refused:
        codes = ", ".join(comparison.blocked)
        return [f"Blocked by {codes}: the numbers would answer another question than the one asked."]
    lines = [to_text(notice.text) for notice in notices(comparison)]
    label = f"{UNSAFE}: " if comparison.unsafe else ""
    told = (to_text(headline(comparison)), to_text(gate_sentence(comparison)))
    lines += [_key(comparison), *(f"{label}{line}" for line in told if line)]
    return [line for line in lines if line]


def _key(comparison: Comparison) -> str:
    size = [
        f"{count(value)} {what}"
        for key, what in (("pool", "candidates"), ("windows", "windows"), ("documents", "test documents"))
        if (value := comparison.amount(key)) is not None
    ]
    key = (
        "rates in per cent, ± half of the 95 % interval (≤, ≥: its far end); ▲ better, ▼ worse, · undecided against "
        "copy-last by the paired test"
    )
    text = ", ".join([*size, key])
    projected = "; ᵖ trained in a projected space" if any(row.intent == "projected" for row in comparison.rows) else ""
    late = "; ᵘ under-trained" if any(row.under_trained for row in comparison.rows) else ""
    return f"{text}{projected}{late}."


def findings_table(findings: Sequence[Mapping[str, Any] | Finding]) -> Table:
    """Return a table of findings, issues first; loud ones with measured value, threshold and what to do.

    Args:
        findings: as ``Finding`` objects look in JSON.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head, least in (("check", 5), ("outcome", 9), ("title", 12)):
        table.add_column(head, no_wrap=head != "title", min_width=least, max_width=24)
    table.add_column("what was found", overflow="fold", ratio=1)
    for finding in by_urgency(read_findings([f.to_json() if isinstance(f, Finding) else f for f in findings])):
        shown = shown_outcome(finding.outcome)
        dim = "" if finding.outcome in (*LOUD, "passed") else "dim"
        table.add_row(
            Text(_one_line(finding.code), shown.colour if finding.outcome in LOUD else dim),
            Text(_one_line(f"{shown.mark} {shown.word}"), shown.colour),
            Text(_one_line(finding.text("title")), dim),
            _found(finding, dim),
        )
    return table


def _found(finding: CheckFinding, style: str) -> Text:
    """The statement; below it, for loud findings, the figures and the fix."""
    text = Text(_one_line(finding.text("statement")), style)
    if finding.outcome in LOUD:
        text.append(f"\n{figures_line(finding)}", "dim")
        if finding.text("fix"):
            text.append(f"\n→ {_one_line(finding.text('fix'))}", "bold" if finding.outcome == "issue" else "")
    return text


def figures_line(finding: CheckFinding) -> str:
    """Measured, threshold and healthy on one line; what is not known is left out."""
    unit = _one_line(finding.text("unit").removeprefix("share").strip())
    parts = [
        f"measured {finding.measured}{f' {unit}' if unit else ''}" if finding.measured != DASH else "",
        f"threshold {finding.threshold}" if finding.threshold != DASH else "",
        f"healthy: {_one_line(finding.text('healthy'))}" if finding.text("healthy") else "",
    ]
    return " · ".join(part for part in parts if part)


def causes_lines(causes: Sequence[Mapping[str, Any] | Cause]) -> list[str]:
    """Return root causes as lines of plain text; that none was found is an answer too."""
    found = [cause.to_json() if isinstance(cause, Cause) else mapping(cause) for cause in causes]
    if not found:
        return ["No cause found: none of the written rules has the evidence it asks for."]
    return [line for place, cause in enumerate(found, 1) for line in _cause_lines(place, cause)]


def _cause_lines(place: int, cause: Mapping[str, Any]) -> list[str]:
    title = _one_line(cause.get("title") or cause.get("name") or "unnamed")
    evidence = listing([_one_line(name) for name in sequence(cause.get("evidence"))])
    options = listing([_one_line(name) for name in sequence(cause.get("options"))])
    lines = (
        f"{place}. {title}{f' ({evidence})' if evidence else ''}",
        f"   {_one_line(cause.get('statement') or '')}",
        f"   → {_one_line(cause['fix'])}" if cause.get("fix") else "",
        f"   options: {options}" if options else "",
    )
    return [line for line in lines if line.strip()]


def _one_line(value: object) -> str:
    """Bring a text onto one line without control characters."""
    return to_text(plain(value))
