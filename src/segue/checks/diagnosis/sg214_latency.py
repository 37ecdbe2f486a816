"""SG214: what does the latency consist of?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.evaluation.gates import Condition
from segue.evaluation.latency import STAGES
from segue.evaluation.result import Evaluation

PARTS = tuple(stage for stage in STAGES if stage != "total")
DOMINANT = 0.5
"""Share of the time from which one stage is what the latency consists of."""


def examine(case: Case) -> Verdict:
    """Take the latency apart, and hold it against the gates that name one."""
    timed = [row for row in case.subject_entries if row.evaluation is not None and row.evaluation.timings]
    if not timed:
        return not_applicable("the row in question was not timed: set evaluation.latency_queries")
    gated = [judged for row in timed for judged in _against_gates(case, row)]
    rows = {row.name: _stages(row.evaluation) for row in case.shown if row.evaluation and row.evaluation.timings}
    rows |= {timed[0].name: _stages(timed[0].evaluation)}
    details = {"rows": rows, "gates": gated}
    said = _statement(timed[0].name, rows)
    if not gated:
        return Verdict("passed", f"{said} No gate is about latency.", details=details)
    worst = max(gated, key=lambda judged: judged["value"] / judged["at_most"])
    gate = (f" {worst['metric']} is {worst['value']:.2f} ms ({_end(worst['low'])} to {_end(worst['high'])}), the gate "
            f"allows {worst['at_most']:g} ms.")  # fmt: skip
    return Verdict(_outcome(worst), said + gate, worst["value"], worst["at_most"], details)


def _end(value: float | None) -> str:
    return "no limit" if value is None else f"{value:.2f}"


def _outcome(worst: dict[str, Any]) -> Any:
    """Judge by the interval over queries: wholly above the gate, or reaching over it."""
    if worst["low"] is not None and worst["low"] > worst["at_most"]:
        return "issue"
    return "tip" if worst["value"] > worst["at_most"] else "passed"


def _against_gates(case: Case, row: CaseEntry) -> list[dict[str, Any]]:
    """Return every latency that a gate bounds, with its interval; stages that the row does not have are left out."""
    assert row.evaluation is not None
    scalars = row.evaluation.scalars
    bounded = [condition for gate in case.gates for condition in gate.any_of if _is_latency(condition)]
    return [
        {"metric": condition.metric, "at_most": condition.threshold, "value": scalars[condition.metric].value,
         "low": scalars[condition.metric].low, "high": scalars[condition.metric].high, "fold": row.fold}
        for condition in bounded
        if condition.metric in scalars
    ]  # fmt: skip


def _is_latency(condition: Condition) -> bool:
    return condition.metric.endswith("_ms") and condition.at_most is not None and condition.against is None


def _stages(evaluation: Evaluation | None) -> dict[str, dict[str, float]]:
    """Return P50 and P95 of each stage in milliseconds, and its share of the time that all queries took."""
    assert evaluation is not None
    present = [stage for stage in STAGES if stage in evaluation.timings]
    return {
        stage: {**_percentiles(evaluation.timings[stage]), "share": share(evaluation.timings, stage)}
        for stage in present
    }


def _percentiles(samples: Float[np.ndarray, "query"]) -> dict[str, float]:
    low, high = np.percentile(samples, [50, 95])
    return {"p50_ms": float(low), "p95_ms": float(high)}


def share(timings: Any, stage: str) -> float:
    """Return a stage's share of the total time.

    >>> share({"search": np.array([1.0, 3.0]), "total": np.array([2.0, 6.0])}, "search")
    0.5
    """
    total = float(timings["total"].sum()) if "total" in timings else sum(float(t.sum()) for t in timings.values())
    return float(timings[stage].sum()) / max(total, 1e-12)


def dominant(stages: dict[str, dict[str, float]]) -> str:
    """Return the stage with the largest share; ``nothing`` where no stage was timed."""
    return max((stage for stage in stages if stage in PARTS), key=lambda stage: stages[stage]["share"],
               default="nothing")  # fmt: skip


def _statement(name: str, rows: dict[str, dict[str, dict[str, float]]]) -> str:
    stages = rows[name]
    most = dominant(stages)
    if most == "nothing":
        return "No stage was timed."
    figures = ", ".join(f"{stage} {100 * found['share']:.0f} % (P50 {found['p50_ms']:.2f} ms, P95 "
                        f"{found['p95_ms']:.2f} ms)" for stage, found in stages.items() if stage in PARTS)  # fmt: skip
    verb = "is most of" if stages[most]["share"] >= DOMINANT else "is the largest part of"
    other = rows.get("copy-last", {}).get("total")
    beside = f"; copy-last answers in {other['p95_ms']:.2f} ms (P95)" if other and name != "copy-last" else ""
    return f"{most.capitalize()} {verb} the time: {figures}{beside}."


CHECK = Check(
    code="SG214",
    title="Latency by stage",
    question="What does the latency consist of?",
    detection="The timings of the evaluation, one query at a time on one thread: P50, P95 and share of encode, "
    "predict, search and rerank. An issue only against a gate: where the 95 % interval of the bounded percentile "
    "(order statistics over queries) lies wholly above it; a tip where only the estimate does.",
    why="A faster index does not help a slow model: what was called search latency is often the encoder's.",
    healthy="below the gate, if there is one",
    fix="make the largest stage cheaper: a smaller model, an approximate index, fewer passages to rerank",
    unit="ms",
    examine=examine,
    needs=("entries", "evaluations"),
)
