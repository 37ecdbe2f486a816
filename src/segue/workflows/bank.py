"""``segue bank``: build a bank of passages and vectors on disk, or describe one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segue.bank.bank import PassageBank, bank_info
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe
from segue.workflows.prepare import as_recipe, open_bank


def build(recipe: AnyRecipe, out: Path | str | None = None, *, stages: Stages = quiet) -> PassageBank:
    """Build the recipe's bank, resume an interrupted build, or open a finished bank.

    Raises:
        SegueError: states what is wrong, what was expected and what to do.
    """
    limit_threads()
    return open_bank(as_recipe(recipe), out=out, stages=stages)


def info(bank: Path | str, *, verify: bool = False) -> Mapping[str, object]:
    """Describe a bank; with ``verify`` every file is hashed again.

    Raises:
        InputError: there is no bank, or it is not whole.
    """
    return bank_info(PassageBank.open(Path(bank), verify=verify))
