"""SG201: does the subject beat every untrained baseline?"""

from __future__ import annotations

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import (
    LEVEL,
    baselines,
    compare,
    evaluation_of,
    evaluations_of,
    paired_json,
    percent,
    points,
    recall,
    side,
)
from segue.evaluation.intervals import PairedTest, holm
from segue.evaluation.result import Evaluation

METRICS = ("R@5", "MRR")


def examine(case: Case) -> Verdict:
    """Compare the subject with every baseline, window by window."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained entry was evaluated")
    theirs = evaluations_of(case, [entry.name for entry in baselines(case)])
    tests = {name: found for name, other in theirs.items() if (found := _tests(case, ours, other))}
    if not tests:
        return not_applicable("no untrained baseline was evaluated on the same windows")
    family = [(name, metric) for name in tests for metric in tests[name]]  # adjusted as one family (Holm 1979)
    adjusted = dict(zip(family, holm([tests[name][metric].p_value for name, metric in family]), strict=True))
    sides = {name: [side(test, adjusted[name, metric]) for metric, test in found.items()]
             for name, found in tests.items()}  # fmt: skip
    lost = [name for name in tests if min(sides[name]) < 0]
    unclear = [name for name, found in tests.items() if name not in lost and not (
        max(sides[name]) > 0 and min(test.difference.value for test in found.values()) >= 0)]  # fmt: skip
    hardest = min(lost or unclear or tests, key=lambda name: tests[name]["R@5"].difference.value)
    test = tests[hardest]["R@5"]
    said = (f"{ours.name} has R@5 {percent(recall(ours))}, {hardest}, the hardest baseline, "
            f"{percent(recall(theirs[hardest]))}: {points(test.difference)} over {test.num_groups} groups of "
            "documents.")  # fmt: skip
    table = {name: {metric: paired_json(test, adjusted[name, metric]) for metric, test in found.items()}
             for name, found in tests.items()}  # fmt: skip
    details = {"subject": ours.name, "groups": test.num_groups, "baselines": table}
    measured = test.difference.value
    fix = _fix(case, test.num_groups)
    if lost:
        return Verdict("issue", f"{said} Clearly worse than {', '.join(lost)}.", measured, 0.0, details, fix)
    if unclear:
        return Verdict("tip", f"{said} No clear win over {', '.join(unclear)}.", measured, 0.0, details, fix)
    return Verdict("passed", f"{said} In R@5 or MRR it is clearly above all {len(tests)}.", measured, 0.0, details)


def _fix(case: Case, num_groups: int) -> str:
    """Return what to do about a subject that has the anchor already; empty for others."""
    trained = [entry.training for entry in case.subject_entries if entry.trained is not None]
    if not any(files.config.model.anchor for files in trained):
        return ""
    if 2.0 ** (1 - num_groups) > LEVEL:  # the least p-value of a sign-flip test
        return f"test on more documents: {num_groups} groups of them can show no clear difference"
    if any(files.record.get("under_trained") for files in trained):
        return "train longer, or serve the baseline"
    return "train against the whole bank or on more documents, or serve the baseline"


def _tests(case: Case, ours: Evaluation, theirs: Evaluation) -> dict[str, PairedTest]:
    found = {metric: compare(case, ours, theirs, metric=metric) for metric in METRICS}
    return {metric: test for metric, test in found.items() if test is not None}


CHECK = Check(
    code="SG201",
    title="Beats untrained baselines",
    question="Does the model beat every baseline that needs no training?",
    detection="R@5 and MRR of the subject are compared with those of each untrained baseline on the same test windows "
    "of all folds: sign-flip tests and intervals over groups of near-duplicate documents, all p-values adjusted as one "
    f"family (Holm 1979). Issue: clearly below a baseline in either metric (adjusted p < {LEVEL:g}, whole interval "
    "below 0). Passed: for every baseline clearly above in one metric and not below in the other.",
    why="Copying the last passage, with the passages read excluded from the candidates, often beats models without an "
    "anchor in R@1 and MRR. Without this comparison, weeks are spent on losses.",
    healthy="clearly above every baseline",
    fix="start the model from the anchor and train it against the whole bank, or serve the baseline",
    unit="difference of R@5 to the hardest baseline",
    examine=examine,
    needs=("evaluations",),
)
