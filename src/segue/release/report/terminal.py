"""The comparison as a table and a few lines for a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from segue.release.report.facts import FAMILIES, Comparison, Row
from segue.release.report.findings_text import findings_table
from segue.release.report.gates_table import gate_sentence
from segue.release.report.header import notices
from segue.release.report.inline import to_text
from segue.release.report.integrity import blocking_findings
from segue.release.report.summary import headline
from segue.release.report.tables import HEADLINE, SIGNS, best_value, tags
from segue.release.report.unsafe import UNSAFE
from segue.release.report.wording import DASH, PERCENT, SCALES, count

SHORT = {"Contain@50": "C@50", "total_p95_ms": "P95 ms", "cosine": "cos"}
FEW_DIGITS = {"Eff@5", "cosine", "total_p95_ms"}
"""Shown without their interval, for want of room."""
UNSAFE_TITLE = f"{UNSAFE}: an integrity check failed or was not carried out"
COLOURS = {"better": "green", "worse": "red", "undecided": "dim"}


def terminal_table(triage: Mapping[str, Any]) -> Table:
    """Return the table of options, intervals as ±; a blocked triage gives the failed checks instead."""
    comparison = Comparison(triage)
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


def summary_lines(triage: Mapping[str, Any]) -> list[str]:
    """What to print below the table: the key to its marks, the winner, the gates; plain text, one item a line."""
    comparison = Comparison(triage)
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
