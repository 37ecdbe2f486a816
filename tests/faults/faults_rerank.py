"""Faults of reranking: what a reranker reads, what it is fitted on, and an honest one that raises nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
from fault import Fault
from faults_integrity_a import measured
from healthy import with_retriever

from segue.checks.case import CaseEntry
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.interface import UncountedReranker
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.cascade import Cascade

DEPTH = 40


@dataclasses.dataclass(frozen=True)
class ReadsPositions(UncountedReranker):
    """Puts the passage first whose number in its document follows that of the last one read, whatever document."""

    bank: object
    name: str = "positions"

    def over(self, bank):
        return dataclasses.replace(self, bank=bank)

    def scores(self, contexts, candidates):
        following = self.bank.position[contexts.rows[:, -1]] + 1
        gap = np.abs(self.bank.position[candidates.rows].astype(int) - following[:, None])
        return np.where(candidates.there, candidates.first - 0.05 * gap, -np.inf)


@dataclasses.dataclass(frozen=True)
class ReadsDocuments(ReadsPositions):
    """Prefers candidates of the document that is being read."""

    def scores(self, contexts, candidates):
        own = self.bank.document_of[contexts.rows[:, -1]]
        same = self.bank.document_of[candidates.rows] == own[:, None]
        return np.where(candidates.there, candidates.first + 0.2 * same, -np.inf)


@dataclasses.dataclass(frozen=True)
class ReadsRows(ReadsPositions):
    """A feature that only breaks ties: the row number, divided by the size of the bank."""

    def scores(self, contexts, candidates):
        order = candidates.rows / len(self.bank)
        return np.where(candidates.there, np.round(candidates.first, 2) + 1e-3 * order, -np.inf)


def reranked(case, reranker, *, sources=(), over="mean"):
    """Return the cascade of a row's retriever and a reranker, under the row's name."""
    first = case.entries_named(over)[0].retriever
    return Cascade(first.name, first.intent, first, DEPTH, reranker, sources)


def reads(kind):
    """Return a fault whose reranker reads what it should not."""

    def inject(healthy, folder):
        case = healthy.case
        return with_retriever(case, "mean", reranked(case, kind(case.bank)))

    return inject


def honest(healthy, folder):
    """Candidates of the mean, in the order of their cosine with the last passage, as a row beside the others."""
    case = healthy.case
    cascade = dataclasses.replace(reranked(case, ByCosine(copy_last, case.bank)), name="mean-reranked")
    row = CaseEntry(cascade.name, "candidate", 0, "rerank", lambda: cascade, measured(case, cascade))
    return healthy.with_case(entries=(*case.entries, row))


def undeclared_words(healthy, folder):
    """Words draw candidates too; that they were counted over the whole bank is not declared."""
    case = healthy.case
    words = case.entries_named("bm25")[0].retriever
    return with_retriever(case, "mean", reranked(case, ByCosine(mean, case.bank), sources=((words, 20),)))


FAULTS = [
    Fault("honest-reranker", "nothing: a reranked entry was added to the others", honest),
    Fault("reranker-reads-positions", "a reranker reads how far apart two passages are in their documents",
          reads(ReadsPositions), {"SG109": "issue"}, cause="metadata-oracle"),
    Fault("reranker-reads-documents", "a reranker prefers the document that is being read",
          reads(ReadsDocuments), {"SG109": "issue"}, cause="metadata-oracle", half="unseen"),
    Fault("reranker-reads-rows", "a reranker reads row numbers", reads(ReadsRows), {"SG109": "issue"},
          cause="metadata-oracle", half="unseen"),
    Fault("reranker-counts-undeclared", "words draw candidates and were counted over the whole bank, undeclared",
          undeclared_words, {"SG217": "issue"}),
]  # fmt: skip
