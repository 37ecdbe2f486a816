"""Short trainings of an entry's configuration, scored on validation: for the checks that train."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import BATCH, Case, CaseEntry
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.predictor import PredictorDocuments, PredictorQuery
from segue.retrieval.retrievers.vector import QueryFunction
from segue.training.losses.loss import LossSettings
from segue.training.train import ShortRun, begin_short_run
from segue.types import Windows
from segue.windows.windows import excluded_rows

CUTOFF = 5


def begin_like(
    case: Case, entry: CaseEntry, *, windows: Windows | None = None, loss: LossSettings | None = None, **changes: int
) -> ShortRun:
    """Begin to train an entry's configuration again.

    Args:
        case: gives bank, effort and fold.
        entry: one that is ``quick_to_train``, whose model, loss and training settings are used.
        windows: to train on; default: the fold's.
        loss: default: the entry's.
        changes: of the training settings; the default number of steps is the effort's.
    """
    trained = entry.training
    return begin_short_run(
        case.bank,
        case.fold_of(entry).train if windows is None else windows,
        model=trained.predictor.settings,
        loss=loss or trained.loss_settings,
        training=trained.settings.model_copy(update={"steps": case.effort.steps, **changes}),
    )


def answerable_validation(case: Case, entry: CaseEntry) -> Windows:
    """Return some validation windows of an entry's fold whose targets are searched."""
    return case.answerable(case.sample(case.fold_of(entry), "validation"))


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
    """Return the exact ranks of the targets over the case's pool or another, under its exclusion or another."""
    exclude = excluded_rows(case.bank, windows, case.exclude) if exclude is None else exclude
    texts = bool(getattr(query, "reads_text", False))
    found = [np.empty(0, dtype=np.int64)]
    for number, batch in enumerate(windows.batches(BATCH)):
        removed = exclude[number * BATCH : (number + 1) * BATCH]
        found.append(
            target_ranks(query(case.read(batch, texts=texts)), pool or case.pool, batch.target, exclude=removed)
        )
    return np.concatenate(found)
