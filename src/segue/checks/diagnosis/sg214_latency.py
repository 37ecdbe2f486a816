"""SG214: what does the latency consist of?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST
from segue.evaluation.latency import STAGES
from segue.evaluation.result import Evaluation
from segue.types import Interval

DOMINANT = 0.5
"""Share of the time from which one stage is most of the latency."""


@dataclass(frozen=True)
class StageTime:
    """Percentiles of a stage in milliseconds, and its share of the time of all queries."""

    p50_ms: float
    p95_ms: float
    share: float


@dataclass(frozen=True)
class BoundedLatency:
    """A latency in milliseconds that a gate bounds, with its interval."""

    metric: str
    at_most: float
    measured: Interval
    fold: int


def examine(case: Case) -> Verdict:
    """Measure the share of each stage, and compare the latency with the gates that name one."""
    timed = [(e.name, e.evaluation) for e in (*case.subject_entries[:1], *case.shown) if e.evaluation is not None]
    rows = {name: _stages(evaluation) for name, evaluation in timed if evaluation.timings}
    if case.subject is None or case.subject not in rows:
        return not_applicable("the subject was not timed: set evaluation.latency_queries")
    gated = [bounded for entry in case.subject_entries for bounded in _bounded(case, entry)]
    details = {"rows": rows, "gates": gated}
    said = _statement(case.subject, rows)
    if not gated:
        return Verdict("passed", f"{said} No gate limits the latency.", details=details)
    worst = max(gated, key=lambda bounded: bounded.measured.value / bounded.at_most)
    found = worst.measured
    low, high = ("no limit" if end is None else f"{end:.2f}" for end in (found.low, found.high))
    said += f" {worst.metric} is {found.value:.2f} ms ({low} to {high}), the gate allows {worst.at_most:g} ms."
    outcome: Judgement = "tip" if found.value > worst.at_most else "passed"
    if found.low is not None and found.low > worst.at_most:
        outcome = "issue"
    return Verdict(outcome, said, found.value, worst.at_most, details)


def _bounded(case: Case, entry: CaseEntry) -> list[BoundedLatency]:
    """Return every latency that a gate bounds; stages that the entry does not have are left out."""
    scalars = entry.evaluation.scalars if entry.evaluation is not None and entry.evaluation.timings else {}
    return [
        BoundedLatency(c.metric, c.at_most, scalars[c.metric], entry.fold)
        for gate in case.gates
        for c in gate.any_of
        if c.metric.endswith("_ms") and c.at_most is not None and c.against is None and c.metric in scalars
    ]


def _stages(evaluation: Evaluation) -> dict[str, StageTime]:
    times = evaluation.latency or {}
    sums = {stage: float(samples.sum()) for stage, samples in evaluation.timings.items()}
    whole = max(sums.get("total", sum(sums.values())), 1e-12)
    timed = [stage for stage in STAGES if stage in sums]
    return {name: StageTime(times[name]["p50_ms"], times[name]["p95_ms"], sums[name] / whole) for name in timed}


def _statement(name: str, rows: Mapping[str, Mapping[str, StageTime]]) -> str:
    stages = {stage: time for stage, time in rows[name].items() if stage != "total"}
    if not stages:
        return "No stage was timed."
    most = max(stages, key=lambda stage: stages[stage].share)
    figures = ", ".join(f"{stage} {100 * time.share:.0f} % (P50 {time.p50_ms:.2f} ms, P95 {time.p95_ms:.2f} ms)"
                        for stage, time in stages.items())  # fmt: skip
    verb = "is most of" if stages[most].share >= DOMINANT else "is the largest part of"
    other = rows.get(COPY_LAST, {}).get("total")
    beside = f"; copy-last answers in {other.p95_ms:.2f} ms (P95)" if other and name != COPY_LAST else ""
    return f"{most.capitalize()} {verb} the time: {figures}{beside}."


CHECK = Check(
    code="SG214",
    title="Latency by stage",
    question="What does the latency consist of?",
    detection="The timings of the evaluation, one query at a time on one thread: P50, P95 and share of encode, "
    "predict, search, rerank and read. An issue only against a gate: where the 95 % interval of the bounded percentile "
    "(order statistics over queries) lies wholly above it; a tip where only the estimate does.",
    why="A faster index does not help a slow model: most of what is called search latency often comes from the "
    "encoder.",
    healthy="below the gate, if there is one",
    fix="make the largest stage cheaper: a smaller model, an approximate index, fewer passages to rerank",
    unit="ms",
    examine=examine,
    needs=("entries", "evaluations"),
)
