"""SG203: are the raw and the projected space compatible?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.sg103_truth_carries_information import elsewhere
from segue.checks.statistics import LEVEL, interval_json, paired_json, percent, points, side
from segue.evaluation.compatibility import project, projected_bank
from segue.evaluation.intervals import PairedTest, holm, paired
from segue.evaluation.metrics import per_window
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.windows.windows import excluded_rows

SPACES = ("raw", "projected")
METRICS = ("R@5", "MRR")
CUTOFF = 5
STRICT = 0.01
"""Level for rows other than the subject: there may be many of them, and none explains the subject's numbers."""


@dataclass(frozen=True)
class _Space:
    """One space: cosines of matched and of random pairs, rank of the target, and group, by window."""

    matched: Float[np.ndarray, "window"]
    random: Float[np.ndarray, "window"]
    ranks: Int[np.ndarray, "window"]
    groups: Int[np.ndarray, "window"]

    @property
    def recall(self) -> float:
        """R@5 of searching in this space."""
        return float((self.ranks <= CUTOFF).mean())


def examine(case: Case) -> Verdict:
    """Measure the subject, and the other rows with a head, in both spaces."""
    rows = [row for row in case.shown if _has_head(row)]
    if not rows:
        return not_applicable("no row was trained with a projection head")
    spaces = {row.name: _spaces(case, row) for row in rows}
    tests = {name: _tests(case, found) for name, found in spaces.items()}
    chance = CUTOFF / case.pool.size
    details = {"rows": {name: _entry(spaces[name], tests[name]) for name in spaces}, "chance": chance}
    wrong = {name: _is_wrong(found, LEVEL if name == case.subject else STRICT) for name, found in tests.items()}
    worst = max(tests, key=lambda name: (wrong[name], name == case.subject, tests[name]["R@5"].difference.value))
    said = _said(worst, spaces[worst], tests[worst], chance)
    measured = tests[worst]["R@5"].difference.value
    if not wrong[worst]:
        return Verdict("passed", said, measured, 0.0, details)
    said += " What it learnt lives behind a head that is not searched."
    # Of the subject alone it explains its numbers; of another row it is worth knowing.
    return Verdict("issue" if worst == case.subject else "tip", said, measured, 0.0, details)


def _has_head(row: CaseEntry) -> bool:
    return row.trained is not None and any(term.space == "projected" for term in row.trained.loss_settings.terms)


def _spaces(case: Case, row: CaseEntry) -> dict[str, _Space]:
    """Ask a row about test windows in both spaces."""
    assert row.trained is not None, "rows with a head were trained"
    windows = case.sample(case.fold_of(row))
    queries = case.queries(row)
    assert queries is not None, "a predictor answers with vectors"
    groups = case.groups_of(windows)
    other = windows.target[elsewhere(groups, case.generator(f"SG203 {row.name}"))]
    projected = projected_bank(case.bank, row.trained.loss)
    behind = project(row.trained.loss, queries)
    ranks = target_ranks(behind, Pool(projected), windows.target,
                         exclude=excluded_rows(case.bank, windows, case.exclude))  # fmt: skip
    raw = _cosines(queries, windows.target, other, bank=case.bank)
    return {
        "raw": _Space(*raw, case.ranks(row), groups),
        "projected": _Space(*_cosines(behind, windows.target, other, bank=projected), ranks, groups),
    }


def _cosines(
    queries: Float[np.ndarray, "window dim"],
    targets: Int[np.ndarray, "window"],
    others: Int[np.ndarray, "window"],
    *,
    bank: Any,
) -> tuple[Float[np.ndarray, "window"], Float[np.ndarray, "window"]]:
    """Return cosines with the targets and with the others."""
    found = [np.einsum("bd,bd->b", queries, bank.gather(rows)).astype(np.float64) for rows in (targets, others)]
    return found[0], found[1]


def _tests(case: Case, spaces: dict[str, _Space]) -> dict[str, PairedTest]:
    """Test matched against random pairs in each space, and what is found behind the head against before it."""
    how: dict[str, Any] = {"resamples": case.effort.resamples, "seed": case.seed}
    found = {name: paired(space.matched, space.random, space.groups, **how) for name, space in spaces.items()}
    raw, projected = (per_window(spaces[name].ranks) for name in SPACES)
    groups = spaces["raw"].groups
    return {**found, **{metric: paired(projected[metric], raw[metric], groups, **how) for metric in METRICS}}


def _is_wrong(tests: dict[str, PairedTest], level: float) -> bool:
    """Tell whether the projected space clearly retrieves better than the one that is searched."""
    adjusted = holm([tests[metric].p_value for metric in METRICS])
    return any(side(tests[metric], p) > 0 and p < level for metric, p in zip(METRICS, adjusted, strict=True))


def _entry(spaces: dict[str, _Space], tests: dict[str, PairedTest]) -> dict[str, Any]:
    cosines = {
        name: {"matched": float(space.matched.mean()), "random": float(space.random.mean())}
        for name, space in spaces.items()
    }
    recall = {name: space.recall for name, space in spaces.items()}
    gaps = {name: interval_json(tests[name].difference) for name in SPACES}
    return {**cosines, "R@5": recall, "gap": gaps, "projected − raw": {m: paired_json(tests[m]) for m in METRICS}}


def _said(name: str, spaces: dict[str, _Space], tests: dict[str, PairedTest], chance: float) -> str:
    cosine = {
        which: f"{space.matched.mean():.3f} for matched and {space.random.mean():.3f} for random pairs"
        for which, space in spaces.items()
    }
    recall = {which: percent(space.recall) for which, space in spaces.items()}
    return (f"{name}, on test documents: cosine {cosine['raw']} in the raw space, {cosine['projected']} behind "
            f"the head; R@5 {recall['raw']} raw, {recall['projected']} projected (chance {percent(chance)}), "
            f"{points(tests['R@5'].difference)}.")  # fmt: skip


CHECK = Check(
    code="SG203",
    title="Projection-head compatibility",
    question="Does the space that the loss was computed in agree with the space that is searched?",
    detection="For rows trained with a projection head: cosine of prediction and target (matched) beside that of "
    "prediction and the target of another group of documents (random), and R@5 of searching, in the raw space and "
    "behind the head, on test windows of the first fold; differences are paired over groups of documents. Issue: by "
    "R@5 or MRR (Holm) the projected space clearly retrieves better than the one that is searched. Tip: so it is for a "
    f"row other than the subject, at p < {STRICT:g}.",
    why="A cosine behind a head says nothing alone: a trained contrastive head gives unrelated pairs a low or negative "
    "one. The report this project grew from read −0.12 as a conflict of objectives; random pairs had the same, since "
    "the truth was shuffled.",
    healthy="matched above random in both spaces, and no better recall behind the head",
    fix="train on the raw vectors, or build the index behind the head",
    unit="R@5 projected less raw",
    examine=examine,
    needs=("windows", "trained"),
)
