"""The front over the weights of a mixed loss: what each share of one term costs the others, and recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry
from segue.checks.diagnosis.short_runs import answerable_validation, begin_like, hits_of_run
from segue.evaluation.intervals import bootstrap
from segue.training.batches import Batch
from segue.training.gradients import term_values
from segue.training.losses.loss import LossSettings
from segue.types import Interval

SHARES = (0.0, 0.3, 0.7, 1.0)
ALMOST_NOTHING = 1e-6
"""Stands for weight 0: too little to move the predictor, but AdamW is blind to scale, so a head still learns from it
and the term's value stays comparable."""


@dataclass(frozen=True)
class Point:
    """One share of the varied term.

    Attributes:
        share: of the varied term in the sum of weights, 0 to 1.
        steps: it was trained for.
        losses: held-out value of each term, unweighted.
        recall: R@5 on validation, with its interval over groups of documents.
        hits: per validation window.
    """

    share: float
    steps: int
    losses: dict[str, float]
    interval: Interval
    hits: Float[np.ndarray, "window"]

    @property
    def recall(self) -> float:
        """R@5 on validation."""
        return self.interval.value

    def as_details(self) -> dict[str, Any]:
        """Return the point as JSON values."""
        return {
            "weight": self.share,
            "losses": self.losses,
            "R@5": self.recall,
            "low": self.interval.low,
            "high": self.interval.high,
        }


def loss_front(
    case: Case, row: CaseEntry, batches: list[Batch], *, shares: tuple[float, ...] = SHARES, seed: int | None = None
) -> list[Point]:
    """Train the row's configuration once for each share, and once for its own; ascending by share."""
    return [_point(case, row, batches, share=s, seed=seed) for s in sorted({*shares, own_share(row)})]


def varied_term(row: CaseEntry) -> str:
    """Name the term whose share is varied: the first that contrasts nothing, else the last."""
    assert row.trained is not None
    terms = row.trained.loss_settings.terms
    return terms[_varied(row.trained.loss_settings)].kind


def own_share(row: CaseEntry) -> float:
    """Return the varied term's share in the row's own loss."""
    assert row.trained is not None
    settings = row.trained.loss_settings
    weights = [abs(term.weight) for term in settings.terms]
    return round(weights[_varied(settings)] / sum(weights), 6)


def with_share(settings: LossSettings, share: float) -> LossSettings:
    """Return the loss with another share of the varied term; the sum of the weights stays.

    >>> from segue.training.losses.loss import LOSSES
    >>> [round(term.weight, 3) for term in with_share(LOSSES["infonce-projected"], 0.6).terms]
    [0.4, 0.6]
    """
    place = _varied(settings)
    weights = np.array([term.weight for term in settings.terms])
    total, others = np.abs(weights).sum(), np.abs(np.delete(weights, place)).sum()
    factor = np.full(len(weights), (1 - share) * total / others)
    factor[place] = share * total / abs(weights[place])
    wanted = np.where(factor == 0, np.sign(weights) * ALMOST_NOTHING, weights * factor).tolist()
    terms = [term.model_copy(update={"weight": w}) for term, w in zip(settings.terms, wanted, strict=True)]
    return LossSettings(terms=tuple(terms))


def _varied(settings: LossSettings) -> int:
    others = [place for place, term in enumerate(settings.terms) if not term.contrasts]
    return others[0] if others else len(settings.terms) - 1


def _point(case: Case, row: CaseEntry, batches: list[Batch], *, share: float, seed: int | None) -> Point:
    assert row.trained is not None
    # At its own share the loss stays as it is, to the bit.
    settings = row.trained.loss_settings
    loss = settings if share == own_share(row) else with_share(settings, share)
    run = begin_like(case, row, loss=loss, seed=seed).advance()
    values = [term_values(run.predictor, run.optimisation.loss, batch) for batch in batches]
    windows = answerable_validation(case, row)
    hits = hits_of_run(case, run, windows)
    found = bootstrap({"R@5": hits}, case.groups_of(windows), resamples=case.effort.resamples, seed=case.seed)
    means = {name: float(np.mean([value[name] for value in values])) for name in run.optimisation.loss.names}
    return Point(share, run.done, means, found["R@5"], hits)
