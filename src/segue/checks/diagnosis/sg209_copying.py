"""SG209: does the prediction copy what was just read?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.sg103_truth_carries_information import elsewhere
from segue.checks.statistics import lower_limit, percent
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.types import Contexts, Windows

OFFSETS = tuple(range(-4, 5))
"""Counted from the last passage read: 0 is that passage, 1 the target."""
SAME = 0.95
"""Cosine with a copy of the context from which the prediction is that copy."""
COPIES = {"last passage": "copy-last's answer", "mean": "the mean of the context"}
MOSTLY = 0.5
"""Share of windows whose nearest passage is the last one read, from which it is worth knowing."""


def examine(case: Case) -> Verdict:
    """Find the nearest offset of each prediction, on the subject and beside it."""
    own = [found for row in case.subject_entries if (found := _measure(case, row)) is not None]
    if not own:
        return not_applicable("the row in question has no query vectors")
    worst = max(own, key=lambda found: max(copy["cosine"] for copy in found["copies"].values()))
    rows = {row.name: found for row in case.shown if (found := _measure(case, row)) is not None}
    copied = max(worst["copies"], key=lambda name: worst["copies"][name]["cosine"])
    outcome = _outcome(worst)
    details = {"rows": rows, "copied": copied}
    return Verdict(outcome, _statement(worst, copied, rows), worst["copies"][copied]["cosine"], SAME, details)


def _outcome(found: dict[str, Any]) -> Any:
    """Judge by lower limits; without any, there are too few documents to tell."""
    if any(copy["low"] is not None and copy["low"] >= SAME for copy in found["copies"].values()):
        return "issue"
    low = found["nearest_is_last"]["low"]
    return "tip" if low is not None and low >= MOSTLY else "passed"


def _statement(found: dict[str, Any], copied: str, rows: dict[str, Any]) -> str:
    shares = dict(zip(found["offsets"], found["nearest"], strict=True))
    cosines = dict(zip(found["offsets"], found["cosine"], strict=True))
    before = sum(share for offset, share in shares.items() if offset < 0)
    said = (f"Of the passages around it the prediction is nearest to the last one read in {percent(shares[0])} of "
            f"windows, to an earlier one in {percent(before)}, to the target in {percent(shares[1])}. Its mean cosine "
            f"is {_number(cosines[0])} with the last one read and {_number(cosines[1])} with the target, beside "
            f"{_number(found['random']['same document'])} with a random passage of the document and "
            f"{_number(found['random']['other document'])} of another; with {COPIES[copied]} it is "
            f"{found['copies'][copied]['cosine']:.3f}.")  # fmt: skip
    if found["copying_ratio"] is not None:
        other = rows.get("copy-last", {}).get("copying_ratio")
        said += f" Copying ratio {found['copying_ratio']:.2f}" + (f", copy-last's {other:.2f}." if other else ".")
    return said


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _measure(case: Case, row: CaseEntry) -> dict[str, Any] | None:
    windows = case.sample(case.fold_of(row))
    queries = case.queries(row) if len(windows) else None
    if queries is None:
        return None
    rows, present = around(case, windows)
    cosines = np.where(present, _cosines(case, queries, rows, present), np.nan)
    nearest = np.where(present, cosines, -np.inf).argmax(axis=1)
    contexts = case.gather(case.bank, windows, exclude="none", texts=False)
    groups = case.groups_of(windows)
    is_last = (nearest == OFFSETS.index(0)).astype(np.float64)
    return {
        "offsets": list(OFFSETS),
        "nearest": (np.bincount(nearest, minlength=len(OFFSETS)) / len(nearest)).tolist(),
        "cosine": [_mean(column[~np.isnan(column)]) for column in cosines.T],
        "copying_ratio": _copying_ratio(row),
        "random": _random(case, windows, queries),
        "copies": _copies(case, contexts, queries, groups),
        "nearest_is_last": {
            "share": float(is_last.mean()),
            "low": lower_limit(is_last, groups, resamples=case.effort.resamples),
        },
    }


def around(case: Case, windows: Windows) -> tuple[Int[np.ndarray, "window offset"], Bool[np.ndarray, "window offset"]]:
    """Return the rows around each last passage read, and which of them are live passages of its document."""
    last = windows.context[:, -1]
    rows = last[:, None] + np.array(OFFSETS)
    inside = (rows >= 0) & (rows < len(case.bank))
    held = np.where(inside, rows, 0)
    document = case.bank.document_of
    present = inside & (document[held] == document[last][:, None]) & case.bank.alive[held]
    return np.where(present, rows, -1), present


def _cosines(
    case: Case,
    queries: Float[np.ndarray, "window dim"],
    rows: Int[np.ndarray, "window offset"],
    present: Bool[np.ndarray, "window offset"],
) -> Float[np.ndarray, "window offset"]:
    """Return the cosine of each query with each passage around; one offset at a time holds memory down."""
    columns = [
        np.einsum("wd,wd->w", queries, case.bank.gather(np.where(here, column, 0)))
        for column, here in zip(rows.T, present.T, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _random(case: Case, windows: Windows, queries: Float[np.ndarray, "window dim"]) -> dict[str, float | None]:
    """Return the mean cosine with a random passage of the document, not one of those around, and of another one."""
    generator = case.generator("SG209 random")
    document = case.documents(windows)
    drawn = case.bank.first_row[document] + generator.integers(0, case.bank.num_rows[document])
    far = (abs(drawn - windows.context[:, -1]) > max(OFFSETS)) & case.bank.alive[drawn]
    groups = case.groups_of(windows)
    other = elsewhere(groups, generator)
    apart = groups[other] != groups
    same = np.einsum("wd,wd->w", queries[far], case.bank.gather(drawn[far].astype(np.int64)))
    else_ = np.einsum("wd,wd->w", queries[apart], case.bank.gather(windows.target[other[apart]]))
    return {"same document": _mean(same), "other document": _mean(else_)}


def _copies(
    case: Case,
    contexts: Contexts,
    queries: Float[np.ndarray, "window dim"],
    groups: Int[np.ndarray, "window"],
) -> dict[str, dict[str, float | None]]:
    """Return how near the prediction is to what copying would answer."""
    made = {"last passage": copy_last(contexts), "mean": mean(contexts)}
    found = {}
    for name, vectors in made.items():
        cosines = np.einsum("wd,wd->w", queries, vectors).astype(np.float64)
        low = lower_limit(cosines, groups, resamples=case.effort.resamples)
        found[name] = {"cosine": float(cosines.mean()), "low": low}
    return found


def _mean(values: Float[np.ndarray, "some"]) -> float | None:
    return float(values.mean()) if len(values) else None


def _copying_ratio(row: CaseEntry) -> float | None:
    """Return the evaluation's copying ratio; None where it has none."""
    found = row.evaluation.metrics.get("copying ratio") if row.evaluation is not None else None
    return None if found is None or not np.isfinite(found.value) else float(found.value)


CHECK = Check(
    code="SG209",
    title="Copying",
    question="Does the prediction copy what was just read?",
    detection="Offsets are counted from the last passage read: 0 is that passage, 1 the target. Each prediction is "
    f"compared with the passages at offsets {OFFSETS[0]} to {OFFSETS[-1]} of its document: which is nearest, and the "
    "mean cosine of each. An issue where the mean cosine with the last passage, or with the mean of the context, is "
    f"{SAME:g} or more (lower limit, bootstrap over groups of documents); a tip where the last passage is nearest in "
    f"{MOSTLY:.0%} of windows or more. Beside it: random passages, and the copying ratio of Large Concept Models "
    "(Barrault et al., 2024).",
    why="The last passage is a good guess, and a model that learnt nothing else has its score without being worth its "
    "cost. Evaluated with the context left among the candidates it even looks broken.",
    healthy="nearer to the target than copying is, and no copy of the context",
    fix="train longer, with a contrastive loss and the context among the negatives; or serve copy-last",
    unit="cosine",
    examine=examine,
    needs=("windows", "entries"),
)
