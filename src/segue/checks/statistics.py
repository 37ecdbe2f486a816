"""What options measured over all folds, and how two of them differ on the same windows: for the checks that diagnose.

Enters: a case with evaluated rows. Leaves: one ``Evaluation`` for each option (folds joined window by window), paired
differences over groups of documents, and both in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.evaluation.intervals import PairedTest, bootstrap, group_sums, paired
from segue.evaluation.metrics import per_window
from segue.evaluation.result import Evaluation, merge
from segue.types import Interval

LEVEL = 0.05
"""Of every two-sided test of a diagnosis, after Holm's adjustment where several are made."""

COPY_LAST = "copy-last"
"""The baseline that every win has to be a win over."""


def evaluation_of(case: Case, name: str | None) -> Evaluation | None:
    """Return what an option measured on all folds, joined once; None where a fold has no evaluation."""
    found = [row.evaluation for row in case.entries_named(name)] if name else []
    present = [evaluation for evaluation in found if evaluation is not None]
    if not present or len(present) < len(found):
        return None
    if len(present) == 1:
        return present[0]
    return case.cached(("evaluation of", name), lambda: merge(present))


def baselines(case: Case) -> list[CaseEntry]:
    """Return the untrained baselines that may win, on the first fold."""
    return [row for row in case.non_controls if row.family == "baseline" and row.name != case.subject]


def compare(
    case: Case, ours: Evaluation, theirs: Evaluation | None, *, metric: str = "R@5", pool: str | None = None
) -> PairedTest | None:
    """Test the difference ours − theirs over groups of documents.

    Args:
        case: gives seed and resamples.
        ours: of one option.
        theirs: of another.
        metric: of each window, from the rank.
        pool: a condition of ``ranks_by_pool``; None: the whole pool as declared.

    Returns:
        None where the two did not answer the same questions under that condition.
    """
    if theirs is None or not np.array_equal(ours.targets, theirs.targets):
        return None
    a, b = values_in(ours, metric, pool), values_in(theirs, metric, pool)
    if a is None or b is None:
        return None
    return paired(a, b, ours.groups, resamples=case.effort.resamples, seed=case.seed)


def values_in(evaluation: Evaluation, metric: str, pool: str | None = None) -> Float[np.ndarray, "window"] | None:
    """Return a metric of each window under a condition; None where it was not measured."""
    ranks = evaluation.ranks if pool is None else evaluation.ranks_by_pool.get(pool)
    return None if ranks is None else per_window(ranks)[metric]


def side(test: PairedTest, p: float | None = None) -> int:
    """Return 1 or −1 where a difference is clearly above or below 0, else 0: the rule of the gates.

    Clear means that the whole 95 % interval lies on that side and the p-value (adjusted, where given) is below 0.05.

    >>> side(PairedTest(Interval(0.2, 0.1, 0.3), 0.01, 0.005, 1.0, 0.0, 12))
    1
    >>> side(PairedTest(Interval(0.2, 0.1, 0.3), 0.01, 0.005, 1.0, 0.0, 12), p=0.2)
    0
    """
    low, high = test.difference.low, test.difference.high
    if low is None or high is None or (test.p_value if p is None else p) >= LEVEL:
        return 0
    return int(low > 0) - int(high < 0)


def paired_json(test: PairedTest, p: float | None = None) -> dict[str, float | None]:
    """Return a paired test as JSON values."""
    ends = test.difference
    return {"value": ends.value, "low": ends.low, "high": ends.high, "p": test.p_value if p is None else p}


def interval_json(interval: Interval) -> dict[str, float | None]:
    """Return an interval as JSON values."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def percent(value: float) -> str:
    """Print a share.

    >>> percent(0.4123)
    '41.2 %'
    """
    return f"{100 * value:.1f} %"


def points(difference: Interval) -> str:
    """Print a difference of shares with its interval.

    >>> points(Interval(0.051, -0.02, 0.12)), points(Interval(0.051))
    ('+5.1 points (95 % −2.0 to +12.0)', '+5.1 points (no interval)')
    """
    value, low, high = (None if end is None else f"{100 * end:+.1f}".replace("-", "−")
                        for end in (difference.value, difference.low, difference.high))  # fmt: skip
    ends = "no interval" if low is None or high is None else f"95 % {low} to {high}"
    return f"{value} points ({ends})"


def any_of(case: Case, names: list[str]) -> dict[str, Any]:
    """Return the joined evaluations of some options, those without one left out."""
    found = {name: evaluation_of(case, name) for name in names}
    return {name: evaluation for name, evaluation in found.items() if evaluation is not None}


def shown_evaluations(case: Case) -> dict[str, Evaluation]:
    """Return the joined evaluations of the rows that tables show, the subject first."""
    names = sorted((row.name for row in case.shown), key=lambda name: name != case.subject)
    return any_of(case, names)


FEWEST_GROUPS = 4
"""Groups of documents below which nothing is said about the others."""


def lower_limit(
    values: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"], *, resamples: int
) -> float | None:
    """Return the lower end of the mean's 95 % interval over groups of documents; None with fewer than four.

    Where nearly all groups agree, some resamples have no spread and a studentised interval has no end. The lowest
    mean of a group then stands in for it, which is lower.

    >>> lower_limit(np.array([1.0, 1.0, 1.0, 0.9]), np.arange(4), resamples=200)
    0.9
    """
    sums = group_sums(np.stack([values, np.ones_like(values)], axis=1), groups)
    if len(sums) < FEWEST_GROUPS:
        return None
    rounded = np.round(values, 6)  # rounding errors are no spread
    low = bootstrap({"value": rounded}, groups, ratios={}, resamples=resamples)["value"].low
    return float((sums[:, 0] / sums[:, 1]).min()) if low is None else low
