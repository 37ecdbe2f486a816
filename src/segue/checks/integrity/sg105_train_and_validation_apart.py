"""SG105: do train and validation windows share passages?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.checks.statistics import percent
from segue.evaluation.experiment import Fold
from segue.types import Windows

ALLOWED, FEWEST = 0.01, 3
"""Validation targets that may stand word for word in training windows before it is a tip."""


def examine(case: Case) -> Verdict:
    """Look for the rows of validation windows among the rows of training windows."""
    folds = [_of_fold(case, fold) for fold in case.folds]
    worst = max(folds, key=lambda one: one["shared"] / max(1, one["windows"]))
    share = worst["shared"] / max(1, worst["windows"])
    details = {"folds": folds}
    said = (
        f"{worst['shared']:,} of {worst['windows']:,} validation windows share a passage with training windows"
        f"{_of_which(case, worst)}; dealt at random over windows it would be {percent(worst['random_deal'])}."
    )
    if worst["shared"]:
        return Verdict("issue", said, share, 0.0, details)
    notes = _notes(folds)
    return Verdict("tip" if notes else "passed", " ".join([said, *notes]), share, 0.0, details)


def _of_fold(case: Case, fold: Fold) -> dict[str, Any]:
    """Count the validation windows of a fold that share rows, documents or words with its training windows."""
    bank, validation = case.bank, fold.validation
    learnt = _rows_of(fold.train, len(bank))
    trained = np.unique(bank.document_of[fold.train.target])
    words = np.unique(bank.duplicate_group[learnt])
    return {
        "fold": fold.number,
        "windows": len(validation),
        "shared": int(_touching(validation, learnt).sum()),
        "of_trained_documents": int(np.isin(bank.document_of[validation.target], trained).sum()),
        "targets_word_for_word": int(np.isin(bank.duplicate_group[validation.target], words).sum()),
        "random_deal": _random_deal(case, fold),
    }


def _rows_of(windows: Windows, num_rows: int) -> Bool[np.ndarray, "bank"]:
    """Mark every row that is read or asked for.

    >>> _rows_of(Windows(np.array([[-1, 1]]), np.array([2])), 4).tolist()
    [False, True, True, False]
    """
    marked = np.zeros(num_rows, dtype=bool)
    marked[windows.context[windows.context >= 0]] = True
    marked[windows.target] = True
    return marked


def _touching(windows: Windows, marked: Bool[np.ndarray, "bank"]) -> Bool[np.ndarray, "window"]:
    """Tell which windows read or ask for a marked row."""
    read = (windows.context >= 0) & marked[windows.context]
    return read.any(axis=1) | marked[windows.target]


def _random_deal(case: Case, fold: Fold) -> float:
    """Return the share of shared windows had the same windows been dealt one by one: the control."""
    both = _joined(fold.train, fold.validation)
    order: Int[np.ndarray, "window"] = case.generator(f"SG105 {fold.number}").permutation(len(both))
    train, validation = both.take(order[: len(fold.train)]), both.take(order[len(fold.train) :])
    if len(validation) == 0:
        return 0.0
    return float(_touching(validation, _rows_of(train, len(case.bank))).mean())


def _joined(first: Windows, second: Windows) -> Windows:
    return Windows(np.concatenate([first.context, second.context]), np.concatenate([first.target, second.target]))


def _of_which(case: Case, one: dict[str, Any]) -> str:
    return f" (fold {one['fold']}, the worst of {len(case.folds)})" if len(case.folds) > 1 else ""


def _notes(folds: Sequence[dict[str, Any]]) -> list[str]:
    """Say what blocks nothing but makes validation too easy."""
    same = max(one["of_trained_documents"] for one in folds)
    copied = max(one["targets_word_for_word"] for one in folds)
    many = any(one["targets_word_for_word"] > ALLOWED * one["windows"] for one in folds) and copied >= FEWEST
    return [
        *([f"But {same:,} of them are from documents that training windows are from too."] if same else []),
        *([f"But {copied:,} validation targets stand word for word in training windows."] if many else []),
    ]


CHECK = Check(
    code="SG105",
    title="Validation apart from training",
    question="Do train and validation windows share passages?",
    detection="Every row that a training window reads or asks for is marked; a validation window that reads or asks "
    "for a marked row is an issue. The control deals the same windows at random. A tip: validation windows from "
    f"documents of training windows, or over {100 * ALLOWED:g} % of the validation targets word for word in training.",
    why="Windows overlap: one passage is the target of one window and the context of the next five. A random split "
    "over windows lets validation reward memory, so the checkpoint that has memorised most is kept.",
    healthy="no validation window shares a passage with training",
    fix="split documents, not windows, and train again, since early stopping looked at the shared passages",
    unit="share of validation windows",
    examine=examine,
    needs=("windows",),
)
