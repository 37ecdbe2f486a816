"""Speed and memory beside what a user would pick instead: one file per measurement, all run by ``segue bench``.

Each measures two sides in turns (``turns.py``) and returns rows of the table in docs/performance.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from segue.benchmarks.row import BenchSettings, Row
from segue.types import Progress

Measure = Callable[[BenchSettings, Progress], list[Row]]

BENCHMARKS: Mapping[str, str] = {
    "search": "segue.benchmarks.search",
    "ranks": "segue.benchmarks.ranks",
    "training": "segue.benchmarks.training",
    "training-larger": "segue.benchmarks.training:measure_larger",
    "whole-bank": "segue.benchmarks.whole_bank",
    "encoding": "segue.benchmarks.encoding",
    "parsing": "segue.benchmarks.parsing",
    "resampling": "segue.benchmarks.resampling",
    "starting": "segue.benchmarks.starting",
}
"""Name → module with a function ``measure`` (or of another name, after a colon), in the order of the table."""


def benchmark(name: str) -> Measure:
    """Return the function that measures; nothing of it is imported before."""
    module, _, function = BENCHMARKS[name].partition(":")
    measure: Any = getattr(importlib.import_module(module), function or "measure")
    return measure  # type: ignore[no-any-return]
