"""Recipes of small comparisons, as a user writes them: ``from recipes import write_import, write_recipe``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SMALL: Mapping[str, Mapping[str, Any]] = {
    "windows": {"context": 3},
    "split": {"test": 0.3, "validation": 0.2},
    "model": {"name": "mlp", "size": "toy"},
    "training": {"batch_size": 32, "steps": 10, "evaluations": 2},
    # Whatever the machine is busy with, no test takes so long that an option is aborted.
    "triage": {"options": ["infonce"], "budget_minutes": 3},
    "evaluation": {"resamples": 200, "latency_queries": 5, "run_depth": 10},
}


def write_recipe(folder: Path, *, title: str = "A small comparison", **tables: Mapping[str, Any]) -> Path:
    """Write a recipe whose bank is in the folder; ``tables`` add to, or stand for, the keys of ``SMALL``."""
    tables = {"bank": {"path": str(folder / "bank")}, **tables}
    lines = [f"title = {json.dumps(title)}"]
    for name in {**SMALL, **tables}:
        keys = {**SMALL.get(name, {}), **tables.get(name, {})}
        inner = {key: value for key, value in keys.items() if isinstance(value, dict)}
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items() if key not in inner)]
        for key, options in inner.items():
            lines += [f"[{name}.{key}]", *(f"{option} = {json.dumps(value)}" for option, value in options.items())]
    recipe = folder / "recipe.toml"
    recipe.write_text("\n".join(lines), encoding="utf-8")
    return recipe


def write_import(folder: Path, vectors: np.ndarray, columns: Mapping[str, Any], **tables: Mapping[str, Any]) -> Path:
    """Write vectors and the columns of their table as files, and a recipe that imports them."""
    np.save(folder / "vectors.npy", vectors)
    pq.write_table(pa.table(dict(columns)), folder / "table.parquet")
    files = {"vectors": str(folder / "vectors.npy"), "table": str(folder / "table.parquet")}
    return write_recipe(folder, corpus={"kind": "vectors", **files}, **tables)
