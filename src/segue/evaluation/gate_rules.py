"""Rules of gates of your own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from segue.evaluation.gates import NUMBERS, Decide, Decision, Judged, Outcome
from segue.types import Interval


def subject(make: Callable[[], Any]) -> Decide:
    """Return the function that decides."""
    found: Decide = make()
    return found


def example(seed: int, best: int) -> Judged:
    """Return what is measured of an option on 400 windows of 20 documents; ``best`` is its median rank."""
    generator = np.random.default_rng(seed)
    ranks = np.ceil(best * generator.lognormal(0, 2, 400)).astype(np.int64)
    cosine = generator.uniform(0.2, 0.9, 400)
    latency = {"search_p95_ms": Interval(2.0, 1.8, 2.3), "total_p95_ms": Interval(3.0, 2.8, 3.4)}
    return Judged(ranks, np.repeat(np.arange(20), 20), np.arange(400), {"cosine": cosine}, latency)


def measured() -> tuple[Judged, dict[str, Judged]]:
    """Return what is measured of an option, and of those that it may be compared with."""
    return example(1, 3), {"copy-last": example(2, 10), "ar-cosine": example(3, 8)}


def check_a_decision(decide: Decide) -> None:
    """Check that it returns a Decision with a known outcome, a reason and finite numbers, as reports print them."""
    _require(decide(*measured()))


def check_other_options_may_be_missing(decide: Decide) -> None:
    """Check that it decides without the options it compares with; a recipe need not name them."""
    _require(decide(measured()[0], {}))


def check_other_windows_are_no_evidence(decide: Decide) -> None:
    """Check that it can be given options of other windows; they may have failed on a fold."""
    option, others = measured()
    moved = {name: replace(other, ranks=other.ranks[:-7], groups=other.groups[:-7], targets=np.arange(1, 394),
                           values={}) for name, other in others.items()}  # fmt: skip
    _require(decide(option, moved))


def check_metrics_may_be_missing(decide: Decide) -> None:
    """Check that it decides where nothing was timed and there is no cosine, as for an option of words."""
    option, others = measured()
    _require(decide(_bare(option), {name: _bare(other) for name, other in others.items()}))


def check_one_document_is_enough_to_run(decide: Decide) -> None:
    """Check that it decides on windows of a single document, where nothing has an interval."""
    option, others = measured()
    _require(decide(_of_one(option), {name: _of_one(other) for name, other in others.items()}))


def check_same_decision_again(decide: Decide) -> None:
    """Check that the same measurements always end alike; a comparison may be resumed."""
    assert decide(*measured()) == decide(*measured()), "another decision the second time"


def check_measurements_are_kept(decide: Decide) -> None:
    """Check that it does not change what was measured; other gates read it after this one."""
    option, others = measured()
    decide(option, others)
    before, others_before = measured()
    same = [np.array_equal(option.ranks, before.ranks)]
    same += [np.array_equal(others[name].ranks, other.ranks) for name, other in others_before.items()]
    assert all(same), "the ranks are changed"


RULES: tuple[Callable[[Decide], None], ...] = (
    check_a_decision,
    check_other_options_may_be_missing,
    check_other_windows_are_no_evidence,
    check_metrics_may_be_missing,
    check_one_document_is_enough_to_run,
    check_same_decision_again,
    check_measurements_are_kept,
)


def _of_one(judged: Judged) -> Judged:
    return replace(judged, groups=np.zeros(len(judged.ranks), dtype=np.int64))


def _bare(judged: Judged) -> Judged:
    return replace(judged, values={"cosine": None}, scalars={})


def _require(found: object) -> None:
    assert isinstance(found, Decision), f"{type(found).__name__} returned, expected a Decision"
    assert found.outcome in get_args(Outcome), f"outcome {found.outcome!r}, expected one of {get_args(Outcome)}"
    assert isinstance(found.reason, str), "no reason"
    assert found.reason.strip(), "an empty reason"
    numbers = [number for name in NUMBERS if (number := getattr(found, name)) is not None]
    assert np.isfinite(np.array(numbers, dtype=np.float64)).all(), f"numbers that are not finite: {numbers}"
