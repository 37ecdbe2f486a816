"""Run checks on a case, one after the other."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import TypeVar

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Need, Verdict, not_applicable
from segue.comparison.record import CheckOutcome, Finding, is_integrity
from segue.errors import SegueError, SettingsError, StorageError
from segue.types import Progress, no_progress

NEEDS: dict[Need, tuple[Callable[[Case], bool], str]] = {
    "texts": (lambda case: case.bank.has_texts, "the bank holds vectors only"),
    "windows": (lambda case: bool(case.folds), "there are no windows yet: name a recipe or a run"),
    "entries": (lambda case: bool(case.entries), "nothing was compared yet: name a run"),
    "evaluations": (lambda case: any(entry.evaluation is not None for entry in case.entries),
                    "nothing was evaluated yet: run `segue evaluate` or `segue triage`"),
    "trained": (lambda case: bool(case.trained_entries), "nothing was trained"),
}  # fmt: skip
"""Whether a case has what a check needs, and what is said where it has not."""

BROKE = "the check itself failed"


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
        progress: called before each check.
    """
    findings = []
    for number, check in enumerate(checks):
        progress(number, len(checks), f"{check.code} {check.title}")
        began = perf_counter()
        finding = _examine(check, case, fast=fast, muted=check.code in mute)
        findings.append(finding.model_copy(update={"seconds": round(perf_counter() - began, 3)}))
    return findings


def _examine(check: Check, case: Case, *, fast: bool, muted: bool) -> Finding:
    if muted:
        return _finding(check, "muted", not_applicable("muted by its code"))
    for has, reason in (NEEDS[need] for need in check.needs):
        if not has(case):
            return _finding(check, "not-applicable", not_applicable(reason))
    if fast and check.slow:
        return _finding(check, "skipped", not_applicable("too slow for --fast"))
    try:
        verdict = check.examine(case)
        finding = _finding(check, verdict.outcome, verdict)
        json.dumps(finding.to_json(), allow_nan=False)  # one of your own may hold anything
    except StorageError:
        raise
    except SegueError as error:
        return _finding(check, "skipped", not_applicable(f"could not be examined: {error}"))
    except Exception as error:  # a broken check must not stop the whole comparison
        broke = f"{BROKE}, please report it" if check.code.startswith("SG") else BROKE
        return _finding(check, "skipped", not_applicable(f"{broke}: {type(error).__name__}: {error}"))
    return finding


def _finding(check: Check, outcome: CheckOutcome, verdict: Verdict) -> Finding:
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
        fix=verdict.fix or check.fix,
        details=verdict.details,
        caveats=verdict.caveats,
    )


def require_codes(codes: Collection[str], checks: Sequence[Check]) -> None:
    """Refuse codes that no check has.

    Raises:
        SettingsError: naming the nearest code.
    """
    known = [check.code for check in checks]
    unknown = [code for code in codes if code not in known]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]).upper(), known, n=1)
        fix = f"write {near[0]}" if near else "see docs/checks.md"
        expected = f"one of {known[0]} … {known[-1]}"
        raise SettingsError("no check has this code", got=", ".join(map(str, unknown)), expected=expected, fix=fix)


def blocked(findings: Sequence[Finding]) -> list[str]:
    """Return the codes that block the headline number."""
    return [finding.code for finding in findings if finding.blocks]


def unproven(findings: Sequence[Finding]) -> list[str]:
    """Return the codes of integrity checks that were muted or skipped, so their result is unknown."""
    return [f.code for f in findings if is_integrity(f.code) and f.outcome in ("muted", "skipped")]


Result = TypeVar("Result")


def each_entry(
    entries: Sequence[CaseEntry], examine: Callable[[CaseEntry], Result | None]
) -> tuple[dict[str, Result], SegueError | None]:
    """Return the result of each entry that has one, by name, and the first error of one that could not be examined.

    A check that finds no breach gives the error to its verdict: it has not examined every entry, so its result is void.
    Entries of other folds than the first entry's are named with their fold.

    Raises:
        StorageError: the disk is at fault, not the entry.
    """
    found: dict[str, Result] = {}
    first: SegueError | None = None
    for entry in entries:
        try:
            if (result := examine(entry)) is not None:
                found[entry.name if entry.fold == entries[0].fold else f"{entry.name}, fold {entry.fold}"] = result
        except StorageError:
            raise
        except SegueError as error:
            first = first or error
    return found, first
