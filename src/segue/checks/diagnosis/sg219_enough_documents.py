"""SG219: are there enough documents for the claimed difference?"""

from __future__ import annotations

from typing import Any

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import (
    COPY_LAST,
    any_of,
    baselines,
    compare,
    evaluation_of,
    paired_json,
    points,
)
from segue.evaluation.intervals import PairedTest
from segue.evaluation.result import Evaluation

DIFFERENCE = 0.10
"""Of R@5 that has to be told apart where no gate asks for a difference: the report's own, 10 points."""
METRIC = "R@5"


def examine(case: Case) -> Verdict:
    """Compare the interval of the difference to copy-last with what the gates ask for."""
    ours = evaluation_of(case, case.subject)
    reference = _reference(case)
    test = None if ours is None or reference is None else compare(case, ours, evaluation_of(case, reference))
    if ours is None or reference is None or test is None:
        return not_applicable("no trained row and baseline were evaluated on the same windows")
    asked = _asked(case)
    half = half_width(test)
    details = _details(ours, reference, test) | {"asked": asked, "half_width": half}
    said = (f"{ours.name} differs from {reference} by {points(test.difference)} over {test.num_groups} groups of "
            f"documents; gates ask for {100 * asked:g} points")  # fmt: skip
    if half is None:
        return Verdict("issue", f"{said}, and so few documents set no interval.", None, asked, details)
    said += f", half the interval's width is {100 * half:.1f}"
    if half <= asked:
        return Verdict("passed", f"{said}.", half, asked, details)
    details["groups_needed"] = needed = groups_needed(test.num_groups, half, asked)
    if _decided(test, asked):
        return Verdict("passed", f"{said}, but the whole interval lies on one side.", half, asked, details)
    return Verdict("issue", f"{said}: about {needed:,} groups would be needed.", half, asked, details)


def _details(ours: Evaluation, reference: str, test: PairedTest) -> dict[str, Any]:
    counts = {"groups": test.num_groups, "documents": ours.num_documents}
    return {"difference": paired_json(test), "against": reference, **counts}


def _reference(case: Case) -> str | None:
    """Return copy-last, or the first baseline where copy-last was not evaluated."""
    found = any_of(case, [COPY_LAST, *(row.name for row in baselines(case))])
    return next(iter(found), None)


def _asked(case: Case) -> float:
    """Return the smallest difference of R@5 that a gate asks for."""
    conditions = [condition for gate in case.gates for condition in gate.any_of]
    asked = [abs(c.threshold) for c in conditions if c.metric == METRIC and c.against is not None and c.threshold]
    return min(asked, default=DIFFERENCE)


def half_width(test: PairedTest) -> float | None:
    """Return half the length of a difference's interval; None where there is none."""
    low, high = test.difference.low, test.difference.high
    return None if low is None or high is None else (high - low) / 2


def _decided(test: PairedTest, asked: float) -> bool:
    """Tell whether the whole interval lies above what is asked, or below it."""
    low, high = test.difference.low, test.difference.high
    return low is not None and high is not None and not low <= asked <= high


def groups_needed(groups: int, half: float, asked: float) -> int:
    """Return the groups at which the half-width would be what is asked, since it shrinks with their square root.

    >>> groups_needed(9, 0.2, 0.1)
    36
    """
    return int(-(-groups * (half / asked) ** 2 // 1))


CHECK = Check(
    code="SG219",
    title="Enough documents",
    question="Are there enough test documents for the claimed difference?",
    detection="The half-width of the 95 % interval of R@5 against copy-last, over groups of near-duplicate documents, "
    f"is compared with the smallest difference of R@5 that a gate asks for ({DIFFERENCE:g} where none does). Issue: it "
    "is wider, and the interval reaches over that difference; or there are fewer than three groups.",
    why="Windows of one document are no independent draws: 450 windows of 9 articles look like many and say as much as "
    "9. A difference of 10 points between two models on them is a toss of a coin.",
    healthy="a half-width below what the gates ask for, or an interval that lies on one side of it",
    fix="evaluate on more documents, or with folds, so that every document is a test document once",
    unit="half-width of the difference of R@5",
    examine=examine,
    needs=("evaluations",),
)
