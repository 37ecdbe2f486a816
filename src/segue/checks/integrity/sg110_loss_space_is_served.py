"""SG110: is the space the loss was computed in the space that is indexed and served?"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from segue.checks.case import Case, CaseEntry, Trained
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.errors import InputError
from segue.evaluation.compatibility import project

PROBED = 16
"""Rows of the bank whose vectors are compared with those that a row searches."""
SAME = 1e-3
"""Euclidean distance up to which they are the same: half-precision storage stays below."""
HEAD = "projection."
"""How the weights of a projection head are named in the loss's file."""


def examine(case: Case) -> Verdict:
    """Compare the space of every trained row's loss with the space that the row searches."""
    rows = [row for row in case.entries if row.trained is not None]
    found, error = each_entry(rows, functools.partial(_row, case))
    wrong = {name: str(row["problem"]) for name, row in found.items() if row["problem"]}
    details = {"rows": found, "chance": min(1.0, 5 / case.pool.size)}
    if wrong:
        said = "; ".join(f"{name} {problem}" for name, problem in list(wrong.items())[:3])
        more = f"; {len(wrong) - 3} more rows likewise" if len(wrong) > 3 else ""
        return Verdict("issue", f"Of {len(found)} trained rows {said}{more}.", float(len(wrong)), 0.0, details)
    if error is not None:
        raise error
    return Verdict("passed", _acquittal(found, case.pool.size), 0.0, 0.0, details)


def _acquittal(found: Mapping[str, Mapping[str, Any]], candidates: int) -> str:
    apart = {name: row["R@5"] for name, row in found.items() if row["loss"] != row["searched"]}
    said = f"{len(found) - len(apart)} of {len(found)} trained rows search the space that their loss was computed in"
    if not apart:
        return f"{said}."
    declared = [f"{name} (validation R@5 {both['raw']:.1%} raw, {both['projected']:.1%} projected)"
                for name, both in list(apart.items())[:3]]  # fmt: skip
    chance = min(1.0, 5 / candidates)
    return f"{said}; not so, and declared: {', '.join(declared)}, where chance is {chance:.2%}."


def _row(case: Case, row: CaseEntry) -> dict[str, Any]:
    """Return the two spaces of a row, what it measured in both, and what is wrong, if anything."""
    trained = cast(Trained, row.trained)
    spaces = {"the checkpoint": trained.config.loss_space,
              "the settings of the loss": _settings_space(trained),
              "the loss's weights": _weights_space(trained)}  # fmt: skip
    loss = "projected" if "projected" in spaces.values() else "raw"
    searched = _searched_space(case, row, loss)
    measured = (trained.record.get("compatibility") or {}).get("R@5") or {}
    return {
        "loss": loss,
        "searched": searched,
        "said_by": spaces,
        "intent": row.intent,
        "R@5": {name: measured.get(name) for name in ("raw", "projected")},
        "problem": _problem(row, spaces, searched, measured),
    }


def _problem(row: CaseEntry, spaces: Mapping[str, str], searched: str, measured: Mapping[str, Any]) -> str | None:
    """Say what is wrong, as the rest of a sentence that begins with the row's name."""
    if len(set(spaces.values())) > 1:
        said = " and ".join(f"{who} says {space}" for who, space in spaces.items())
        return f"contradicts itself about the space of its loss: {said}"
    loss = spaces["the checkpoint"]
    if loss == searched:
        return None
    if searched == "another" and _has_tower(row):
        return "searches passages that are not as its own document tower encodes them: its loss was computed on those"
    if row.intent not in ("projected", "control"):
        return f"was trained in the {loss} space and searches the {searched} one without declaring it{_both(measured)}"
    if any(measured.get(name) is None for name in ("raw", "projected")):
        return f"declares another space than its loss's, but R@5 was not measured in both{_both(measured)}"
    return None


def _has_tower(row: CaseEntry) -> bool:
    """Tell whether a row's checkpoint has a document tower that learnt."""
    return row.trained is not None and row.trained.encoder is not None


def _both(measured: Mapping[str, Any]) -> str:
    known = [f"{measured[name]:.1%} {name}" for name in ("raw", "projected") if measured.get(name) is not None]
    return f" (validation R@5 {', '.join(known)})" if known else ""


def _settings_space(trained: Trained) -> str:
    return "projected" if any(term.space == "projected" for term in trained.loss_settings.terms) else "raw"


def _weights_space(trained: Trained) -> str:
    """Return ``projected`` where training left the weights of a head."""
    path = trained.folder / "training" / "loss.safetensors"
    if not path.exists():
        return _settings_space(trained)
    try:
        with safe_open(path, framework="np") as stored:
            return "projected" if any(name.startswith(HEAD) for name in stored.keys()) else "raw"  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read", got=str(error), fix="train the row again") from error


def _searched_space(case: Case, row: CaseEntry, loss: str) -> str:
    """Return ``raw`` where a row searches the bank's vectors, ``projected`` where it searches them behind its head.

    The vectors of a row with a document tower are those that its checkpoint's tower makes of the bank's.
    """
    rows = np.unique(np.linspace(0, len(case.bank) - 1, PROBED).round().astype(np.int64))
    raw, searched = case.bank.gather(rows), row.retriever.pool.bank.gather(rows)
    if _same(row.as_searched(raw), searched):
        return "raw"
    head = cast(Trained, row.trained).loss if loss == "projected" else None
    return "projected" if head is not None and _same(project(head, raw), searched) else "another"


def _same(one: Float[np.ndarray, "rows _"], other: Float[np.ndarray, "rows _"]) -> bool:
    return one.shape == other.shape and bool(np.linalg.norm(one - other, axis=1).max() <= SAME)


CHECK = Check(
    code="SG110",
    title="Loss space is served",
    question="Is the space the loss was computed in the space that is indexed and served?",
    detection="For every trained row of every fold the space of its loss (by its checkpoint, by the settings of the "
    "loss and by the weights that training left, which must agree) is compared with the space of the vectors that the "
    "row searches; those of a row with a document tower must be what that tower makes of the bank. Where they differ "
    "the row must declare it (intent “projected”) and R@5 must have been measured in both spaces on validation "
    "documents.",
    why="A projection head learns a space of its own; what is pulled together there may lie anywhere in the space that "
    "is indexed. The report's second model was trained behind a head and searched without it: its cosine rose and its "
    "R@5 fell.",
    healthy="every row searches the space of its loss, or declares that it does not and has both numbers",
    fix="compute the loss on the vectors that are searched, or index the projected ones, or declare the row as "
    "projected and measure R@5 in both spaces",
    unit="rows",
    examine=examine,
    needs=("trained",),
)
