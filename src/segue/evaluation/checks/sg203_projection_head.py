"""SG203: are the raw and the projected space compatible?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.data.scoring import Pool, target_ranks
from segue.data.windows import excluded_rows
from segue.evaluation.checks.case import Case, Row
from segue.evaluation.checks.interface import Check, Verdict, not_applicable
from segue.evaluation.checks.measured import interval_json, paired_json, percent, points, side
from segue.evaluation.checks.sg103_truth_carries_information import elsewhere
from segue.evaluation.compatibility import ProjectedBank, project
from segue.evaluation.intervals import PairedTest, paired

SPACES = ("raw", "projected")
CUTOFF = 5


@dataclass(frozen=True)
class _Space:
    """One space: cosines of matched and of random pairs, whether the target is found, and groups, by window."""

    matched: Float[np.ndarray, "window"]
    random: Float[np.ndarray, "window"]
    found: Float[np.ndarray, "window"]
    groups: Int[np.ndarray, "window"]


def examine(case: Case) -> Verdict:
    """Measure the subject, and the other rows with a head, in both spaces."""
    rows = [row for row in case.shown if _has_head(row)]
    if not rows:
        return not_applicable("no row was trained with a projection head")
    spaces = {row.name: _spaces(case, row) for row in rows}
    tests = {name: _tests(case, found) for name, found in spaces.items()}
    chance = CUTOFF / case.pool.size
    details = {"rows": {name: _entry(spaces[name], tests[name]) for name in spaces}, "chance": chance}
    worst = max(
        spaces, key=lambda name: (_wrong(tests[name]), name == case.subject, tests[name]["R@5"].difference.value)
    )
    said = _said(worst, spaces[worst], tests[worst], chance)
    measured = tests[worst]["R@5"].difference.value
    if not _wrong(tests[worst]):
        return Verdict("passed", said, measured, 0.0, details)
    said += " What it learnt lives behind a head that is not searched."
    # Of the subject alone it explains its numbers; of another row it is worth knowing.
    return Verdict("issue" if worst == case.subject else "tip", said, measured, 0.0, details)


def _has_head(row: Row) -> bool:
    return row.trained is not None and any(term.space == "projected" for term in row.trained.loss_settings.terms)


def _spaces(case: Case, row: Row) -> dict[str, _Space]:
    """Ask a row about validation windows in both spaces."""
    assert row.trained is not None, "rows with a head were trained"
    windows = case.sample(case.fold_of(row), "validation")
    queries = case.queries(row, "validation")
    assert queries is not None, "a predictor answers with vectors"
    groups = case.groups_of(windows)
    other = windows.target[elsewhere(groups, case.generator(f"SG203 {row.name}"))]
    projected = ProjectedBank(case.bank, row.trained.loss)
    behind = project(row.trained.loss, queries)
    ranks = target_ranks(behind, Pool(projected), windows.target,
                         exclude=excluded_rows(case.bank, windows, case.exclude))  # fmt: skip
    return {
        "raw": _Space(_cosines(queries, case.bank.gather(windows.target)), _cosines(queries, case.bank.gather(other)),
                      _hits(case.ranks(row, "validation")), groups),
        "projected": _Space(_cosines(behind, projected.gather(windows.target)),
                            _cosines(behind, projected.gather(other)), _hits(ranks), groups),
    }  # fmt: skip


def _cosines(a: Float[np.ndarray, "window dim"], b: Float[np.ndarray, "window dim"]) -> Float[np.ndarray, "window"]:
    return np.einsum("bd,bd->b", a, b).astype(np.float64)


def _hits(ranks: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
    return (ranks <= CUTOFF).astype(np.float64)


def _tests(case: Case, spaces: dict[str, _Space]) -> dict[str, PairedTest]:
    """Test matched against random pairs in each space, and recall behind the head against recall before it."""
    how: dict[str, Any] = {"resamples": case.effort.resamples, "seed": case.seed}
    found = {name: paired(space.matched, space.random, space.groups, **how) for name, space in spaces.items()}
    raw, projected = spaces["raw"], spaces["projected"]
    return {**found, "R@5": paired(projected.found, raw.found, raw.groups, **how)}


def _wrong(tests: dict[str, PairedTest]) -> bool:
    """Tell whether the projected space clearly retrieves better than the one that is searched."""
    return side(tests["R@5"]) > 0


def _entry(spaces: dict[str, _Space], tests: dict[str, PairedTest]) -> dict[str, Any]:
    cosines = {
        name: {"matched": float(space.matched.mean()), "random": float(space.random.mean())}
        for name, space in spaces.items()
    }
    recall = {name: float(space.found.mean()) for name, space in spaces.items()}
    gaps = {name: interval_json(tests[name].difference) for name in SPACES}
    return {**cosines, "R@5": recall, "gap": gaps, "projected − raw": paired_json(tests["R@5"])}


def _said(name: str, spaces: dict[str, _Space], tests: dict[str, PairedTest], chance: float) -> str:
    cosine = {
        which: f"{space.matched.mean():.3f} for matched and {space.random.mean():.3f} for random pairs"
        for which, space in spaces.items()
    }
    recall = {which: percent(float(space.found.mean())) for which, space in spaces.items()}
    return (f"{name}, on validation documents: cosine {cosine['raw']} in the raw space, {cosine['projected']} behind "
            f"the head; R@5 {recall['raw']} raw, {recall['projected']} projected (chance {percent(chance)}), "
            f"{points(tests['R@5'].difference)}.")  # fmt: skip


CHECK = Check(
    code="SG203",
    title="Projection-head compatibility",
    question="Does the space that the loss was computed in agree with the space that is searched?",
    detection="For rows trained with a projection head: cosine of prediction and target (matched) beside that of "
    "prediction and the target of another group of documents (random), and R@5 of searching, in the raw space and "
    "behind the head, on validation windows of the first fold; differences are paired over groups of documents. Issue: "
    "the projected space clearly retrieves better than the one that is searched. Tip: so it is for a row other than "
    "the subject.",
    why="A cosine behind a head says nothing alone: a trained contrastive head gives unrelated pairs a low or negative "
    "one. The report this project grew from read −0.12 as a conflict of objectives; random pairs had the same, since "
    "the truth was shuffled.",
    healthy="matched above random in both spaces, and no better recall behind the head",
    mend="train on the raw vectors, or build the index behind the head",
    unit="R@5 projected less raw",
    examine=examine,
    needs=("windows", "trained"),
)
