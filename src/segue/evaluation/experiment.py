"""Experiment: a bank, its folds of windows, and the document groups that statistics resample.

Input: a bank and the recipe's ``split`` and ``windows`` tables. Output: everything that training, evaluation and the
checks read. The split is written to the run folder once and compared later, so that a run always has the same test
documents.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bank.history import changed_since
from segue.errors import InputError
from segue.files import read_json, write_json
from segue.ranking.pool import Pool
from segue.types import Bank, Split, Windows
from segue.windows.near_duplicates import document_groups
from segue.windows.splits import SplitSettings, make_splits
from segue.windows.windows import WindowSettings, every_nth, make_windows

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Fold:
    """Windows of one split, by part; ``split`` holds the document numbers they come from."""

    split: Split
    train: Windows
    validation: Windows
    test: Windows

    @property
    def number(self) -> int:
        """Number of the fold, counted from 0."""
        return self.split.fold


@dataclass(frozen=True)
class Experiment:
    """Data that all options of a comparison share.

    Attributes:
        bank: the passages and their vectors.
        pool: all candidates of the bank; every ranking is over all of them.
        folds: one for a single split; with k folds every document is a test document once.
        groups: near-duplicate group of each document, the unit of resampling.
        context: passages read before each prediction.
    """

    bank: Bank
    pool: Pool
    folds: tuple[Fold, ...]
    groups: Int[np.ndarray, "document"]
    context: int

    @property
    def test_documents(self) -> Int[np.ndarray, "tested"]:
        """Document numbers that have at least one test window, ascending."""
        rows = np.concatenate([fold.test.target for fold in self.folds])
        return np.unique(self.bank.document_of[rows]).astype(np.int64)


def build_experiment(bank: Bank, split: SplitSettings, windows: WindowSettings) -> Experiment:
    """Split the bank's documents and make the windows of every part.

    Raises:
        InputError: some part has no window (documents too short or too few).
    """
    groups = document_groups(bank, split.near_duplicates)
    folds = tuple(_fold(bank, part, windows, groups) for part in make_splits(bank, split, groups=groups))
    for fold in folds:
        _require_windows(fold, windows)
    return Experiment(bank, Pool(bank), folds, groups, windows.context)


def _fold(bank: Bank, split: Split, windows: WindowSettings, groups: Int[np.ndarray, "document"]) -> Fold:
    """Make the windows of a fold; boilerplate is a target in training only."""
    train = make_windows(bank, split.train, windows)
    validation, test = (make_windows(bank, part, windows, groups=groups) for part in (split.validation, split.test))
    return Fold(split, train, validation, every_nth(bank, test, windows.test_every))


def _require_windows(fold: Fold, settings: WindowSettings) -> None:
    for name in PARTS:
        part: Windows = getattr(fold, name)
        if len(part) == 0:
            raise InputError(
                f"the {name} documents of fold {fold.number} yield no windows",
                got=f"dropped {dict(part.dropped)}",
                expected=f"documents of at least {settings.context + 1} passages",
                fix="add documents, lower [passages] target_characters or [windows] context",
            )


def lock_split(experiment: Experiment, path: Path) -> None:
    """Write the split and the bank's hash to ``path``, or compare them with its content.

    Raises:
        InputError: the run folder has another split or is of another bank.
    """
    names = experiment.bank.document_ids
    folds = [
        {part: [names[number] for number in getattr(fold.split, part)] for part in PARTS} for fold in experiment.folds
    ]
    record = {**_bank_record(experiment.bank), "folds": folds}
    if not path.exists():
        write_json(path, record)
    elif read_json(path) != record:
        raise InputError(
            f"{path} holds a split or bank that differs from the present recipe's",
            expected="the bank and the split this run began with, since its test documents are locked",
            fix="choose a new --out folder, or restore the recipe and bank the run began with",
        )


def require_same_bank(bank: Bank, path: Path) -> None:
    """Compare a bank with the one that ``path`` was written for; without that file nothing is compared.

    Raises:
        InputError: documents were added, deleted or built again since, so that rows and splits are no longer the run's.
    """
    if not path.exists():
        return
    locked, present = read_json(path), _bank_record(bank)
    if {name: locked.get(name) for name in present} != present:
        words = changed_since(bank, str(locked.get("bank"))) if isinstance(bank, PassageBank) else None
        raise InputError(
            f"the bank has changed since {path} was written",
            got=f"{getattr(bank, 'path', 'a bank')}: {words or 'other documents are deleted'}",
            expected="the bank that the run was made on, since its rankings name rows and its split documents",
            fix="compare again in a new --out folder, or name a copy of the bank as it was with --bank",
        )


def _bank_record(bank: Bank) -> dict[str, str | None]:
    """Return what identifies a bank's contents: its hash, and a hash of which passages are alive."""
    alive = hashlib.sha256(np.packbits(bank.alive).tobytes()).hexdigest()
    return {"bank": bank.hash, "alive": alive}
