"""The bank of a run: ``bank.json`` in the run folder records where it is, and it is opened from there, never built.

Its contents decide, not its place: ``split.json`` holds the hash of the bank that the run was made on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from segue.bank.bank import PassageBank
from segue.bank.history import changed_since, difference_since
from segue.bank.manifest import MANIFEST
from segue.errors import InputError, StorageError
from segue.evaluation.experiment import require_same_bank
from segue.files import JsonObject, read_json, write_json
from segue.storage import place_of, pull

BANK, RECIPE, SPLIT, FRESH = "bank.json", "recipe.json", "split.json", "corpus.json"
"""Files of a run folder; ``corpus.json`` is only in those of fresh documents."""


def record_bank(run: Path, bank: PassageBank) -> None:
    """Record the bank of a run: its absolute path, its path from the run folder, and its hash."""
    place = bank.path.resolve()
    relative = os.path.relpath(place, run.resolve())
    write_json(run / BANK, {"path": place_of(place), "relative": relative, "hash": bank.hash})


def bank_of_run(run: Path, *, given: PassageBank | Path | str | None = None) -> PassageBank:
    """Open the bank that a run was made on; for a run on fresh documents, the bank that they were added to.

    Args:
        run: a run folder.
        given: the bank, or its folder, instead of the recorded places.

    Raises:
        InputError: there is no bank at the recorded places, or it is another one.
    """
    run = _made_on(run.resolve())
    if given is not None:
        bank = given if isinstance(given, PassageBank) else PassageBank.open(given)
        require_same_bank(bank, run / SPLIT)
        return bank
    places, other = list(dict.fromkeys(_places(run))), None
    for place in (pull(place_of(one), whole=False) for one in places):
        if (place / MANIFEST).is_file():
            bank = PassageBank.open(place)
            if _hash(run) in (None, bank.hash):
                require_same_bank(bank, run / SPLIT)  # documents may be deleted
                return bank
            other = bank if other is None else other
    if other is not None:
        require_same_bank(other, run / SPLIT)
    raise InputError(f"the bank of {run} is not there",
                     got=f"no bank at {' or '.join(map(str, places[:2]))}", expected=_expected(run),
                     fix="name its folder with --bank, or build it again with `segue bank build`")  # fmt: skip


def changes_of_bank(run: Path) -> str | None:
    """Return in words what changed in a run's bank since the run; None where nothing did, or the bank is not there."""
    run = _made_on(run.resolve())
    known, found = _hash(run), []
    for place in dict.fromkeys(_places(run)):
        with contextlib.suppress(InputError, StorageError):
            found.append(PassageBank.open(place_of(place)))
    if known is None or any(bank.hash == known for bank in found):
        return None
    later = [bank for bank in found if difference_since(bank, known) is not None]
    return next((changed_since(bank, known) for bank in (later or found)), None)


def is_bank_of(run: Path, bank: PassageBank) -> bool:
    """Return whether a run was made on this bank."""
    return bank.hash == _hash(_made_on(run.resolve()))


def _made_on(run: Path) -> Path:
    """Return the run itself, or for a run on fresh documents the run that was evaluated on them."""
    above = run.parents[1] if len(run.parents) > 1 else run
    return above if (run / FRESH).exists() and (above / RECIPE).exists() else run


def _places(run: Path) -> Iterator[Path]:
    """Yield the folders to look in: those recorded, then those of a version that recorded relative paths only."""
    recorded = _read(run / BANK)
    if recorded:
        yield Path(os.path.normpath(run / str(recorded["relative"])))
        yield Path(str(recorded["path"]))
    recipe = _read(run / RECIPE)
    corpus, bank = recipe.get("corpus", {}), recipe.get("bank", {})
    written = [corpus["path"]] if corpus.get("kind") == "bank" else []
    for path in [*written, bank.get("path", "bank")]:
        yield Path(path).absolute()
        yield from (folder / path for folder in run.parents)
    yield from (run / "bank", run.parent / "bank")


def _read(path: Path) -> JsonObject:
    return read_json(path) if path.exists() else {}


def _hash(run: Path) -> str | None:
    """Return the hash of the bank that a run was made on; None where it recorded none."""
    found = _read(run / SPLIT).get("bank") or _read(run / BANK).get("hash")
    return None if found is None else str(found)


def _expected(run: Path) -> str | None:
    found = _hash(run)
    return None if found is None else f"the bank with hash {found[:12]}… that the run was made on"
