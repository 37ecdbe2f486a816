"""SG110: is the space the loss was computed in the space that is indexed and served?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry, spread
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.evaluation.compatibility import project

PROBED = 16
"""Rows of the bank whose vectors are compared with those that an entry searches."""
TOLERANCE = 1e-3
"""Largest Euclidean distance between equal vectors; half-precision storage stays below."""


@dataclass(frozen=True)
class Spaces:
    """The spaces of an entry.

    Attributes:
        loss, searched: spaces of the loss and of the search: ``raw`` or ``projected``; the second may be ``another``.
        stated: space of the loss by each place that states it.
        recall: validation R@5 in the raw and in the projected space; None where it was not measured.
        problem: what is wrong, as the rest of a sentence that begins with the entry's name; None where nothing is.
    """

    loss: str
    searched: str
    stated: Mapping[str, str]
    intent: str
    recall: Mapping[str, float | None]
    problem: str | None


def examine(case: Case) -> Verdict:
    """Compare the space of every trained entry's loss with the space that the entry searches."""
    found, error = each_entry(case.trained_entries, lambda entry: _spaces(case, entry))
    wrong = {name: spaces.problem for name, spaces in found.items() if spaces.problem}
    chance = min(1.0, 5 / case.pool.size)
    details = {"rows": found, "chance": chance}
    if wrong:
        said = "; ".join(f"{name} {problem}" for name, problem in list(wrong.items())[:3])
        more = f"; {len(wrong) - 3} more entries have the same problem" if len(wrong) > 3 else ""
        return Verdict("issue", f"Of {len(found)} trained entries {said}{more}.", float(len(wrong)), 0.0, details)
    apart = {name: spaces.recall for name, spaces in found.items() if spaces.loss != spaces.searched}
    said = f"{len(found) - len(apart)} of {len(found)} trained entries search the space that their loss was computed in"
    if apart:
        declared = [f"{name} (validation R@5 {both['raw']:.1%} raw, {both['projected']:.1%} projected)"
                    for name, both in list(apart.items())[:3]]  # fmt: skip
        said += f"; declared exceptions: {', '.join(declared)}, where chance is {chance:.2%}"
    return Verdict("passed", f"{said}.", 0.0, 0.0, details, error=error)


def _spaces(case: Case, entry: CaseEntry) -> Spaces:
    trained = entry.training
    stated = {"the checkpoint": trained.config.loss_space,
              "the settings of the loss": trained.loss_space,
              "the loss's weights": trained.weights_space}  # fmt: skip
    loss = "projected" if "projected" in stated.values() else "raw"
    searched = _searched_space(case, entry, loss)
    measured = (trained.record.get("compatibility") or {}).get("R@5") or {}
    recall = {name: measured.get(name) for name in ("raw", "projected")}
    return Spaces(loss, searched, stated, entry.intent, recall, _problem(entry, stated, searched, recall))


def _problem(
    entry: CaseEntry, stated: Mapping[str, str], searched: str, recall: Mapping[str, float | None]
) -> str | None:
    if len(set(stated.values())) > 1:
        said = " and ".join(f"{place} says {space}" for place, space in stated.items())
        return f"contradicts itself about the space of its loss: {said}"
    loss = stated["the checkpoint"]
    if loss == searched:
        return None
    if searched == "another" and entry.training.encoder is not None:
        return "searches passages that are not as its own document tower encodes them: its loss was computed on those"
    known = [f"{value:.1%} {name}" for name, value in recall.items() if value is not None]
    both = f" (validation R@5 {', '.join(known)})" if known else ""
    if entry.intent not in ("projected", "control"):
        return f"was trained in the {loss} space and searches the {searched} one without declaring it{both}"
    if len(known) < len(recall):
        return f"declares another space than its loss's, but R@5 was not measured in both{both}"
    return None


def _searched_space(case: Case, entry: CaseEntry, loss: str) -> str:
    """Return ``raw`` where an entry searches the bank's vectors, ``projected`` where it searches their projections.

    An entry with a document tower searches what its checkpoint's tower makes of the bank's vectors: that is ``raw``.
    """
    rows = spread(len(case.bank), PROBED)
    raw, searched = case.bank.gather(rows), entry.retriever.pool.bank.gather(rows)
    if _same(entry.as_searched(raw), searched):
        return "raw"
    projected = loss == "projected" and _same(project(entry.training.loss, raw), searched)
    return "projected" if projected else "another"


def _same(one: Float[np.ndarray, "rows _"], other: Float[np.ndarray, "rows _"]) -> bool:
    return one.shape == other.shape and bool(np.linalg.norm(one - other, axis=1).max() <= TOLERANCE)


CHECK = Check(
    code="SG110",
    title="Loss space is served",
    question="Is the space the loss was computed in the space that is indexed and served?",
    detection="For every trained entry of every fold the space of its loss (by its checkpoint, by the settings of the "
    "loss and by the trained weights, which must agree) is compared with the space of the vectors that the entry "
    "searches; those of an entry with a document tower must be what that tower makes of the bank. Where they differ "
    "the entry must declare it (intent “projected”) and R@5 must have been measured in both spaces on validation "
    "documents.",
    why="A projection head learns a separate space. A model trained behind a head and searched without it can gain "
    "cosine and lose R@5.",
    healthy="every entry searches the space of its loss, or declares that it does not and has both numbers",
    fix="compute the loss on the vectors that are searched, or index the projected ones, or declare the entry as "
    "projected and measure R@5 in both spaces",
    unit="entries",
    examine=examine,
    needs=("trained",),
)
