"""The JSON for scripts (``--json``, ``report.json``): its keys do not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segue.comparison.record import Entry, GateRecord, Record
from segue.reports.contrasts import choice_in_words, winner
from segue.reports.text import to_text

PUBLIC_METRICS = ("R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "search_p95_ms", "total_p95_ms")
NOTHING: dict[str, float | None] = {"value": None, "low": None, "high": None}


def public_json(record: Record, *, run: Path | None = None) -> dict[str, Any]:
    """Return the public form of a comparison; what was not computed, or may not be printed, is null.

    Args:
        record: record of the comparison.
        run: the run folder.
    """
    chosen = winner(record)
    names = (*PUBLIC_METRICS, *record.own_metrics)
    return {
        "pool": record.pool,
        "windows": record.windows,
        "documents": record.documents,
        "blocked": list(record.blocked),
        "unsafe": record.unsafe,
        "winner": None if chosen is None else chosen.name,
        "choice": _choice(record),
        "run": None if run is None else str(run),
        **({} if record.bank_changes is None else {"bank_changes": record.bank_changes}),
        "gates": [_gate(gate, refused=record.refused) for gate in record.gates],
        "options": [_option(entry, names, refused=record.refused) for entry in record.entries],
    }


def _choice(record: Record) -> dict[str, object] | None:
    """Return why the winner was chosen: in words, and by the validation MRR of the best."""
    if winner(record) is None or record.choice is None:
        return None
    found = record.choice.difference
    difference = NOTHING if found is None else {"value": found.value, "low": found.low, "high": found.high}
    return {"best": record.choice.best, "difference": difference, "why": to_text(choice_in_words(record))}


def _gate(gate: GateRecord, *, refused: bool) -> dict[str, object]:
    shown = NOTHING if refused else {"value": gate.value, "low": gate.low, "high": gate.high}
    return {"name": gate.name, "outcome": None if refused else gate.outcome, **shown, "threshold": gate.threshold}


def _option(entry: Entry, names: Sequence[str], *, refused: bool) -> dict[str, object]:
    known = {} if refused else entry.metrics
    metrics = {name: asdict(known[name]) if name in known else dict(NOTHING) for name in names}
    return {"name": entry.name, "status": entry.status, "intent": entry.intent, "metrics": metrics}
