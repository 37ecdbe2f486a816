"""The checks before and after a comparison: findings, causes, what is blocked, and whether numbers are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from segue.checks import AUDIT, CHECKS, DIAGNOSIS, Case, Effort, Finding
from segue.checks.build_case import case_of_job
from segue.checks.causes import root_causes
from segue.checks.check import Check
from segue.checks.own import OWN_CODE, OwnChecks
from segue.checks.run import blocked, require_codes, run_checks, unproven
from segue.comparison.job import finished_results
from segue.comparison.record import Checked
from segue.comparison.tasks import Worker, Workers
from segue.errors import BlockedError
from segue.progress import Stages

OF_DATA = {"texts", "windows"}
"""What integrity checks may need that run before anything is trained."""

NONE = OwnChecks()
QUICK = Effort(windows=400)
"""Effort of the quick diagnosis at the end of a comparison."""


@dataclass(frozen=True)
class CheckPolicy:
    """Choice of checks, and whether numbers that a check blocks are printed.

    Attributes:
        mute: codes of checks that are not run; without an integrity check, the numbers are labelled unsafe.
        unsafe: print numbers, labelled, although a check blocks them.

    Raises:
        SettingsError: a code does not exist.
    """

    mute: tuple[str, ...] = ()
    unsafe: bool = False

    def __post_init__(self) -> None:
        require_codes([code for code in self.mute if not OWN_CODE.fullmatch(code)], CHECKS)


def check_data(case: Case, policy: CheckPolicy, *, own: OwnChecks = NONE, stages: Stages) -> list[Finding]:
    """Run the integrity checks that need no entry, before anything is trained, and return what they found.

    Args:
        case: bank and windows; entries are not read.
        policy: with ``unsafe``, an issue ends nothing here and labels the numbers later.
        own: checks of your own.
        stages: shows progress.

    Raises:
        BlockedError: a check raised an issue, which no training can repair.
        SettingsError: a muted code does not exist.
    """
    require_codes(policy.mute, (*CHECKS, *own.all))
    before = [check for check in (*AUDIT, *own.integrity) if set(check.needs) <= OF_DATA]
    with stages("Checking the data") as progress:
        findings = run_checks(before, case, mute=policy.mute, progress=progress)
    issues = [finding for finding in findings if finding.blocks]
    if issues and not policy.unsafe:
        causes = [f"{cause.title}: {cause.fix}" for cause in root_causes(findings)]
        raise BlockedError(
            f"nothing was trained, since no number on this data could be trusted ({', '.join(blocked(findings))})",
            got=" ".join(f"{issue.code} {issue.title}: {issue.statement}" for issue in issues).rstrip("."),
            fix="; ".join(causes or [issue.fix for issue in issues]),
        )
    return findings


def check_record(
    subject: str | None,
    policy: CheckPolicy,
    *,
    data: Sequence[Finding],
    own: OwnChecks = NONE,
    workers: Workers,
    stages: Stages,
) -> Checked:
    """Audit a comparison and diagnose it quickly: fewer windows, and without the slow checks.

    ``segue diagnose`` makes the full diagnosis.

    Args:
        subject: the option that the diagnosis is about.
        policy: codes that are not run, and whether blocked numbers are labelled.
        data: what ``check_data`` found; checks that read the data alone are not run again.
        own: checks of your own.
        workers: examine the comparison, several checks side by side.
        stages: shows progress.
    """
    known = {finding.code: finding for finding in data}

    def examined(checks: Sequence[Check], title: str, *, quick: bool) -> list[Finding]:
        def begin(check: Check) -> Future[Finding]:
            if check.data_alone and check.code in known:
                found: Future[Finding] = Future()
                found.set_result(known[check.code])
                return found
            return workers.call(_examine, check, quick=quick, mute=policy.mute)

        with stages(title) as progress:
            begun = [begin(check) for check in checks] if workers.at_once > 1 else []
            findings = []
            for number, check in enumerate(checks):
                progress(number, len(checks), f"{check.code} {check.title}")
                findings.append((begun[number] if begun else begin(check)).result())
        return findings

    audit = examined((*AUDIT, *own.integrity), "Auditing", quick=False)
    diagnosis = examined((*DIAGNOSIS, *own.diagnosis), "Diagnosing", quick=True)
    return checked(audit, diagnosis, unsafe=policy.unsafe, subject=subject)


def _examine(worker: Worker, check: Check, *, quick: bool, mute: tuple[str, ...]) -> Finding:
    """Run one check on the worker's comparison, whose case it keeps."""
    case = kept_case(worker)
    if quick:
        case = worker.keep("quick case", lambda: replace(case, effort=QUICK, _cache={}))  # its cache has fewer windows
    (finding,) = run_checks([check], case, fast=quick, mute=mute)
    return finding


def kept_case(worker: Worker) -> Case:
    """Return the case of the worker's comparison, with the results on disk."""
    job = worker.job
    return worker.keep("case", lambda: case_of_job(job, finished_results(job), baselines=worker.baselines))


def checked(audit: Sequence[Finding], diagnosis: Sequence[Finding], *, unsafe: bool, subject: str | None) -> Checked:
    """Return the findings with what follows from them.

    Args:
        audit: findings of the integrity checks.
        diagnosis: findings of the diagnosis.
        unsafe: print numbers, labelled, although a check blocks them.
        subject: the option that the diagnosis is about.
    """
    return Checked(
        audit=tuple(audit),
        diagnosis=tuple(diagnosis),
        causes=tuple(root_causes([*audit, *diagnosis])),
        muted=tuple(finding.code for finding in (*audit, *diagnosis) if finding.outcome == "muted"),
        blocked=tuple(blocked(audit)),
        unsafe=is_unsafe(audit, unsafe=unsafe),
        subject=subject,
    )


def is_unsafe(audit: Sequence[Finding], *, unsafe: bool) -> bool:
    """Return whether numbers are labelled: a check blocks them and the user wants them, or a check was not examined."""
    return unsafe if blocked(audit) else bool(unproven(audit))
