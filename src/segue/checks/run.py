"""Run checks on a case, one after the other, and say what came of each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import TypeVar

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Need, Verdict
from segue.comparison.record import CheckOutcome, Finding
from segue.errors import SegueError, SettingsError, StorageError
from segue.types import Progress, no_progress

MISSING: dict[Need, str] = {
    "texts": "the bank holds vectors only",
    "windows": "there are no windows yet: name a recipe or a run",
    "entries": "nothing was compared yet: name a run",
    "evaluations": "nothing was evaluated yet: run `segue evaluate` or `segue triage`",
    "trained": "no row was trained",
}


BROKE = "the check itself broke"


def run_checks(
    checks: Sequence[Check],
    case: Case,
    *,
    fast: bool = False,
    mute: Collection[str] = (),
    progress: Progress = no_progress,
) -> list[Finding]:
    """Examine a case with each check in turn; one that cannot be carried out is skipped, with the reason.

    Args:
        checks: ``AUDIT``, ``DIAGNOSIS`` or some of them.
        case: what is examined.
        fast: skip the slow ones.
        mute: codes that are not run, and are recorded as muted.
        progress: told before each check.
    """
    findings = []
    for number, check in enumerate(checks):
        progress(number, len(checks), f"{check.code} {check.title}")
        findings.append(_find(check, case, fast=fast, muted=check.code in mute))
    return findings


def require_codes(codes: Collection[str], checks: Sequence[Check]) -> None:
    """Refuse codes that no check has.

    Raises:
        SettingsError: naming the nearest code.
    """
    known = [check.code for check in checks]
    unknown = [code for code in codes if code not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0].upper(), known, n=1)
        raise SettingsError("no check has this code", got=", ".join(unknown),
                                    expected=f"one of {known[0]} … {known[-1]}",
                                    fix=f"write {near[0]}" if near else "see docs/checks.md")  # fmt: skip


def blocked(findings: Sequence[Finding]) -> list[str]:
    """Return the codes that block the headline number."""
    return [finding.code for finding in findings if finding.blocks]


def unproven(findings: Sequence[Finding]) -> list[str]:
    """Return the codes of integrity checks that were muted or skipped, so that nothing vouches for the number."""
    return [f.code for f in findings if f.code.startswith("SG1") and f.outcome in ("muted", "skipped")]


def _find(check: Check, case: Case, *, fast: bool, muted: bool) -> Finding:
    if muted:
        return _finding(check, "muted", Verdict("not-applicable", "muted by its code"), 0.0)
    missing = [part for part in check.needs if not _has(case, part)]
    if missing:
        return _finding(check, "not-applicable", Verdict("not-applicable", MISSING[missing[0]]), 0.0)
    if fast and check.slow:
        return _finding(check, "skipped", Verdict("not-applicable", "too slow for --fast"), 0.0)
    began = perf_counter()
    try:
        verdict = check.examine(case)
    except StorageError:
        raise
    except Exception as error:  # a broken check must not take the whole comparison with it
        verdict = Verdict("not-applicable", _why_not(error))
        return _finding(check, "skipped", verdict, perf_counter() - began)
    return _finding(check, verdict.outcome, verdict, perf_counter() - began)


def _why_not(error: Exception) -> str:
    """Say why a check could not be carried out; what was not raised on purpose is a fault of the check itself."""
    if isinstance(error, SegueError):
        return f"could not be examined: {error}"
    return f"{BROKE}, please report it: {type(error).__name__}: {error}"


def _has(case: Case, part: Need) -> bool:
    present: dict[Need, bool] = {
        "texts": case.bank.has_texts,
        "windows": bool(case.folds),
        "entries": bool(case.entries),
        "evaluations": any(row.evaluation is not None for row in case.entries),
        "trained": any(row.trained is not None for row in case.entries),
    }
    return present[part]


def _finding(check: Check, outcome: CheckOutcome, verdict: Verdict, seconds: float) -> Finding:
    return Finding(
        code=check.code,
        title=check.title,
        question=check.question,
        outcome=outcome,
        statement=verdict.statement,
        measured=verdict.measured,
        threshold=verdict.threshold,
        unit=check.unit,
        healthy=check.healthy,
        fix=check.fix,
        seconds=round(seconds, 3),
        details=verdict.details,
    )


Found = TypeVar("Found")


def each_entry(
    rows: Sequence[CaseEntry], ask: Callable[[CaseEntry], Found]
) -> tuple[dict[str, Found], SegueError | None]:
    """Return what each row answered, by name, and the first error of a row that could not be asked.

    A check that finds no breach raises the error: it has not seen every row, so it vouches for nothing. Rows of other
    folds than the first row's are named with their fold.

    Raises:
        StorageError: the disk is at fault, not the row.
    """
    found: dict[str, Found] = {}
    first: SegueError | None = None
    for row in rows:
        try:
            found[row.name if row.fold == rows[0].fold else f"{row.name}, fold {row.fold}"] = ask(row)
        except StorageError:
            raise
        except SegueError as error:
            first = first or error
    return found, first
