"""How cost grows with the size of the work: one side at several sizes, in turns, and the slope on log scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.speed.turns import Prepared, Side, take_turns

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the whole size that are timed."""


def growth(
    prepare: Callable[..., Prepared],
    arguments: Mapping[str, Any],
    *,
    size_name: str,
    counted: str | None = None,
    fewest: int = 1,
    repeats: int,
) -> dict[str, Any]:
    """Time a side at several sizes.

    Args:
        prepare: makes the side.
        arguments: of ``prepare``, the whole size included.
        size_name: name of the argument that is the size.
        counted: name of the side's fact that holds the real size; None: the size that was passed.
        fewest: smallest size.
        repeats: counted turns of each.

    Returns:
        The sizes, the median processor seconds of a turn, and the exponent ``slope`` of seconds ~ size ** slope (least
        squares on logarithms; None where all sizes came out the same).
    """
    wanted = [max(fewest, round(share * arguments[size_name])) for share in SHARES]
    taken = take_turns([Side(prepare, {**arguments, size_name: size}) for size in wanted], repeats=repeats)
    sizes = wanted if counted is None else [int(one.facts[counted]) for one in taken]
    seconds = [float(np.median(one.values["processor_seconds"])) for one in taken]
    return {counted or size_name: sizes, "processor_seconds": seconds, "slope": slope(sizes, seconds)}


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Return the exponent.

    >>> round(slope([1, 2, 4], [3.0, 12.0, 48.0]), 3)
    2.0
    """
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
