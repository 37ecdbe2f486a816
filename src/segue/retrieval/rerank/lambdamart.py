"""LambdaMART: boosted regression trees over features, fitted so that the right candidate comes first.

Burges 2010, From RankNet to LambdaRank to LambdaMART: an overview; by LightGBM. The number of trees is the one at which
the mean reciprocal rank within the validation lists was best. Trees are saved in LightGBM's text form.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from segue.errors import InputError, MissingExtraError, explain
from segue.files import read_json, write_json, write_text
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.interface import Candidates
from segue.retrieval.rerank.lists import ListFeatures
from segue.settings import Settings
from segue.types import Bank, Contexts, Progress, no_progress

PATIENCE = 40
"""Trees without a better validation score after which fitting ends."""


class LambdaMartSettings(Settings):
    """The [rerank.lambdamart] table."""

    rounds: int = Field(300, ge=1, le=100_000, description="trees at most")
    leaves: int = Field(31, ge=2, le=4096, description="leaves of a tree")
    learning_rate: float = Field(0.08, gt=0, le=1, description="share of each tree's answer that counts")
    least_in_leaf: int = Field(100, ge=1, le=1_000_000, description="candidates that a leaf holds at least")
    seed: int = Field(1, ge=0, description="of the draws of candidates and features for each tree")


@dataclass(frozen=True)
class LambdaMart:
    """Trees and the features they read.

    Attributes:
        features: over the bank that is searched.
        trees: LightGBM's text form.
        name: what tables call it.
    """

    features: Features
    trees: str = field(repr=False)
    name: str = "lambdamart"

    @property
    def reads_text(self) -> bool:
        """Whether its features do."""
        return self.features.reads_text

    @property
    def counts_bank(self) -> bool:
        """Whether its features do."""
        return self.features.counts_bank

    def over(self, bank: Bank) -> LambdaMart:
        """Return the same trees over another bank."""
        return replace(self, features=self.features.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> LambdaMart:
        """Return the same trees, the features' statistics counted over some documents only."""
        return replace(self, features=self.features.counting(documents))

    @functools.cached_property
    def _booster(self) -> Any:
        return _lightgbm().Booster(model_str=self.trees)

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return the trees' sums, -inf at the pads."""
        scores = np.full(candidates.rows.shape, -np.inf)
        if candidates.there.any():
            values = self.features.compute(contexts, candidates)
            scores[candidates.there] = self._booster.predict(values[candidates.there])
        return scores

    def save(self, folder: Path, *, record: dict[str, Any] | None = None) -> None:
        """Write the trees, what they read, and where given what fitting did."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "trees.txt", self.trees)
        about = {"format": 1, "kind": "lambdamart", "groups": self.features.groups, "context": self.features.context,
                 "features": self.features.names}  # fmt: skip
        write_json(folder / "lambdamart.json", about | {"fit": record})


def load_lambdamart(folder: Path, features: Features) -> LambdaMart:
    """Read trees back.

    Args:
        folder: where they were saved.
        features: over the bank that is searched; the same ones that the trees were fitted on.

    Raises:
        InputError: a file is missing, or the trees read other features.
    """
    known = read_json(folder / "lambdamart.json")
    if tuple(known.get("features", ())) != features.names:
        raise InputError(explain(f"the trees in {folder} read other features", got=len(known.get("features", ())),
                                 expected=len(features.names),
                                 fix="ask for the [rerank] features of that run, or fit again"))  # fmt: skip
    try:
        return LambdaMart(features, (folder / "trees.txt").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(explain(f"{folder / 'trees.txt'} cannot be read", got=error.strerror,
                                 fix="fit again")) from error  # fmt: skip


def fit_lambdamart(
    train: ListFeatures,
    validation: ListFeatures,
    features: Features,
    *,
    settings: LambdaMartSettings | None = None,
    progress: Progress = no_progress,
) -> tuple[LambdaMart, dict[str, Any]]:
    """Fit trees on lists, and return them with what fitting did.

    Args:
        train: lists of documents that their first stage has not seen.
        validation: lists of other documents, which choose the number of trees.
        features: over the bank of the lists.
        settings: the [rerank.lambdamart] table.
        progress: called with the trees.

    Raises:
        MissingExtraError: lightgbm is not installed.
        SettingsError: no list holds its target.
    """
    lightgbm, settings = _lightgbm(), settings or LambdaMartSettings()
    read, known = train.with_target(), validation.with_target()
    data = _dataset(lightgbm, read)
    watched = _dataset(lightgbm, known, like=data)
    curve: dict[str, Any] = {}
    longest = max(lists.values.shape[1] for lists in (read, known))
    booster = lightgbm.train(
        _parameters(settings, longest),
        data,
        num_boost_round=settings.rounds,
        valid_sets=[watched],
        valid_names=["validation"],
        callbacks=[
            lightgbm.early_stopping(PATIENCE, verbose=False),
            lightgbm.record_evaluation(curve),
            lambda state: progress(state.iteration + 1, settings.rounds, "trees"),
        ],
    )
    scores = curve["validation"][f"map@{longest}"]
    model = LambdaMart(features, booster.model_to_string(num_iteration=booster.best_iteration))
    gain = dict(zip(features.names, booster.feature_importance("gain", booster.best_iteration).tolist(), strict=True))
    return model, {"lists": len(train), "lists_with_target": len(read), "validation_lists": len(validation),
                   "validation_lists_with_target": len(known), "trees": booster.best_iteration,
                   "validation_reciprocal_rank": float(scores[booster.best_iteration - 1]), "gain": gain}  # fmt: skip


def _parameters(settings: LambdaMartSettings, longest: int) -> dict[str, Any]:
    """Return LightGBM's settings; with one right candidate in a list, MAP is the mean reciprocal rank."""
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
        raise MissingExtraError(explain("LambdaMART needs lightgbm, which is not installed",
                                        fix="pip install 'segue[rank]'")) from error  # fmt: skip
    return lightgbm
