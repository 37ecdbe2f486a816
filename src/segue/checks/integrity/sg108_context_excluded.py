"""SG108: are the passages that were read, and their duplicates, out of the candidates as the row declares?

Asked twice: of the rankings that were stored at evaluation, all of them, and of the retrievers themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.types import Bank, Windows
from segue.windows.windows import excluded_rows

DECLARED = "context-left-in"
"""The intent of a row that leaves the context in on purpose."""
ASKED, DEPTH = 16, 50
"""Windows that a retriever is asked again, and places of its answer."""
FEWEST = 5
"""Windows in which a read passage must stand before the target until ranks that ignore the exclusion are told."""


def examine(case: Case) -> Verdict:
    """Look for excluded passages in every stored ranking and in fresh answers."""
    rows = [row for row in case.entries if row.intent != DECLARED]
    stored = [found for row in rows if (found := _stored(case, row)) is not None]
    asked = [_ask_again(case, row) for row in case.non_controls if row.intent != DECLARED]
    if not stored and not any(found["windows"] for found in asked):
        return not_applicable("no row has rankings of the present windows")
    broken = [found for found in [*stored, *asked] if found["left_in"] or found["ranks_ignore"]]
    details = {"stored": stored, "asked_again": asked}
    if broken:
        return Verdict("issue", _say_broken(broken), _share(broken), 0.0, details)
    return Verdict("passed", _say_clean(case, stored, asked), 0.0, 0.0, details)


def _stored(case: Case, row: CaseEntry) -> dict[str, Any] | None:
    """Count a row's stored rankings with an excluded passage; None where they are of other windows (SG114)."""
    windows, evaluation = case.fold_of(row).test, row.evaluation
    if evaluation is None or not np.array_equal(evaluation.targets, windows.target):
        return None
    exclude = excluded_rows(case.bank, windows, evaluation.exclude)
    found = _count(case.bank, windows, evaluation.rankings, exclude)
    return {"row": row.name, "fold": row.fold, "exclude": evaluation.exclude, **found, "ranks_ignore": False}


def _ask_again(case: Case, row: CaseEntry) -> dict[str, Any]:
    """Ask a retriever for some windows as served, and whether its ranks heed the exclusion."""
    windows = case.sample(case.fold_of(row), most=ASKED)
    windows = windows.take(row.retriever.pool.candidates_of(windows.target) >= 0)
    asked = {"row": row.name, "fold": row.fold, "exclude": case.exclude}
    if len(windows) == 0:
        return asked | {"windows": 0, "left_in": 0, "only_duplicates": 0, "moved_up": 0, "ranks_ignore": False}
    contexts = case.contexts(row, windows)
    exclude = excluded_rows(case.bank, windows, case.exclude)
    answers = row.retriever.rank(contexts, DEPTH).rows
    return asked | _count(case.bank, windows, answers, exclude) | _ranks_ignore(case, row, windows)


def _ranks_ignore(case: Case, row: CaseEntry, windows: Windows) -> dict[str, Any]:
    """Count the targets that the exclusion moves up, and tell whether it moves none although it should.

    Leaving out a passage that stands before the target moves the target up by one; leaving out others does nothing.
    """
    left_in = case.gather(case.bank, windows, exclude="none", texts=row.retriever.reads_text)
    ranks = row.retriever.target_ranks(case.contexts(row, windows), windows.target)
    with_context = row.retriever.target_ranks(left_in, windows.target)
    moved = int((ranks < with_context).sum())
    read_before = 0 if moved else _read_before(case, row, windows, with_context)
    return {"moved_up": moved, "read_before": read_before, "ranks_ignore": read_before >= FEWEST}


def _read_before(case: Case, row: CaseEntry, windows: Windows, ranks: Int[np.ndarray, "window"]) -> int:
    """Count the windows in which a read passage, left in, stands before the target of the given rank."""
    left_in = case.gather(case.bank, windows, exclude="none", texts=row.retriever.reads_text)
    answers = row.retriever.rank(left_in, DEPTH).rows
    before = np.arange(DEPTH) < (ranks - 1)[:, None]  # places before the target
    exclude = excluded_rows(case.bank, windows, case.exclude)
    return int(_left_in(case.bank, windows, np.where(before, answers, -1), exclude).any(axis=1).sum())


def _count(
    bank: Bank,
    windows: Windows,
    rankings: Int[np.ndarray, "window depth"],
    exclude: Int[np.ndarray, "window excluded"],
) -> dict[str, int]:
    """Count the rankings that hold an excluded passage or a duplicate of one, and those that hold duplicates only."""
    left_in = _left_in(bank, windows, rankings, exclude)
    itself = left_in & _among(rankings, exclude, len(bank))
    broken = left_in.any(axis=1)
    return {
        "windows": len(windows),
        "left_in": int(broken.sum()),
        "only_duplicates": int((broken & ~itself.any(axis=1)).sum()),
    }


def _left_in(
    bank: Bank,
    windows: Windows,
    rankings: Int[np.ndarray, "window depth"],
    exclude: Int[np.ndarray, "window excluded"],
) -> Bool[np.ndarray, "window depth"]:
    """Tell which places hold the text of an excluded passage; the target's own text may stay."""
    group = bank.duplicate_group
    answered = np.where(rankings >= 0, group[rankings], -1)
    forbidden = np.where(exclude >= 0, group[exclude], -1)
    return _among(answered, forbidden, len(bank)) & (answered != group[windows.target][:, None])


def _among(
    values: Int[np.ndarray, "window depth"], known: Int[np.ndarray, "window known"], limit: int
) -> Bool[np.ndarray, "window depth"]:
    """Tell which numbers (below ``limit``, negative for none) stand among the known ones of the same window.

    >>> _among(np.array([[3, 5], [3, -1]]), np.array([[5, 7], [-1, 4]]), 10).tolist()
    [[False, True], [False, False]]
    """
    window = np.arange(len(values))[:, None] * limit
    rising = np.unique((window + known)[known >= 0])
    if len(rising) == 0:
        return np.zeros(values.shape, dtype=bool)
    keys = window + values
    place = np.minimum(np.searchsorted(rising, keys), len(rising) - 1)
    return (values >= 0) & (rising[place] == keys)


def _share(broken: list[dict[str, Any]]) -> float:
    """Return the share of broken rankings where most were found; ranks that heed nothing are broken throughout."""
    worst = max(broken, key=lambda found: found["left_in"])
    return 1.0 if any(found["ranks_ignore"] for found in broken) else worst["left_in"] / worst["windows"]


def _say_broken(broken: list[dict[str, Any]]) -> str:
    """Say how the worst row breaks what it declares, whose ranks do, and how many rows there are."""
    says = [_say_rankings(max(broken, key=lambda found: found["left_in"]))]
    says += [_say_ranks(found) for found in broken if found["ranks_ignore"]][:1]
    rows = {found["row"] for found in broken}
    says += [f"{len(rows)} rows break the rule"] * (len(rows) > 1)
    return f"{'; '.join(filter(None, says))}."


def _say_ranks(found: dict[str, Any]) -> str:
    return (
        f"the ranks of {found['row']} are those with the context left in (a read passage stands before "
        f"{found['read_before']} of {found['windows']} targets)"
    )


def _say_rankings(found: dict[str, Any]) -> str:
    if not found["left_in"]:
        return ""
    what = "all passages read so far are" if found["exclude"] == "prefix" else "the context is"
    said = (f"{found['row']} declares that {what} excluded, but {found['left_in']:,} of {found['windows']:,} rankings "
            f"({percent(found['left_in'] / found['windows'])}) hold such a passage or its duplicate")  # fmt: skip
    return said + (f", {found['only_duplicates']:,} a duplicate only" if found["only_duplicates"] else "")


def _say_clean(case: Case, stored: list[dict[str, Any]], asked: list[dict[str, Any]]) -> str:
    windows = sum(found["windows"] for found in stored)
    moved = sum(found["moved_up"] for found in asked)
    again = sum(found["windows"] for found in asked)
    said = f"None of {windows:,} stored rankings of {len({found['row'] for found in stored})} rows"
    return (
        f"{said} and none of {again:,} fresh answers holds a passage that was read ({case.exclude} excluded) or its "
        f"duplicate; left in, one would stand before {moved:,} of these {again:,} targets."
    )


CHECK = Check(
    code="SG108",
    title="Context out of the candidates",
    question="Are the context passages and their duplicates out of the candidates, as the row declares?",
    detection="In every stored ranking of every row, and in the answers of each candidate to up to "
    f"{ASKED} windows asked again, no place may hold the text of an excluded passage (the context, or with `prefix` "
    "all passages read so far). Ranks must move up when the context is left out, if left in it stands before the "
    f"target in at least {FEWEST} of those windows. The control is how often it would. Rows that "
    "declare themselves `context-left-in` are exempt.",
    why="The passage most similar to what was just read is what was just read. Left in, it takes the first place: "
    "copy-last falls to 0 % R@1 while R@5 looks fine, and rows that exclude it seem better than they are.",
    healthy="no ranking holds a passage that was read",
    fix="exclude the context and its duplicates before ranking, or declare the row context-left-in",
    unit="share of rankings",
    examine=examine,
    needs=("windows", "entries"),
)
