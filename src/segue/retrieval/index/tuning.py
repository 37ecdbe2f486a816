"""Choosing how hard an index has to try, on the model's own queries.

Queries of a predictor lie off the passages' manifold, so an index is tuned on a validation sample of them, never on
passages. Half of the sample chooses: the quickest effort whose recall, less its standard error, reaches the target.
The other half confirms. Where no effort does, tuning refuses: an index that misses passages makes a model look weak.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError, explain
from segue.ranking.exact import top_k
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.engine import Effort
from segue.retrieval.index.recall import recall_of
from segue.types import Progress, Rankings, no_progress

FEWEST = 20
"""Queries without which nothing can be said of recall."""
_TIMED = 100


@dataclass(frozen=True)
class Point:
    """One effort on the recall–latency curve.

    Attributes:
        effort: what was tried.
        recall: mean share of the exact top k that was found.
        sure: the recall less its standard error.
        processor_ms: median of a single query's processor time; what other work on the machine disturbs least.
        p50_ms: median of single queries by the clock, milliseconds.
        p95_ms: 95th percentile of single queries.
    """

    effort: Effort
    recall: float
    sure: float
    processor_ms: float
    p50_ms: float
    p95_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "effort": dict(self.effort),
            "recall": round(self.recall, 5),
            "sure": round(self.sure, 5),
            "processor_ms": round(self.processor_ms, 4),
            "p50_ms": round(self.p50_ms, 4),
            "p95_ms": round(self.p95_ms, 4),
        }


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        chosen: the quickest effort that reaches the target.
        confirmed: its recall on queries that did not choose it.
        curve: all efforts that were tried, from the least.
        target: recall asked for.
        k: places of the rankings that were compared.
        queries: how many chose.
    """

    chosen: Point
    confirmed: float
    curve: tuple[Point, ...]
    target: float
    k: int
    queries: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {"target": self.target, "k": self.k, "queries": self.queries, "chosen": self.chosen.to_json(),
                "confirmed_recall": round(self.confirmed, 5), "curve": [p.to_json() for p in self.curve]}  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """Queries with what they exclude and their exact answers."""

    queries: Float[np.ndarray, "batch dim"]
    exclude: Int[np.ndarray, "batch excluded"]
    exact: Rankings

    def half(self, which: int) -> _Asked:
        """Return every second query."""
        exact = Rankings(self.exact.rows[which::2], self.exact.scores[which::2])
        return _Asked(self.queries[which::2], self.exclude[which::2], exact)


def tune(
    index: ApproximateIndex,
    queries: Float[np.ndarray, "batch dim"],
    *,
    exclude: Int[np.ndarray, "batch excluded"],
    target: float = 0.99,
    k: int = 50,
    progress: Progress = no_progress,
) -> Tuned:
    """Choose an effort, and set it as the index's own.

    Args:
        index: built over the pool that is served.
        queries: of the model, on validation windows; shuffled or in the order of windows.
        exclude: what each leaves out, as served.
        target: recall of the exact top ``k`` to reach, 0 to 1.
        k: places compared.
        progress: called per effort.

    Raises:
        InputError: too few queries, a target outside of (0, 1], or no effort reaches it.
    """
    if len(queries) < FEWEST or not 0 < target <= 1:
        raise InputError(explain("an index cannot be tuned so", got=f"{len(queries)} queries, target {target}",
                                 expected=f"{FEWEST} or more queries, a target above 0 and up to 1"))  # fmt: skip
    k = min(k, index.pool.size)
    asked = _Asked(queries, exclude, top_k(queries, index.pool, k, exclude=exclude))
    curve = _curve(index, asked.half(0), k, target, progress)
    reaching = [point for point in curve if point.sure >= target]
    if not reaching:
        raise InputError(_unreached(curve, target, k))
    chosen = min(reaching, key=lambda point: point.processor_ms)
    confirmed, _ = _recall(_trying(index, chosen.effort), asked.half(1), k)
    if confirmed < target - 2 * (chosen.recall - chosen.sure) - 1e-9:
        raise InputError(_unreached([*curve, chosen], target, k, confirmed=confirmed))
    index.effort = chosen.effort
    return Tuned(chosen, confirmed, tuple(curve), target, k, len(asked.half(0).queries))


def _curve(index: ApproximateIndex, asked: _Asked, k: int, target: float, progress: Progress) -> list[Point]:
    efforts, curve = _distinct(index.engine.efforts(), len(index.pool.members)), []
    for number, effort in enumerate(efforts):
        tried = _trying(index, effort)
        recall, sure = _recall(tried, asked, k)
        curve.append(Point(effort, recall, sure, *_latency(tried, asked, k)))
        progress(number + 1, len(efforts), f"recall {recall:.3f}")
    return curve


def _distinct(efforts: Sequence[Effort], members: int) -> Sequence[Effort]:
    """Leave out efforts beyond the size of the pool, but for the first of them."""
    beyond = [number for number, effort in enumerate(efforts) if effort.get("width", 0) >= members]
    return efforts[: beyond[0] + 1] if beyond else efforts


def _trying(index: ApproximateIndex, effort: Effort) -> ApproximateIndex:
    return ApproximateIndex(index.pool, index.engine, effort)


def _recall(index: ApproximateIndex, asked: _Asked, k: int) -> tuple[float, float]:
    """Return the mean recall, and that less its standard error."""
    found = index.search(asked.queries, k, exclude=asked.exclude)
    recall = recall_of(asked.queries, index.pool, asked.exact, found)
    return float(recall.mean()), float(recall.mean() - recall.std(ddof=1) / np.sqrt(len(recall)))


def _latency(index: ApproximateIndex, asked: _Asked, k: int) -> tuple[float, float, float]:
    """Return of single queries the median processor time, and median and 95th percentile by the clock; milliseconds."""
    spent, processor = [], []
    for one in range(min(len(asked.queries), _TIMED)):
        began, used = time.perf_counter(), time.thread_time()
        index.search(asked.queries[one : one + 1], k, exclude=asked.exclude[one : one + 1])
        processor.append(1e3 * (time.thread_time() - used))
        spent.append(1e3 * (time.perf_counter() - began))
    return float(np.median(processor)), float(np.median(spent)), float(np.percentile(spent, 95))


def _unreached(curve: Sequence[Point], target: float, k: int, *, confirmed: float | None = None) -> str:
    best = max(curve, key=lambda point: point.recall)
    got = f"{best.recall:.4f} with {dict(best.effort)}"
    if confirmed is not None:
        got = f"{confirmed:.4f} on the queries that did not choose the effort"
    fix = "build it with more neighbours or a greater build width, take another kind, or lower the target"
    return explain(f"no effort reaches recall@{k} of {target}", got=got, fix=fix)
