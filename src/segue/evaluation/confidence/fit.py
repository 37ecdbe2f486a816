"""How sure may a retriever be? A confidence is fitted on validation windows and judged on test windows.

Three kinds of question are asked, and weighted so that each has its stated share whatever the corpus offers:

- ``answerable``: a window as it is; its next passage is in the bank;
- ``absent``: a window whose next passage leaves the candidates, with all passages of the same text;
- ``ended``: the last passages of a document; nothing follows.

An answer to the last two is always wrong. Two windows in three are asked as they are, the third one with its next
passage taken away, so that no window is asked twice. With folds, each fold's confidence is fitted on its validation
windows and judged on its test windows; the judged answers are pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from segue.evaluation.confidence.judge import Answers, judge_confidence, separation, shares_answered, to_json
from segue.evaluation.confidence.model import CUTOFFS, PLACES, Confidence, ranking_features
from segue.evaluation.experiment import Experiment, Fold
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, Contexts, Exclusion, Rankings, Windows
from segue.windows.windows import excluded_rows, gather_contexts, last_contexts

KINDS = ("answerable", "absent", "ended")
MIX: Mapping[str, float] = {"answerable": 2 / 3, "absent": 1 / 6, "ended": 1 / 6}
"""The share of each kind of question; what a confidence is worth depends on it."""

MOST = 1500
"""Windows of a part of a fold that are asked, evenly spread, besides the ends of their documents."""

TIE = 1e-6
"""Answers that score no more than this below the next passage stand before it, as in ranks."""


@dataclass(frozen=True)
class Asked:
    """Questions with their rankings in numbers.

    Attributes:
        features: of each ranking, as named in ``FEATURES``.
        right: whether the next passage stands within each of ``CUTOFFS``.
        kinds: place of each question's kind in ``KINDS``.
        groups: group of near-duplicate documents that it is about.
    """

    features: Float[np.ndarray, "question feature"]
    right: Bool[np.ndarray, "question cutoff"]
    kinds: Int[np.ndarray, "question"]
    groups: Int[np.ndarray, "question"]

    def __len__(self) -> int:
        return len(self.kinds)

    def counts(self) -> dict[str, int]:
        """Count the questions of each kind."""
        return dict(zip(KINDS, np.bincount(self.kinds, minlength=len(KINDS)).tolist(), strict=True))

    def weights(self) -> Float[np.ndarray, "question"]:
        """Weigh the questions so that each kind has its share of the mix; their mean is 1."""
        present = {kind: count for kind, count in self.counts().items() if count}
        total = sum(MIX[kind] for kind in present)
        each = [len(self) * MIX[kind] / total / present[kind] if kind in present else 0.0 for kind in KINDS]
        return np.array(each)[self.kinds]


def ask(
    retriever: Retriever,
    bank: Bank,
    windows: Windows,
    *,
    groups: Int[np.ndarray, "document"],
    exclude: Exclusion = "context",
    most: int = MOST,
) -> Asked:
    """Ask all three kinds of question about some windows and the ends of their documents.

    Args:
        retriever: what is asked.
        bank: the bank of the windows.
        windows: at least one, from documents that the retriever was not fitted on.
        groups: near-duplicate group of every document.
        exclude: which passages may not be answered.
        most: windows asked at most.
    """
    chosen = windows.take(np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(np.int64)))
    absent = np.arange(len(chosen)) % 3 == 2
    documents = np.unique(bank.document_of[windows.target]).astype(np.int64)
    ends = last_contexts(bank, documents, windows.context.shape[1])
    parts = (chosen.take(~absent), chosen.take(absent), Windows(ends, ends[:, -1]))
    found = [_ask(retriever, bank, part, kind, exclude) for kind, part in zip(KINDS, parts, strict=True) if len(part)]
    features, right = (np.concatenate(part) for part in zip(*found, strict=True))
    kinds = np.repeat(np.arange(len(KINDS)), [len(part) for part in parts])
    about = np.concatenate([bank.document_of[part.target] for part in parts])
    return Asked(features, right, kinds, groups[about].astype(np.int64))


def _ask(
    retriever: Retriever, bank: Bank, windows: Windows, kind: str, exclude: Exclusion
) -> tuple[Float[np.ndarray, "question feature"], Bool[np.ndarray, "question cutoff"]]:
    """Ask one kind of question, in batches; the target of a document's end is its last passage, which was read."""
    size = min(len(windows), retriever.batch_limit or 1024)
    found = []
    for start in range(0, len(windows), size):
        batch = windows.take(slice(start, start + size))
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
    """Tell whether each target, or a passage of the same text, stands within each cutoff; ties count against it."""
    own = (bank.duplicate_group[rankings.rows] == bank.duplicate_group[targets][:, None]) & (rankings.rows >= 0)
    scores = rankings.scores.astype(np.float64)
    line = np.where(own, scores, -np.inf).max(axis=1, keepdims=True) - TIE
    ranks = 1 + ((scores > line) & ~own).sum(axis=1)
    return own.any(axis=1)[:, None] & (ranks[:, None] <= np.array(CUTOFFS))


def fit_confidence(asked: Asked) -> Confidence:
    """Fit one logistic regression per cutoff, the questions weighted to the mix."""
    weights = asked.weights()
    centre = np.average(asked.features, axis=0, weights=weights)
    deviation = np.sqrt(np.average((asked.features - centre) ** 2, axis=0, weights=weights))
    deviation = np.where(deviation > 1e-9 * np.maximum(1.0, np.abs(centre)), deviation, 1.0)  # constant: tells nothing
    blank = Confidence(centre, deviation, np.empty((len(CUTOFFS), 0)), np.zeros(len(CUTOFFS)))
    found = [fit_logistic(blank.inputs(asked.features), hits, weights) for hits in asked.right.T]
    return replace(blank, weights=np.stack([one for one, _ in found]), intercepts=np.array([one for _, one in found]))


def confidence_record(
    experiment: Experiment,
    retrievers: Sequence[Retriever],
    *,
    exclude: Exclusion = "context",
    resamples: int = 10_000,
    seed: int = 1,
) -> dict[str, Any]:
    """Fit on validation, judge on test, and return all numbers.

    Args:
        experiment: bank, folds and groups.
        retrievers: the retriever of each fold.
        exclude: which passages may not be answered.
        resamples: of the intervals.
        seed: of the intervals.

    Returns:
        ``mix``, ``asked`` (questions of each kind, by part), ``judged`` (by cutoff) and ``models`` (by fold).
    """
    folds = [_fit_and_judge(experiment, *pair, exclude) for pair in zip(retrievers, experiment.folds, strict=True)]
    models, fitted_on, judged_on, chances = zip(*folds, strict=True)
    asked, confidence = _joined(judged_on), np.concatenate(chances)
    how = {"resamples": resamples, "seed": seed}
    return {
        "mix": dict(MIX),
        "asked": {"validation": _joined(fitted_on).counts(), "test": asked.counts()},
        "groups": len(np.unique(asked.groups)),
        "judged": {
            f"R@{cutoff}": _judged(asked, confidence[:, place], asked.right[:, place], **how)
            for place, cutoff in enumerate(CUTOFFS)
        },
        "models": [model.to_json() for model in models],
    }


def _fit_and_judge(
    experiment: Experiment, retriever: Retriever, fold: Fold, exclude: Exclusion
) -> tuple[Confidence, Asked, Asked, Float[np.ndarray, "question cutoff"]]:
    """Fit on a fold's validation windows, and say how sure that confidence is of the test windows."""
    validation, test = (
        ask(retriever, experiment.bank, windows, groups=experiment.groups, exclude=exclude)
        for windows in (fold.validation, fold.test)
    )
    model = fit_confidence(validation)
    return model, validation, test, model.of_features(test.features)


def _joined(parts: Sequence[Asked]) -> Asked:
    names = ("features", "right", "kinds", "groups")
    return Asked(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _judged(
    asked: Asked,
    confidence: Float[np.ndarray, "question"],
    right: Bool[np.ndarray, "question"],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Judge one cutoff: all questions in the mix, the answerable alone, and what the others would be answered."""
    how = {"resamples": resamples, "seed": seed}
    answers = Answers(confidence, right, asked.weights(), asked.groups)
    kinds = {kind: asked.kinds == number for number, kind in enumerate(KINDS)}
    found: dict[str, Any] = {"together": judge_confidence(answers, **how)}
    found["answerable"] = judge_confidence(answers.take(kinds["answerable"]), **how)
    for kind in ("absent", "ended"):
        if kinds[kind].any():
            both = Answers(confidence, kinds["answerable"], answers.weights, asked.groups)
            told = to_json(separation(both.take(kinds["answerable"] | kinds[kind]), **how))
            found[kind] = {"told_from_answerable": told, "curve": shares_answered(answers.take(kinds[kind]), **how)}
    auroc = found["together"]["auroc"]
    usable = auroc is not None and auroc["low"] is not None and auroc["low"] > 0.5
    return {**found, "usable": usable}


PENALTY = 10.0
"""Half of it times the sum of squared coefficients is added to the loss of all observations together."""

PRIOR = 0.5
"""So many hits and as many misses are added at average features, which keeps the intercept finite."""

STEPS = 100
SMALL = 1e-10


def fit_logistic(
    features: Float[np.ndarray, "observation feature"],
    hits: Bool[np.ndarray, "observation"],
    weights: Float[np.ndarray, "observation"],
    *,
    penalty: float = PENALTY,
) -> tuple[Float[np.ndarray, "feature"], float]:
    """Minimise −Σ weight · log-likelihood + penalty / 2 · ‖coefficients‖² by Newton's method with halved steps.

    The intercept is not penalised; half a hit and half a miss are added at features of 0 (for standardised features:
    at their average), after Haldane (1956), so that it stays finite where all observations agree.

    Args:
        features: standardised.
        hits: what is predicted.
        weights: how often each observation counts.
        penalty: above 0.

    Returns:
        The coefficients and the intercept.
    """
    count = features.shape[1]
    columns = np.concatenate([features, np.zeros((2, count))])
    columns = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    truth = np.concatenate([hits.astype(np.float64), [1.0, 0.0]])
    each = np.concatenate([weights, [PRIOR, PRIOR]])
    ridge = np.append(np.full(count, penalty), 0.0)
    solution = np.zeros(count + 1)
    for _ in range(STEPS):
        chance = expit(columns @ solution)
        slope = columns.T @ (each * (chance - truth)) + ridge * solution
        curvature = (columns * (each * chance * (1 - chance))[:, None]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        solution, moved = _descend(columns, truth, each, ridge=ridge, start=solution, step=step)
        if moved < SMALL:
            break
    return solution[:-1], float(solution[-1])


def _descend(
    columns: Float[np.ndarray, "observation column"],
    truth: Float[np.ndarray, "observation"],
    weights: Float[np.ndarray, "observation"],
    *,
    ridge: Float[np.ndarray, "column"],
    start: Float[np.ndarray, "column"],
    step: Float[np.ndarray, "column"],
) -> tuple[Float[np.ndarray, "column"], float]:
    """Go a Newton step, halved until the loss does not rise; return the place and how far that was."""

    def loss(solution: Float[np.ndarray, "column"]) -> float:
        logits = columns @ solution
        return float(weights @ (np.logaddexp(0.0, logits) - truth * logits) + 0.5 * ridge @ solution**2)

    before, size = loss(start), 1.0
    while size > SMALL and loss(start - size * step) > before:
        size /= 2
    return start - size * step, float(np.abs(size * step).max())
