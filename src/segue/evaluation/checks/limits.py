"""A lower limit that also exists where documents nearly agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from segue.evaluation.intervals import bootstrap
from segue.evaluation.resampling import group_sums

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
