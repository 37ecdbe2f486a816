"""SG112: is this the model that was trained and evaluated?"""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry, Trained
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.errors import InputError, SettingsError
from segue.evaluation.result import Evaluation
from segue.models.checkpoint import GOLDEN_TOLERANCE
from segue.ranking.exact import target_cosines, target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.types import Windows
from segue.windows.windows import excluded_rows, gather_contexts

MOST = 256
"""Test windows whose cosines are computed again."""
CLOSE = 1e-3
"""Difference of cosines that another device may make."""
MOST_OTHERS = 0.01
"""Share of windows that may differ by more."""
MOST_OTHER_RANKS = 0.05
"""The same for the ranks of a row with a document tower, whose cosines are none with the vectors of the bank."""
RANKED = 64
"""Test windows whose ranks are counted again, where the cosines are the same to the last digits."""
EQUAL = 1e-6
SAME_RANK = 0.05
"""Two counts of a rank may differ by one place, or by this share of it."""


def examine(case: Case) -> Verdict:
    """Load every checkpoint, which tries its golden pair, and compute some evaluated cosines and ranks again."""
    rows = [row for row in case.entries if row.trained is not None]
    found, error = each_entry(rows, functools.partial(_row, case))
    wrong = {name: str(row["problem"]) for name, row in found.items() if row["problem"]}
    details = {"rows": found, "golden_tolerance": GOLDEN_TOLERANCE}
    if wrong:
        said = "; ".join(f"{name}: {problem}" for name, problem in list(wrong.items())[:3])
        return Verdict("issue", f"{len(wrong)} of {len(found)} trained rows are not what was trained. {said}",
                       float(len(wrong)), 0.0, details)  # fmt: skip
    if error is not None:
        raise error
    return Verdict("passed", _acquittal(found), 0.0, 0.0, details)


def _acquittal(found: dict[str, dict[str, Any]]) -> str:
    compared = [row["largest"] for row in found.values() if row["largest"] is not None]
    said = (f"All {len(found)} checkpoints answer their golden input as when they were saved, to a distance of "
            f"{GOLDEN_TOLERANCE:g}")  # fmt: skip
    if not compared:
        return f"{said}; no evaluated cosines could be compared."
    return (f"{said}; the cosines of {len(compared)} of them on test windows are those that were evaluated, to "
            f"{max(compared):.1g}.")  # fmt: skip


def _row(case: Case, row: CaseEntry) -> dict[str, Any]:
    """Return how far a row's cosines are from those evaluated, and what is wrong, if anything."""
    try:
        predictor = cast(Trained, row.trained).predictor
    except SettingsError:
        raise  # its architecture is not installed: nothing can be said
    except InputError as error:
        return {"largest": None, "share": None, "problem": _of_row(str(error), row)}
    windows = case.sample(case.fold_of(row), most=MOST)
    windows = windows.take(np.asarray((windows.context >= 0).any(axis=1)))  # stored questions name no rows to read
    if cast(Trained, row.trained).encoder is not None:
        return _of_tower(case, row, windows)
    stored = _stored(case, row, windows)
    if stored is None or len(windows) == 0:
        return {"largest": None, "share": None, "problem": None}
    queries = PredictorQuery(predictor)(gather_contexts(case.bank, windows))
    now = target_cosines(queries, case.bank, windows.target)
    apart = np.abs(now - stored)
    share = float((apart > CLOSE).mean())
    if share > MOST_OTHERS:
        return {"largest": float(apart.max()), "share": share, "problem": _said(share, now, stored)}
    others = _other_ranks(case, row, windows, queries) if apart.max() <= EQUAL else 0.0
    problem = f"{others:.0%} of its ranks on record are not those of its own answers." if others else None
    return {"largest": float(apart.max()), "share": share, "other_ranks": others, "problem": problem}


def _of_tower(case: Case, row: CaseEntry, windows: Windows) -> dict[str, Any]:
    """Compare the ranks of a row whose checkpoint encodes the passages too."""
    found: dict[str, Any] = {"largest": None, "share": None, "problem": None}
    trained = cast(Trained, row.trained)
    if row.evaluation is None or len(windows) == 0 or trained.encoder is None:
        return found
    queries = PredictorQuery(trained.predictor)(gather_contexts(case.bank, windows))
    others = _other_ranks(case, row, windows, queries, pool=case.pool.on(trained.encoder(case.bank)))
    if others > MOST_OTHER_RANKS:
        found["problem"] = f"{others:.0%} of its ranks on record are not those that its two towers give."
    return {**found, "other_ranks": others}


def _other_ranks(
    case: Case, row: CaseEntry, windows: Windows, queries: Float[np.ndarray, "window dim"], *, pool: Pool | None = None
) -> float:
    """Return the share of some windows whose rank on record is another than the one counted now.

    Only where the record claims the case's own candidates and exclusion; SG114 speaks where it does not.
    """
    evaluation = cast(Evaluation, row.evaluation)
    if (evaluation.exclude, evaluation.pool_size) != (case.exclude, case.pool.size):
        return 0.0
    inside = np.flatnonzero(case.pool.candidates_of(windows.target) >= 0)[:RANKED]
    if len(inside) == 0:
        return 0.0
    asked = windows.take(inside)
    exclude = excluded_rows(case.bank, asked, case.exclude)
    if row.retriever.first_stage is not row.retriever:  # its queries are those of its first stage, its ranks are not
        now = case.ranks_of(row, asked)
    else:
        now = target_ranks(queries[inside], pool or case.pool, asked.target, exclude=exclude)
    stored = evaluation.ranks[_places(evaluation, asked)]
    return float((np.abs(now - stored) > np.maximum(1, SAME_RANK * now)).mean())


def _places(evaluation: Evaluation, windows: Windows) -> Int[np.ndarray, "window"]:
    """Return where windows stand in an evaluation."""
    order = np.argsort(evaluation.targets, kind="stable")
    return order[np.searchsorted(evaluation.targets[order], windows.target)]


def _of_row(message: str, row: CaseEntry) -> str:
    """Return an error's message with the row's name in place of its folder."""
    return message.removeprefix("SG112: ").replace(str(cast(Trained, row.trained).folder), row.name)


def _said(share: float, now: Float[np.ndarray, "window"], stored: Float[np.ndarray, "window"]) -> str:
    return (f"the checkpoint's cosine with the truth is another than the evaluated one for {share:.0%} of "
            f"{len(now)} test windows (mean {now.mean():.3f}, evaluated {stored.mean():.3f}).")  # fmt: skip


def _stored(case: Case, row: CaseEntry, windows: Windows) -> Float[np.ndarray, "window"] | None:
    """Return the evaluated cosines of some windows; None where other windows were evaluated (SG114), or none."""
    evaluation = row.evaluation
    if evaluation is None or evaluation.cosine is None:
        return None
    if not np.array_equal(evaluation.targets, case.fold_of(row).test.target):
        return None
    return evaluation.cosine[_places(evaluation, windows)]


CHECK = Check(
    code="SG112",
    title="Same model",
    question="Is this the model that was trained and evaluated?",
    detection="Every checkpoint of every fold holds an input and the answer that the trained net gave to it; the "
    f"loaded net must answer within a distance of {GOLDEN_TOLERANCE:g}, computed in float64. Then the cosines of up to "
    f"{MOST} evaluated windows are computed again from the checkpoint: at most {MOST_OTHERS:.0%} may differ by more "
    f"than {CLOSE:g}; where they agree, the ranks of {RANKED} windows are counted again as well. A row with a document "
    f"tower has no cosine with the bank's vectors: of its ranks at most {MOST_OTHER_RANKS:.0%} may be others.",
    why="Two nets may share the name and shape of every parameter and compute different things; weights of two options "
    "may be swapped. All loads without a word, and the number belongs to no model that exists.",
    healthy="no difference beyond rounding",
    fix="load each checkpoint with the code and the files that it was saved with, and evaluate it again",
    unit="rows",
    examine=examine,
    needs=("trained",),
)
