"""What checks that train for themselves share: a row's configuration trained briefly, and scored on validation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from segue.checks.case import Case, CaseEntry
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.predictor import PredictorDocuments, PredictorQuery
from segue.retrieval.retrievers.vector import QueryFunction
from segue.training.losses.loss import LossSettings
from segue.training.train import ShortRun, begin_short_run
from segue.types import Interval, Windows
from segue.windows.windows import excluded_rows

CUTOFF = 5
BATCH = 1024


def begin_like(
    case: Case,
    row: CaseEntry,
    *,
    windows: Windows | None = None,
    loss: LossSettings | None = None,
    steps: int | None = None,
    seed: int | None = None,
) -> ShortRun:
    """Begin the training of a row's configuration anew.

    Args:
        case: for bank, effort and fold.
        row: a trained one, whose model, loss and training settings are taken.
        windows: to train on; default: the fold's.
        loss: default: the row's.
        steps: default: the effort's.
        seed: default: the row's.
    """
    trained = row.trained
    assert trained is not None, "only a trained row has a configuration"
    changes: dict[str, int] = {"steps": steps or case.effort.steps}
    if seed is not None:
        changes["seed"] = seed
    return begin_short_run(
        case.bank,
        case.fold_of(row).train if windows is None else windows,
        model=trained.predictor.settings,
        loss=loss or trained.loss_settings,
        training=trained.settings.model_copy(update=changes),
    )


def hits_of_run(case: Case, run: ShortRun, windows: Windows) -> Float[np.ndarray, "window"]:
    """Return 1 where a run's predictor, as it is now, has the target among the first five, else 0."""
    device = next(run.predictor.parameters()).device
    query, pool = PredictorQuery(run.predictor, device), case.pool
    if run.predictor.documents is not None:
        pool = pool.on(PredictorDocuments(run.predictor, device)(case.bank))
    return (ranks_of_query(case, query, windows, pool=pool) <= CUTOFF).astype(np.float64)


def ranks_of_query(
    case: Case,
    query: QueryFunction,
    windows: Windows,
    *,
    exclude: Int[np.ndarray, "window excluded"] | None = None,
    pool: Pool | None = None,
) -> Int[np.ndarray, "window"]:
    """Return exact ranks over the case's pool or another, under the case's exclusion or another."""
    found = []
    for start in range(0, len(windows), BATCH):
        which = slice(start, start + BATCH)
        batch = windows.take(which)
        removed = excluded_rows(case.bank, batch, case.exclude) if exclude is None else exclude[which]
        contexts = case.gather(case.bank, batch, exclude="none", texts=False)
        found.append(target_ranks(query(contexts), pool or case.pool, batch.target, exclude=removed))
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def t_interval(values: Sequence[float]) -> Interval:
    """Return the mean and its 95 % interval by Student's t; no ends for fewer than two values.

    >>> t_interval([1.0, 2.0, 3.0]).value
    2.0
    >>> round(t_interval([1.0, 2.0, 3.0]).low, 3)  # 2 − 4.303 · 1 / √3
    -0.484
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean)
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def bounded(interval: Interval) -> Interval:
    """Keep the ends of an interval of cosines or ratios between −1 and 1.

    >>> bounded(Interval(0.9, 0.7, 1.1))
    Interval(value=0.9, low=0.7, high=1.0)
    """
    if interval.low is None or interval.high is None:
        return interval
    return Interval(interval.value, max(-1.0, interval.low), min(1.0, interval.high))


def answerable_validation(case: Case, row: CaseEntry) -> Windows:
    """Return some validation windows of a row's fold whose targets are searched."""
    return case.answerable(case.sample(case.fold_of(row), "validation"))
