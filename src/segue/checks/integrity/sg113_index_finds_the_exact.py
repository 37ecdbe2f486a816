"""SG113: does the approximate index find what the exact one finds, on the rows' own queries?"""

from __future__ import annotations

import functools
from typing import Any

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.evaluation.intervals import bootstrap
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.tuning import recall_of

DEPTH = 50
LOWEST = 0.98
"""Recall@50 below which an index spoils the headline."""
MOST, MOST_EXACT = 256, 64
"""Windows that are searched, and those for an index that is exact by construction."""


def examine(case: Case) -> Verdict:
    """Search the queries of some windows with every index and exactly, and compare."""
    rows = _to_search(case)
    if not rows:
        return not_applicable("no row searches with an index: all rank the whole bank")
    found, error = each_entry(rows, functools.partial(_row, case))
    details: dict[str, Any] = {"depth": DEPTH, "rows": found}
    if error is not None and not found:
        raise error
    worst = min(found, key=lambda name: found[name]["recall"])
    recall, high = found[worst]["recall"], found[worst]["high"]
    said = (f"Of the {DEPTH} best candidates of an exact search the index of {worst} finds {recall:.1%} "
            f"({found[worst]['windows']} windows")  # fmt: skip
    if recall >= LOWEST:
        if error is not None:
            raise error
        rest = f"; {len(found)} {'index' if len(found) == 1 else 'indexes'} searched)."
        return Verdict("passed", said + rest, recall, LOWEST, details)
    if high is None or high >= LOWEST:
        return Verdict(
            "tip", f"{said}): below {LOWEST:.0%}, but on too few documents to tell.", recall, LOWEST, details
        )
    others = [name for name in found if found[name]["recall"] >= LOWEST]
    control = f"; those of {len(others)} other rows find {LOWEST:.0%} or more" if others else ""
    return Verdict("issue", f"{said}, 95 % interval up to {high:.1%}){control}.", recall, LOWEST, details)


def _to_search(case: Case) -> list[CaseEntry]:
    """Return the rows with an index of their own, and one row for each index that is exact by construction."""
    chosen: dict[Any, CaseEntry] = {}
    for row in case.non_controls:
        retriever = row.retriever.searcher
        if retriever is not None and retriever.index is not None:
            index = retriever.index
            chosen.setdefault(id(index) if _is_exact(index, retriever.pool) else row.name, row)
    return list(chosen.values())


def _is_exact(index: Index, pool: Pool) -> bool:
    """Tell an index that holds the vectors of the very pool that is searched, all of them."""
    return isinstance(index, ExactIndex) and index.pool is pool


def _row(case: Case, row: CaseEntry) -> dict[str, Any]:
    """Return recall@50 of a row's index with the upper end of its interval."""
    retriever = row.retriever.searcher
    assert retriever is not None
    assert retriever.index is not None
    exact = _is_exact(retriever.index, retriever.pool)
    windows = case.sample(case.fold_of(row), most=MOST_EXACT if exact else MOST)
    contexts = case.contexts(row, windows)
    queries = retriever.score(contexts).queries
    assert queries is not None
    depth = min(DEPTH, retriever.pool.size)
    found = retriever.index.search(queries, depth, exclude=contexts.exclude)
    wanted = top_k(queries, retriever.pool, depth, exclude=contexts.exclude)
    recall = recall_of(queries, retriever.pool, wanted, found)
    interval = bootstrap({f"R@{DEPTH}": recall}, case.groups_of(windows), resamples=case.effort.resamples,
                         seed=case.seed)[f"R@{DEPTH}"]  # fmt: skip
    return {"recall": float(recall.mean()), "high": interval.high, "windows": len(windows), "exact": exact,
            "index": type(retriever.index).__name__}  # fmt: skip


CHECK = Check(
    code="SG113",
    title="Index finds the exact",
    question="Does the approximate index find what the exact one finds, on the rows' own queries?",
    detection=f"Each row's queries of up to {MOST} test windows of the first fold are searched in its index and "
    f"exactly over the bank's vectors, the same passages excluded in both. Recall@{DEPTH} is the share of the {DEPTH} "
    "best exact candidates that the index found; equal scores at the end stand for each other. It blocks where the "
    f"95 % interval over groups of documents lies below {LOWEST}. An exact index is searched once.",
    why="What an index does not find no reranker can bring back, and queries of a model lie elsewhere than the "
    "passages an index was tuned on. Too few probes look like a weak model.",
    healthy=f"{LOWEST:.0%} or more",
    fix="raise nprobe or efSearch, or build the index again over the present vectors",
    unit=f"recall@{DEPTH}",
    examine=examine,
    needs=("windows", "entries"),
)
