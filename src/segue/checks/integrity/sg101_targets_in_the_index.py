"""SG101: is every target in the index that is searched?"""

from __future__ import annotations

import functools

import numpy as np

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.retrieval.index import Index
from segue.types import Windows

PROBED = 256
"""Targets whose own vectors are searched in a row's index."""


def examine(case: Case) -> Verdict:
    """Count the asked documents and targets among the candidates, and search some targets by their own vectors."""
    asked, absent, unknown = 0, 0, 0
    for fold in case.folds:
        asked += len(fold.test)
        absent += _absent(case, fold.test)
        unknown += _of_unknown_documents(case, fold.number)
    searched, error = each_entry(case.first_entries, functools.partial(_lost_by_index, case))
    lost = {name: share for name, share in searched.items() if share > 0}
    missing = max(absent, unknown) / max(1, asked)
    worst = max([missing, *lost.values()])
    details = {"asked": asked, "targets_absent": absent, "documents_absent": unknown, "lost_by_index": lost}
    if worst == 0:
        if error is not None:
            raise error
        return Verdict(
            "passed", f"All {asked:,} targets are among the {case.pool.size:,} candidates.", 0.0, 0.0, details
        )
    said = [
        f"{absent:,} of {asked:,} targets are no candidates" if absent else "",
        f"{unknown:,} of {asked:,} questions are about documents that the index does not hold" if unknown else "",
        *(f"the index of {name} does not find {share:.0%} of the targets by their own vectors"
          for name, share in lost.items()),
    ]  # fmt: skip
    return Verdict("issue", f"{'; '.join(filter(None, said))}.", worst, 0.0, details)


def _absent(case: Case, windows: Windows) -> int:
    return int((case.pool.candidates_of(windows.target) < 0).sum())


def _of_unknown_documents(case: Case, fold: int) -> int:
    """Count the questions whose document, by id, the bank does not hold."""
    if case.query_documents is None:
        return 0
    held = set(case.bank.document_ids)
    return sum(name not in held for name in case.query_documents[fold])


def _lost_by_index(case: Case, row: CaseEntry) -> float:
    """Return the share of probed targets that the row's index does not answer to their own vector."""
    index: Index | None = getattr(row.retriever, "index", None)
    if index is None:
        return 0.0
    return case.cached(("found by index", id(index)), lambda: _search_by_own_vectors(case, row, index))


def _search_by_own_vectors(case: Case, row: CaseEntry, index: Index) -> float:
    present = case.answerable(case.sample(case.fold_of(row), most=PROBED))
    if len(present) == 0:
        return 0.0
    vectors = row.as_searched(case.bank.gather(present.target))
    answers = index.search(vectors, 10, exclude=np.empty((len(vectors), 0), dtype=np.int64)).rows
    answered = row.as_searched(case.bank.gather(np.maximum(answers, 0).ravel())).reshape(*answers.shape, -1)
    best = np.where(answers >= 0, np.einsum("bkd,bd->bk", answered, vectors), -1.0).max(axis=1)
    return float((best < 1 - 1e-3).mean())


CHECK = Check(
    code="SG101",
    title="Targets in the index",
    question="Is every target in the index that is searched?",
    detection="Every test window's target is looked up among the candidates, the asked documents by id in the bank, "
    f"and up to {PROBED} targets are searched in each row's index by their own vectors, which must find a vector of "
    "cosine ≥ 0.999.",
    why="An answer that is not in the index cannot be found: every model scores 0, and the zero is then blamed on the "
    "loss. In the report this project grew from, articles 8471–8970 were asked about and 1–8470 were indexed.",
    healthy="no target missing",
    fix="build the index over the bank that holds the evaluated documents, and evaluate again",
    unit="share of targets missing",
    examine=examine,
    needs=("windows",),
)
