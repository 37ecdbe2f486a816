"""SG113: does the approximate index find what the exact one finds, on the entries' own queries?"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.checks.statistics import share_interval
from segue.ranking.exact import top_k
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.tuning import recall_of
from segue.retrieval.retrievers import VectorSearch

DEPTH = 50
MINIMUM_RECALL = 0.98
"""Recall@50 below which an index makes the headline number too low."""
MAXIMUM_WINDOWS, MAXIMUM_WINDOWS_EXACT = 256, 64
"""Windows that are searched, and those for an index that is exact by construction."""


@dataclass(frozen=True)
class IndexRecall:
    """Recall@50 of an entry's index, with the upper end of its interval."""

    recall: float
    high: float | None
    windows: int
    exact: bool
    index: str


def examine(case: Case) -> Verdict:
    """Search the queries of some windows with every index and exactly, and compare."""
    entries = _to_search(case)
    if not entries:
        return not_applicable("no entry searches with an index: all rank the whole bank")
    found, error = each_entry(entries, lambda entry: _recall(case, entry))
    if error is not None and not found:
        raise error
    name, worst = min(found.items(), key=lambda item: item[1].recall)
    outcome: Judgement = "issue"
    if worst.recall >= MINIMUM_RECALL:
        if error is not None:
            raise error
        outcome, end = "passed", f"; {len(found)} {'index' if len(found) == 1 else 'indexes'} searched)."
    elif worst.high is None or worst.high >= MINIMUM_RECALL:
        outcome, end = "tip", f"): below {MINIMUM_RECALL:.0%}, but on too few documents to tell."
    else:
        others = sum(one.recall >= MINIMUM_RECALL for one in found.values())
        control = f"; those of {others} other entries find {MINIMUM_RECALL:.0%} or more" if others else ""
        end = f", 95 % interval up to {worst.high:.1%}){control}."
    said = (f"Of the {DEPTH} best candidates of an exact search the index of {name} finds {worst.recall:.1%} "
            f"({worst.windows} windows{end}")  # fmt: skip
    return Verdict(outcome, said, worst.recall, MINIMUM_RECALL, {"depth": DEPTH, "rows": found})


def _to_search(case: Case) -> list[CaseEntry]:
    """Return the entries with an index of their own, and one entry for each index that is exact by construction."""
    chosen: dict[Hashable, CaseEntry] = {}
    for entry in case.non_controls:
        retriever = entry.retriever.searcher()
        if retriever is not None and retriever.index is not None:
            chosen.setdefault(id(retriever.index) if _is_exact(retriever) else entry.name, entry)
    return list(chosen.values())


def _is_exact(retriever: VectorSearch) -> bool:
    """Return whether the index holds all vectors of the pool that is searched."""
    return isinstance(retriever.index, ExactIndex) and retriever.index.pool is retriever.pool


def _recall(case: Case, entry: CaseEntry) -> IndexRecall:
    retriever = entry.retriever.searcher()
    assert retriever is not None
    assert retriever.index is not None
    exact = _is_exact(retriever)
    windows = case.sample(case.fold_of(entry), most=MAXIMUM_WINDOWS_EXACT if exact else MAXIMUM_WINDOWS)
    contexts = case.contexts(entry, windows)
    queries = retriever.score(contexts).queries
    assert queries is not None
    depth = min(DEPTH, retriever.pool.size)
    found = retriever.index.search(queries, depth, exclude=contexts.exclude)
    wanted = top_k(queries, retriever.pool, depth, exclude=contexts.exclude)
    recall = recall_of(queries, retriever.pool, wanted, found)
    high = share_interval(case, recall, case.groups_of(windows)).high
    return IndexRecall(float(recall.mean()), high, len(windows), exact, type(retriever.index).__name__)


CHECK = Check(
    code="SG113",
    title="Index finds the exact",
    question="Does the approximate index find what the exact one finds, on the entries' own queries?",
    detection=f"Each entry's queries of up to {MAXIMUM_WINDOWS} test windows of the first fold are searched in its "
    f"index and exactly over the bank's vectors, the same passages excluded in both. Recall@{DEPTH} is the share "
    f"of the {DEPTH} best exact candidates that the index found; equal scores at the end replace each other. It "
    f"blocks where the 95 % interval over groups of documents lies below {MINIMUM_RECALL}. An exact index is "
    "searched once.",
    why="A reranker cannot recover what an index does not find, and a model's queries differ from the passages that "
    "an index was tuned on. Too few probes look like a weak model.",
    healthy=f"{MINIMUM_RECALL:.0%} or more",
    fix="raise nprobe or efSearch, or build the index again over the present vectors",
    unit=f"recall@{DEPTH}",
    examine=examine,
    needs=("windows", "entries"),
)
