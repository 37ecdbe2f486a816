"""SG112: is this the model that was trained and evaluated?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.errors import InputError
from segue.evaluation.result import Evaluation
from segue.models.checkpoint import GOLDEN_TOLERANCE
from segue.ranking.exact import target_cosines, target_ranks
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.types import Windows
from segue.windows.windows import excluded_rows, gather_contexts

MAXIMUM_WINDOWS = 256
"""Test windows whose cosines are computed again."""
COSINE_TOLERANCE = 1e-3
"""Difference of cosines that another device may make."""
MAXIMUM_CHANGED_COSINES = 0.01
"""Share of windows that may differ by more."""
MAXIMUM_CHANGED_RANKS = 0.05
"""Share of ranks that may differ for an entry with a document tower, which has no cosine with the bank's vectors."""
RANKED = 64
"""Test windows whose ranks are counted again, where the cosines are equal to the last digits."""
EQUAL = 1e-6
SAME_RANK = 0.05
"""Two counts of a rank may differ by one place, or by this share of it."""


@dataclass(frozen=True)
class Repeated:
    """Distance of an entry's cosines and ranks from the evaluated ones, and the problem, if there is one."""

    largest: float | None = None
    share: float | None = None
    other_ranks: float | None = None
    problem: str | None = None


def examine(case: Case) -> Verdict:
    """Load every checkpoint, which tests its golden pair, and compute some evaluated cosines and ranks again."""
    found, error = each_entry(case.trained_entries, lambda entry: _repeat(case, entry))
    wrong = {name: repeated.problem for name, repeated in found.items() if repeated.problem}
    details = {"rows": found, "golden_tolerance": GOLDEN_TOLERANCE}
    if wrong:
        problems = "; ".join(f"{name}: {problem}" for name, problem in list(wrong.items())[:3])
        text = f"{len(wrong)} of {len(found)} trained entries are not what was trained. {problems}"
        return Verdict("issue", text, float(len(wrong)), 0.0, details)
    compared = [repeated.largest for repeated in found.values() if repeated.largest is not None]
    said = (f"All {len(found)} checkpoints answer their golden input as when they were saved, within a distance of "
            f"{GOLDEN_TOLERANCE:g}; ")  # fmt: skip
    said += (f"the cosines of {len(compared)} of them on test windows are those that were evaluated, to "
             f"{max(compared):.1g}." if compared else "no evaluated cosines could be compared.")  # fmt: skip
    return Verdict("passed", said, 0.0, 0.0, details, error=error)


def _repeat(case: Case, entry: CaseEntry) -> Repeated:
    try:
        predictor = entry.training.predictor
    except InputError as error:  # not a SettingsError: its architecture is not installed, so nothing can be said
        message = str(error).removeprefix("SG112: ").replace(str(entry.training.folder), entry.name)
        return Repeated(problem=message)
    windows = case.sample(case.fold_of(entry), most=MAXIMUM_WINDOWS)
    windows = windows.take(np.asarray((windows.context >= 0).any(axis=1)))  # stored queries name no rows to read
    evaluation = entry.evaluation
    if len(windows) == 0 or evaluation is None:
        return Repeated()
    queries = PredictorQuery(predictor)(gather_contexts(case.bank, windows, texts=predictor.reads_text))
    if entry.training.encoder is not None:
        others = _other_ranks(case, entry, windows, queries)
        wrong = f"{others:.0%} of its recorded ranks differ from those of its two towers."
        return Repeated(other_ranks=others, problem=wrong if others > MAXIMUM_CHANGED_RANKS else None)
    if evaluation.cosine is None or not np.array_equal(evaluation.targets, case.fold_of(entry).test.target):
        return Repeated()  # other windows were evaluated (SG114)
    stored = evaluation.cosine[_places(evaluation, windows)]
    now = target_cosines(queries, case.bank, windows.target)
    apart = np.abs(now - stored)
    share, largest = float((apart > COSINE_TOLERANCE).mean()), float(apart.max())
    if share > MAXIMUM_CHANGED_COSINES:
        said = (f"the checkpoint's cosine with the truth differs from the evaluated one for {share:.0%} of {len(now)} "
                f"test windows (mean {now.mean():.3f}, evaluated {stored.mean():.3f}).")  # fmt: skip
        return Repeated(largest, share, problem=said)
    others = _other_ranks(case, entry, windows, queries) if largest <= EQUAL else 0.0
    problem = f"{others:.0%} of its recorded ranks differ from those of its own answers." if others else None
    return Repeated(largest, share, others, problem)


def _other_ranks(case: Case, entry: CaseEntry, windows: Windows, queries: Float[np.ndarray, "window dim"]) -> float:
    """Return the share of some windows whose rank on record is another than the one counted now.

    Only where the record claims the case's own candidates and exclusion; otherwise see SG114.
    """
    evaluation, encoder = entry.evaluation, entry.training.encoder
    if evaluation is None or (evaluation.exclude, evaluation.pool_size) != (case.exclude, case.pool.size):
        return 0.0
    inside = np.flatnonzero(case.pool.candidates_of(windows.target) >= 0)[:RANKED]
    if len(inside) == 0:
        return 0.0
    chosen = windows.take(inside)
    if entry.retriever.first_stage() is not entry.retriever:  # its ranks are not those of its queries
        now = case.ranks_of(entry, chosen)
    else:
        pool = case.pool if encoder is None else case.pool.on(encoder(case.bank))
        exclude = excluded_rows(case.bank, chosen, case.exclude)
        now = target_ranks(queries[inside], pool, chosen.target, exclude=exclude)
    stored = evaluation.ranks[_places(evaluation, chosen)]
    return float((np.abs(now - stored) > np.maximum(1, SAME_RANK * now)).mean())


def _places(evaluation: Evaluation, windows: Windows) -> Int[np.ndarray, "window"]:
    """Return the place of each window in an evaluation."""
    order = np.argsort(evaluation.targets, kind="stable")
    return order[np.searchsorted(evaluation.targets[order], windows.target)]


CHECK = Check(
    code="SG112",
    title="Same model",
    question="Is this the model that was trained and evaluated?",
    detection="Every checkpoint of every fold holds an input and the trained net's answer to it; the loaded net must "
    f"answer within a distance of {GOLDEN_TOLERANCE:g}, computed in float64. Then the cosines of up to "
    f"{MAXIMUM_WINDOWS} evaluated windows are computed again from the checkpoint: at most "
    f"{MAXIMUM_CHANGED_COSINES:.0%} may differ by more than {COSINE_TOLERANCE:g}; where they agree, the ranks of "
    f"{RANKED} windows are counted again as well. An entry with a document tower has no cosine with the bank's "
    f"vectors: at most {MAXIMUM_CHANGED_RANKS:.0%} of its ranks may differ.",
    why="Two nets may share the name and shape of every parameter and compute different things; weights of two "
    "options may be swapped. Everything loads without an error, and the number does not belong to any existing model.",
    healthy="no difference beyond rounding",
    fix="load each checkpoint with the code and the files that it was saved with, and evaluate it again",
    unit="entries",
    examine=examine,
    needs=("trained",),
)
