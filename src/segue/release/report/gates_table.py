"""Gates as a table and as a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from segue.release.report.document import Cell, Column, Table, TableRow, Tone, single
from segue.release.report.facts import Comparison, interval, mapping, number, sequence
from segue.release.report.inline import code, plain
from segue.release.report.wording import DASH, MILLISECONDS, RATIO, SCALES, Scale, listing

OUTCOMES: dict[str, tuple[str, Tone]] = {
    "pass": ("✓ pass", "pass"),
    "fail": ("✕ fail", "fail"),
    "not-enough-evidence": ("? not enough evidence", "warn"),
}
_METRIC = re.compile(r"P95|" + "|".join(re.escape(name) for name in SCALES))


def gates(comparison: Comparison) -> list[Mapping[str, Any]]:
    """The gates on record."""
    return [mapping(gate) for gate in sequence(comparison.data.get("gates")) if mapping(gate).get("name")]


def gate_table(comparison: Comparison) -> Table | None:
    """One line per gate: what it asks, of whom, what was measured, the outcome."""
    lines = [_line(gate) for gate in gates(comparison)]
    columns = (Column("Gate", False), Column("Outcome", False), Column("Asks", False), Column("Of", False))
    columns += (Column("Measured"), Column("Threshold"))
    caption = (
        "A gate passes or fails only where the 95 % interval lies wholly on one side of the threshold (for the "
        "comparisons by a paired test, Holm-adjusted over the gates); otherwise there is not enough evidence."
    )
    return Table("gates", caption, columns, single(lines)) if lines else None


def _line(gate: Mapping[str, Any]) -> TableRow:
    scale, signed = _scale(gate)
    found, threshold = interval(gate), number(gate.get("threshold"))
    show = scale.signed if signed else scale.number
    span = scale.signed_span(found) if signed else scale.span(found)
    word, tone = OUTCOMES.get(str(gate.get("outcome")), (DASH, "muted"))
    measured = f"{show(found.value)}{_unit(scale, signed)}" if found else DASH
    return TableRow(
        (
            Cell(code(gate["name"])),
            Cell(word, tone=tone),
            Cell(plain(gate.get("text") or DASH)),
            Cell(code(gate["candidate"]) if gate.get("candidate") else DASH),
            Cell(measured, span),
            Cell(DASH if threshold is None else f"{show(threshold)}{_unit(scale, signed)}"),
        )
    )


def _unit(scale: Scale, signed: bool) -> str:
    return scale.difference_unit if signed else scale.unit


def _scale(gate: Mapping[str, Any]) -> tuple[Scale, bool]:
    """Find the metric that the gate's text names first; a gate that names none is printed as it is stored."""
    text = f"{gate.get('metric') or ''} {gate.get('text') or ''} {gate['name']}"
    match = _METRIC.search(text)
    if match is None:
        return RATIO, False
    scale = MILLISECONDS if match[0] == "P95" else SCALES[match[0]]
    return scale, "Δ" in text[: match.start()]


def gate_sentence(comparison: Comparison) -> str:
    """All outcomes in one sentence."""
    by_outcome = {
        "pass": ("passes", "pass"),
        "fail": ("fails", "fail"),
        "not-enough-evidence": ("lacks evidence", "lack evidence"),
    }
    parts = []
    for outcome, verbs in by_outcome.items():
        names = [code(gate["name"]) for gate in gates(comparison) if gate.get("outcome") == outcome]
        if names:
            parts.append(f"{listing(names)} {verbs[len(names) > 1]}")
    return f"Gates: {'; '.join(parts)}." if parts else ""
