"""Tuning of an approximate index on the model's own queries.

Queries of a predictor are off the passages' manifold, so an index is tuned on a validation sample of them, never on
passages. Half of the sample chooses the quickest effort whose recall, less its standard error, reaches the target; the
other half confirms it. Tuning fails where no effort does: an index that misses passages makes a model look weak.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError
from segue.ranking.exact import top_k
from segue.ranking.pool import TIE, Pool, exact_scores
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.engine import Effort
from segue.types import Progress, Rankings, no_progress

MINIMUM_QUERIES = 20
"""Minimum number of queries that recall is measured on."""
_TIMED = 100


@dataclass(frozen=True)
class EffortResult:
    """Recall and latency of one effort.

    Attributes:
        effort: the effort.
        recall: mean share of the exact top k that was found.
        sure: the recall less its standard error.
        processor_ms: median processor time of a query, which other work on the machine disturbs least.
        p50_ms: median of single queries by the clock, milliseconds.
        p95_ms: 95th percentile of single queries.
    """

    effort: Effort
    recall: float
    sure: float
    processor_ms: float
    p50_ms: float
    p95_ms: float

    def to_json(self) -> Mapping[str, object]:
        """Return a JSON object."""
        digits = {"recall": 5, "sure": 5, "processor_ms": 4, "p50_ms": 4, "p95_ms": 4}
        return {"effort": dict(self.effort), **{name: round(getattr(self, name), n) for name, n in digits.items()}}


@dataclass(frozen=True)
class Tuned:
    """Result of tuning.

    Attributes:
        chosen: the quickest effort that reaches the target.
        confirmed: its recall on queries that did not choose it.
        curve: all efforts, from the least.
        target: recall to reach.
        k: places of the compared rankings.
        queries: number of queries that chose.
    """

    chosen: EffortResult
    confirmed: float
    curve: tuple[EffortResult, ...]
    target: float
    k: int
    queries: int

    def to_json(self) -> Mapping[str, Any]:
        """Return a JSON object."""
        return {"target": self.target, "k": self.k, "queries": self.queries, "chosen": self.chosen.to_json(),
                "confirmed_recall": round(self.confirmed, 5), "curve": [p.to_json() for p in self.curve]}  # fmt: skip


@dataclass(frozen=True)
class _TuningQueries:
    """Queries with their exclusions and exact rankings."""

    queries: Float[np.ndarray, "batch dim"]
    exclude: Int[np.ndarray, "batch excluded"]
    exact: Rankings

    def half(self, which: int) -> _TuningQueries:
        """Return every second query."""
        exact = Rankings(self.exact.rows[which::2], self.exact.scores[which::2])
        return _TuningQueries(self.queries[which::2], self.exclude[which::2], exact)


def tune(
    index: ApproximateIndex,
    queries: Float[np.ndarray, "batch dim"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
    target: float = 0.99,
    k: int = 50,
    progress: Progress = no_progress,
) -> Tuned:
    """Choose an effort and set it in the index.

    Args:
        index: built over the pool that is served.
        queries: the model's, on validation windows, in any order.
        exclude: rows that each query leaves out, as served.
        target: recall of the exact top ``k`` to reach, 0 to 1.
        k: places compared.
        progress: called per effort.

    Raises:
        InputError: too few queries, a target outside of (0, 1], or no effort reaches it.
    """
    if len(queries) < MINIMUM_QUERIES or not 0 < target <= 1:
        raise InputError("the index cannot be tuned", got=f"{len(queries)} queries, target {target}",
                         expected=f"{MINIMUM_QUERIES} or more queries, a target above 0 and up to 1")  # fmt: skip
    k = min(k, index.pool.size)
    sample = _TuningQueries(queries, exclude, top_k(queries, index.pool, k, exclude=exclude))
    curve = _curve(index, sample.half(0), k, target, progress)
    reaching = [point for point in curve if point.sure >= target]
    if not reaching:
        raise _unreached(curve, target, k)
    chosen = min(reaching, key=lambda point: point.processor_ms)
    confirmed, _ = _recall(ApproximateIndex(index.pool, index.engine, chosen.effort), sample.half(1), k)
    if confirmed < target - 2 * (chosen.recall - chosen.sure) - 1e-9:
        raise _unreached([*curve, chosen], target, k, confirmed=confirmed)
    index.effort = chosen.effort
    return Tuned(chosen, confirmed, tuple(curve), target, k, len(sample.half(0).queries))


def _curve(
    index: ApproximateIndex, sample: _TuningQueries, k: int, target: float, progress: Progress
) -> list[EffortResult]:
    efforts, curve = index.engine.efforts(), []
    beyond = [number for number, effort in enumerate(efforts) if effort.get("width", 0) >= len(index.pool.members)]
    efforts = efforts[: beyond[0] + 1] if beyond else efforts  # wider than the pool, but for the first, changes nothing
    for number, effort in enumerate(efforts):
        tried = ApproximateIndex(index.pool, index.engine, effort)
        recall, sure = _recall(tried, sample, k)
        curve.append(EffortResult(effort, recall, sure, *_latency(tried, sample, k)))
        progress(number + 1, len(efforts), f"recall {recall:.3f}")
    return curve


def _recall(index: ApproximateIndex, sample: _TuningQueries, k: int) -> tuple[float, float]:
    """Return the mean recall, and that less its standard error."""
    found = index.search(sample.queries, k, exclude=sample.exclude)
    recall = recall_of(sample.queries, index.pool, sample.exact, found)
    return float(recall.mean()), float(recall.mean() - recall.std(ddof=1) / np.sqrt(len(recall)))


def _latency(index: ApproximateIndex, sample: _TuningQueries, k: int) -> tuple[float, float, float]:
    """Return milliseconds of single queries: median processor time, and median and 95th percentile by the clock."""
    spent, processor = [], []
    clock = getattr(
        index.engine, "clock", time.thread_time
    )  # an engine that searches in threads of its own has another
    for one in range(min(len(sample.queries), _TIMED)):
        began, used = time.perf_counter(), clock()
        index.search(sample.queries[one : one + 1], k, exclude=sample.exclude[one : one + 1])
        processor.append(1e3 * (clock() - used))
        spent.append(1e3 * (time.perf_counter() - began))
    return float(np.median(processor)), float(np.median(spent)), float(np.percentile(spent, 95))


def _unreached(curve: Sequence[EffortResult], target: float, k: int, *, confirmed: float | None = None) -> InputError:
    best = max(curve, key=lambda point: point.recall)
    got = f"{best.recall:.4f} with {dict(best.effort)}"
    if confirmed is not None:
        got = f"{confirmed:.4f} on the queries that did not choose the effort"
    fix = "build it with more neighbours or a greater build width, use another kind, or lower the target"
    return InputError(f"no effort reaches recall@{k} of {target}", got=got, fix=fix)


def recall_of(
    queries: Float[np.ndarray, "window dim"], pool: Pool, wanted: Rankings, found: Rankings
) -> Float[np.ndarray, "window"]:
    """Return the share of each exact ranking that an index found; equal scores at the end replace each other."""
    recall = np.empty(len(queries))
    for number in range(len(queries)):
        exact = wanted.rows[number][wanted.rows[number] >= 0]
        rows = found.rows[number][(found.rows[number] >= 0) & (found.rows[number] < len(pool.bank))]
        last = float(wanted.scores[number][len(exact) - 1]) if len(exact) else np.inf
        scores = exact_scores(queries, pool.bank, query=np.full(len(rows), number), rows=rows)
        hit = np.isin(pool.candidates_of(rows), pool.candidates_of(exact)) | (np.abs(scores - last) <= TIE)
        distinct = len(np.unique(pool.candidates_of(rows[hit])))
        recall[number] = min(1.0, distinct / len(exact)) if len(exact) else 1.0
    return recall
