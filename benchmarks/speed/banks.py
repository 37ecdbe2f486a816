"""The banks that are measured on: real passages, and the large structured bank made of them."""

from __future__ import annotations

from importlib.resources import as_file, files

from benchmarks.speed.measurement import BenchSettings
from benchmarks.speed.structured_bank import ROWS, build_structured_bank, most_rows
from segue.bank.bank import PassageBank
from segue.bank.build import build_bank
from segue.recipe import load_recipe
from segue.types import Progress, no_progress

MINIMUM_ROWS = 2000
"""Least number of rows of a scaled-down bank; every measurement runs with it."""


def real_bank(settings: BenchSettings, progress: Progress = no_progress) -> PassageBank:
    """Open the given bank, or build the demo's."""
    if settings.documents is not None:
        return PassageBank.open(settings.documents)
    with as_file(files("segue") / "demo.toml") as path:
        recipe = load_recipe(path, overrides={"passages": {"maximum_passages": None}})
    return build_bank(recipe.corpus, recipe.encoder, settings.cache / "demo-bank",
                      passages=recipe.passages, progress=progress)  # fmt: skip


def structured_bank(settings: BenchSettings, progress: Progress = no_progress) -> PassageBank:
    """Open or build the large bank, or a part of it; of few documents it is as large as their pairs allow."""
    real = real_bank(settings, progress)
    rows = min(rows_wanted(settings.scale), most_rows(real))
    return build_structured_bank(real, settings.cache / f"structured-{rows}", rows=rows, progress=progress)


def rows_wanted(scale: float) -> int:
    """Return the rows of the large bank at a scale."""
    return max(MINIMUM_ROWS, round(ROWS * scale))
