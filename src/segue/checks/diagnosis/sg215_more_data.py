"""SG215: would more training documents help?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis.short_runs import answerable_validation, begin_like, hits_of_run
from segue.checks.statistics import percent
from segue.evaluation.intervals import bootstrap, paired
from segue.types import Interval, Windows

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
WORTH, LARGE = 0.01, 0.05
"""Gain in R@5 of the last doubling that is worth a tip, and one that explains bad results."""
FEWEST_DOCUMENTS = 16
"""Groups of training documents, so that an eighth of them is two."""
LONGER = 4
"""Times the effort's steps: only a part that was seen several times shows what it lacks."""


def examine(case: Case) -> Verdict:
    """Train the subject's configuration on ever more documents, for the same number of steps."""
    row = next((row for row in (*case.subject_entries, *case.first_entries) if row.trained is not None), None)
    if row is None:
        return not_applicable("no row was trained")
    fold, groups = case.fold_of(row), case.groups_of(case.fold_of(row).train)
    if len(np.unique(groups)) < FEWEST_DOCUMENTS:
        return Verdict("tip", f"Only {len(np.unique(groups))} groups of training documents: too few for a learning "
                       "curve, and for most models.", None, None)  # fmt: skip
    asked = answerable_validation(case, row)
    if len(asked) == 0:
        return not_applicable("no validation window has its target among the candidates")
    parts = [_windows_of(fold.train, groups, chosen) for chosen in subsets(np.unique(groups), case)]
    steps = _steps(case, row)
    hits = [hits_of_run(case, begin_like(case, row, windows=part, steps=steps).advance(), asked) for part in parts]
    again = hits_of_run(case, begin_like(case, row, steps=steps, seed=_other_seed(row)).advance(), asked)
    return _judge(case, parts, hits, again=again, groups=case.groups_of(asked), said=(row.name, steps))


def _steps(case: Case, row: CaseEntry) -> int:
    """Return enough steps for a part to be seen several times, but no more than the row itself took."""
    assert row.trained is not None
    return min(LONGER * case.effort.steps, row.trained.settings.steps or LONGER * case.effort.steps)


def subsets(names: Int[np.ndarray, "group"], case: Case) -> list[Int[np.ndarray, "chosen"]]:
    """Return nested random parts of the groups of documents: an eighth, a quarter, a half, all."""
    order = case.generator("SG215").permutation(names)
    return [order[: max(1, round(share * len(order)))] for share in SHARES]


def _windows_of(windows: Windows, groups: Int[np.ndarray, "window"], chosen: Int[np.ndarray, "chosen"]) -> Windows:
    return windows.take(np.isin(groups, chosen))


def _other_seed(row: CaseEntry) -> int:
    assert row.trained is not None
    return row.trained.settings.seed + 1000


def _judge(
    case: Case,
    parts: list[Windows],
    hits: list[Float[np.ndarray, "window"]],
    *,
    again: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
    said: tuple[str, int],
) -> Verdict:
    resamples, seed = case.effort.resamples, case.seed
    curve = [bootstrap({"R@5": one}, groups, resamples=resamples, seed=seed)["R@5"] for one in hits]
    slope = paired(hits[-1], hits[-2], groups, resamples=resamples, seed=seed).difference
    noise = abs(float(again.mean() - hits[-1].mean()))
    documents = [len(np.unique(case.documents(part))) for part in parts]
    details = {
        "documents": documents,
        "windows": [len(part) for part in parts],
        "R@5": [point.value for point in curve],
        "low": [point.low for point in curve],
        "high": [point.high for point in curve],
        "last_doubling": {"value": slope.value, "low": slope.low, "high": slope.high},
        "another_seed": float(again.mean()),
        "steps": said[1],
    }
    statement = _say(*said, documents, curve, slope=slope, noise=noise)
    return Verdict(_outcome(slope, noise), statement, slope.value, max(WORTH, 2 * noise), details)


def _outcome(slope: Interval, noise: float) -> Any:
    """Tell whether the last doubling gained more than another seed would, and more than nothing."""
    rises = slope.low is not None and slope.low > 0 and slope.value > max(WORTH, 2 * noise)
    if not rises:
        return "passed"
    return "issue" if slope.value >= LARGE else "tip"


def _say(name: str, steps: int, documents: list[int], curve: list[Interval], *, slope: Interval, noise: float) -> str:
    points = ", ".join(
        f"{percent(point.value)} from {number:,}" for number, point in zip(documents, curve, strict=True)
    )
    ends = "" if slope.low is None or slope.high is None else f" [{100 * slope.low:+.1f}, {100 * slope.high:+.1f}]"
    return (f"After {steps} steps {name} has R@5 on validation {points} documents; the last doubling gained "
            f"{100 * slope.value:+.1f} points{ends}, another seed moves it by {100 * noise:.1f}.")  # fmt: skip


CHECK = Check(
    code="SG215",
    title="More data",
    question="Would more training documents help?",
    detection="The subject's configuration is trained anew on nested random parts of the training documents (an "
    "eighth, a quarter, a half, all), for the same number of steps, and scored on validation. The slope is the "
    "paired gain of the last doubling with its interval over groups of documents; a fifth training with another "
    "seed says how much chance moves the last point. A tip: the interval lies above 0 and the gain above "
    f"{100 * WORTH:.0f} % and above twice the seed's; an issue from {100 * LARGE:.0f} % on. The trainings are "
    "short: what more data would give a longer one may be more.",
    why="Documents are the dearest remedy: worth it while the curve still rises, and wasted when it does not.",
    healthy="a last doubling that gains less than a point",
    fix="add training documents; until then shorten the training and make the model smaller",
    unit="gain in R@5",
    examine=examine,
    needs=("windows", "trained"),
    slow=True,
)
