"""SG206: have the predictions collapsed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.evaluation.geometry import effective_rank, singular_values, spectrum
from segue.types import Windows

ISSUE_RATIO, TIP_RATIO = 0.25, 0.5
"""Shares of the targets' effective rank below which predictions have collapsed, and below which it is a tip."""
PER_DIMENSION = 8
"""Windows for each dimension, where there are as many: an effective rank is bounded by the number of vectors."""
ENOUGH_PER_DIMENSION = 4
RANDOM_HALVES = 12
"""Random halves of the documents over which the ratio has to hold."""
MINIMUM_GROUPS, MINIMUM_WINDOWS = 4, 24


@dataclass(frozen=True)
class Spectra:
    """Effective ranks of an entry's predictions, of their targets, and of as many other passages.

    ``ratio`` is predictions over targets, ``highest_of_halves`` the highest on random halves of the documents (None
    with too few); ``spread`` is the standard deviation relative to the targets', in the median dimension.
    """

    rank_predictions: float
    rank_targets: float
    rank_random: float
    ratio: float
    highest_of_halves: float | None
    spread: float
    vectors: int
    dimensions: int
    spectrum_predictions: list[float]
    spectrum_targets: list[float]


def examine(case: Case) -> Verdict:
    """Compare the effective rank of predictions with that of their targets, on the subject and other entries."""
    first = case.folds[0].number
    entries = (*case.shown, *(entry for entry in case.subject_entries if entry.fold != first))
    measured = {(e.name, e.fold): found for e in entries if (found := _spectra(case, e)) is not None}
    own = [found for (name, _), found in measured.items() if name == case.subject]
    if not own:
        return not_applicable("the subject has no query vectors")
    worst = min(own, key=lambda found: found.ratio)
    beside = {name: found for (name, fold), found in measured.items() if fold == first}
    highest = worst.highest_of_halves  # the least collapsed half decides
    outcome: Judgement = "passed"
    if highest is not None and highest < TIP_RATIO:
        outcome = "issue" if highest < ISSUE_RATIO else "tip"
    return Verdict(outcome, _statement(worst, beside), worst.ratio, ISSUE_RATIO, {"rows": beside})


def _statement(found: Spectra, beside: Mapping[str, Spectra]) -> str:
    copied = f", copy-last's {beside['copy-last'].rank_predictions:.1f}" if "copy-last" in beside else ""
    said = (f"The predictions' effective rank is {found.rank_predictions:.1f}, their targets' {found.rank_targets:.1f} "
            f"and that of as many other passages {found.rank_random:.1f}{copied} ({found.vectors:,} vectors of "
            f"{found.dimensions} dimensions); in the median dimension they spread {found.spread:.2f} times as far as "
            "the targets.")  # fmt: skip
    if found.vectors < ENOUGH_PER_DIMENSION * found.dimensions:
        said += " There are few vectors for each dimension: only compare these ranks with each other."
    if found.highest_of_halves is None:
        said += " Too few documents to tell."
    return said


def _spectra(case: Case, entry: CaseEntry) -> Spectra | None:
    """Measure one entry; None for an entry without query vectors, or without windows."""
    windows = case.sample(case.fold_of(entry), most=max(case.effort.windows, PER_DIMENSION * case.bank.dimension))
    predictions = case.queries_of(entry, windows) if len(windows) else None
    if predictions is None:
        return None
    targets = entry.as_searched(case.truth(case.bank, windows))
    free = np.setdiff1d(np.flatnonzero(case.bank.alive), windows.target)  # as many live passages as there are targets
    rows = case.generator("SG206 others").permutation(free if len(free) else windows.target)[: len(windows)]
    others = entry.as_searched(case.bank.gather(np.sort(rows)))
    of_predictions, of_targets = singular_values(predictions), singular_values(targets)
    halves = _over_halves(case, windows, predictions, targets) if entry.name == case.subject else []
    return Spectra(
        rank_predictions=effective_rank(of_predictions),
        rank_targets=effective_rank(of_targets),
        rank_random=effective_rank(singular_values(others)),
        ratio=effective_rank(of_predictions) / effective_rank(of_targets),
        highest_of_halves=max(halves, default=None),
        spread=float(np.median(predictions.std(axis=0) / np.maximum(targets.std(axis=0), 1e-12))),
        vectors=len(windows),
        dimensions=case.bank.dimension,
        spectrum_predictions=spectrum(of_predictions),
        spectrum_targets=spectrum(of_targets),
    )


def _over_halves(
    case: Case, windows: Windows, predictions: Float[np.ndarray, "window dim"], targets: Float[np.ndarray, "window dim"]
) -> list[float]:
    """Return the ratio of the effective ranks on random halves of the documents; empty where there are too few."""
    groups, generator = case.groups_of(windows), case.generator("SG206 halves")
    names = np.unique(groups)
    if len(names) < MINIMUM_GROUPS or len(groups) < MINIMUM_WINDOWS:
        return []
    halves = (np.isin(groups, generator.permutation(names)[: len(names) // 2]) for _ in range(RANDOM_HALVES))
    return [effective_rank(singular_values(predictions[half])) / effective_rank(singular_values(targets[half]))
            for half in halves]  # fmt: skip


CHECK = Check(
    code="SG206",
    title="Predictions collapsed",
    question="Have the predictions collapsed into few directions?",
    detection="RankMe, the exponential of the entropy of the normalised singular values (Garrido et al., 2023), of "
    f"the predictions and of their targets, the same windows, not centred; up to {PER_DIMENSION} windows for each "
    f"dimension. An issue where the quotient stays below {ISSUE_RATIO:g} on each of {RANDOM_HALVES} random halves of "
    f"the documents, a tip below {TIP_RATIO:g}. For comparison: as many other passages of the bank, copy-last, and the "
    "spread of each dimension.",
    why="A model with nearly the same answer to every context can still have a high cosine: the mean of all passages "
    "is not far from any of them. It retrieves the same few passages for every query.",
    healthy="close to the targets' effective rank, and usually somewhat below it, since predictions are smoother than "
    "targets",
    fix="train with a contrastive loss on the raw vectors, and watch the spread during training",
    unit="share of the targets' effective rank",
    examine=examine,
    needs=("windows", "entries"),
)
