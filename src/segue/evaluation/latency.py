"""Latency of an answer, by stage: one query at a time on one thread.

The retriever's own ``rank`` is timed, the code that serving runs; it calls the stopwatch when a stage has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np
from jaxtyping import Float

from segue.evaluation.metrics import STAGES
from segue.hardware import threads
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, Exclusion, Interval, Windows
from segue.windows.windows import gather_contexts

ANSWERS = 50
"""Places of each ranking, as Contain@50 needs."""

PERCENTS = (50, 95, 99)

WARM_UP = 5
"""Queries before the first that is timed."""


class Stopwatch:
    """Adds up milliseconds by stage for one answer; given to ``Retriever.rank`` as ``lap``."""

    def __init__(self) -> None:
        self.began = self._last = perf_counter()
        self.milliseconds: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """Record that ``stage`` has ended."""
        now = perf_counter()
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + 1000 * (now - self._last)
        self._last = now

    def stop(self) -> dict[str, float]:
        """Return the stages and their total."""
        return {**self.milliseconds, "total": 1000 * (perf_counter() - self.began)}


def measure_latency(
    retriever: Retriever, bank: Bank, windows: Windows, *, queries: int, exclude: Exclusion = "context", seed: int = 1
) -> dict[str, Float[np.ndarray, "query"]]:
    """Time ``queries`` random windows, one at a time on one thread.

    Args:
        retriever: timed as it serves.
        bank: the bank that contexts are gathered from, outside the timed part.
        windows: windows from which the queries are drawn without replacement.
        queries: how many, at most as many as there are windows; 0 measures nothing.
        exclude: what leaves the candidates.
        seed: seed of the draw.

    Returns:
        Milliseconds of each query, by stage.
    """
    drawn = np.random.default_rng(seed).permutation(len(windows))[:queries]
    if len(drawn) == 0:
        return {}
    laps = []
    with threads(1):
        for window in windows.take(np.concatenate([np.resize(drawn, WARM_UP), drawn])).batches(1):
            contexts = gather_contexts(bank, window, exclude=exclude, texts=retriever.reads_text)
            watch = Stopwatch()
            retriever.rank(contexts, ANSWERS, lap=watch)
            laps.append(watch.stop())
    timed = laps[WARM_UP:]
    return {stage: np.array([lap[stage] for lap in timed]) for stage in STAGES if stage in timed[0]}


def percentiles(timings: Mapping[str, Float[np.ndarray, "query"]]) -> dict[str, dict[str, float]]:
    """Return P50, P95 and P99 of each stage, milliseconds.

    >>> percentiles({"search": np.arange(1.0, 102.0)})
    {'search': {'p50_ms': 51.0, 'p95_ms': 96.0, 'p99_ms': 100.0}}
    """
    return {
        stage: {f"p{percent}_ms": float(np.percentile(samples, percent)) for percent in PERCENTS}
        for stage, samples in timings.items()
    }


def latency_metrics(timings: Mapping[str, Float[np.ndarray, "query"]]) -> dict[str, Interval]:
    """Return the percentiles of each stage with intervals over queries, named as in tables (``search_p95_ms``)."""
    return {
        f"{stage}_p{percent}_ms": quantile_interval(samples, percent / 100)
        for stage, samples in timings.items()
        for percent in PERCENTS
    }


def quantile_interval(samples: Float[np.ndarray, "query"], share: float = 0.95) -> Interval:
    """Return a quantile with its 95 % interval from order statistics, without assuming a distribution.

    The number of n samples below the true quantile is binomial (n, share); its 2.5 and 97.5 % points are the numbers of
    the samples that bound it. An end beyond the outermost sample is None: P95 of under 72 samples has no upper end.

    >>> quantile_interval(np.arange(201.0))
    Interval(value=190.0, low=184.0, high=197.0)
    """
    from scipy.stats import binom  # takes a second: imported where it is needed

    ordered = np.sort(samples)
    number = len(ordered)
    low = int(binom.ppf(0.025, number, share))  # P(fewer than low samples below the quantile) < 0.025
    high = int(binom.ppf(0.975, number, share)) + 1
    return Interval(
        float(np.quantile(ordered, share)),
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= number else None,
    )
