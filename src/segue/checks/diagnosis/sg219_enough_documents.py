"""SG219: are there enough documents for the claimed difference?"""

from __future__ import annotations

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, baselines, compare, evaluation_of, evaluations_of, paired_json, points

DIFFERENCE = 0.10
"""Difference of R@5 that has to be resolved where no gate requires one."""
METRIC = "R@5"


def examine(case: Case) -> Verdict:
    """Compare the interval of the difference to copy-last, or another baseline, with what the gates require."""
    ours = evaluation_of(case, case.subject)
    theirs = evaluations_of(case, [COPY_LAST, *(entry.name for entry in baselines(case))])
    reference = next(iter(theirs), "")
    test = None if ours is None else compare(case, ours, theirs.get(reference))
    if ours is None or test is None:
        return not_applicable("no trained entry and baseline were evaluated on the same windows")
    conditions = [condition for gate in case.gates for condition in gate.any_of]
    gated = [abs(c.threshold) for c in conditions if c.metric == METRIC and c.against is not None and c.threshold]
    required, ends = min(gated, default=DIFFERENCE), test.difference
    half = None if ends.low is None or ends.high is None else (ends.high - ends.low) / 2
    details = {"difference": paired_json(test), "against": reference, "groups": test.num_groups,
               "documents": ours.num_documents, "required": required, "half_width": half}  # fmt: skip
    fix = "evaluate on more documents: with folds every document is tested already" if len(case.folds) > 1 else ""
    said = (f"{ours.name} differs from {reference} by {points(ends)} over {test.num_groups} groups of documents; gates "
            f"require {100 * required:g} points")  # fmt: skip
    if half is None or ends.low is None or ends.high is None:
        caveat = "There are too few test documents for an interval."
        return Verdict("issue", f"{said}, and there are too few documents for an interval.", None, required, details,
                       fix, case.about_all(caveat))  # fmt: skip
    said += f", half the interval's width is {100 * half:.1f}"
    if half <= required:
        return Verdict("passed", f"{said}.", half, required, details)
    details["groups_needed"] = needed = groups_needed(test.num_groups, half, required)
    if not ends.low <= required <= ends.high:
        return Verdict("passed", f"{said}, but the whole interval lies on one side.", half, required, details)
    caveat = (f"{test.num_groups} groups of test documents are too few for differences of {100 * required:g} points: "
              f"about {needed:,} are needed.")  # fmt: skip
    return Verdict("issue", f"{said}: about {needed:,} groups would be needed.", half, required, details, fix,
                   case.about_all(caveat))  # fmt: skip


def groups_needed(groups: int, half: float, required: float) -> int:
    """Return the groups at which the half-width would be the required one, since it shrinks with their square root.

    >>> groups_needed(9, 0.2, 0.1)
    36
    """
    return int(-(-groups * (half / required) ** 2 // 1))


CHECK = Check(
    code="SG219",
    title="Enough documents",
    question="Are there enough test documents for the claimed difference?",
    detection="The half-width of the 95 % interval of R@5 against copy-last, over groups of near-duplicate documents, "
    f"is compared with the smallest difference of R@5 that a gate requires ({DIFFERENCE:g} where none does). Issue: it "
    "is wider, and the interval includes that difference; or there are fewer than three groups.",
    why="Windows of one document are not independent samples: 450 windows of 9 articles carry about as much "
    "information as 9. A difference of 10 points between two models on them may be chance.",
    healthy="a half-width below what the gates require, or an interval that lies on one side of it",
    fix="evaluate on more documents, or with folds, so that every document is a test document once",
    unit="half-width of the difference of R@5",
    examine=examine,
    needs=("evaluations",),
)
