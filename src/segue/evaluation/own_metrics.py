"""Metrics of your own: a function of the ranks, with one value per window.

A recipe names them in ``[evaluation.metrics]``. They are computed with the others, and have their intervals; gates may
judge them. ``KNOWN_METRICS`` are the names that are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError, SettingsError
from segue.parts import load_part

Score = Callable[[Int[np.ndarray, "window"]], Float[np.ndarray, "window"]]
"""Function from the rank of each window's target, from 1, to one value per window; NaN where a window has none."""

TRIED = np.array([1, 2, 5, 50, 1000], dtype=np.int64)
"""Ranks on which a metric is tried before anything is measured."""


@dataclass(frozen=True)
class Metric:
    """A metric of your own; a plain function is one whose larger values are better.

    Attributes:
        score: the function.
        larger_is_better: which end is marked as the best of a column.
        limits: smallest and largest value of a window, within which the interval stays; None: no limits.
        description: what it means, for the report.
    """

    score: Score
    larger_is_better: bool = True
    limits: tuple[float, float] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if self.limits is not None and not -np.inf < self.limits[0] < self.limits[1] < np.inf:
            raise SettingsError("a metric has impossible limits", got=self.limits, expected="two rising finite numbers")

    def values(self, ranks: Int[np.ndarray, "window"], *, name: str) -> Float[np.ndarray, "window"]:
        """Return the value of each window.

        Raises:
            InputError: the function fails, or returns anything but one number per window within the limits.
        """
        fix = f"correct the function behind {name!r} in [evaluation.metrics]"
        try:
            values = np.asarray(self.score(ranks.copy()), dtype=np.float64)
        except Exception as error:  # it is the user's code
            raise InputError(f"metric {name!r} fails", got=f"{type(error).__name__}: {error}", fix=fix) from error
        low, high = self.limits or (-np.inf, np.inf)
        if values.shape != ranks.shape:
            raise InputError(f"metric {name!r} has not one value per window", got=f"shape {values.shape}",
                             expected=f"shape {ranks.shape}", fix=fix)  # fmt: skip
        if np.isinf(values).any() or (values < low).any() or (values > high).any():
            got = f"{np.nanmin(values):g} to {np.nanmax(values):g}"
            raise InputError(f"metric {name!r} leaves its limits", got=got, expected=f"{low:g} to {high:g}, finite",
                             fix=fix)  # fmt: skip
        return values


def as_metric(given: Any, *, name: str) -> Metric:
    """Return the metric behind a name of ``[evaluation.metrics]``, tried on a few ranks.

    Args:
        given: a ``Metric``, a function, an import path or the name of an installed entry point.
        name: the metric's name, for messages.

    Raises:
        SettingsError: it cannot be loaded.
        InputError: it is no function of ranks.
    """
    found = load_part("metric", given) if isinstance(given, str) else given
    if not callable(found) and not isinstance(found, Metric):
        raise InputError(f"metric {name!r} is no function", got=type(found).__name__,
                         expected="a function of ranks, or a Metric", fix="name a function")  # fmt: skip
    metric = found if isinstance(found, Metric) else Metric(found, description=_first_line(found))
    metric.values(TRIED, name=name)
    return metric


def _first_line(function: Any) -> str:
    return (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]


def own_metrics(given: Mapping[str, str]) -> dict[str, Metric]:
    """Return the metrics of ``[evaluation.metrics]`` by name.

    Raises:
        SegueError: one cannot be loaded, or is no function of ranks.
    """
    return {name: as_metric(part, name=name) for name, part in given.items()}
