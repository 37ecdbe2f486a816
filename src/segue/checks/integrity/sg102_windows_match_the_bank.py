"""SG102: do the vectors of a window equal the bank's rows, in order, the target next?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.types import Windows

SAME = 1e-3
"""Euclidean distance up to which a vector counts as the row's: half-precision storage stays below."""
BATCH = 2048
PARTS = ("train", "validation", "test")


def examine(case: Case) -> Verdict:
    """Compare every window, as retrievers read it, with the rows it names."""
    wrong: Counter[str] = Counter()
    total = broken = 0
    for windows in _batches(case):
        problems = _problems(case, windows)
        wrong.update({name: int(mask.sum()) for name, mask in problems.items()})
        broken += int(np.logical_or.reduce(list(problems.values())).sum())
        total += len(windows)
    found = {name: count for name, count in wrong.items() if count}
    details = {"windows": total, "by_problem": found}
    share = broken / max(1, total)
    if not found:
        return Verdict("passed", f"All {total:,} windows of all parts equal the bank's rows.", 0.0, 0.0, details)
    said = ", ".join(f"{count:,} with {name}" for name, count in found.items())
    return Verdict("issue", f"Of {total:,} windows {broken:,} are broken: {said}.", share, 0.0, details)


def _batches(case: Case) -> Iterator[Windows]:
    for fold in case.folds:
        for part in PARTS:
            windows: Windows = getattr(fold, part)
            for start in range(0, len(windows), BATCH):
                yield windows.take(slice(start, start + BATCH))


def _problems(case: Case, windows: Windows) -> dict[str, Bool[np.ndarray, "window"]]:
    contexts = case.gather(case.bank, windows, exclude="none", texts=False)
    known = contexts.rows >= 0
    rows = np.where(known, contexts.rows, 0)
    expected = case.bank.gather(rows.ravel()).reshape(*rows.shape, -1)
    apart = _apart(contexts.vectors, expected)
    truth = _apart(case.truth(case.bank, windows), case.bank.gather(windows.target))
    return {
        "context passages that the bank does not hold": (contexts.mask & ~known).any(axis=1),
        "context vectors unlike their rows": (known & apart).any(axis=1),
        "other context rows than the window names": (contexts.rows != windows.context).any(axis=1),
        "a target vector unlike its row": truth,
        "rows out of order": _out_of_order(case, windows),
        "a passage of another document": _elsewhere(case, windows),
    }


def _apart(
    vectors: Float[np.ndarray, "*shape dim"], rows: Float[np.ndarray, "*shape dim"]
) -> Bool[np.ndarray, "*shape"]:
    """Tell which vectors are not within ``SAME`` of their rows; what is not finite is not."""
    with np.errstate(invalid="ignore"):
        return ~(np.linalg.norm(vectors - rows, axis=-1) <= SAME)


def _out_of_order(case: Case, windows: Windows) -> Bool[np.ndarray, "window"]:
    """Tell where a context row is not exactly its distance before the target, in rows and in positions."""
    known = windows.context >= 0
    steps = np.arange(windows.context.shape[1], 0, -1)
    position = case.bank.position
    gap_rows = windows.target[:, None] - windows.context
    gap_positions = position[windows.target][:, None] - position[np.where(known, windows.context, 0)]
    return (known & ((gap_rows != steps) | (gap_positions != steps))).any(axis=1)


def _elsewhere(case: Case, windows: Windows) -> Bool[np.ndarray, "window"]:
    known = windows.context >= 0
    document = case.bank.document_of
    return (known & (document[np.where(known, windows.context, 0)] != document[windows.target][:, None])).any(axis=1)


CHECK = Check(
    code="SG102",
    title="Windows match the bank",
    question="Do the context and target vectors of a window equal the bank's rows, are the contexts consecutive, "
    "and is the target the next passage?",
    detection="Every window of every part is gathered as retrievers read it. Each vector must lie within "
    f"{SAME:g} of its row's; rows and positions must rise by one up to the target; all must be of one document. "
    "(What training gathers is SG107's matter.)",
    why="Placeholder keys, shifted targets and targets that a repair overwrote all look like a model that has learnt "
    "nothing, or like one that has learnt everything.",
    healthy="no broken window",
    fix="make the windows again from the bank; never repair keys by hand",
    unit="share of windows broken",
    examine=examine,
    needs=("windows",),
)
