"""SG207: does the bank fill its space, or do its vectors point one way?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.bank.copies import BankCopy, copy_documents, windows_in, with_rows
from segue.checks.case import Case, pair_cosines
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.evaluation.geometry import directions, first_share, repaired
from segue.evaluation.intervals import PairedTest, lower_limit, paired
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.baselines import mean, normalise
from segue.types import Windows
from segue.windows.windows import gather_contexts

TIP_COSINE = 0.3
"""Mean cosine of unrelated passages, or share of one direction, from which cosines are misleading."""
MINIMUM_GAIN, LEVEL = 0.02, 0.005
"""Gain in MRR by a correction, and its p-value (two corrections are tried), for anisotropy to be an issue."""
PER_DIMENSION = 8
MAXIMUM_PASSAGES = 20_000
"""Passages in which the corrections are tried."""
MINIMUM_DOCUMENTS = 3
AS_IT_IS, CENTRED, BOTH = "as it is", "mean removed", "mean and first direction removed"


@dataclass(frozen=True)
class Anisotropy:
    """Mean cosine of random pairs of different documents, its lower limit, and the first direction's share."""

    random_cosine: float
    low: float
    first_direction: float


@dataclass(frozen=True)
class Gain:
    """MRR of the mean of the context after a correction, tested against the MRR before."""

    value: float
    test: PairedTest


def examine(case: Case) -> Verdict:
    """Measure the anisotropy of the bank, before and after corrections, and what the corrections would gain."""
    alive = np.flatnonzero(case.bank.alive)
    most = max(case.effort.windows, PER_DIMENSION * case.bank.dimension)  # as many as a spectrum needs
    rows = np.sort(alive[case.generator("SG207 passages").permutation(len(alive))[:most]])
    if len(np.unique(case.bank.document_of[rows])) < MINIMUM_DOCUMENTS:
        return not_applicable(f"the bank has fewer than {MINIMUM_DOCUMENTS} documents")
    vectors = case.bank.gather(rows)
    centre, axis = directions(vectors)
    figures = {
        AS_IT_IS: _anisotropy(case, vectors, rows),
        CENTRED: _anisotropy(case, normalise(vectors - centre), rows),
        BOTH: _anisotropy(case, repaired(vectors, centre, axis), rows),
    }
    before, gains = _gains(case, centre, axis)
    of_mean = {} if before is None else {AS_IT_IS: before, **gains}
    details = {"isotropic_share": 1 / case.bank.dimension, "vectors": len(rows), **figures, "mean_of_context": of_mean}
    raw, centred = figures[AS_IT_IS], figures[CENTRED]
    measured = max(raw.random_cosine, raw.first_direction)
    said = (f"Passages of different documents have a mean cosine of {raw.random_cosine:.3f} "
            f"({centred.random_cosine:.3f} without the bank's mean); one direction holds "
            f"{percent(raw.first_direction)} of all squared length ({percent(centred.first_direction)} without the "
            f"mean, {percent(1 / case.bank.dimension)} if all were equal).")  # fmt: skip
    if before is not None:
        after = " and ".join(f"{gain.value:.3f} with {name}" for name, gain in gains.items())
        said += f" The mean of the context has an MRR of {before:.3f}, {after}."
    outcome: Judgement = "tip" if max(raw.low, raw.first_direction) >= TIP_COSINE else "passed"
    if any(gain.test.difference.value >= MINIMUM_GAIN and gain.test.p_greater < LEVEL for gain in gains.values()):
        outcome = "issue"
    return Verdict(outcome, said, measured, TIP_COSINE, details)


def _anisotropy(case: Case, vectors: Float[np.ndarray, "vector dim"], rows: Int[np.ndarray, "vector"]) -> Anisotropy:
    """Measure random pairs of different documents; the unit is the document of the first passage of a pair."""
    documents = case.bank.document_of[rows]
    partner = case.generator("SG207 pairs").permutation(len(rows))
    apart = documents != documents[partner]
    cosines = pair_cosines(vectors[apart], vectors[partner[apart]]).astype(np.float64)
    if len(cosines) == 0:
        return Anisotropy(0.0, 0.0, first_share(vectors))
    value = float(cosines.mean())
    low = lower_limit(cosines, documents[apart].astype(np.int64), resamples=case.effort.resamples)
    return Anisotropy(value, value if low is None else low, first_share(vectors))


def _gains(
    case: Case, centre: Float[np.ndarray, "dim"], axis: Float[np.ndarray, "dim"]
) -> tuple[float | None, dict[str, Gain]]:
    """Return the MRR of the mean of the context as it is, and after corrections, in a part of the bank.

    The mean needs no training, so it shows the effect of the bank's geometry alone. Nothing without windows.
    """
    windows = case.answerable(case.sample(case.folds[0])) if case.folds else None
    if windows is None or len(windows) == 0:
        return None, {}
    tested = np.unique(case.documents(windows))
    room = MAXIMUM_PASSAGES - int(case.bank.num_rows[tested].sum())
    copy = copy_documents(case.bank, np.union1d(tested, case.other_documents(tested, room, "SG207 documents")))
    inside, groups, rows = windows_in(copy, windows), case.groups_of(windows), np.arange(len(copy))
    before = _reciprocal_ranks(copy, inside)
    corrected = {CENTRED: normalise(copy.vectors - centre), BOTH: repaired(copy.vectors, centre, axis)}
    gains = {}
    for name, vectors in corrected.items():
        after = _reciprocal_ranks(with_rows(copy, rows, vectors), inside)
        gains[name] = Gain(float(after.mean()), paired(after, before, groups, resamples=case.effort.resamples))
    return float(before.mean()), gains


def _reciprocal_ranks(bank: BankCopy, windows: Windows) -> Float[np.ndarray, "window"]:
    """Return 1 / rank of each target for the mean of the context, the context excluded."""
    contexts = gather_contexts(bank, windows)
    return 1.0 / target_ranks(mean(contexts), Pool(bank), windows.target, exclude=contexts.exclude)


CHECK = Check(
    code="SG207",
    title="Anisotropy",
    question="Do the bank's vectors use the whole space, or do they all point in one direction?",
    detection="The mean cosine of random pairs of passages of different documents (interval over documents), and the "
    "share of all squared length along one direction (Ethayarajh, 2019), before and after the mean is removed; a tip "
    f"from {TIP_COSINE:g}. An issue only where it costs retrieval: removing the mean, or the mean and the first "
    f"principal direction (Mu and Viswanath, 2018), raises the MRR of the mean of the context by {MINIMUM_GAIN:g} or "
    f"more (p < {LEVEL:g}, sign flips over groups of documents, in at most {MAXIMUM_PASSAGES:,} passages).",
    why="Where unrelated passages have a cosine of 0.7, a prediction with 0.75 has found nothing, and a loss of "
    "1 − cosine is small from the first step. One dominant direction outweighs all others in every score.",
    healthy="a mean cosine near 0, and no direction much above 1 / dimensions",
    fix="subtract the bank's mean (and the dominant direction) before vectors are normalised, or use another encoder",
    unit="cosine or share",
    examine=examine,
)
