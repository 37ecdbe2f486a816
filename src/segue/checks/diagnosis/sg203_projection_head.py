"""SG203: are the raw and the projected space compatible?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry, pair_cosines
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import LEVEL, paired_json, paired_test, percent, points, side
from segue.evaluation.compatibility import project, projected_bank
from segue.evaluation.intervals import PairedTest, elsewhere, holm
from segue.evaluation.metrics import per_window
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.types import Bank
from segue.windows.windows import excluded_rows

SPACES = ("raw", "projected")
METRICS = ("R@5", "MRR")
CUTOFF = 5
STRICT_LEVEL = 0.01
"""Significance level for entries other than the subject: there may be many, and none explains its numbers."""


@dataclass(frozen=True)
class InSpace:
    """An entry in one space: by window, the cosines of matched and of random pairs, and the rank of the target."""

    matched: Float[np.ndarray, "window"]
    random: Float[np.ndarray, "window"]
    ranks: Int[np.ndarray, "window"]

    @property
    def recall(self) -> float:
        """R@5 of searching in this space."""
        return float((self.ranks <= CUTOFF).mean())

    def __str__(self) -> str:
        return f"{self.matched.mean():.3f} for matched and {self.random.mean():.3f} for random pairs"


def examine(case: Case) -> Verdict:
    """Measure the subject, and the other entries with a head, in both spaces."""
    entries = [entry for entry in case.shown if entry.trained and entry.trained.loss_space == "projected"]
    if not entries:
        return not_applicable("no entry was trained with a projection head")
    spaces = {entry.name: _in_spaces(case, entry) for entry in entries}
    tests = {entry.name: _tests(case, entry, spaces[entry.name]) for entry in entries}
    chance = CUTOFF / case.pool.size
    details = {"rows": {name: _entry_details(spaces[name], tests[name]) for name in spaces}, "chance": chance}
    wrong = {name: _is_wrong(found, LEVEL if name == case.subject else STRICT_LEVEL) for name, found in tests.items()}
    worst = max(tests, key=lambda name: (wrong[name], name == case.subject, tests[name]["R@5"].difference.value))
    raw, projected = (spaces[worst][space] for space in SPACES)
    change = tests[worst]["R@5"].difference
    said = (f"{worst}, on test documents: cosine {raw} in the raw space, {projected} behind the head; R@5 "
            f"{percent(raw.recall)} raw, {percent(projected.recall)} projected (chance {percent(chance)}), "
            f"{points(change)}.")  # fmt: skip
    if not wrong[worst]:
        return Verdict("passed", said, change.value, 0.0, details)
    said += " It was trained behind a projection head, and the projected space is not searched."
    # Of the subject alone it explains its numbers; of another entry it is worth knowing.
    return Verdict("issue" if worst == case.subject else "tip", said, change.value, 0.0, details)


def _in_spaces(case: Case, entry: CaseEntry) -> dict[str, InSpace]:
    windows, loss = case.sample(case.fold_of(entry)), entry.training.loss
    queries = case.queries(entry)
    assert queries is not None, "a predictor answers with vectors"
    other = windows.target[elsewhere(case.groups_of(windows), case.generator(f"SG203 {entry.name}"))]
    bank, behind = projected_bank(case.bank, loss), project(loss, queries)
    exclude = excluded_rows(case.bank, windows, case.exclude)
    ranks = target_ranks(behind, Pool(bank), windows.target, exclude=exclude)

    def in_space(space: Bank, vectors: Float[np.ndarray, "window dim"], ranks: Int[np.ndarray, "window"]) -> InSpace:
        cosines = (pair_cosines(vectors, space.gather(rows)).astype(np.float64) for rows in (windows.target, other))
        return InSpace(next(cosines), next(cosines), ranks)

    return {"raw": in_space(case.bank, queries, case.ranks(entry)), "projected": in_space(bank, behind, ranks)}


def _tests(case: Case, entry: CaseEntry, spaces: dict[str, InSpace]) -> dict[str, PairedTest]:
    """Test matched against random pairs in each space, and the metrics behind the head against those before it."""
    groups = case.groups_of(case.sample(case.fold_of(entry)))
    raw, projected = (per_window(spaces[name].ranks) for name in SPACES)
    return {
        **{name: paired_test(case, space.matched, space.random, groups) for name, space in spaces.items()},
        **{metric: paired_test(case, projected[metric], raw[metric], groups) for metric in METRICS},
    }


def _is_wrong(tests: dict[str, PairedTest], level: float) -> bool:
    """Return whether the projected space retrieves clearly better than the one that is searched."""
    adjusted = holm([tests[metric].p_value for metric in METRICS])
    return any(side(tests[metric], p) > 0 and p < level for metric, p in zip(METRICS, adjusted, strict=True))


def _entry_details(spaces: dict[str, InSpace], tests: dict[str, PairedTest]) -> dict[str, object]:
    cosines = {name: {"matched": float(space.matched.mean()), "random": float(space.random.mean())}
               for name, space in spaces.items()}  # fmt: skip
    return {
        **cosines,
        "R@5": {name: space.recall for name, space in spaces.items()},
        "gap": {name: tests[name].difference for name in SPACES},
        "projected − raw": {metric: paired_json(tests[metric]) for metric in METRICS},
    }


CHECK = Check(
    code="SG203",
    title="Projection-head compatibility",
    question="Does the space that the loss was computed in agree with the space that is searched?",
    detection="For entries trained with a projection head: cosine of prediction and target (matched), compared with "
    "that of prediction and the target of another group of documents (random), and R@5 of searching, in the raw space "
    "and behind the head, on test windows of the first fold; differences are paired over groups of documents. Issue: "
    "by R@5 or MRR (Holm) the projected space clearly retrieves better than the one that is searched. Tip: the same "
    f"for an entry other than the subject, at p < {STRICT_LEVEL:g}.",
    why="A cosine behind a head means nothing by itself: a trained contrastive head gives unrelated pairs a low or "
    "negative cosine. Without the random pairs, a negative cosine is mistaken for a conflict of objectives.",
    healthy="matched above random in both spaces, and no better recall behind the head",
    fix="train on the raw vectors, or build the index behind the head",
    unit="R@5 projected minus raw",
    examine=examine,
    needs=("windows", "trained"),
)
