"""Fitting a confidence on validation windows, and judging it on test windows.

There are three kinds of query, weighted so that each has its stated share for every corpus:

- ``answerable``: a window as it is; its next passage is in the bank;
- ``absent``: a window whose next passage is excluded, with all passages of the same text;
- ``ended``: the last passages of a document; nothing follows.

An answer to the last two is always wrong. Two windows in three are used as they are, the third one without its next
passage, so that no window is used twice. With folds, each fold's confidence is fitted on its validation windows and
judged on its test windows; the judged answers are pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.evaluation.confidence.judge import Answers, judge_confidence, separation, shares_answered, to_json
from segue.evaluation.confidence.model import CUTOFFS, PLACES, Confidence, ranking_features
from segue.evaluation.experiment import Experiment, Fold
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, Contexts, Exclusion, Rankings, Windows
from segue.windows.windows import excluded_rows, gather_contexts, last_contexts

KINDS = ("answerable", "absent", "ended")
MIX: Mapping[str, float] = {"answerable": 2 / 3, "absent": 1 / 6, "ended": 1 / 6}
"""Share of each kind of query."""

MAXIMUM_QUERIES = 1500
"""Maximum number of windows of a part of a fold, evenly spread, in addition to the ends of their documents."""

TIE = 1e-6
"""Answers that score no more than this below the next passage count before it, as in ranks."""


@dataclass(frozen=True)
class QuerySample:
    """Queries with the features of their rankings.

    Attributes:
        features: features of each ranking, as named in ``FEATURES``.
        right: whether the next passage is within each of ``CUTOFFS``.
        kinds: index of each query's kind in ``KINDS``.
        groups: group of near-duplicate documents of each query.
    """

    features: Float[np.ndarray, "query feature"]
    right: Bool[np.ndarray, "query cutoff"]
    kinds: Int[np.ndarray, "query"]
    groups: Int[np.ndarray, "query"]

    def __len__(self) -> int:
        return len(self.kinds)

    def counts(self) -> dict[str, int]:
        """Count the queries of each kind."""
        return dict(zip(KINDS, np.bincount(self.kinds, minlength=len(KINDS)).tolist(), strict=True))

    def weights(self) -> Float[np.ndarray, "query"]:
        """Return weights of mean 1 that give each kind its share of the mix."""
        present = {kind: count for kind, count in self.counts().items() if count}
        total = sum(MIX[kind] for kind in present)
        each = [len(self) * MIX[kind] / total / present[kind] if kind in present else 0.0 for kind in KINDS]
        return np.array(each)[self.kinds]


def sample_queries(
    retriever: Retriever,
    bank: Bank,
    windows: Windows,
    *,
    groups: Int[np.ndarray, "document"],
    exclude: Exclusion = "context",
    most: int = MAXIMUM_QUERIES,
) -> QuerySample:
    """Rank all three kinds of query for some windows and the ends of their documents.

    Args:
        retriever: ranks them.
        bank: the bank of the windows.
        windows: at least one, from documents that the retriever was not fitted on.
        groups: near-duplicate group of every document.
        exclude: passages that may not be answered.
        most: most windows.
    """
    chosen = windows.take(np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(np.int64)))
    absent = np.arange(len(chosen)) % 3 == 2
    documents = np.unique(bank.document_of[windows.target]).astype(np.int64)
    ends = last_contexts(bank, documents, windows.context.shape[1])
    parts = (chosen.take(~absent), chosen.take(absent), Windows(ends, ends[:, -1]))
    found = [
        _ranked_queries(retriever, bank, part, kind, exclude)
        for kind, part in zip(KINDS, parts, strict=True)
        if len(part)
    ]
    features, right = (np.concatenate(part) for part in zip(*found, strict=True))
    kinds = np.repeat(np.arange(len(KINDS)), [len(part) for part in parts])
    about = np.concatenate([bank.document_of[part.target] for part in parts])
    return QuerySample(features, right, kinds, groups[about].astype(np.int64))


def _ranked_queries(
    retriever: Retriever, bank: Bank, windows: Windows, kind: str, exclude: Exclusion
) -> tuple[Float[np.ndarray, "query feature"], Bool[np.ndarray, "query cutoff"]]:
    """Rank one kind of query, in batches; the target of a document's end is its last passage, which was read."""
    size = min(len(windows), retriever.batch_limit or 1024)
    found = []
    for batch in windows.batches(size):
        contexts = gather_contexts(bank, batch, exclude="none", texts=retriever.reads_text)
        excluded = excluded_rows(bank, batch, exclude)
        excluded = excluded if kind == "answerable" else np.concatenate([excluded, batch.target[:, None]], axis=1)
        contexts = Contexts(contexts.vectors, contexts.mask, contexts.rows, excluded, contexts.texts)
        rankings = retriever.score(contexts).top(retriever.pool, PLACES, exclude=excluded)
        right = found_within(rankings, bank, batch.target) & (kind == "answerable")
        found.append((ranking_features(rankings, contexts, bank), right))
    features, right = (np.concatenate(part) for part in zip(*found, strict=True))
    return features, right


def found_within(rankings: Rankings, bank: Bank, targets: Int[np.ndarray, "batch"]) -> Bool[np.ndarray, "batch cutoff"]:
    """Return whether each target, or a passage of the same text, is within each cutoff; ties count against it."""
    own = (bank.duplicate_group[rankings.rows] == bank.duplicate_group[targets][:, None]) & (rankings.rows >= 0)
    scores = rankings.scores.astype(np.float64)
    line = np.where(own, scores, -np.inf).max(axis=1, keepdims=True) - TIE
    ranks = 1 + ((scores > line) & ~own).sum(axis=1)
    return own.any(axis=1)[:, None] & (ranks[:, None] <= np.array(CUTOFFS))


def fit_confidence(queries: QuerySample) -> Confidence:
    """Fit one logistic regression per cutoff, the queries weighted to the mix."""
    weights = queries.weights()
    centre = np.average(queries.features, axis=0, weights=weights)
    deviation = np.sqrt(np.average((queries.features - centre) ** 2, axis=0, weights=weights))
    deviation = np.where(deviation > 1e-9 * np.maximum(1.0, np.abs(centre)), deviation, 1.0)  # constant
    blank = Confidence(centre, deviation, np.empty((len(CUTOFFS), 0)), np.zeros(len(CUTOFFS)))
    found = [fit_logistic(blank.inputs(queries.features), hits, weights) for hits in queries.right.T]
    return replace(blank, weights=np.stack([one for one, _ in found]), intercepts=np.array([one for _, one in found]))


def confidence_record(
    experiment: Experiment,
    retrievers: Sequence[Retriever],
    *,
    exclude: Exclusion = "context",
    resamples: int = 10_000,
    seed: int = 1,
) -> Mapping[str, Any]:
    """Fit on validation, judge on test, and return all numbers.

    Args:
        experiment: bank, folds and groups.
        retrievers: the retriever of each fold.
        exclude: which passages may not be answered.
        resamples: draws for the intervals.
        seed: seed of the draws.

    Returns:
        ``mix``, ``queries`` (number of each kind, by part), ``judged`` (by cutoff) and ``models`` (by fold).
    """
    folds = [_fit_and_judge(experiment, *pair, exclude) for pair in zip(retrievers, experiment.folds, strict=True)]
    models, fitted_on, judged_on, chances = zip(*folds, strict=True)
    queries, confidence = _joined(judged_on), np.concatenate(chances)
    how = {"resamples": resamples, "seed": seed}
    return {
        "mix": dict(MIX),
        "queries": {"validation": _joined(fitted_on).counts(), "test": queries.counts()},
        "groups": len(np.unique(queries.groups)),
        "judged": {
            f"R@{cutoff}": _judged(queries, confidence[:, place], queries.right[:, place], **how)
            for place, cutoff in enumerate(CUTOFFS)
        },
        "models": [model.to_json() for model in models],
    }


def _fit_and_judge(
    experiment: Experiment, retriever: Retriever, fold: Fold, exclude: Exclusion
) -> tuple[Confidence, QuerySample, QuerySample, Float[np.ndarray, "query cutoff"]]:
    """Fit on a fold's validation windows, and return the confidences of its test windows."""
    validation, test = (
        sample_queries(retriever, experiment.bank, windows, groups=experiment.groups, exclude=exclude)
        for windows in (fold.validation, fold.test)
    )
    model = fit_confidence(validation)
    return model, validation, test, model.of_features(test.features)


def _joined(parts: Sequence[QuerySample]) -> QuerySample:
    names = ("features", "right", "kinds", "groups")
    return QuerySample(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _judged(
    queries: QuerySample,
    confidence: Float[np.ndarray, "query"],
    right: Bool[np.ndarray, "query"],
    *,
    resamples: int,
    seed: int,
) -> Mapping[str, Any]:
    """Judge one cutoff: all queries in the mix, the answerable alone, and the share of the others that is answered."""
    how = {"resamples": resamples, "seed": seed}
    answers = Answers(confidence, right, queries.weights(), queries.groups)
    kinds = {kind: queries.kinds == number for number, kind in enumerate(KINDS)}
    found: dict[str, Mapping[str, Any]] = {"together": judge_confidence(answers, **how)}
    found["answerable"] = judge_confidence(answers.take(kinds["answerable"]), **how)
    for kind in ("absent", "ended"):
        if kinds[kind].any():
            both = Answers(confidence, kinds["answerable"], answers.weights, queries.groups)
            separated = to_json(separation(both.take(kinds["answerable"] | kinds[kind]), **how))
            found[kind] = {
                "told_from_answerable": separated,
                "curve": shares_answered(answers.take(kinds[kind]), **how),
            }
    auroc = found["together"]["auroc"]
    usable = auroc is not None and auroc["low"] is not None and auroc["low"] > 0.5
    return {**found, "usable": usable}


PENALTY = 10.0
"""Weight of half the squared length of the coefficients, added to the summed loss of all observations."""

PRIOR = 0.5
"""Hits and misses that are added at features of 0, which keeps the intercept finite (Haldane, 1956)."""


def fit_logistic(
    features: Float[np.ndarray, "observation feature"],
    hits: Bool[np.ndarray, "observation"],
    weights: Float[np.ndarray, "observation"],
    *,
    penalty: float = PENALTY,
) -> tuple[Float[np.ndarray, "feature"], float]:
    """Minimise −Σ weight · log-likelihood + penalty / 2 · ‖coefficients‖²; the intercept is not penalised.

    Args:
        features: standardised.
        hits: what is predicted.
        weights: how often each observation counts.
        penalty: above 0.

    Returns:
        The coefficients and the intercept.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second: imported where it is needed

    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=TOLERANCE)
    model.fit(
        np.concatenate([features, np.zeros((2, features.shape[1]))]),
        np.concatenate([hits, [True, False]]),
        sample_weight=np.concatenate([weights, [PRIOR, PRIOR]]),
    )
    return model.coef_[0], float(model.intercept_[0])


TOLERANCE = 1e-8
"""Largest component of the gradient, per observation, at which fitting ends."""
