"""How crowded the bank is around each passage: the cosines of its 1st, 10th and 50th neighbour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.types import Bank, Progress, no_progress

NEIGHBOURS = (1, 10, 50)
ROWS_AT_ONCE = 1024


def neighbour_cosines(
    bank: Bank, pool: Pool, counted: Pool | None = None, *, progress: Progress = no_progress
) -> Float[np.ndarray, "bank neighbour"]:
    """Return the cosines of each live row of ``pool`` with its 1st, 10th and 50th neighbour, float32.

    Duplicates of a passage are no neighbours of it. NaN where there are fewer neighbours, and outside the pool.

    Args:
        bank: the passages.
        pool: the rows that get a value.
        counted: where neighbours are looked for; None: in ``pool``.
        progress: called with the rows done.
    """
    among = counted or pool
    cosines = np.full((len(bank), len(NEIGHBOURS)), np.nan, dtype=np.float32)
    rows = np.flatnonzero(pool.mask)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        found = top_k(bank.gather(part), among, max(NEIGHBOURS), exclude=part[:, None]).scores
        cosines[part] = found[:, np.array(NEIGHBOURS) - 1]
        progress(start + len(part), len(rows), "neighbours of passages")
    cosines[np.isneginf(cosines)] = np.nan
    return cosines
