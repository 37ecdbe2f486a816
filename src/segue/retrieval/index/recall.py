"""How much of an exact ranking an index finds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from segue.ranking.pool import TIE, Pool, exact_scores
from segue.types import Rankings


def recall_of(
    queries: Float[np.ndarray, "window dim"], pool: Pool, wanted: Rankings, found: Rankings
) -> Float[np.ndarray, "window"]:
    """Return which share of each exact ranking an index found; equal scores at the end stand for each other."""
    recall = np.empty(len(queries))
    for number in range(len(queries)):
        exact = wanted.rows[number][wanted.rows[number] >= 0]
        rows = found.rows[number][(found.rows[number] >= 0) & (found.rows[number] < len(pool.bank))]
        last = float(wanted.scores[number][len(exact) - 1]) if len(exact) else np.inf
        scores = exact_scores(queries, pool.bank, query=np.full(len(rows), number), rows=rows)
        hit = np.isin(pool.candidates_of(rows), pool.candidates_of(exact)) | (np.abs(scores - last) <= TIE)
        distinct = len(np.unique(pool.candidates_of(rows[hit])))
        recall[number] = min(1.0, distinct / len(exact)) if len(exact) else 1.0
    return recall
