"""SG206: have the predictions collapsed?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.types import Windows

COLLAPSED, LOW = 0.25, 0.5
"""Shares of the targets' effective rank below which predictions have collapsed, and below which it is worth knowing."""
PER_DIMENSION = 8
"""Windows asked for each dimension, where there are as many: an effective rank is bounded by the number of vectors."""
ENOUGH_PER_DIMENSION = 4
HALVES = 12
"""Random halves of the documents over which the ratio has to hold."""
FEWEST_GROUPS, FEWEST_WINDOWS = 4, 24
SPECTRUM = 128
"""Values of a spectrum that are kept."""
DEAD = 0.1
"""A dimension whose spread is below this share of the targets' says nothing."""


def examine(case: Case) -> Verdict:
    """Compare the effective rank of predictions with that of their targets, on the subject and beside it."""
    measured = {(row.name, row.fold): found for row in _rows(case) if (found := _measure(case, row)) is not None}
    own = [measured[row.name, row.fold] for row in case.subject_entries if (row.name, row.fold) in measured]
    if not own:
        return not_applicable("the row in question has no query vectors")
    worst = min(own, key=lambda found: found["ratio"])
    first = case.folds[0].number
    details = {"rows": {name: found for (name, fold), found in measured.items() if fold == first}}
    outcome = _outcome(worst)
    return Verdict(outcome, _statement(worst, details["rows"]), worst["ratio"], COLLAPSED, details)


def _rows(case: Case) -> list[CaseEntry]:
    return [*case.shown, *(row for row in case.subject_entries if row.fold != case.folds[0].number)]


def _outcome(found: dict[str, Any]) -> Any:
    """Judge by the least collapsed half of the documents; no half, no judgement."""
    if found["highest_of_halves"] is None:
        return "passed"
    if found["highest_of_halves"] < COLLAPSED:
        return "issue"
    return "tip" if found["highest_of_halves"] < LOW else "passed"


def _statement(found: dict[str, Any], rows: dict[str, Any]) -> str:
    beside = f", copy-last's {rows['copy-last']['rank_predictions']:.1f}" if "copy-last" in rows else ""
    said = (f"The predictions' effective rank is {found['rank_predictions']:.1f}, their targets' "
            f"{found['rank_targets']:.1f}, that of as many other passages {found['rank_random']:.1f}{beside} "
            f"({found['vectors']:,} vectors of {found['dimensions']} dimensions); in the median dimension they spread "
            f"{found['spread']:.2f} times as far as the targets.")  # fmt: skip
    if found["vectors"] < ENOUGH_PER_DIMENSION * found["dimensions"]:
        said += " There are few vectors for each dimension: compare the ranks, do not read them alone."
    if found["highest_of_halves"] is None:
        said += " Too few documents to tell."
    return said


def _measure(case: Case, row: CaseEntry) -> dict[str, Any] | None:
    """Return the figures of one row; None for a row without query vectors, or without windows."""
    fold = case.fold_of(row)
    windows = case.sample(fold, most=max(case.effort.windows, PER_DIMENSION * case.bank.dimension))
    predictions = case.queries_of(row, windows) if len(windows) else None
    if predictions is None:
        return None
    targets = row.as_searched(case.truth(case.bank, windows))
    others = row.as_searched(case.bank.gather(_other_rows(case, windows)))
    of_predictions, of_targets = singular_values(predictions), singular_values(targets)
    groups, judged = case.groups_of(windows), row.name == case.subject
    ratios = _over_halves(predictions, targets, groups, case.generator("SG206 halves")) if judged else []
    spread, own = targets.std(axis=0), predictions.std(axis=0)
    relative = own / np.maximum(spread, 1e-12)
    return {
        "rank_predictions": effective_rank(of_predictions),
        "rank_targets": effective_rank(of_targets),
        "rank_random": effective_rank(singular_values(others)),
        "ratio": effective_rank(of_predictions) / effective_rank(of_targets),
        "highest_of_halves": max(ratios) if ratios else None,
        "spread": float(np.median(relative)),
        "dead_dimensions": float((relative < DEAD).mean()),
        "vectors": len(windows),
        "dimensions": case.bank.dimension,
        "spectrum_predictions": spectrum(of_predictions),
        "spectrum_targets": spectrum(of_targets),
    }


def _other_rows(case: Case, windows: Windows) -> Int[np.ndarray, "window"]:
    """Draw as many live passages that are no targets; fewer where there are not so many."""
    free = np.array(case.bank.alive)
    free[windows.target] = False
    rows = np.flatnonzero(free) if free.any() else windows.target
    drawn = case.generator("SG206 others").permutation(rows)[: len(windows)]
    return np.sort(drawn)


def singular_values(vectors: Float[np.ndarray, "vector dim"]) -> Float[np.ndarray, "value"]:
    """Return the singular values, descending, from the smaller of the two Gram matrices (float64)."""
    exact = vectors.astype(np.float64)
    gram = exact.T @ exact if len(exact) > exact.shape[1] else exact @ exact.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))[::-1]


def effective_rank(values: Float[np.ndarray, "value"]) -> float:
    """Return RankMe: the exponential of the entropy of the normalised singular values (Garrido et al., 2023).

    >>> effective_rank(np.array([2.0, 2.0, 0.0])), effective_rank(np.array([3.0]))
    (2.0, 1.0)
    """
    total = values.sum()
    if total == 0:
        return 1.0
    shares = values[values > 1e-9 * total] / total
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 9)


def spectrum(values: Float[np.ndarray, "value"]) -> list[float]:
    """Return the shares of the squared singular values, descending.

    >>> spectrum(np.array([3.0, 1.0]))
    [0.9, 0.1]
    """
    squares = values**2
    return (squares[:SPECTRUM] / max(squares.sum(), 1e-300)).tolist()


def _over_halves(
    predictions: Float[np.ndarray, "window dim"],
    targets: Float[np.ndarray, "window dim"],
    groups: Int[np.ndarray, "window"],
    generator: np.random.Generator,
) -> list[float]:
    """Return the ratio of the effective ranks on random halves of the documents; empty where there are too few."""
    if len(np.unique(groups)) < FEWEST_GROUPS or len(groups) < FEWEST_WINDOWS:
        return []
    halves = [_half(groups, generator) for _ in range(HALVES)]
    return [
        effective_rank(singular_values(predictions[half])) / effective_rank(singular_values(targets[half]))
        for half in halves
    ]


def _half(groups: Int[np.ndarray, "window"], generator: np.random.Generator) -> Bool[np.ndarray, "window"]:
    numbers = generator.permutation(np.unique(groups))
    return np.isin(groups, numbers[: len(numbers) // 2])


CHECK = Check(
    code="SG206",
    title="Predictions collapsed",
    question="Have the predictions collapsed into few directions?",
    detection="RankMe, the exponential of the entropy of the normalised singular values (Garrido et al., 2023), of the "
    "predictions and of their targets, the same windows, not centred; up to "
    f"{PER_DIMENSION} windows for each dimension. An issue where the quotient stays below {COLLAPSED:g} on each of "
    f"{HALVES} random halves of the documents, a tip below {LOW:g}. Beside it: as many other passages of the bank, "
    "copy-last, and the spread of each dimension.",
    why="A model that answers nearly the same whatever it read can still have a high cosine: the mean of all passages "
    "is not far from any of them. It retrieves the same few passages for everybody.",
    healthy="nearly the targets' effective rank; predictions are smoother than truths, so somewhat less",
    fix="train with a contrastive loss on the raw vectors, and look at the spread along training",
    unit="share of the targets' effective rank",
    examine=examine,
    needs=("windows", "entries"),
)
