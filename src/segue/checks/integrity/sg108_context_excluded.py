"""SG108: are the passages that were read, and their duplicates, out of the candidates as the entry declares?

Checked twice: on all rankings stored at evaluation, and on new answers of the retrievers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.ranking.pool import among_pairs
from segue.types import Bank, Exclusion, Windows
from segue.windows.windows import excluded_rows

DECLARED = "context-left-in"
"""Intent of an entry that leaves the context in on purpose."""
QUERIED, DEPTH = 16, 50
"""Windows that a retriever is queried with again, and hits compared."""
MINIMUM_WINDOWS = 5
"""Windows with a read passage before the target from which ranks that ignore the exclusion are an issue."""


@dataclass(frozen=True)
class ExclusionResult:
    """Numbers of an entry's rankings that hold an excluded passage.

    Attributes:
        left_in, only_duplicates: rankings with an excluded passage or a duplicate of one; with duplicates only.
        moved_up: targets whose rank improves when the exclusion is applied.
        read_before: targets with a read passage before them when it is left in, counted where none moved up.
        ranks_ignore: whether the ranks ignore the exclusion.
    """

    row: str
    fold: int
    exclude: Exclusion
    windows: int
    left_in: int = 0
    only_duplicates: int = 0
    moved_up: int = 0
    read_before: int = 0
    ranks_ignore: bool = False


def examine(case: Case) -> Verdict:
    """Search every stored ranking and new answers for excluded passages."""
    stored = [found for e in case.entries if e.intent != DECLARED and (found := _stored(case, e)) is not None]
    again = [_query_again(case, entry) for entry in case.non_controls if entry.intent != DECLARED]
    if not stored and not any(found.windows for found in again):
        return not_applicable("no entry has rankings of the present windows")
    broken = [found for found in [*stored, *again] if found.left_in or found.ranks_ignore]
    details = {"stored": stored, "queried_again": again}
    if not broken:
        total, moved = sum(found.windows for found in again), sum(found.moved_up for found in again)
        said = (f"None of {sum(found.windows for found in stored):,} stored rankings of "
                f"{len({found.row for found in stored})} entries and none of {total:,} new answers holds a passage "
                f"that was read ({case.exclude} excluded) or its duplicate; if left in, one would be ranked before "
                f"{moved:,} of these {total:,} targets.")  # fmt: skip
        return Verdict("passed", said, 0.0, 0.0, details)
    worst = max(broken, key=lambda found: found.left_in)
    share = 1.0 if any(found.ranks_ignore for found in broken) else worst.left_in / worst.windows
    return Verdict("issue", _broken_statement(broken, worst), share, 0.0, details)


def _stored(case: Case, entry: CaseEntry) -> ExclusionResult | None:
    """Count an entry's stored rankings with an excluded passage; None where they are of other windows (SG114)."""
    windows, evaluation = case.fold_of(entry).test, entry.evaluation
    if evaluation is None or not np.array_equal(evaluation.targets, windows.target):
        return None
    return _count(case.bank, entry, windows, evaluation.rankings, evaluation.exclude)


def _query_again(case: Case, entry: CaseEntry) -> ExclusionResult:
    """Query a retriever with some windows as served, and test whether its ranks apply the exclusion."""
    retriever = entry.retriever
    windows = case.sample(case.fold_of(entry), most=QUERIED)
    windows = windows.take(retriever.pool.candidates_of(windows.target) >= 0)
    if len(windows) == 0:
        return ExclusionResult(entry.name, entry.fold, case.exclude, 0)
    contexts = case.contexts(entry, windows)
    left_in = case.gather(case.bank, windows, exclude="none", texts=retriever.reads_text)
    found = _count(case.bank, entry, windows, retriever.rank(contexts, DEPTH).rows, case.exclude)
    with_context = retriever.target_ranks(left_in, windows.target)
    moved = int((retriever.target_ranks(contexts, windows.target) < with_context).sum())
    if moved:
        return replace(found, moved_up=moved)
    # Leaving out a passage before the target moves the target up by one; leaving out others does nothing.
    before = np.arange(DEPTH) < (with_context - 1)[:, None]
    hits = np.where(before, retriever.rank(left_in, DEPTH).rows, -1)
    exclude = excluded_rows(case.bank, windows, case.exclude)
    read_before = int(_left_in(case.bank, windows, hits, exclude).any(axis=1).sum())
    return replace(found, read_before=read_before, ranks_ignore=read_before >= MINIMUM_WINDOWS)


def _count(
    bank: Bank, entry: CaseEntry, windows: Windows, rankings: Int[np.ndarray, "window depth"], rule: Exclusion
) -> ExclusionResult:
    exclude = excluded_rows(bank, windows, rule)
    left_in = _left_in(bank, windows, rankings, exclude)
    broken = left_in.any(axis=1)
    itself = (left_in & among_pairs(rankings, (np.nonzero(exclude >= 0)[0], exclude[exclude >= 0]))).any(axis=1)
    return ExclusionResult(entry.name, entry.fold, rule, len(windows), int(broken.sum()), int((broken & ~itself).sum()))


def _left_in(
    bank: Bank, windows: Windows, rankings: Int[np.ndarray, "window depth"], exclude: Int[np.ndarray, "window excluded"]
) -> Bool[np.ndarray, "window depth"]:
    """Mark the places with the text of an excluded passage; the target's own text may stay."""
    group = bank.duplicate_group
    found = np.where(rankings >= 0, group[rankings], -1)
    forbidden = np.nonzero(exclude >= 0)[0], group[exclude[exclude >= 0]]
    return among_pairs(found, forbidden) & (found != group[windows.target][:, None])


def _broken_statement(broken: list[ExclusionResult], worst: ExclusionResult) -> str:
    """Describe the worst entry, one whose ranks ignore the exclusion, and how many entries there are."""
    parts = []
    if worst.left_in:
        what = "all passages read so far are" if worst.exclude == "prefix" else "the context is"
        only = f", {worst.only_duplicates:,} a copy only" if worst.only_duplicates else ""
        parts.append(f"{worst.row} declares that {what} excluded, but {worst.left_in:,} of {worst.windows:,} rankings "
                     f"({percent(worst.left_in / worst.windows)}) hold a passage that was read, or its "
                     f"copy{only}")  # fmt: skip
    ignoring = next((found for found in broken if found.ranks_ignore), None)
    if ignoring is not None:
        parts.append(f"the ranks of {ignoring.row} are those with the context left in (a passage that was read is "
                     f"ranked before {ignoring.read_before} of {ignoring.windows} targets)")  # fmt: skip
    entries = {found.row for found in broken}
    parts += [f"{len(entries)} entries break the rule"] * (len(entries) > 1)
    return f"{'; '.join(parts)}."


CHECK = Check(
    code="SG108",
    title="Context out of the candidates",
    question="Are the context passages and their duplicates out of the candidates, as the entry declares?",
    detection=f"In every stored ranking of every entry, and in the answers of each candidate to up to {QUERIED} "
    "windows queried again, no place may hold the text of an excluded passage (the context, or with `prefix` all "
    "passages read so far). Ranks must improve when the context is left out, provided that, when left in, it is "
    f"ranked before the target in at least {MINIMUM_WINDOWS} of those windows; the control is how often it would. "
    "Entries that declare themselves `context-left-in` are exempt.",
    why="The passage most similar to the last passage read is that passage itself. If it is left in, it takes the "
    "first place: copy-last falls to 0 % R@1 while R@5 looks fine, and entries that exclude it seem better than they "
    "are.",
    healthy="no ranking holds a passage that was read",
    fix="exclude the context and its duplicates before ranking, or declare the entry context-left-in",
    unit="share of rankings",
    examine=examine,
    needs=("windows", "entries"),
)
