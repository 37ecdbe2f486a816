"""Confidence of an answer: the probability that the next passage is among the first of a ranking.

Input: a ranking of ten places, and what was read. Output: for each cutoff the probability that the true next passage
is within it. A threshold on it abstains where a document ends, or where the next passage is not in the bank.

It uses scores and cosines only, never row numbers, documents or positions. The model is a logistic regression on
standardised features whose slope may change one deviation above and below the mean, since the highest scores tend to be
boilerplate; ``segue.evaluation.confidence.fit`` fits and judges it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from segue.errors import InputError
from segue.types import Bank, Contexts, Rankings

CUTOFFS = (1, 5)
"""Cutoffs that have a probability."""

PLACES = 10
"""Places of a ranking that the features use."""

FEATURES = (
    "best score",
    "margin to the second",
    "margin to the fifth",
    "spread of the first ten",
    "entropy of the first ten",
    "cosine of the best to the last passage read",
    "mean cosine of the best to the passages read",
    "mean cosine of the best to the others",
    "mean cosine of one passage read to the next",
)

BEND = 1.0
"""Deviations from the mean at which the slope of a feature may change, above and below."""

FARTHEST = 3.0
"""Deviations at which standardised features are clipped."""


@dataclass(frozen=True)
class Confidence:
    """Fitted logistic regression per cutoff, for one retriever.

    Attributes:
        centre: mean of each feature in the fit.
        deviation: standard deviation of each, above 0.
        weights: for each cutoff, of each feature, of its excess over one deviation, and of its excess below minus one.
        intercepts: one for each cutoff.
    """

    centre: Float[np.ndarray, "feature"]
    deviation: Float[np.ndarray, "feature"]
    weights: Float[np.ndarray, "cutoff input"]
    intercepts: Float[np.ndarray, "cutoff"]

    def __call__(self, rankings: Rankings, contexts: Contexts, bank: Bank) -> Float[np.ndarray, "batch cutoff"]:
        """Return the probability that the next passage is within each cutoff; 0 for an empty ranking.

        Args:
            rankings: answers to ``contexts`` with at least ten places.
            contexts: what was read.
            bank: the bank of the rows.
        """
        found = self.of_features(ranking_features(rankings, contexts, bank))
        return np.where(rankings.rows[:, :1] >= 0, found, 0.0)

    def of_features(self, features: Float[np.ndarray, "batch feature"]) -> Float[np.ndarray, "batch cutoff"]:
        """Return the probabilities from features; a wider cutoff is never less probable than a narrower one."""
        probabilities = expit(self.inputs(features) @ self.weights.T + self.intercepts)
        return np.maximum.accumulate(probabilities, axis=1)

    def inputs(self, features: Float[np.ndarray, "batch feature"]) -> Float[np.ndarray, "batch input"]:
        """Return the features in deviations from their mean, within ±3, and their excess beyond ±1."""
        standardised = np.clip((features - self.centre) / self.deviation, -FARTHEST, FARTHEST)
        beyond = [np.maximum(side * standardised - BEND, 0.0) for side in (1, -1)]
        return np.concatenate([standardised, *beyond], axis=1)

    def to_json(self) -> Mapping[str, object]:
        """Return a JSON object."""
        names = ("centre", "deviation", "weights", "intercepts")
        arrays = {name: getattr(self, name).tolist() for name in names}
        return {"features": list(FEATURES), "cutoffs": list(CUTOFFS), **arrays}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Confidence:
        """Read a fitted model back.

        Raises:
            InputError: it was fitted by a version with other features or cutoffs.
        """
        known = {"features": list(FEATURES), "cutoffs": list(CUTOFFS)}
        found = {name: record.get(name) for name in known}
        if found != known:
            raise InputError("the confidence was fitted by another version", got=str(found),
                             expected=str(known), fix="fit it again")  # fmt: skip
        return cls(
            *(np.array(record[name], dtype=np.float64) for name in ("centre", "deviation", "weights", "intercepts"))
        )


def ranking_features(rankings: Rankings, contexts: Contexts, bank: Bank) -> Float[np.ndarray, "batch feature"]:
    """Return the features of ``FEATURES`` for each ranking; 0 for an empty one.

    Empty places score as the last filled one.

    Args:
        rankings: at least ten places, best first.
        contexts: what was read.
        bank: the bank with the vectors of the answers.

    Raises:
        InputError: the rankings have fewer than ten places.
    """
    if rankings.rows.shape[1] < PLACES:
        raise InputError("the ranking is too short", got=f"{rankings.rows.shape[1]} places",
                         expected=f"{PLACES} or more", fix="rank more places")  # fmt: skip
    rows, scores = rankings.rows[:, :PLACES], _filled(rankings.scores[:, :PLACES].astype(np.float64))
    answers = bank.gather(np.maximum(rows, 0).ravel()).reshape(*rows.shape, -1)  # [batch, place, dim]
    best, read = answers[:, 0], contexts.vectors
    features = [
        scores[:, 0],
        scores[:, 0] - scores[:, 1],
        scores[:, 0] - scores[:, 4],
        scores.std(axis=1),
        _entropy(scores),
        _mean_cosine(best[:, None], read[:, -1:], contexts.mask[:, -1:]),
        _mean_cosine(best[:, None], read, contexts.mask),
        _mean_cosine(best[:, None], answers[:, 1:], rows[:, 1:] >= 0),
        _mean_cosine(read[:, :-1], read[:, 1:], contexts.mask[:, :-1]),
    ]
    return np.where(rows[:, :1] >= 0, np.stack(features, axis=1), 0.0)


def _filled(scores: Float[np.ndarray, "batch place"]) -> Float[np.ndarray, "batch place"]:
    """Give empty places the score of the last filled one, or 0 without any.

    >>> _filled(np.array([[0.9, 0.5, -np.inf]])).tolist()
    [[0.9, 0.5, 0.5]]
    """
    empty = scores == -np.inf
    lowest = np.where(empty, np.inf, scores).min(axis=1, keepdims=True)
    return np.where(empty, np.where(lowest == np.inf, 0.0, lowest), scores)


def _entropy(scores: Float[np.ndarray, "batch place"]) -> Float[np.ndarray, "batch"]:
    """Return how even the scores are, from 0 to 1: the entropy of the softmax of scores divided by their deviation.

    So it does not depend on the scale of the scores; equal scores give 1.

    >>> _entropy(np.array([[3.0, 3.0, 3.0]])).round(6).tolist()
    [1.0]
    """
    deviation = scores.std(axis=1, keepdims=True)
    logits = (scores - scores.max(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -(shares * np.log(shares)).sum(axis=1) / np.log(scores.shape[1])


def _mean_cosine(
    a: Float[np.ndarray, "batch #place dim"],
    b: Float[np.ndarray, "batch place dim"],
    there: Bool[np.ndarray, "batch place"],
) -> Float[np.ndarray, "batch"]:
    """Return the mean cosine of the pairs of unit vectors that are there, 0 where none is."""
    cosines = np.einsum("bpd,bpd->bp", a, b, dtype=np.float64)
    return (cosines * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
