"""Statistics of checks: results over all folds, paired differences on the same windows, and how figures are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.evaluation.intervals import PairedTest, bootstrap, paired
from segue.evaluation.metrics import per_window
from segue.evaluation.result import Evaluation, merge
from segue.types import Interval

LEVEL = 0.05
"""Significance level of two-sided tests, after Holm's adjustment where several are made."""

COPY_LAST = "copy-last"
"""Name of the baseline that every win has to be a win over."""


def evaluation_of(case: Case, name: str | None) -> Evaluation | None:
    """Return what an option measured on all folds, joined window by window; None where a fold has no evaluation."""
    found = [entry.evaluation for entry in case.entries_named(name)]
    present = [evaluation for evaluation in found if evaluation is not None]
    if not present or len(present) < len(found):
        return None
    return present[0] if len(present) == 1 else case.cached(("evaluation of", name), lambda: merge(present))


def evaluations_of(case: Case, names: Iterable[str]) -> dict[str, Evaluation]:
    """Return the joined evaluations of some options, without those that have none."""
    found = {name: evaluation_of(case, name) for name in names}
    return {name: evaluation for name, evaluation in found.items() if evaluation is not None}


def shown_evaluations(case: Case) -> dict[str, Evaluation]:
    """Return the joined evaluations of the entries that tables show, the subject first."""
    return evaluations_of(case, sorted((entry.name for entry in case.shown), key=lambda name: name != case.subject))


def baselines(case: Case) -> list[CaseEntry]:
    """Return the untrained baselines that may win, on the first fold."""
    return [entry for entry in case.non_controls if entry.family == "baseline" and entry.name != case.subject]


def compare(
    case: Case, ours: Evaluation, theirs: Evaluation | None, *, metric: str = "R@5", pool: str | None = None
) -> PairedTest | None:
    """Test the difference ours − theirs over groups of documents.

    Args:
        case: gives seed and resamples.
        ours: evaluation of one option.
        theirs: evaluation of another.
        metric: metric of each window, computed from the rank.
        pool: a condition of ``ranks_by_pool``; None: the whole pool as declared.

    Returns:
        None where the two were not measured on the same windows under that condition.
    """
    if theirs is None or not np.array_equal(ours.targets, theirs.targets):
        return None
    a, b = values_in(ours, metric, pool), values_in(theirs, metric, pool)
    return None if a is None or b is None else paired_test(case, a, b, ours.groups)


def paired_test(
    case: Case, a: Float[np.ndarray, "window"], b: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"]
) -> PairedTest:
    """Test the difference a − b over groups of documents, with the case's seed and resamples."""
    return paired(a, b, groups, resamples=case.effort.resamples, seed=case.seed)


def share_interval(case: Case, values: Float[np.ndarray, "window"], groups: Int[np.ndarray, "window"]) -> Interval:
    """Return the mean of values between 0 and 1 with its interval over groups of documents."""
    name = "R@5"  # any metric with the limits 0 and 1
    return bootstrap({name: values}, groups, resamples=case.effort.resamples, seed=case.seed)[name]


def values_in(evaluation: Evaluation, metric: str, pool: str | None = None) -> Float[np.ndarray, "window"] | None:
    """Return a metric of each window under a condition; None where it was not measured."""
    ranks = evaluation.ranks if pool is None else evaluation.ranks_by_pool.get(pool)
    return None if ranks is None else per_window(ranks)[metric]


def recall(evaluation: Evaluation, cutoff: int = 5) -> float:
    """Return the share of windows whose target is among the first ``cutoff``."""
    return float((evaluation.ranks <= cutoff).mean())


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


def and_more(names: Sequence[str], shown: int = 3) -> str:
    """Join the first names and count the others.

    >>> and_more(["mean", "ridge"]), and_more(["a", "b", "c", "d", "e"])
    ('mean, ridge', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
