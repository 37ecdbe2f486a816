"""SG111: is the query really a prediction, and not the truth or a copy of what was read?"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.sg103_truth_carries_information import elsewhere
from segue.checks.run import each_entry
from segue.retrieval.retrievers.baselines import copy_last, mean, normalise
from segue.types import Contexts, Windows

EQUAL = 0.999
"""Cosine from which a query is the truth."""
MOST_EQUAL = 0.2
"""Share of a row's queries that may be."""
COPY = 1e-6
"""1 − cosine up to which a query is a copy."""
MOST_COPIES = 0.99
"""Share of a trained row's queries from which it is nothing but a copy."""
BATCH = 1024


def examine(case: Case) -> Verdict:
    """Compare the queries of every row with the truth, and those of trained rows with copies of the context."""
    fold = case.folds[0]
    windows = case.sample(fold)
    asked = ~_read_already(case, windows)
    if not asked.any():
        return not_applicable("the truth of every test window is among the passages read: see SG102")
    ask = functools.partial(_row, case, windows, asked)
    found, error = each_entry(case.non_controls, ask)
    controls, _ = each_entry([row for row in case.first_entries if row.intent == "control"], ask)
    known = {name: row for name, row in (found | controls).items() if row is not None}
    details: dict[str, Any] = {"windows": int(asked.sum()), "rows": known}
    truths = {name: row for name, row in known.items() if row["equal"] > MOST_EQUAL and row["intent"] != "control"}
    if truths:
        return Verdict("issue", _accusation(truths, known), max(row["equal"] for row in truths.values()), MOST_EQUAL,
                       details)  # fmt: skip
    if error is not None:
        raise error
    highest = max((row["equal"] for row in known.values() if row["intent"] != "control"), default=0.0)
    copies = [f"{name} answers with {row['copies']} for {row['copied']:.0%} of its windows"
              for name, row in known.items() if row["copies"]]  # fmt: skip
    if copies:
        said = f"{'; '.join(copies[:3])}: training has added nothing to it"
        return Verdict("tip", f"{said}{_next_to(known)}.", highest, MOST_EQUAL, details)
    return Verdict("passed", _acquittal(known, highest), highest, MOST_EQUAL, details)


def _acquittal(rows: dict[str, Any], highest: float) -> str:
    return f"At most {highest:.1%} of a row's queries have a cosine of {EQUAL} or more with the truth{_next_to(rows)}."


def _accusation(truths: dict[str, Any], rows: dict[str, Any]) -> str:
    said = [f"{row['equal']:.0%} of the queries of {name} have a cosine of {EQUAL} or more with the truth (mean "
            f"{row['truth']:.3f}, a random target's {row['random']:.3f})"
            for name, row in list(truths.items())[:3]]  # fmt: skip
    return f"{'; '.join(said)}{_next_to(rows)}."


def _next_to(rows: dict[str, Any]) -> str:
    """Return the controls as the end of a sentence."""
    said = [f"of {name}'s {row['equal']:.0%}" for name, row in rows.items() if row["intent"] == "control"]
    return f"; {', '.join(said)} (control)" if said else ""


def _read_already(case: Case, windows: Windows) -> Bool[np.ndarray, "window"]:
    """Tell which windows have a truth that stands among the passages read: to copy it is no clairvoyance."""
    parts = []
    for start in range(0, len(windows), BATCH):
        batch = windows.take(slice(start, start + BATCH))
        contexts = case.gather(case.bank, batch, exclude="none", texts=False)
        cosine = np.einsum("bcd,bd->bc", contexts.vectors, case.bank.gather(batch.target))
        parts.append((cosine >= EQUAL).any(axis=1))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def _row(case: Case, windows: Windows, asked: Bool[np.ndarray, "window"], row: CaseEntry) -> dict[str, Any] | None:
    """Return the cosines of a row's queries with the truth and with a random target; None without queries."""
    queries = case.queries(row)
    if queries is None or queries.shape[1] != case.bank.dimension:
        return None
    truth = case.bank.gather(windows.target)
    other = truth[elsewhere(case.groups_of(windows), case.generator("SG111"))]
    queries = normalise(queries)
    cosine = np.einsum("bd,bd->b", queries, truth)[asked]
    copies, copied = _copies(case, windows, row, queries) if row.trained is not None else (None, 0.0)
    return {
        "intent": row.intent,
        "equal": float((cosine >= EQUAL).mean()),
        "truth": float(cosine.mean()),
        "random": float(np.einsum("bd,bd->b", queries, other)[asked].mean()),
        "copies": copies,
        "copied": copied,
    }


def _copies(
    case: Case, windows: Windows, row: CaseEntry, queries: Float[np.ndarray, "window dim"]
) -> tuple[str | None, float]:
    """Return what a trained row merely copies (the last passage, the mean, its anchor), and for which share."""
    shares: dict[str, list[Bool[np.ndarray, "batch"]]] = {}
    for start in range(0, len(windows), BATCH):
        part = slice(start, start + BATCH)
        contexts = case.gather(case.bank, windows.take(part), exclude="none", texts=False)
        for name, copy in _simple_answers(row, contexts).items():
            shares.setdefault(name, []).append(np.einsum("bd,bd->b", queries[part], normalise(copy)) >= 1 - COPY)
    found = {name: float(np.concatenate(parts).mean()) for name, parts in shares.items()}
    best = max(found, key=lambda name: found[name])
    return (best, found[best]) if found[best] >= MOST_COPIES else (None, found[best])


def _simple_answers(row: CaseEntry, contexts: Contexts) -> dict[str, Float[np.ndarray, "batch dim"]]:
    """Return the answers that need no training; the anchor is asked with the weights that it has."""
    answers = {"the last passage": copy_last(contexts), "the mean of the context": mean(contexts)}
    anchor = None if row.trained is None else row.trained.predictor.anchor
    if anchor is not None:
        with torch.inference_mode():
            answers["its anchor alone"] = anchor(
                torch.from_numpy(np.array(contexts.vectors)), torch.from_numpy(np.array(contexts.mask))
            ).numpy()
    return answers


CHECK = Check(
    code="SG111",
    title="Query is a prediction",
    question="Is the query really a prediction?",
    detection="The queries of every row of the first fold are compared with the true vectors: a cosine of "
    f"{EQUAL} or more for over {MOST_EQUAL:.0%} of the windows blocks, controls aside. Windows whose truth stands "
    "among the passages read do not count. A trained row whose queries equal the last passage, the mean or its own "
    f"anchor (1 − cosine ≤ {COPY:g} for {MOST_COPIES:.0%} of the windows) is a tip.",
    why="An evaluation script that searches with the stored true vector, or with no model at all, reports a perfect or "
    "a plausible score, and nothing was predicted.",
    healthy="no query equals the truth but the oracle's",
    fix="search with what the model answers to the context, and train a row that only copies longer or with a higher "
    "learning rate",
    unit="share of queries",
    examine=examine,
    needs=("windows", "entries"),
)
