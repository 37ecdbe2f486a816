"""The JSON that other people's scripts read (``--json``, ``report.json``): its keys stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segue.comparison.record import Record
from segue.reports.record import Comparison, Row, interval, mapping, number, sequence

PUBLIC_METRICS = ("R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "search_p95_ms", "total_p95_ms")
NOTHING: dict[str, float | None] = {"value": None, "low": None, "high": None}


def public_json(triage: Record | Mapping[str, Any], *, run: Path | None = None) -> dict[str, Any]:
    """Return the frozen form of a triage; what was not computed, or may not be printed, is null.

    Args:
        triage: the record of a comparison.
        run: the run folder.
    """
    comparison = Comparison.of(triage)
    winner = comparison.winner
    return {
        "pool": _whole(comparison, "pool"),
        "windows": _whole(comparison, "windows"),
        "documents": _whole(comparison, "documents"),
        "blocked": comparison.blocked,
        "unsafe": comparison.unsafe,
        "winner": None if winner is None else winner.name,
        "run": None if run is None else str(run),
        "gates": [_gate(mapping(gate), comparison.refused) for gate in sequence(comparison.data.get("gates"))],
        "options": [_option(row, comparison.refused) for row in comparison.rows],
    }


def _whole(comparison: Comparison, key: str) -> int | None:
    value = comparison.amount(key)
    return None if value is None else int(value)


def _gate(gate: Mapping[str, Any], refused: bool) -> dict[str, Any]:
    numbers = {key: None if refused else number(gate.get(key)) for key in ("value", "low", "high")}
    outcome = None if refused else gate.get("outcome")
    return {"name": gate.get("name"), "outcome": outcome, **numbers, "threshold": number(gate.get("threshold"))}


def _option(row: Row, refused: bool) -> dict[str, Any]:
    metrics = mapping(row.data.get("metrics"))
    return {
        "name": row.name,
        "status": row.status or None,
        "intent": row.intent,
        "metrics": {name: _metric(None if refused else metrics.get(name)) for name in PUBLIC_METRICS},
    }


def _metric(entry: Any) -> dict[str, float | None]:
    found = interval(entry)
    return dict(NOTHING) if found is None else {"value": found.value, "low": found.low, "high": found.high}
