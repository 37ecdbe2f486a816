"""SG109: does the ranking depend on ids, row numbers or positions?

A copy of some documents is put into random order: every passage gets another row and becomes a document of its own,
with a meaningless name and position 0. Some targets have exact copies of their vector planted in other rows before,
under other texts, so that a tie decided by the row number shows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.changed_banks import (
    BankCopy,
    copy_documents,
    documents_of,
    permuted,
    renumbered,
    windows_in,
    with_rows,
)
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.types import Rankings, Windows
from segue.windows.windows import gather_contexts

DOCUMENTS, HOSTS, MOST = 24, 12, 64
"""Documents that are asked about, others copied beside them to hold ties, and windows that are asked again."""
TIED, COPIES, PLACES = 32, 2, 20
"""Windows that get ties, the ties of each, and the places of a ranking that are compared."""
CLOSE = 1e-5
"""Scores nearer than this may change places."""


@dataclass(frozen=True)
class Trial:
    """Documents in two orders.

    Attributes:
        copy: in the bank's order, with ties planted.
        other: in random order, without ids and positions.
        place: the row in ``other`` of each row of ``copy``.
        windows: in the rows of ``copy``.
        ties: rows that got the vector of a window's target, -1 where it got none.
    """

    copy: BankCopy
    other: BankCopy
    place: Int[np.ndarray, "bank"]
    windows: Windows
    ties: Int[np.ndarray, "window tie"]


def examine(case: Case) -> Verdict:
    """Ask rows for the ranks of some targets in both orders."""
    windows = _windows_of_some_documents(case)
    if len(windows) == 0:
        return not_applicable("no test window reads and asks for passages that the bank holds: see SG102")
    trial = _trial(case, windows)
    found, error = each_entry(case.non_controls, functools.partial(_row, case, trial))
    details: dict[str, Any] = {"windows": len(windows), "passages": len(trial.copy), "rows": found,
                               "ties": int((trial.ties >= 0).sum()), "ties_turned": _turned(trial)}  # fmt: skip
    broken = {name: row for name, row in found.items() if max(row.values()) > 0}
    if broken:
        return Verdict("issue", _accusation(broken, details), _worst(broken), 0.0, details)
    if error is not None:
        raise error
    said = (f"Another order of {len(trial.copy):,} passages under other names changes no rank of {len(windows)} "
            f"targets for {len(found)} rows; were ties decided by row number, {details['ties_turned']} ranks "
            "would have changed")  # fmt: skip
    return Verdict("passed", f"{said}.", 0.0, 0.0, details)


def _accusation(broken: dict[str, dict[str, float]], details: dict[str, Any]) -> str:
    said = [f"for {name} the rank of {row['ranks']:.0%} of {details['windows']} targets and the order of "
            f"{row['orders']:.0%} of the rankings" for name, row in list(broken.items())[:3]]  # fmt: skip
    steady = [name for name in details["rows"] if name not in broken]
    control = f"; for {len(steady)} other rows nothing changes" if steady else ""
    more = f" (and {len(broken) - 3} more rows)" if len(broken) > 3 else ""
    return f"Another order of the passages, under other names, changes {'; '.join(said)}{more}{control}."


def _worst(broken: dict[str, dict[str, float]]) -> float:
    return max(max(row.values()) for row in broken.values())


def _windows_of_some_documents(case: Case) -> Windows:
    """Return windows that ask for live passages and know what was read, evenly spread."""
    windows = case.folds[0].test
    windows = windows.take(case.bank.alive[windows.target] & (windows.context >= 0).any(axis=1))
    documents = case.documents(windows)
    windows = windows.take(np.isin(documents, _spread(np.unique(documents), DOCUMENTS)))
    return windows.take(_spread(np.arange(len(windows)), MOST))


def _spread(numbers: Int[np.ndarray, "any"], most: int) -> Int[np.ndarray, "chosen"]:
    """Choose at most so many, evenly spread.

    >>> _spread(np.arange(7), 3).tolist()
    [0, 3, 6]
    """
    if len(numbers) <= most:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.int64)]


def _trial(case: Case, windows: Windows) -> Trial:
    generator = case.generator("SG109")
    hosts = _spread(np.arange(len(case.bank.first_row)), HOSTS)
    copy = copy_documents(case.bank, np.union1d(documents_of(case.bank, windows), hosts))
    inside = windows_in(copy, windows)
    ties = _choose_ties(copy, inside, generator)
    planted = ties >= 0
    vectors = copy.gather(np.broadcast_to(inside.target[:, None], ties.shape)[planted])
    copy = with_rows(copy, ties[planted], vectors)
    other, place = permuted(copy, generator)
    return Trial(copy, other, place, inside, ties)


def _choose_ties(copy: BankCopy, windows: Windows, generator: np.random.Generator) -> Int[np.ndarray, "window tie"]:
    """Choose rows that may become copies: no target, no context passage, no duplicate of one, each row once."""
    asked = np.concatenate([windows.context[windows.context >= 0], windows.target])
    free = np.flatnonzero(copy.alive & ~np.isin(copy.duplicate_group, copy.duplicate_group[asked]))
    count = min(TIED, len(windows), len(free) // COPIES)
    ties = np.full((len(windows), COPIES), -1, dtype=np.int64)
    which = generator.choice(len(windows), count, replace=False)
    ties[which] = generator.choice(free, count * COPIES, replace=False).reshape(count, COPIES)
    return ties


def _turned(trial: Trial) -> int:
    """Count the ranks that would change if equal scores were ordered by row: the control."""
    planted = trial.ties >= 0
    before = ((trial.ties < trial.windows.target[:, None]) & planted).sum(axis=1)
    after = (trial.place[trial.ties] < trial.place[trial.windows.target][:, None]) & planted
    return int((before != after.sum(axis=1)).sum())


def _row(case: Case, trial: Trial, row: CaseEntry) -> dict[str, float]:
    """Return the shares of targets with another rank, and of rankings in another order."""
    windows, moved = trial.windows, renumbered(trial.windows, trial.place)
    texts = row.retriever.reads_text
    contexts = gather_contexts(trial.copy, windows, exclude=case.exclude, texts=texts)
    again = gather_contexts(trial.other, moved, exclude="none", texts=texts)
    again = replace(again, exclude=_renumber(contexts.exclude, trial.place))
    one, other = row.retriever.over(trial.copy), row.retriever.over(trial.other)
    ranks, ranks_again = one.target_ranks(contexts, windows.target), other.target_ranks(again, moved.target)
    orders = _another_order(trial, one.rank(contexts, PLACES), other.rank(again, PLACES))
    return {"ranks": float((ranks != ranks_again).mean()), "orders": float(orders.mean())}


def _renumber(rows: Int[np.ndarray, "*any"], place: Int[np.ndarray, "bank"]) -> Int[np.ndarray, "*any"]:
    return np.where(rows >= 0, place[rows], -1)


def _another_order(trial: Trial, one: Rankings, other: Rankings) -> Bool[np.ndarray, "window"]:
    """Tell where two rankings differ by more than scores that are close changing places.

    What stands at each place must have the score of that place in the other ranking too, and what fell off the end
    must have stood at the end. Duplicates are one answer.
    """
    groups = trial.copy.duplicate_group
    source = np.argsort(trial.place)
    ours, theirs = (_names(rows, groups) for rows in (one.rows, _renumber(other.rows, source)))
    return np.array([_disagree(*pair) for pair in zip(ours, one.scores, theirs, other.scores, strict=True)], dtype=bool)


def _names(rows: Int[np.ndarray, "window k"], groups: Int[np.ndarray, "bank"]) -> Int[np.ndarray, "window k"]:
    return np.where(rows >= 0, groups[rows], -1)


def _disagree(
    ours: Int[np.ndarray, "k"],
    scores: Float[np.ndarray, "k"],
    theirs: Int[np.ndarray, "k"],
    their_scores: Float[np.ndarray, "k"],
) -> bool:
    """Compare two rankings.

    >>> scores = np.array([0.9, 0.5, 0.5])
    >>> _disagree(np.array([7, 3, 4]), scores, np.array([7, 4, 3]), scores)  # a tie
    False
    >>> _disagree(np.array([7, 3, 4]), scores, np.array([3, 7, 4]), scores)
    True
    """
    known, known_too = ours >= 0, theirs >= 0
    if known.sum() != known_too.sum():
        return True
    if not known.any():
        return False
    ours, scores, theirs, their_scores = ours[known], scores[known], theirs[known], their_scores[known]
    slack = CLOSE * max(1.0, float(np.abs(scores).max()))
    place = {name: number for number, name in enumerate(theirs.tolist())}
    last = float(their_scores[-1])
    expected = np.array([their_scores[place[name]] if name in place else last for name in ours.tolist()])
    return bool((np.abs(expected - scores) > slack).any())


CHECK = Check(
    code="SG109",
    title="Ranking ignores ids",
    question="Does the ranking depend on ids, row numbers or positions?",
    detection=f"The documents of up to {MOST} test windows of the first fold ({DOCUMENTS} documents) are copied with "
    f"{HOSTS} others, exact copies of {TIED} targets' vectors are planted in other rows, and the copy is put into "
    "random order, every passage a document of its own, with a meaningless name and position 0. Exact ranks of the "
    f"targets must be the same, and so must the first {PLACES} places of each ranking wherever scores differ by more "
    f"than {CLOSE:g}. Excluded passages leave in both orders.",
    why="The next passage stands in the next row. A feature that sees row numbers, positions or document ids finds it "
    "without reading a word (“last position + 1” scores 100 %), and a tie broken by row number flatters or "
    "punishes a model for the order in which its bank was filled.",
    healthy="no rank changes",
    fix="take ids, row numbers and positions out of every feature, and let ties count against the target",
    unit="share of windows",
    examine=examine,
    needs=("windows", "entries"),
)
