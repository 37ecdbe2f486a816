"""``segue demo``: a triage of real Wikipedia text that needs no download, in two and a half minutes on two cores."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from segue.comparison.options import Preset
from segue.hardware import Device
from segue.progress import Stages, quiet
from segue.recipe import Recipe, load_recipe
from segue.storage import on_storage
from segue.workflows.check_record import CheckPolicy
from segue.workflows.prepare import on_device
from segue.workflows.triage import DEFAULT_POLICY, Comparison, triage


def demo_recipe(folder: Path, *, options: Preset = "core") -> Recipe:
    """Return the demo's recipe, its bank inside ``folder``."""
    changes = {"bank": {"path": str((folder / "bank").absolute())}, "triage": {"options": options}}
    with as_file(files("segue") / "demo.toml") as path:
        return load_recipe(path, overrides=changes)


@on_storage("out")
def demo(
    out: Path | str = "runs/demo",
    *,
    options: Preset = "core",
    device: Device | None = None,
    policy: CheckPolicy = DEFAULT_POLICY,
    stages: Stages = quiet,
) -> Comparison:
    """Read and encode the sample, compare options over folds of its documents, and write the report.

    With ``options="all"`` in the same folder, finished options are read back and the others are added.

    Raises:
        MissingExtraError: the sample or the encoder is not installed (``pip install 'segue[demo]'``).
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    out = Path(out)
    return triage(on_device(demo_recipe(out, options=options), device), out, policy=policy, stages=stages)
