"""LambdaMART: boosted regression trees over features, by LightGBM.

Burges 2010, From RankNet to LambdaRank to LambdaMART: an overview. The number of trees is the one with the best mean
reciprocal rank within the validation lists. Trees are saved in LightGBM's text form.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from segue.errors import InputError, MissingExtraError
from segue.files import write_text
from segue.retrieval.rerank.features import FeatureReranker, Features
from segue.retrieval.rerank.interface import CandidateLists
from segue.retrieval.rerank.lists import ListFeatures
from segue.settings import Settings
from segue.types import Contexts, Progress, no_progress

PATIENCE = 40
"""Trees without a better validation score before fitting ends."""


class LambdaMartSettings(Settings):
    """The [rerank.lambdamart] table."""

    rounds: int = Field(300, ge=1, le=100_000, description="most trees")
    leaves: int = Field(31, ge=2, le=4096, description="leaves of a tree")
    learning_rate: float = Field(0.08, gt=0, le=1, description="weight of each tree")
    least_in_leaf: int = Field(100, ge=1, le=1_000_000, description="minimum number of candidates in a leaf")
    seed: int = Field(1, ge=0, description="seed of the draws of candidates and features for each tree")


@dataclass(frozen=True)
class LambdaMart(FeatureReranker):
    """Fitted trees.

    Attributes:
        features: features over the bank that is searched.
        trees: LightGBM's text form.
        name: name in tables.
    """

    trees: str = field(repr=False)
    name: str = "lambdamart"
    kind: ClassVar[str] = "lambdamart"
    files: ClassVar[tuple[str, ...]] = ("trees.txt",)

    @functools.cached_property
    def _booster(self) -> Any:
        return _lightgbm().Booster(model_str=self.trees)

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the trees' sums, -inf at the pads."""
        if not candidates.there.any():
            return np.full(candidates.rows.shape, -np.inf)
        return self.scores_of(self.features.compute(contexts, candidates), candidates.there)

    def scores_of(
        self, values: Float[np.ndarray, "batch candidate feature"], there: Bool[np.ndarray, "batch candidate"]
    ) -> Float[np.ndarray, "batch candidate"]:
        """Return the trees' sums for computed features, -inf at the pads."""
        scores = np.full(there.shape, -np.inf)
        scores[there] = self._booster.predict(values[there].astype(np.float32, copy=False))
        return scores

    def _save_fitted(self, folder: Path) -> Mapping[str, object]:
        write_text(folder / "trees.txt", self.trees)
        return {}

    @classmethod
    def _load_fitted(cls, folder: Path, features: Features, known: Mapping[str, Any]) -> LambdaMart:
        try:
            return cls(features, (folder / "trees.txt").read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{folder / 'trees.txt'} cannot be read", got=error.strerror,
                             fix="fit again") from error  # fmt: skip


def fit_lambdamart(
    train: ListFeatures,
    validation: ListFeatures,
    features: Features,
    *,
    settings: LambdaMartSettings | None = None,
    trees: int | None = None,
    progress: Progress = no_progress,
) -> tuple[LambdaMart, Mapping[str, Any]]:
    """Fit trees on lists, and return them with a record of the fit.

    Args:
        train: lists of documents that their first stage was not trained on.
        validation: lists of other documents, which choose the number of trees.
        features: features over the bank of the lists.
        settings: the [rerank.lambdamart] table.
        trees: number of trees; None: the validation lists choose it.
        progress: called with the trees.

    Raises:
        MissingExtraError: lightgbm is not installed.
        SettingsError: no list holds its target.
    """
    lightgbm, settings = _lightgbm(), settings or LambdaMartSettings()
    read, known = train.with_target(), validation.with_target()
    data = _dataset(lightgbm, read)
    watched = _dataset(lightgbm, known, like=data)
    curve: dict[str, dict[str, list[float]]] = {}
    longest = max(lists.values.shape[1] for lists in (read, known))
    booster = lightgbm.train(
        dict(_parameters(settings, longest)),
        data,
        num_boost_round=trees or settings.rounds,
        valid_sets=[watched],
        valid_names=["validation"],
        callbacks=[
            *([] if trees else [lightgbm.early_stopping(PATIENCE, verbose=False)]),
            lightgbm.record_evaluation(curve),
            lambda state: progress(state.iteration + 1, settings.rounds, "trees"),
        ],
    )
    scores = curve["validation"][f"map@{longest}"]
    best = trees or booster.best_iteration
    model = LambdaMart(features, booster.model_to_string(num_iteration=best))
    gain = dict(zip(features.names, booster.feature_importance("gain", best).tolist(), strict=True))
    return model, {"lists": len(train), "lists_with_target": len(read), "validation_lists": len(validation),
                   "validation_lists_with_target": len(known), "trees": best,
                   "validation_reciprocal_rank": float(scores[best - 1]), "gain": gain}  # fmt: skip


def _parameters(settings: LambdaMartSettings, longest: int) -> Mapping[str, object]:
    """Return LightGBM's settings; with one right candidate a list, MAP is the mean reciprocal rank."""
    return {
        "objective": "lambdarank", "lambdarank_truncation_level": 10, "metric": "map", "eval_at": [longest],
        "num_leaves": settings.leaves, "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.least_in_leaf, "feature_fraction": 0.6, "bagging_fraction": 0.5,
        "bagging_freq": 1, "max_bin": 127, "seed": settings.seed, "deterministic": True, "force_col_wise": True,
        "verbose": -1,
    }  # fmt: skip


def _dataset(lightgbm: Any, read: ListFeatures, like: Any = None) -> Any:
    """Return LightGBM's data: the features of all candidates, list after list."""
    there = read.lists.candidates.there
    places = np.where(there, np.arange(there.shape[1]), -1)
    right = (places == read.lists.label[:, None])[there]
    return lightgbm.Dataset(read.values[there].astype(np.float32), right.astype(np.int32), group=there.sum(axis=1),
                            reference=like, params={"max_bin": 127, "verbose": -1})  # fmt: skip


def _lightgbm() -> Any:
    """Import LightGBM where it is used.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("LambdaMART needs lightgbm, which is not installed",
                                fix="pip install 'segue[rank]'") from error  # fmt: skip
    return lightgbm
