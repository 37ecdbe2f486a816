"""SG201: does the subject beat every untrained baseline?"""

from __future__ import annotations

from typing import Any

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import (
    LEVEL,
    any_of,
    baselines,
    compare,
    evaluation_of,
    paired_json,
    percent,
    points,
    side,
)
from segue.evaluation.intervals import PairedTest, holm
from segue.evaluation.result import Evaluation

METRICS = ("R@5", "MRR")

Tests = dict[str, dict[str, PairedTest]]
"""By baseline, by metric."""


def examine(case: Case) -> Verdict:
    """Compare the subject with every baseline, window by window."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained row was evaluated")
    theirs = any_of(case, [row.name for row in baselines(case)])
    tests = {name: found for name, other in theirs.items() if (found := _tests(case, ours, other))}
    if not tests:
        return not_applicable("no untrained baseline was evaluated on the same windows")
    adjusted = _adjusted(tests)
    lost = [name for name in tests if min(_sides(tests[name], adjusted[name])) < 0]
    unclear = [name for name in tests if name not in lost and not _beaten(tests[name], adjusted[name])]
    hardest = min(lost or unclear or tests, key=lambda name: tests[name]["R@5"].difference.value)
    said = _said(ours, theirs[hardest], tests[hardest]["R@5"], hardest)
    details = {"subject": ours.name, "groups": tests[hardest]["R@5"].num_groups, "baselines": _table(tests, adjusted)}
    measured = tests[hardest]["R@5"].difference.value
    if lost:
        return Verdict("issue", f"{said} Clearly worse than {', '.join(lost)}.", measured, 0.0, details)
    if unclear:
        return Verdict("tip", f"{said} No clear win over {', '.join(unclear)}.", measured, 0.0, details)
    return Verdict("passed", f"{said} In R@5 or MRR it is clearly above all {len(tests)}.", measured, 0.0, details)


def _tests(case: Case, ours: Evaluation, theirs: Evaluation) -> dict[str, PairedTest]:
    found = {metric: compare(case, ours, theirs, metric=metric) for metric in METRICS}
    return {metric: test for metric, test in found.items() if test is not None}


def _adjusted(tests: Tests) -> dict[str, dict[str, float]]:
    """Adjust the p-values of all baselines and metrics as one family (Holm 1979)."""
    places = [(name, metric) for name in tests for metric in tests[name]]
    p_values = holm([tests[name][metric].p_value for name, metric in places])
    found: dict[str, dict[str, float]] = {name: {} for name in tests}
    for (name, metric), p in zip(places, p_values, strict=True):
        found[name][metric] = p
    return found


def _sides(tests: dict[str, PairedTest], adjusted: dict[str, float]) -> list[int]:
    return [side(test, adjusted[metric]) for metric, test in tests.items()]


def _beaten(tests: dict[str, PairedTest], adjusted: dict[str, float]) -> bool:
    """Tell whether one metric is clearly better and none has a worse value, as gates ask for one of the two."""
    return max(_sides(tests, adjusted)) > 0 and min(test.difference.value for test in tests.values()) >= 0


def _table(tests: Tests, adjusted: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {
        name: {metric: paired_json(test, adjusted[name][metric]) for metric, test in found.items()}
        for name, found in tests.items()
    }


def _said(ours: Evaluation, theirs: Evaluation, test: PairedTest, name: str) -> str:
    a, b = (float((evaluation.ranks <= 5).mean()) for evaluation in (ours, theirs))
    return (f"{ours.name} has R@5 {percent(a)}, {name}, the hardest baseline, {percent(b)}: "
            f"{points(test.difference)} over {test.num_groups} groups of documents.")  # fmt: skip


CHECK = Check(
    code="SG201",
    title="Beats untrained baselines",
    question="Does the model beat every baseline that needs no training?",
    detection="R@5 and MRR of the subject are compared with those of each untrained baseline on the same test windows "
    "of all folds: sign-flip tests and intervals over groups of near-duplicate documents, all p-values adjusted as one "
    f"family (Holm 1979). Issue: clearly below a baseline in either metric (adjusted p < {LEVEL:g}, whole interval "
    "below 0). Passed: for every baseline clearly above in one metric and not below in the other.",
    why="Copying the last passage, with what was read left out of the candidates, beat every model without an anchor "
    "in R@1 and MRR in the work this project grew from. Nobody had run it, and weeks went into losses.",
    healthy="clearly above every baseline",
    fix="start the model from the anchor and train it against the whole bank, or serve the baseline",
    unit="difference of R@5 to the hardest baseline",
    examine=examine,
    needs=("evaluations",),
)
