"""``segue demo``: the main job on real Wikipedia text that needs no download, in a few minutes on two cores."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from segue.hardware import Device
from segue.progress import Stages, quiet
from segue.recipe import Recipe, load_recipe
from segue.workflows.check_record import Refusal
from segue.workflows.prepare import on_device
from segue.workflows.triage import REFUSE, Comparison, triage


def demo_recipe(folder: Path) -> Recipe:
    """Return the demo's recipe, its bank inside ``folder``."""
    with as_file(files("segue") / "demo.toml") as path:
        return load_recipe(path, overrides={"bank": {"path": str(folder / "bank")}})


def demo(
    out: Path | str = "runs/demo",
    *,
    device: Device | None = None,
    refusal: Refusal = REFUSE,
    stages: Stages = quiet,
) -> Comparison:
    """Read the sample, encode it, compare every option over folds of its documents, and write the report.

    Raises:
        MissingExtraError: the sample or the encoder is not installed (``pip install 'segue[demo]'``).
    """
    out = Path(out)
    return triage(on_device(demo_recipe(out), device), out, refusal=refusal, stages=stages)
