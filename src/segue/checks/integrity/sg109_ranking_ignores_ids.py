"""SG109: does the ranking depend on ids, row numbers or positions?

A copy of some documents is put into random order: every passage gets another row and becomes a document of its own,
with a meaningless name and position 0. Before that, exact copies of some targets' vectors are written into other rows,
under other texts, so that a tie decided by the row number shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from segue.bank.copies import BankCopy, copy_documents, documents_of, permuted, renumbered, windows_in, with_rows
from segue.checks.case import Case, CaseEntry, spread
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.ranking.ordering import differ_beyond_ties
from segue.types import Windows
from segue.windows.windows import gather_contexts

DOCUMENTS, HOSTS, MAXIMUM_WINDOWS = 24, 12, 64
"""Documents of the windows, other documents copied to hold ties, and windows that are ranked again."""
TIED, COPIES, PLACES = 32, 2, 20
"""Windows that get ties, ties of each, and places of a ranking that are compared."""
SCORE_TOLERANCE = 1e-5
"""Difference of scores below which two passages may change places."""


@dataclass(frozen=True)
class ReorderedDocuments:
    """Documents in the bank's order with ties (``copy``), and in random order without ids and positions (``other``).

    Attributes:
        place: the row in ``other`` of each row of ``copy``.
        windows: windows in the rows of ``copy``.
        ties: rows that got the vector of a window's target, padded with -1.
    """

    copy: BankCopy
    other: BankCopy
    place: Int[np.ndarray, "bank"]
    windows: Windows
    ties: Int[np.ndarray, "window tie"]


@dataclass(frozen=True)
class Changes:
    """Shares of targets with another rank, and of rankings in another order."""

    ranks: float
    orders: float


def examine(case: Case) -> Verdict:
    """Rank some targets in both orders."""
    windows = _windows_of_some_documents(case)
    if len(windows) == 0:
        return not_applicable("no test window has a context and a target that the bank holds: see SG102")
    reordered = _reorder(case, windows)
    found, error = each_entry(case.non_controls, lambda entry: _changes(case, reordered, entry))
    ties, target, place = reordered.ties, reordered.windows.target, reordered.place
    before = ((ties < target[:, None]) & (ties >= 0)).sum(axis=1)
    after = ((place[ties] < place[target][:, None]) & (ties >= 0)).sum(axis=1)
    # the control: ranks that would change if equal scores were ordered by row
    passages, turned = len(reordered.copy), int((before != after).sum())
    details = {"windows": len(windows), "passages": passages, "rows": found, "ties": int((ties >= 0).sum()),
               "ties_turned": turned}  # fmt: skip
    broken = {name: one for name, one in found.items() if max(one.ranks, one.orders) > 0}
    if broken:
        said = [f"for {name} the rank of {one.ranks:.0%} of {len(windows)} targets and the order of {one.orders:.0%} "
                f"of the rankings" for name, one in list(broken.items())[:3]]  # fmt: skip
        more = f" (and {len(broken) - 3} more entries)" if len(broken) > 3 else ""
        steady = len(found) - len(broken)
        control = f"; {steady} other entries do not change" if steady else ""
        text = f"Another order of the passages, under other names, changes {'; '.join(said)}{more}{control}."
        worst = max(max(one.ranks, one.orders) for one in broken.values())
        return Verdict("issue", text, worst, 0.0, details)
    text = (f"Another order of {passages:,} passages under other names changes no rank of {len(windows)} targets for "
            f"{len(found)} entries; if ties were decided by row number, {turned} ranks would have "
            "changed.")  # fmt: skip
    return Verdict("passed", text, 0.0, 0.0, details, error=error)


def _windows_of_some_documents(case: Case) -> Windows:
    """Return windows with live targets and known contexts, evenly spread."""
    windows = case.folds[0].test
    windows = windows.take(case.bank.alive[windows.target] & (windows.context >= 0).any(axis=1))
    documents = case.documents(windows)
    known = np.unique(documents)
    windows = windows.take(np.isin(documents, known[spread(len(known), DOCUMENTS)]))
    return windows.take(spread(len(windows), MAXIMUM_WINDOWS))


def _reorder(case: Case, windows: Windows) -> ReorderedDocuments:
    generator = case.generator("SG109")
    hosts = spread(len(case.bank.first_row), HOSTS)
    copy = copy_documents(case.bank, np.union1d(documents_of(case.bank, windows), hosts))
    inside = windows_in(copy, windows)
    ties = _choose_ties(copy, inside, generator)
    vectors = copy.gather(np.broadcast_to(inside.target[:, None], ties.shape)[ties >= 0])
    copy = with_rows(copy, ties[ties >= 0], vectors)
    other, place = permuted(copy, generator)
    return ReorderedDocuments(copy, other, place, inside, ties)


def _choose_ties(copy: BankCopy, windows: Windows, generator: np.random.Generator) -> Int[np.ndarray, "window tie"]:
    """Choose rows that may become copies: no target, no context passage, no duplicate of one, each row once."""
    free = np.flatnonzero(copy.alive & ~np.isin(copy.duplicate_group, copy.duplicate_group[windows.rows]))
    count = min(TIED, len(windows), len(free) // COPIES)
    ties = np.full((len(windows), COPIES), -1, dtype=np.int64)
    which = generator.choice(len(windows), count, replace=False)
    ties[which] = generator.choice(free, count * COPIES, replace=False).reshape(count, COPIES)
    return ties


def _changes(case: Case, reordered: ReorderedDocuments, entry: CaseEntry) -> Changes:
    windows, moved = reordered.windows, renumbered(reordered.windows, reordered.place)
    texts = entry.retriever.reads_text
    contexts = gather_contexts(reordered.copy, windows, exclude=case.exclude, texts=texts)
    again = gather_contexts(reordered.other, moved, exclude="none", texts=texts)
    again = replace(again, exclude=_renumber(contexts.exclude, reordered.place))
    one, other = entry.retriever.over(reordered.copy), entry.retriever.over(reordered.other)
    ranks, ranks_again = one.target_ranks(contexts, windows.target), other.target_ranks(again, moved.target)
    ours, theirs = one.rank(contexts, PLACES), other.rank(again, PLACES)
    groups, old_rows = reordered.copy.duplicate_group, np.argsort(reordered.place)
    ours = replace(ours, rows=_renumber(ours.rows, groups))  # duplicates are one passage
    theirs = replace(theirs, rows=_renumber(_renumber(theirs.rows, old_rows), groups))
    orders = differ_beyond_ties(ours, theirs, tolerance=SCORE_TOLERANCE)
    return Changes(float((ranks != ranks_again).mean()), float(orders.mean()))


def _renumber(rows: Int[np.ndarray, "*any"], names: Int[np.ndarray, "bank"]) -> Int[np.ndarray, "*any"]:
    return np.where(rows >= 0, names[rows], -1)


CHECK = Check(
    code="SG109",
    title="Ranking ignores ids",
    question="Does the ranking depend on ids, row numbers or positions?",
    detection=f"The documents of up to {MAXIMUM_WINDOWS} test windows of the first fold ({DOCUMENTS} documents) are "
    f"copied with {HOSTS} others, exact copies of {TIED} targets' vectors are written into other rows, and the "
    "copy is put into random order, every passage as a separate document, with a meaningless name and position 0. "
    f"Exact ranks of the targets must be the same, and so must the first {PLACES} places of each ranking wherever "
    f"scores differ by more than {SCORE_TOLERANCE:g}. The same passages are excluded in both orders.",
    why="The next passage is stored in the next row. A feature that sees row numbers, positions or document ids finds "
    "it without reading the text (“last position + 1” scores 100 %), and a tie broken by row number rewards or "
    "punishes a model for the order in which its bank was filled.",
    healthy="no rank changes",
    fix="remove ids, row numbers and positions from every feature, and let ties count against the target",
    unit="share of windows",
    examine=examine,
    needs=("windows", "entries"),
)
