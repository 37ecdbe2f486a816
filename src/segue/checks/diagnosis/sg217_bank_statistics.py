"""SG217: do features use statistics of test passages?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.changed_banks import BankCopy, copy_documents, documents_of, windows_in
from segue.checks.check import Check, Verdict
from segue.checks.statistics import percent
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import per_window
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.types import Windows

DECLARED = "bank statistics"
"""The name under which a row declares them."""
METRICS = ("R@5", "MRR")
LEVEL = 0.01
PROBED = 60
"""Windows that are asked in two banks to see whether other documents change the order."""
PROBED_PASSAGES = 4000
"""Passages of the larger of the two banks."""


def examine(case: Case) -> Verdict:
    """Find the rows that count the bank, ask whether they say so, and measure what it wins."""
    silent = [row for row in case.non_controls if not row.retriever.counts_bank]  # the others say it themselves
    probed = {row.name: _depends_on_others(case, row) for row in silent}
    counting = [row for row in case.non_controls if probed.get(row.name, True)]
    undeclared = [row.name for row in counting if DECLARED not in row.declares]
    ablated = {row.name: found for row in counting if (found := _ablate(case, row)) is not None}
    details = {"rows": ablated, "undeclared": undeclared, "counting": [row.name for row in counting],
               "probed": probed}  # fmt: skip
    measured, said = float(len(undeclared)), _ablation_in_words(ablated)
    if not counting:
        return Verdict(
            "passed", f"None of {len(case.non_controls)} rows uses statistics of the bank.", 0.0, 0.0, details
        )
    if undeclared:
        hidden = [name for name in undeclared if not _row(counting, name).retriever.counts_bank]
        how = f" ({', '.join(hidden)} by its behaviour alone: other documents change its order)" if hidden else ""
        text = f"{', '.join(undeclared)} uses statistics of the whole bank, test passages included, undeclared{how}."
        return Verdict("issue", f"{text}{said}", measured, 0.0, details)
    helped = any(found["R@5"]["p"] < LEVEL or found["MRR"]["p"] < LEVEL for found in ablated.values())
    names = ", ".join(row.name for row in counting)
    text = f"{names}: statistics of the whole bank, as declared.{said}"
    return Verdict("tip" if helped else "passed", text, measured, 0.0, details)


def _row(rows: list[CaseEntry], name: str) -> CaseEntry:
    return next(row for row in rows if row.name == name)


def _ablation_in_words(ablated: dict[str, Any]) -> str:
    return "".join(f" {name}: {_in_words(found['R@5'])}." for name, found in ablated.items())


def _in_words(found: dict[str, Any]) -> str:
    ends = "" if found["low"] is None else f", 95 % {100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    return (f"R@5 {percent(found['bank'])} so, {percent(found['training'])} with statistics of training and validation "
            f"documents only (difference {100 * found['difference']:+.1f} points{ends})")  # fmt: skip


def _depends_on_others(case: Case, row: CaseEntry) -> bool:
    """Tell whether the order of the asked documents' passages changes when other documents leave the bank.

    A query vector that is made from its context alone cannot depend on them; those retrievers are not asked.
    """
    if not row.retriever.reads_bank:
        return False
    windows = case.answerable(case.sample(case.fold_of(row), most=PROBED))
    if len(windows) == 0:
        return False
    small, large = _two_banks(case, windows)
    if len(small) == len(large):
        return False
    return not np.array_equal(_ranks_in(small, case, row, windows), _ranks_in(large, case, row, windows))


def _two_banks(case: Case, windows: Windows) -> tuple[BankCopy, BankCopy]:
    """Copy the asked documents alone, and with others beside them."""
    asked = documents_of(case.bank, windows)
    others = np.setdiff1d(np.arange(len(case.bank.num_rows)), asked)
    drawn = case.generator("SG217 documents").permutation(others)
    kept = drawn[np.cumsum(case.bank.num_rows[drawn]) <= PROBED_PASSAGES]
    return copy_documents(case.bank, asked), copy_documents(case.bank, np.concatenate([asked, kept]))


def _ranks_in(copy: BankCopy, case: Case, row: CaseEntry, windows: Windows) -> Int[np.ndarray, "window"]:
    """Return the targets' ranks among the passages of the asked documents, in one of the two banks."""
    inside = windows_in(copy, windows)
    asked = np.unique(copy.document_of[inside.target]).astype(np.int64)
    moved = row.retriever.over(copy)
    contexts = case.gather(copy, inside, exclude=case.exclude, texts=moved.reads_text)
    return moved.target_ranks(contexts, inside.target, pool=Pool(copy, asked))


def _ablate(case: Case, row: CaseEntry) -> dict[str, Any] | None:
    """Score a row with statistics over training and validation documents only; None where it cannot be rebuilt."""
    fold = case.fold_of(row)
    windows = case.answerable(case.sample(fold))
    known = np.concatenate([fold.split.train, fold.split.validation]).astype(np.int64)
    rebuilt = row.retriever.counting(known)
    if rebuilt is None or len(windows) == 0:
        return None
    ranks = case.ranks(row) if len(windows) == len(case.sample(fold)) else case.ranks_of(row, windows)
    whole, part = per_window(ranks), per_window(_ranks(case, rebuilt, windows))
    groups = case.groups_of(windows)
    return {name: _difference(case, whole[name], part[name], groups) for name in METRICS}


def _ranks(case: Case, retriever: Retriever, windows: Windows) -> Int[np.ndarray, "window"]:
    size = retriever.batch_limit or len(windows)
    parts = []
    for start in range(0, len(windows), size):
        batch = windows.take(slice(start, start + size))
        contexts = case.gather(case.bank, batch, exclude=case.exclude, texts=retriever.reads_text)
        parts.append(retriever.target_ranks(contexts, batch.target))
    return np.concatenate(parts)


def _difference(
    case: Case,
    whole: Float[np.ndarray, "window"],
    part: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
) -> dict[str, Any]:
    test = paired(whole, part, groups, resamples=case.effort.resamples)
    return {"bank": float(whole.mean()), "training": float(part.mean()), "difference": test.difference.value,
            "low": test.difference.low, "high": test.difference.high, "p": test.p_greater}  # fmt: skip


CHECK = Check(
    code="SG217",
    title="Bank statistics",
    question="Do rerank or fusion features use statistics of test passages (word counts, hubness, density)?",
    detection="A row counts the bank where its retriever says so, or where the order of the asked documents' passages "
    f"changes when other documents leave a copy of the bank ({PROBED} windows, up to {PROBED_PASSAGES:,} other "
    "passages). It has to declare that. Where the retriever can be rebuilt with statistics over training and "
    "validation documents only, both are scored on the same test windows of the first fold, with the paired interval "
    f"over groups of documents; a tip where it wins by them (p < {LEVEL:g}).",
    why="Word rarity and density that were counted over the test passages know something of the test set. It is often "
    "harmless, a production index knows its own passages too, but a reader has to be told.",
    healthy="none, or declared and without a difference",
    fix='declare it (row.declares["bank statistics"]), or fit the statistics on training documents',
    unit="rows that do not declare it",
    examine=examine,
    needs=("windows", "entries"),
)
