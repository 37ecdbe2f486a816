"""Candidates in two steps: trees over cheap features keep the best of many candidates, a reranker orders those.

The other candidates follow in the order of the first step, so every candidate has a place. Which are kept does not
depend on the order of rows: candidates that tie with the last one kept are kept too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.ranking.pool import TIE
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Combined
from segue.retrieval.rerank.interface import CandidateLists, Reranker
from segue.retrieval.rerank.lambdamart import LambdaMart, LambdaMartSettings, fit_lambdamart
from segue.retrieval.rerank.lists import ListFeatures, TrainingLists
from segue.retrieval.saving import RERANKER, Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Progress, no_progress

QUICK = "quick"
"""Folder of the trees of the first step, inside the reranker's."""


@dataclass(frozen=True)
class TwoSteps(Combined):
    """A reranker of the candidates that a quick one keeps.

    Attributes:
        quick: scores all candidates.
        reranker: orders those that are kept.
        kept: candidates kept of each list.
    """

    quick: Reranker
    reranker: Reranker
    kept: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.reranker.name} in two steps"

    @property
    def parts(self) -> tuple[Reranker, ...]:
        """Both rerankers."""
        return (self.quick, self.reranker)

    def over(self, bank: Bank) -> TwoSteps:
        """Return the same over another bank."""
        return replace(self, quick=self.quick.over(bank), reranker=self.reranker.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> TwoSteps:
        """Return the same, statistics counted over some documents only."""
        return replace(self, quick=self.quick.counting(documents), reranker=self.reranker.counting(documents))

    def save_part(self, writer: PartWriter) -> Description:
        """Write the files of both."""
        assert isinstance(self.quick, LambdaMart), "trees are the first step"
        self.quick.save(writer.folder / RERANKER / QUICK)
        return {"kind": "two-steps", "kept": self.kept, "quick": self.quick.features.save_part(writer),
                "reranker": self.reranker.save_part(writer)}  # fmt: skip

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> TwoSteps:
        """Read what ``save_part`` wrote."""
        features = Features.load_part(about["quick"], reader)
        quick = LambdaMart.load(reader.folder / RERANKER / QUICK, features)
        return cls(quick, reader.read(about["reranker"]), int(about["kept"]))

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the reranker's scores of the candidates kept, lower ones in the quick order of the others."""
        quick = np.asarray(self.quick.scores(contexts, candidates), dtype=np.float64)
        order, best = kept_places(quick, self.kept)
        lists = np.arange(len(order))[:, None]
        found = self.reranker.scores(contexts, _take(candidates, order, best))
        final = np.where(best, found, np.inf)
        behind = candidates.there.copy()
        behind[lists, order] &= ~best
        others = np.where(behind, quick, -np.inf)
        floor = np.where(best.any(axis=1), final.min(axis=1, initial=np.inf), 0.0) - 1.0
        top = others.max(axis=1, keepdims=True, initial=-np.inf)
        scores = floor[:, None] + others - np.where(np.isneginf(top), 0.0, top)
        scores[lists, order] = np.where(best, final, scores[lists, order])
        return scores


def kept_places(
    scores: Float[np.ndarray, "batch candidate"], kept: int
) -> tuple[Int[np.ndarray, "batch kept"], Bool[np.ndarray, "batch kept"]]:
    """Return the places of the best candidates of each list, in the order of the list, and which of them are there.

    >>> places, there = kept_places(np.array([[0.1, 0.9, 0.5, -np.inf], [0.2, 0.2, 0.9, 0.1]]), 2)
    >>> [row[mask].tolist() for row, mask in zip(places, there)]
    [[1, 2], [0, 1, 2]]
    """
    line = -np.sort(-scores, axis=1)[:, min(kept, scores.shape[1]) - 1, None] if scores.shape[1] else scores
    best = (scores >= line - TIE) & ~np.isneginf(scores)
    width = max(1, int(best.sum(axis=1).max(initial=0)))
    order = np.argsort(~best, axis=1, kind="stable")[:, :width]
    return order, best[np.arange(len(order))[:, None], order]


def _take(
    candidates: CandidateLists, order: Int[np.ndarray, "batch kept"], best: Bool[np.ndarray, "batch kept"]
) -> CandidateLists:
    """Return lists of some of the candidates."""
    lists = np.arange(len(order))[:, None]
    sources = candidates.sources
    if sources is not None:
        every = np.arange(sources.shape[1])[:, None]
        sources = np.where(best[:, None, :], sources[lists[:, :, None], every, order[:, None, :]], -np.inf)
    rows, first = candidates.rows[lists, order], candidates.first[lists, order]
    return CandidateLists(np.where(best, rows, -1), np.where(best, first, -np.inf), candidates.queries, sources)


def keep_best(lists: TrainingLists, scores: Float[np.ndarray, "list candidate"], kept: int) -> TrainingLists:
    """Return lists of the candidates that the first step keeps; a target that it drops is in its list no longer."""
    order, best = kept_places(np.where(lists.candidates.there, scores, -np.inf), kept)
    same = best & (order == lists.label[:, None])
    label = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    return TrainingLists(lists.windows, _take(lists.candidates, order, best), label)


def fit_first_step(
    train: ListFeatures,
    validation: ListFeatures,
    features: Features,
    *,
    half: Bool[np.ndarray, "list"],
    kept: int,
    settings: LambdaMartSettings | None = None,
    trees: int | None = None,
    progress: Progress = no_progress,
) -> tuple[LambdaMart, tuple[TrainingLists, TrainingLists], Mapping[str, Any]]:
    """Fit the first step, and return it, what it keeps of both kinds of lists, and the record of the fit.

    Of each half of the training lists, trees that were fitted on the other half choose: on lists that they were fitted
    on, they would keep the target too often.

    Args:
        train: training lists, with the features of the first step.
        validation: lists of other documents, which choose the number of trees.
        features: the first step's features.
        half: the lists of one half of the training documents.
        kept: candidates kept of each list.
        settings: the [rerank.lambdamart] table.
        trees: number of trees; None: the validation lists choose it.
        progress: called with the trees.

    Raises:
        MissingExtraError: lightgbm is not installed.
        SettingsError: no list of a half holds its target.
    """
    fit = partial(fit_lambdamart, features=features, settings=settings, progress=progress)
    model, record = fit(train, validation, trees=trees)
    there = train.lists.candidates.there
    scores = np.empty(there.shape)
    for own in (half, ~half):
        other, _ = fit(train.take(np.flatnonzero(~own)), validation, trees=record["trees"])
        scores[own] = other.scores_of(train.values[own], there[own])
    seen = model.scores_of(validation.values, validation.lists.candidates.there)
    lists = keep_best(train.lists, scores, kept), keep_best(validation.lists, seen, kept)
    targets = {name: int(found.hits.sum()) for name, found in zip(("training", "validation"), lists, strict=True)}
    return model, lists, {**record, "targets_kept": targets}
