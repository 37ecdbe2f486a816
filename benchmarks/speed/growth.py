"""How cost grows with the size of the work: one side at several sizes, in turns, the slope on log scales, the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Line:
    """A straight line through measured values.

    Attributes:
        start: value at size 0.
        slope: value added by one more unit of size.
        deviation: largest distance of a value from the line, as a share of the value.
    """

    start: float
    slope: float
    deviation: float


def line(sizes: Sequence[float], values: Sequence[float]) -> Line:
    """Fit a line by least squares of the relative errors, so that every size counts alike.

    Args:
        sizes: two different ones or more.
        values: above 0, one for each size.

    >>> line([1, 2, 3], [3.0, 5.0, 7.0])
    Line(start=1.0, slope=2.0, deviation=0.0)
    """
    size, value = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    slope, start = np.polyfit(size, value, 1, w=1 / value)
    deviation = np.abs((start + slope * size) / value - 1).max()
    return Line(*(round(float(number), 12) for number in (start, slope, deviation)))
