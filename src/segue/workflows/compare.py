"""Compare options on a bank from Python, without a recipe: arrays in, table out."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue.bank.bank import PassageBank
from segue.comparison.options import Preset
from segue.progress import Stages, quiet
from segue.storage import on_storage, place_of
from segue.workflows.check_record import CheckPolicy
from segue.workflows.prepare import as_recipe
from segue.workflows.triage import DEFAULT_POLICY, Comparison, run_comparison


@on_storage("out")
def compare(
    bank: PassageBank | Path | str,
    options: Sequence[str] | Preset = "baselines",
    *,
    out: Path | str | None = None,
    policy: CheckPolicy = DEFAULT_POLICY,
    stages: Stages = quiet,
    **tables: Any,
) -> Comparison:
    """Compare options on a bank, without a recipe: ``print(segue.compare(bank))``.

    Args:
        bank: a bank (``PassageBank.from_arrays``), or its folder.
        options: a preset or names; by default nothing is trained.
        out: the run folder; None: a temporary one, deleted with the comparison; ``report`` writes the report there.
        policy: what is printed when a check fails.
        stages: shows progress.
        tables: other tables of a recipe: ``windows={"context": 3}, gates=[...]``, also parts of your own:
            ``retrievers={"mine": MyRetriever()}``, ``models={"mine": MyNet}``. The encoder is the one that made the
            bank, where nothing else is given.

    Raises:
        BlockedError: a check of the data failed.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    opened = bank if isinstance(bank, PassageBank) else PassageBank.open(bank)
    place = place_of(opened.path.resolve())
    named = options if isinstance(options, str) else tuple(options)
    chosen = {"triage": {**tables.pop("triage", {}), "options": named}}
    recipe = as_recipe({"corpus": {"kind": "bank", "path": place}, "bank": {"path": place}, **tables, **chosen})
    folder = Path(tempfile.mkdtemp(prefix="segue-run-")) if out is None else Path(out)
    found = run_comparison(recipe, recipe.chosen_options(), folder, bank=opened, policy=policy,
                           with_report=out is not None, stages=stages)  # fmt: skip
    if out is None:
        weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found
