"""``python -m benchmarks.speed``: measure speed and memory beside what a user would pick instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.speed import BENCHMARKS, benchmark
from benchmarks.speed.measurement import BenchSettings
from benchmarks.surroundings import surroundings
from segue.errors import InputError, explain
from segue.files import write_json
from segue.progress import Stages, quiet


def bench(
    name: str = "all",
    settings: Mapping[str, Any] | None = None,
    *,
    out: Path | str | None = None,
    stages: Stages = quiet,
) -> dict[str, Any]:
    """Measure one benchmark, or all of them; what they need is built in the cache folder and kept.

    Args:
        name: of the benchmark, or ``all``.
        settings: what ``BenchSettings`` takes: documents, cache, repeats, scale.
        out: a file that is written again after each benchmark.
        stages: shows progress.

    Returns:
        ``{"rows": [...], "environment": {...}, "settings": {...}}``.

    Raises:
        InputError: there is no such benchmark, or a setting is out of its range.
    """
    names = list(BENCHMARKS) if name == "all" else [name]
    if name not in ("all", *BENCHMARKS):
        raise InputError(explain("no such benchmark", got=name, expected=f"all, {', '.join(BENCHMARKS)}"))
    checked = _settings(settings or {})
    found: dict[str, Any] = {"rows": [], "environment": surroundings(),
                             "settings": checked.model_dump(mode="json", exclude={"documents", "cache"})}  # fmt: skip
    for one in names:
        with stages(f"Measuring {one}") as progress:
            found["rows"] += [row.to_json() for row in benchmark(one)(checked, progress)]
        if out is not None:
            write_json(Path(out), found)
    return found


def _settings(settings: Mapping[str, Any]) -> BenchSettings:
    try:
        return BenchSettings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(explain("these measurements cannot be made", got=got)) from error
