"""Rows of a triage by hand, for tests of the report: ``from report_rows import COPY, row, triage``."""

from segue.reports.record import Comparison


def row(name, recall, *, half=0.02, validation=0.3, against=None, **more):
    """An option by hand; ``against`` maps a reference to (difference, half width, p)."""
    metric = {"value": recall, "low": recall - half, "high": recall + half}
    delta = {
        other: {"R@5": {"value": d, "low": d - wide, "high": d + wide, "p": p}}
        for other, (d, wide, p) in (against or {}).items()
    }
    family = "architecture" if name.startswith("model") else "baseline" if name in ("copy-last", "mean") else "loss"
    return {"name": name, "status": "done", "intent": "candidate", "family": family, "metrics": {"R@5": metric},
            "validation": {"MRR": validation}, "delta": delta, **more}  # fmt: skip


def triage(*rows, winner=None, **more):
    return Comparison({"options": list(rows), "winner": winner, "documents": 100, **more})


COPY = row("copy-last", 0.30)
