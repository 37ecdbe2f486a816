"""SG101: is every target in the index that is searched?"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.retrieval.index import Index

PROBED = 256
"""Targets whose own vectors are searched in an entry's index."""


def examine(case: Case) -> Verdict:
    """Count the targets and their documents among the candidates, and search some targets by their own vectors."""
    total, absent, unknown = 0, 0, 0
    held = set(case.bank.document_ids)
    for fold in case.folds:
        total += len(fold.test)
        absent += int((case.pool.candidates_of(fold.test.target) < 0).sum())
        unknown += sum(name not in held for name in (case.query_documents or {}).get(fold.number, ()))
    searched, error = each_entry(case.first_entries, lambda entry: _lost_by_index(case, entry))
    lost = {name: share for name, share in searched.items() if share > 0}
    worst = max([max(absent, unknown) / max(1, total), *lost.values()])
    details = {"targets": total, "targets_absent": absent, "documents_absent": unknown, "lost_by_index": lost}
    if worst == 0:
        said = f"All {total:,} targets are among the {case.pool.size:,} candidates."
        return Verdict("passed", said, 0.0, 0.0, details, error=error)
    parts = [
        *([f"{absent:,} of {total:,} targets are not candidates"] if absent else []),
        *([f"{unknown:,} of {total:,} queries are from documents that the index does not hold"] if unknown else []),
        *(f"the index of {name} does not find {share:.0%} of the targets by their own vectors"
          for name, share in lost.items()),
    ]  # fmt: skip
    return Verdict("issue", f"{'; '.join(parts)}.", worst, 0.0, details)


def _lost_by_index(case: Case, entry: CaseEntry) -> float | None:
    """Return the share of probed targets that the entry's index does not find by their own vectors; None if unknown."""
    index: Index | None = getattr(entry.retriever, "index", None)
    present = case.answerable(case.sample(case.fold_of(entry), most=PROBED))
    if index is None or len(present) == 0:
        return None

    def search() -> float:
        vectors = entry.as_searched(case.bank.gather(present.target))
        hits = index.search(vectors, 10, exclude=np.empty((len(vectors), 0), dtype=np.int64)).rows
        found = entry.as_searched(case.bank.gather(np.maximum(hits, 0).ravel())).reshape(*hits.shape, -1)
        best = np.where(hits >= 0, np.einsum("bkd,bd->bk", found, vectors), -1.0).max(axis=1)
        return float((best < 1 - 1e-3).mean())

    return case.cached(("found by index", id(index)), search)


CHECK = Check(
    code="SG101",
    title="Targets in the index",
    question="Is every target in the index that is searched?",
    detection="Every test target is looked up among the candidates, and its document by id in the bank. Up to "
    f"{PROBED} targets are searched in each entry's index by their own vectors, which must find a vector of cosine ≥ "
    "0.999.",
    why="A passage that is not in the index cannot be found: every model scores 0, and the loss is blamed for it.",
    healthy="no target missing",
    fix="build the index over the bank that holds the evaluated documents, and evaluate again",
    unit="share of targets missing",
    examine=examine,
    needs=("windows",),
)
