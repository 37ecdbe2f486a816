"""SG102: do the vectors of a window equal the bank's rows, in order, the target next?"""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Bool, Float

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.types import Windows

TOLERANCE = 1e-3
"""Largest Euclidean distance of a vector from its row; half-precision storage stays below."""


def examine(case: Case) -> Verdict:
    """Compare every window, as retrievers read it, with the rows it names."""
    wrong: Counter[str] = Counter()
    total = broken = 0
    for fold in case.folds:
        for part in (fold.train, fold.validation, fold.test):
            for windows in part.batches(2048):
                problems = _problems(case, windows)
                wrong.update({name: int(mask.sum()) for name, mask in problems.items()})
                broken += int(np.logical_or.reduce(list(problems.values())).sum())
                total += len(windows)
    found = {name: count for name, count in wrong.items() if count}
    details = {"windows": total, "by_problem": found}
    if not found:
        return Verdict("passed", f"All {total:,} windows of all parts equal the bank's rows.", 0.0, 0.0, details)
    said = ", ".join(f"{count:,} with {name}" for name, count in found.items())
    share = broken / max(1, total)
    return Verdict("issue", f"Of {total:,} windows {broken:,} are broken: {said}.", share, 0.0, details)


def _problems(case: Case, windows: Windows) -> dict[str, Bool[np.ndarray, "window"]]:
    bank, contexts = case.bank, case.read(windows)
    known = contexts.rows >= 0
    rows = np.where(known, contexts.rows, 0)
    expected = bank.gather(rows.ravel()).reshape(*rows.shape, -1)
    named = windows.context >= 0
    steps = np.arange(windows.context.shape[1], 0, -1)
    read = np.where(named, windows.context, 0)
    gap = windows.target[:, None] - windows.context
    position_gap = bank.position[windows.target][:, None] - bank.position[read]
    elsewhere = bank.document_of[read] != bank.document_of[windows.target][:, None]
    return {
        "context passages that the bank does not hold": (contexts.mask & ~known).any(axis=1),
        "context vectors that differ from their rows": (known & _differ(contexts.vectors, expected)).any(axis=1),
        "context rows that the window does not name": (contexts.rows != windows.context).any(axis=1),
        "a target vector that differs from its row": _differ(case.truth(bank, windows), bank.gather(windows.target)),
        "rows out of order": (named & ((gap != steps) | (position_gap != steps))).any(axis=1),
        "a passage of another document": (named & elsewhere).any(axis=1),
    }


def _differ(
    vectors: Float[np.ndarray, "*shape dim"], rows: Float[np.ndarray, "*shape dim"]
) -> Bool[np.ndarray, "*shape"]:
    """Mark the vectors that are not finite or not within ``TOLERANCE`` of their rows."""
    with np.errstate(invalid="ignore"):
        return ~(np.linalg.norm(vectors - rows, axis=-1) <= TOLERANCE)


CHECK = Check(
    code="SG102",
    title="Windows match the bank",
    question="Do the context and target vectors of a window equal the bank's rows, are the contexts consecutive, "
    "and is the target the next passage?",
    detection="Every window of every part is gathered as retrievers read it. Each vector must lie within "
    f"{TOLERANCE:g} of its row's; rows and positions must rise by one up to the target; all must be of one document.",
    why="Placeholder keys, shifted targets and overwritten targets look like a model that has learnt nothing, or like "
    "one that has learnt everything.",
    healthy="no broken window",
    fix="make the windows again from the bank; do not repair keys by hand",
    unit="share of windows broken",
    examine=examine,
    needs=("windows",),
)
