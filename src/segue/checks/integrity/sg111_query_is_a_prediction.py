"""SG111: is the query really a prediction, and not the truth or a copy of what was read?"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from segue.checks.case import BATCH, Case, CaseEntry, pair_cosines
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.evaluation.intervals import elsewhere
from segue.retrieval.retrievers.baselines import copy_last, mean, normalise
from segue.types import Contexts, Windows

EQUAL_COSINE = 0.999
"""Cosine from which a query equals the truth."""
MAXIMUM_EQUAL_SHARE = 0.2
"""Largest allowed share of an entry's queries that equal the truth."""
COPY_DISTANCE = 1e-6
"""Largest 1 − cosine of a query with what it copies."""
COPY_FIX = "train an entry that only copies longer or with a higher learning rate, or serve what it copies"
MINIMUM_COPY_SHARE = 0.99
"""Share of copies from which a trained entry has learnt nothing else."""


@dataclass(frozen=True)
class Queries:
    """Queries of an entry, compared with the truth.

    Attributes:
        equal: share of queries that equal the truth.
        truth, random: mean cosine with the truth, and with a random target.
        copies: what a trained entry copies (the last passage, the mean, its anchor); None where it does not.
        copied: share of queries that are that copy.
    """

    intent: str
    equal: float
    truth: float
    random: float
    copies: str | None
    copied: float


def examine(case: Case) -> Verdict:
    """Compare the queries of every entry with the truth, and those of trained entries with copies of the context."""
    windows = case.sample(case.folds[0])
    kept = ~_read_already(case, windows)
    if not kept.any():
        return not_applicable("the truth of every test window is among the passages read: see SG102")
    measure = functools.partial(_queries, case, windows, kept)
    found, error = each_entry(case.non_controls, measure)
    controls, _ = each_entry([entry for entry in case.first_entries if entry.intent == "control"], measure)
    known = found | controls
    details = {"windows": int(kept.sum()), "rows": known}
    controls_said = ", ".join(f"of {name}'s {one.equal:.0%}" for name, one in controls.items())
    beside = f"; {controls_said} (control)" if controls else ""
    highest = max((queries.equal for queries in found.values()), default=0.0)
    if highest > MAXIMUM_EQUAL_SHARE:
        said = [f"{queries.equal:.0%} of the queries of {name} have a cosine of {EQUAL_COSINE} or more with the truth "
            f"(mean {queries.truth:.3f}, a random target's {queries.random:.3f})"
                for name, queries in found.items() if queries.equal > MAXIMUM_EQUAL_SHARE]  # fmt: skip
        return Verdict("issue", f"{'; '.join(said[:3])}{beside}.", highest, MAXIMUM_EQUAL_SHARE, details)
    copies = {name: f"{name} answers with {one.copies} for {one.copied:.0%} of its windows"
              for name, one in known.items() if one.copies}  # fmt: skip
    if copies:
        text = f"{'; '.join([*copies.values()][:3])}: training has added nothing to it{beside}."
        caveats = {name: f"{copied}: training has added nothing." for name, copied in copies.items()}
        return Verdict("tip", text, highest, MAXIMUM_EQUAL_SHARE, details, COPY_FIX, caveats, error)
    said_passed = f"At most {highest:.1%} of an entry's queries have a cosine of {EQUAL_COSINE} or more with the truth"
    return Verdict("passed", f"{said_passed}{beside}.", highest, MAXIMUM_EQUAL_SHARE, details, error=error)


def _read_already(case: Case, windows: Windows) -> Bool[np.ndarray, "window"]:
    """Mark the windows whose truth is among the passages read; copying it is allowed."""
    parts = [np.zeros(0, dtype=bool)]
    for batch in windows.batches(BATCH):
        cosine = np.einsum("bcd,bd->bc", case.read(batch).vectors, case.bank.gather(batch.target))
        parts.append((cosine >= EQUAL_COSINE).any(axis=1))
    return np.concatenate(parts)


def _queries(case: Case, windows: Windows, kept: Bool[np.ndarray, "window"], entry: CaseEntry) -> Queries | None:
    """Compare an entry's queries with the truth and with a random target; None without queries."""
    queries = case.queries(entry)
    if queries is None or queries.shape[1] != case.bank.dimension:
        return None
    truth = case.bank.gather(windows.target)
    other = truth[elsewhere(case.groups_of(windows), case.generator("SG111"))]
    queries = normalise(queries)
    cosine, random = (pair_cosines(queries, vectors)[kept] for vectors in (truth, other))
    copies, copied = _copies(case, entry, queries) if entry.trained is not None else (None, 0.0)
    equal = float((cosine >= EQUAL_COSINE).mean())
    return Queries(entry.intent, equal, float(cosine.mean()), float(random.mean()), copies, copied)


def _copies(case: Case, entry: CaseEntry, queries: Float[np.ndarray, "window dim"]) -> tuple[str | None, float]:
    """Return what a trained entry merely copies, and the share of its queries that are that copy."""
    windows = case.sample(case.fold_of(entry))
    answers = [_untrained_answers(entry, case.read(batch)) for batch in windows.batches(BATCH)]
    found = {}
    for name in answers[0]:
        copies = normalise(np.concatenate([part[name] for part in answers]))
        found[name] = float((pair_cosines(queries, copies) >= 1 - COPY_DISTANCE).mean())
    best = max(found, key=lambda name: found[name])
    return (best, found[best]) if found[best] >= MINIMUM_COPY_SHARE else (None, found[best])


def _untrained_answers(entry: CaseEntry, contexts: Contexts) -> dict[str, Float[np.ndarray, "batch dim"]]:
    """Return the answers that need no training; the anchor answers with the weights that it has."""
    answers = {"the last passage": copy_last(contexts), "the mean of the context": mean(contexts)}
    anchor = entry.training.predictor.anchor
    if anchor is not None:
        vectors, mask = torch.from_numpy(np.array(contexts.vectors)), torch.from_numpy(np.array(contexts.mask))
        with torch.inference_mode():
            answers["its anchor alone"] = anchor(vectors, mask).numpy()
    return answers


CHECK = Check(
    code="SG111",
    title="Query is a prediction",
    question="Is the query really a prediction?",
    detection="The queries of every entry of the first fold are compared with the true vectors: a cosine of "
    f"{EQUAL_COSINE} or more for over {MAXIMUM_EQUAL_SHARE:.0%} of the windows blocks, controls aside. Windows whose "
    "truth is among the passages read do not count. A trained entry whose queries equal the last passage, the mean or "
    f"its own anchor (1 − cosine ≤ {COPY_DISTANCE:g} for {MINIMUM_COPY_SHARE:.0%} of the windows) is a tip.",
    why="An evaluation script that searches with the stored true vector, or without any model, reports a perfect or a "
    "plausible score, and nothing was predicted.",
    healthy="no query equals the truth but the oracle's",
    fix="search with the model's answer to the context",
    unit="share of queries",
    examine=examine,
    needs=("windows", "entries"),
)
