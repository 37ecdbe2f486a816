"""Rules of metrics of your own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from segue.evaluation.own_metrics import Metric

RANKS = np.array([3, 1, 2, 50, 4, 5, 7, 20_000, 10, 20, 1, 51, 100, 999], dtype=np.int64)


def subject(make: Callable[[], Any]) -> Metric:
    """Return the metric; a function is one whose larger values are better."""
    found = make()
    return found if isinstance(found, Metric) else Metric(found)


def _values(metric: Metric) -> Float[np.ndarray, "window"]:
    return np.asarray(metric.score(RANKS.copy()), dtype=np.float64)


def check_one_number_per_window(metric: Metric) -> None:
    """Check that there is one number for each rank; intervals draw documents, and average their windows."""
    values = _values(metric)
    assert values.shape == RANKS.shape, f"shape {values.shape} for ranks of shape {RANKS.shape}"
    assert not np.isinf(values).any(), "an infinite value; use NaN for a window without a value"


def check_within_its_limits(metric: Metric) -> None:
    """Check that no value leaves the declared limits, within which intervals stay."""
    values, (low, high) = _values(metric), metric.limits or (-np.inf, np.inf)
    assert np.nanmin(values) >= low, f"a value of {np.nanmin(values):g}, below {low:g}"
    assert np.nanmax(values) <= high, f"a value of {np.nanmax(values):g}, above {high:g}"


def check_same_values_alone_and_in_a_batch(metric: Metric) -> None:
    """Check that a window's value follows from its own rank; folds are evaluated apart and joined."""
    alone = np.concatenate([np.asarray(metric.score(RANKS[n : n + 1].copy()), float) for n in range(len(RANKS))])
    assert np.allclose(alone, _values(metric), equal_nan=True), "other values for windows one by one"


def check_same_values_again(metric: Metric) -> None:
    """Check that the same ranks always have the same values; a report is written again from them."""
    assert np.array_equal(_values(metric), _values(metric), equal_nan=True), "other values the second time"


def check_ranks_are_kept(metric: Metric) -> None:
    """Check that it does not change the ranks that it is given."""
    ranks = RANKS.copy()
    metric.score(ranks)
    assert np.array_equal(ranks, RANKS), "the ranks are changed"


def check_better_ranks_are_not_worse(metric: Metric) -> None:
    """Check that a lower rank never has a worse value; else an option could win by ranking lower."""
    values = _values(metric)[np.argsort(RANKS, kind="stable")]
    steps = np.diff(values[~np.isnan(values)]) * (1 if metric.larger_is_better else -1)
    word = "falls" if metric.larger_is_better else "rises"
    assert (steps <= 0).all(), f"the value {word} from a worse to a better rank; set larger_is_better, or correct it"


RULES: tuple[Callable[[Metric], None], ...] = (
    check_one_number_per_window,
    check_within_its_limits,
    check_same_values_alone_and_in_a_batch,
    check_same_values_again,
    check_ranks_are_kept,
    check_better_ranks_are_not_worse,
)
