"""SG215: would more training documents help?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from segue.checks.case import Case
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.diagnosis.short_runs import answerable_validation, begin_like, hits_of_run
from segue.checks.statistics import paired_test, percent, share_interval
from segue.types import Interval

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
TIP_GAIN, ISSUE_GAIN = 0.01, 0.05
"""Gain in R@5 of the last doubling that is worth a tip, and one that explains bad results."""
MINIMUM_DOCUMENTS = 16
"""Groups of training documents, so that an eighth of them is two."""
STEPS_FACTOR = 4
"""Factor on the effort's steps, so that each part of the documents is seen several times."""


def examine(case: Case) -> Verdict:
    """Train the subject's configuration on growing sets of documents, for the same number of steps."""
    entry = next((entry for entry in (*case.subject_entries, *case.first_entries) if entry.quick_to_train), None)
    if entry is None:
        return not_applicable("nothing was trained that could be trained again in minutes")
    train = case.fold_of(entry).train
    groups = case.groups_of(train)
    names = np.unique(groups)
    if len(names) < MINIMUM_DOCUMENTS:
        return Verdict("tip", f"Only {len(names)} groups of training documents: too few for a learning curve, and for "
                       "most models.")  # fmt: skip
    tested = answerable_validation(case, entry)
    if len(tested) == 0:
        return not_applicable("no validation window has its target among the candidates")
    settings = entry.training.settings
    steps = min(STEPS_FACTOR * case.effort.steps, settings.steps or STEPS_FACTOR * case.effort.steps)
    parts = [train.take(np.isin(groups, chosen)) for chosen in subsets(names, case)]
    hits = [hits_of_run(case, begin_like(case, entry, windows=part, steps=steps).advance(), tested) for part in parts]
    other_seed = begin_like(case, entry, steps=steps, seed=settings.seed + 1000).advance()
    again, groups = float(hits_of_run(case, other_seed, tested).mean()), case.groups_of(tested)
    noise = abs(float(again - hits[-1].mean()))
    curve = [share_interval(case, one, groups) for one in hits]
    slope = paired_test(case, hits[-1], hits[-2], groups).difference
    documents = [len(np.unique(case.documents(part))) for part in parts]
    details = {
        "documents": documents,
        "windows": [len(part) for part in parts],
        "R@5": [point.value for point in curve],
        "low": [point.low for point in curve],
        "high": [point.high for point in curve],
        "last_doubling": slope,
        "another_seed": again,
        "steps": steps,
    }
    values = ", ".join(f"{percent(at.value)} from {number:,}" for number, at in zip(documents, curve, strict=True))
    ends = "" if slope.low is None or slope.high is None else f" [{100 * slope.low:+.1f}, {100 * slope.high:+.1f}]"
    said = (f"After {steps} steps {entry.name} has R@5 on validation {values} documents; the last doubling gained "
            f"{100 * slope.value:+.1f} points{ends}, another seed changes it by {100 * noise:.1f}.")  # fmt: skip
    return Verdict(_outcome(slope, noise), said, slope.value, max(TIP_GAIN, 2 * noise), details)


def subsets(names: Int[np.ndarray, "group"], case: Case) -> list[Int[np.ndarray, "_"]]:
    """Return nested random parts of the groups of documents: an eighth, a quarter, a half, all."""
    order = case.generator("SG215").permutation(names)
    return [order[: max(1, round(share * len(order)))] for share in SHARES]


def _outcome(slope: Interval, noise: float) -> Judgement:
    """Return whether the last doubling gained more than another seed would, and more than zero."""
    rises = slope.low is not None and slope.low > 0 and slope.value > max(TIP_GAIN, 2 * noise)
    if not rises:
        return "passed"
    return "issue" if slope.value >= ISSUE_GAIN else "tip"


CHECK = Check(
    code="SG215",
    title="More data",
    question="Would more training documents help?",
    detection="The subject's configuration is trained again on nested random parts of the training documents (an "
    "eighth, a quarter, a half, all), for the same number of steps, and scored on validation. The slope is the paired "
    "gain of the last doubling with its interval over groups of documents; a fifth training with another seed "
    f"measures the noise of the last point. A tip: the interval lies above 0 and the gain above {100 * TIP_GAIN:.0f} % "
    f"and above twice the seed's; an issue from {100 * ISSUE_GAIN:.0f} % on. These trainings are short; a longer "
    "training may gain more from more data.",
    why="More documents are the most expensive remedy: they help while the curve still rises, and not once it is flat.",
    healthy="a last doubling that gains less than a point",
    fix="add training documents; until then shorten the training and make the model smaller",
    unit="gain in R@5",
    examine=examine,
    needs=("windows", "trained"),
    slow=True,
)
