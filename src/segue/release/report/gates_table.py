"""Gates as a table and as a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from segue.release.report.document import Cell, Column, Table, TableRow, Tone, single
from segue.release.report.facts import Comparison, interval, mapping, number, sequence
from segue.release.report.inline import code, plain
from segue.release.report.wording import DASH, MILLISECONDS, SCALES, Scale, listing

OUTCOMES: dict[str, tuple[str, Tone]] = {
    "pass": ("✓ pass", "pass"),
    "fail": ("✕ fail", "fail"),
    "not-enough-evidence": ("? not enough evidence", "warn"),
}
AS_STORED = Scale(places=3)
_CONDITION = re.compile(r"(Δ?)([\w@]+)(?: over [\w.-]+)? [≥≤] (\d+(?:\.\d+)?)")


def gates(comparison: Comparison) -> list[Mapping[str, Any]]:
    """The gates on record."""
    return [mapping(gate) for gate in sequence(comparison.data.get("gates")) if mapping(gate).get("name")]


def gate_table(comparison: Comparison) -> Table | None:
    """One line per gate: what it asks, what was measured, the outcome."""
    lines = [_line(gate) for gate in gates(comparison)]
    columns = (
        Column("Gate", False),
        Column("Outcome", False),
        Column("Asks", False),
        Column("Measured"),
        Column("Threshold"),
    )
    return Table("gates", _caption(comparison), columns, single(lines)) if lines else None


def _caption(comparison: Comparison) -> str:
    names = {str(gate["candidate"]) for gate in gates(comparison) if gate.get("candidate")}
    judged = f"Judged: {listing([code(name) for name in sorted(names)])}. " if names else ""
    if len(sequence(mapping(comparison.data.get("procedure")).get("chosen"))) > 1:
        judged = (
            "Judged: the procedure, that is on each fold the candidate that did best on that fold’s validation "
            "documents, because one fold’s validation documents are another’s test documents. "
        )
    return (
        f"{judged}A gate passes or fails only where the whole 95 % interval lies on one side of the threshold and p, "
        "Holm-adjusted over all gates, is below 0.05; of several conditions one has to pass, and its numbers are shown."
    )


def _line(gate: Mapping[str, Any]) -> TableRow:
    scale, signed = gate_scale(gate)
    found, threshold = interval(gate), number(gate.get("threshold"))
    show = scale.signed if signed else scale.number
    unit = scale.difference_unit if signed else scale.unit
    span = scale.signed_span(found) if signed else scale.span(found)
    word, tone = OUTCOMES.get(str(gate.get("outcome")), (DASH, "muted"))
    measured = f"{show(found.value)}{unit}" if found else DASH
    return TableRow(
        (
            Cell(code(gate["name"])),
            Cell(word, tone=tone),
            Cell(plain(gate.get("text") or DASH), _open(gate)),
            Cell(measured, span),
            Cell(DASH if threshold is None else f"{show(threshold)}{unit}"),
        )
    )


def _open(gate: Mapping[str, Any]) -> str:
    """Say what the evidence lacks."""
    return plain(gate.get("reason") or "") if gate.get("outcome") == "not-enough-evidence" else ""


def gate_scale(gate: Mapping[str, Any]) -> tuple[Scale, bool]:
    """Find how a gate's numbers are printed, and whether they are differences.

    The condition that decided is the one whose threshold the gate carries; where that leaves several metrics or none,
    numbers are printed as they are stored.

    >>> gate_scale({"text": "R@5 ≥ 0.3, or ΔMRR over ar-only ≥ 0.2", "threshold": 0.2})[1]
    True
    """
    threshold = number(gate.get("threshold"))
    conditions = _CONDITION.findall(str(gate.get("text") or ""))
    decisive = {(metric, sign) for sign, metric, bar in conditions if threshold is None or float(bar) == threshold}
    if len(decisive) != 1:
        return AS_STORED, False
    metric, sign = decisive.pop()
    scale = MILLISECONDS if metric.endswith("_ms") else SCALES.get(metric, AS_STORED)
    return scale, bool(sign)


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
