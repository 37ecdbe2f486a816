"""SG207: does the bank fill its space, or does it point one way?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case
from segue.checks.changed_banks import BankCopy, copy_documents, windows_in, with_rows
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import lower_limit, percent
from segue.evaluation.intervals import PairedTest, paired
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.baselines import mean, normalise
from segue.types import Windows
from segue.windows.windows import gather_contexts

NARROW = 0.3
"""Mean cosine of unrelated passages, or share of one direction, from which cosines no longer mean what they seem to."""
GAIN, LEVEL = 0.02, 0.005
"""What an isotropic bank has to win, and how surely (two repairs are tried), for anisotropy to be an issue."""
PER_DIMENSION = 8
SEARCHED = 20_000
"""Passages in which the repairs are tried."""
FEWEST = 3
AS_IT_IS = "as it is"


def examine(case: Case) -> Verdict:
    """Measure how one-sided the bank is, before and after repairs, and what the repairs would win."""
    rows = _one_per_draw(case)
    if len(np.unique(case.bank.document_of[rows])) < FEWEST:
        return not_applicable(f"the bank has fewer than {FEWEST} documents")
    vectors = case.bank.gather(rows)
    centre, axis = directions(vectors)
    figures = {
        AS_IT_IS: _figures(case, vectors, rows),
        "mean removed": _figures(case, normalise(vectors - centre), rows),
        "mean and first direction removed": _figures(case, repaired(vectors, centre, axis), rows),
    }
    gains = _gains(case, centre, axis)
    details = {"isotropic_share": 1 / case.bank.dimension, "vectors": len(rows), **figures, "mean_of_context": gains}
    raw = figures[AS_IT_IS]
    measured = max(raw["random_cosine"], raw["first_direction"])
    return Verdict(_outcome(raw, gains), _statement(figures, gains, case.bank.dimension), measured, NARROW, details)


def _outcome(raw: dict[str, float], gains: dict[str, Any]) -> Any:
    if any(won["difference"] >= GAIN and won["p"] < LEVEL for name, won in gains.items() if name != AS_IT_IS):
        return "issue"
    return "tip" if raw["low"] >= NARROW or raw["first_direction"] >= NARROW else "passed"


def _statement(figures: dict[str, dict[str, float]], gains: dict[str, Any], dimension: int) -> str:
    raw, centred = figures[AS_IT_IS], figures["mean removed"]
    said = (f"Passages of different documents have a mean cosine of {raw['random_cosine']:.3f} "
            f"({centred['random_cosine']:.3f} without the bank's mean); one direction holds "
            f"{percent(raw['first_direction'])} of all squared length ({percent(centred['first_direction'])} without "
            f"the mean, {percent(1 / dimension)} if all were equal).")  # fmt: skip
    if not gains:
        return said
    won = [f"{gain['value']:.3f} with {name}" for name, gain in gains.items() if name != AS_IT_IS]
    return f"{said} The mean of the context has an MRR of {gains[AS_IT_IS]:.3f}, {' and '.join(won)}."


def _one_per_draw(case: Case) -> Int[np.ndarray, "drawn"]:
    """Draw live passages: as many as a spectrum needs, evenly from all documents."""
    rows = np.flatnonzero(case.bank.alive)
    most = max(case.effort.windows, PER_DIMENSION * case.bank.dimension)
    order = case.generator("SG207 passages").permutation(len(rows))
    return np.sort(rows[order[:most]])


def directions(vectors: Float[np.ndarray, "vector dim"]) -> tuple[Float[np.ndarray, "dim"], Float[np.ndarray, "dim"]]:
    """Return the mean, and the first principal direction around it."""
    exact = vectors.astype(np.float64)
    centre = exact.mean(axis=0)
    centred = exact - centre
    return centre, np.linalg.eigh(centred.T @ centred)[1][:, -1]


def repaired(
    vectors: Float[np.ndarray, "vector dim"], centre: Float[np.ndarray, "dim"], axis: Float[np.ndarray, "dim"]
) -> Float[np.ndarray, "vector dim"]:
    """Remove the mean and the first principal direction (Mu and Viswanath, 2018), and bring back to length 1."""
    centred = vectors - centre
    return normalise(centred - np.outer(centred @ axis, axis))


def first_share(vectors: Float[np.ndarray, "vector dim"]) -> float:
    """Return the share of all squared length that lies along one direction.

    >>> first_share(np.array([[2.0, 0.0], [0.0, 1.0]]))
    0.8
    """
    exact = vectors.astype(np.float64)
    values = np.linalg.eigvalsh(exact.T @ exact)
    return float(values[-1] / max(values.sum(), 1e-300))


def _figures(case: Case, vectors: Float[np.ndarray, "vector dim"], rows: Int[np.ndarray, "vector"]) -> dict[str, float]:
    """Return the mean cosine of random pairs of different documents, its lower limit, and the first direction's share.

    The unit is the document: each takes part with the mean cosine of its passages to passages of other documents.
    """
    documents = case.bank.document_of[rows]
    partner = case.generator("SG207 pairs").permutation(len(rows))
    apart = documents != documents[partner]
    cosines = np.einsum("vd,vd->v", vectors[apart], vectors[partner[apart]]).astype(np.float64)
    if len(cosines) == 0:
        return {"random_cosine": 0.0, "low": 0.0, "first_direction": first_share(vectors)}
    value = float(cosines.mean())
    low = lower_limit(cosines, documents[apart].astype(np.int64), resamples=case.effort.resamples)
    return {
        "random_cosine": value,
        "low": value if low is None else low,
        "first_direction": first_share(vectors),
    }


def _gains(case: Case, centre: Float[np.ndarray, "dim"], axis: Float[np.ndarray, "dim"]) -> dict[str, Any]:
    """Return the MRR of the mean of the context, as it is and after repairs, in a part of the bank.

    Copying needs no training, so it shows what the bank's geometry alone gives. Empty without windows.
    """
    windows = case.answerable(case.sample(case.folds[0])) if case.folds else None
    if windows is None or len(windows) == 0:
        return {}
    copy = copy_documents(case.bank, _searched_documents(case, case.documents(windows)))
    inside = windows_in(copy, windows)
    everyone = np.arange(len(copy))
    banks = {
        "mean removed": with_rows(copy, everyone, normalise(copy.vectors - centre)),
        "mean and first direction removed": with_rows(copy, everyone, repaired(copy.vectors, centre, axis)),
    }
    groups = case.groups_of(windows)
    before = _reciprocal(copy, inside)
    after = {name: _reciprocal(bank, inside) for name, bank in banks.items()}
    tests = {name: paired(score, before, groups, resamples=case.effort.resamples) for name, score in after.items()}
    gains = {name: _gain(test, float(after[name].mean())) for name, test in tests.items()}
    return {AS_IT_IS: float(before.mean()), **gains}


def _gain(test: PairedTest, value: float) -> dict[str, Any]:
    difference = test.difference
    return {"value": value, "difference": difference.value, "low": difference.low, "high": difference.high,
            "p": test.p_greater}  # fmt: skip


def _searched_documents(case: Case, asked: Int[np.ndarray, "window"]) -> Int[np.ndarray, "chosen"]:
    """Return the asked documents and, up to a number of passages, others at random."""
    asked = np.unique(asked)
    others = np.setdiff1d(np.arange(len(case.bank.num_rows)), asked)
    drawn = case.generator("SG207 documents").permutation(others)
    room = SEARCHED - int(case.bank.num_rows[asked].sum())
    return np.sort(np.concatenate([asked, drawn[np.cumsum(case.bank.num_rows[drawn]) <= room]]))


def _reciprocal(bank: BankCopy, windows: Windows) -> Float[np.ndarray, "window"]:
    """Return 1 / rank of each target for the mean of the context, the context excluded."""
    contexts = gather_contexts(bank, windows)
    return 1.0 / target_ranks(mean(contexts), Pool(bank), windows.target, exclude=contexts.exclude)


CHECK = Check(
    code="SG207",
    title="Anisotropy",
    question="Does the bank fill its space, or do all passages point one way?",
    detection="The mean cosine of random pairs of passages of different documents (interval over documents), and the "
    "share of all squared length along one direction (Ethayarajh, 2019), before and after the mean is removed; a tip "
    f"from {NARROW:g}. An issue only where it costs retrieval: removing the mean, or the mean and the first principal "
    f"direction (Mu and Viswanath, 2018), raises the MRR of the mean of the context by {GAIN:g} or more (p < "
    f"{LEVEL:g}, sign flips over groups of documents, in at most {SEARCHED:,} passages).",
    why="Where unrelated passages have a cosine of 0.7, a prediction with 0.75 has found nothing, and a loss of "
    "1 − cosine is small from the first step. One dominant direction drowns all others in every score.",
    healthy="a mean cosine near 0, and no direction much above 1 / dimensions",
    fix="subtract the bank's mean (and the dominant direction) before vectors are normalised, or take another encoder",
    unit="cosine or share",
    examine=examine,
)
