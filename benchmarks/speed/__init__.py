"""Speed and memory beside what a user would pick instead: one file a measurement.

Each measures two sides in turns (``turns.py``) and returns rows of the table in docs/performance.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed.measurement import BenchSettings, Measurement
from segue.types import Progress

Measure = Callable[[BenchSettings, Progress], list[Measurement]]

BENCHMARKS: Mapping[str, str] = {
    "search": "benchmarks.speed.search",
    "ranks": "benchmarks.speed.ranks",
    "training": "benchmarks.speed.training",
    "training-larger": "benchmarks.speed.training:measure_larger",
    "whole-bank": "benchmarks.speed.whole_bank",
    "encoding": "benchmarks.speed.encoding",
    "parsing": "benchmarks.speed.parsing",
    "resampling": "benchmarks.speed.resampling",
    "starting": "benchmarks.speed.starting",
}
"""Name → module with a function ``measure`` (or of another name, after a colon), in the order of the table."""


def benchmark(name: str) -> Measure:
    """Return the function that measures; nothing of it is imported before."""
    module, _, function = BENCHMARKS[name].partition(":")
    measure: Any = getattr(importlib.import_module(module), function or "measure")
    return measure  # type: ignore[no-any-return]
