"""``segue evaluate``: score a trained run on its locked test documents, or on documents it has never met."""

from __future__ import annotations

from pathlib import Path

from segue.hardware import Device
from segue.progress import Stages, quiet
from segue.workflows.check_record import Refusal
from segue.workflows.fresh import run_on_fresh
from segue.workflows.prepare import on_device, open_bank, options_of_run, recorded_recipe
from segue.workflows.triage import REFUSE, Comparison, run_comparison


def evaluate(
    run: Path | str,
    *,
    corpus: Path | str | None = None,
    device: Device | None = None,
    refusal: Refusal = REFUSE,
    stages: Stages = quiet,
) -> Comparison:
    """Evaluate what ``segue train`` or ``segue triage`` left, beside every baseline.

    Args:
        run: a run folder.
        corpus: a TOML file whose [corpus] names fresh documents: they join a copy of the bank and are asked about.
        device: where models run, if not where the recipe says.
        refusal: which checks are muted, and whether blocked numbers are printed all the same, labelled.
        stages: shows progress.

    Raises:
        InputError: ``run`` is no run folder, or nothing was trained in it.
    """
    run = Path(run)
    recipe = on_device(recorded_recipe(run), device)
    options = options_of_run(run)
    if corpus is not None:
        bank = open_bank(recipe, stages=stages)
        return run_on_fresh(run, recipe, bank, options, corpus=corpus, refusal=refusal, stages=stages)
    return run_comparison(recipe, options, run, refusal=refusal, stages=stages)
