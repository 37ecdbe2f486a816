"""SG105: do train and validation windows share passages?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.checks.statistics import percent
from segue.evaluation.experiment import Fold
from segue.types import Windows

ALLOWED_SHARE, MINIMUM_COPIES = 0.01, 3
"""Share and number of validation targets that may occur word for word in training windows without a tip."""


@dataclass(frozen=True)
class Shared:
    """Validation windows of a fold that share passages, documents or words with its training windows.

    ``random_deal`` is the share of windows that would share passages if the same windows were assigned at random.
    """

    fold: int
    windows: int
    shared: int
    of_trained_documents: int
    targets_word_for_word: int
    random_deal: float


def examine(case: Case) -> Verdict:
    """Search for rows of validation windows among the rows of training windows."""
    folds = [_of_fold(case, fold) for fold in case.folds]
    worst = max(folds, key=lambda one: one.shared / max(1, one.windows))
    share = worst.shared / max(1, worst.windows)
    which = f" (fold {worst.fold}, the worst of {len(folds)})" if len(folds) > 1 else ""
    said = (f"{worst.shared:,} of {worst.windows:,} validation windows share a passage with training windows{which}; "
            f"if windows were split at random, it would be {percent(worst.random_deal)}.")  # fmt: skip
    if worst.shared:
        return Verdict("issue", said, share, 0.0, {"folds": folds})
    same = max(one.of_trained_documents for one in folds)
    copied = max(one.targets_word_for_word for one in folds)
    many = any(one.targets_word_for_word > ALLOWED_SHARE * one.windows for one in folds) and copied >= MINIMUM_COPIES
    notes = [
        *([f"But {same:,} of them are from documents that training windows are from too."] if same else []),
        *([f"But {copied:,} validation targets occur word for word in training windows."] if many else []),
    ]
    return Verdict("tip" if notes else "passed", " ".join([said, *notes]), share, 0.0, {"folds": folds})


def _of_fold(case: Case, fold: Fold) -> Shared:
    bank, validation = case.bank, fold.validation
    trained = np.unique(bank.document_of[fold.train.target])
    words = np.unique(bank.duplicate_group[fold.train.rows])
    return Shared(
        fold.number,
        len(validation),
        int(_touching(validation, fold.train).sum()),
        int(np.isin(bank.document_of[validation.target], trained).sum()),
        int(np.isin(bank.duplicate_group[validation.target], words).sum()),
        _random_deal(case, fold),
    )


def _touching(windows: Windows, others: Windows) -> Bool[np.ndarray, "window"]:
    """Mark the windows that share a context passage or the target with other windows."""
    rows = np.column_stack([windows.context, windows.target])
    return np.asarray(np.isin(rows, others.rows).any(axis=1))


def _random_deal(case: Case, fold: Fold) -> float:
    """Return the share of shared windows if the same windows were assigned one by one: the control."""
    first, second = fold.train, fold.validation
    if len(second) == 0:
        return 0.0
    both = Windows(np.concatenate([first.context, second.context]), np.concatenate([first.target, second.target]))
    order: Int[np.ndarray, "window"] = case.generator(f"SG105 {fold.number}").permutation(len(both))
    train, validation = both.take(order[: len(first)]), both.take(order[len(first) :])
    return float(_touching(validation, train).mean())


CHECK = Check(
    code="SG105",
    title="Validation apart from training",
    question="Do train and validation windows share passages?",
    detection="Every row that is a context passage or target of a training window is marked; a validation window with "
    "a marked row is an issue. The control splits the same windows at random. A tip: validation windows from "
    f"documents of training windows, or over {100 * ALLOWED_SHARE:g} % of the validation targets word for word in "
    "training.",
    why="Windows overlap: one passage is the target of one window and the context of the next five. A random split "
    "over windows lets validation reward memory, so the checkpoint that has memorised most is selected.",
    healthy="no validation window shares a passage with training",
    fix="split documents, not windows, and train again, since early stopping used the shared passages",
    unit="share of validation windows",
    examine=examine,
    needs=("windows",),
)
