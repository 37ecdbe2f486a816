"""``segue diagnose``: why is a trained run not better?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.checks import AUDIT, CHECKS, DIAGNOSIS, Case, Finding
from segue.checks.causes import root_causes
from segue.checks.run import blocked, require_codes, run_checks
from segue.comparison.record import Cause, read_record, write_record
from segue.errors import InputError, explain
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.reports import write_report
from segue.workflows.audit import case_of
from segue.workflows.check_record import checked


@dataclass(frozen=True)
class Diagnosis:
    """What a diagnosis found.

    Attributes:
        run: the run folder.
        subject: the option it is about.
        audit: the integrity findings that it rests on.
        findings: one per diagnosis check, in reading order.
        causes: root causes, the most fundamental first; empty where none was found.
        unsafe: whether the run's numbers are shown, labelled, although a check blocks them.
    """

    run: str
    subject: str | None
    audit: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    unsafe: bool = False

    @property
    def blocked(self) -> list[str]:
        """Codes of the integrity checks that failed; while there are any, only their causes are named."""
        return blocked(self.audit)

    @property
    def refused(self) -> bool:
        """Whether the diagnosis may not be printed, since it quotes numbers that are blocked."""
        return bool(self.blocked) and not self.unsafe

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings to print: where numbers are refused, those that block them."""
        return tuple(finding for finding in self.audit if finding.blocks) if self.refused else self.findings

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {"run": self.run, "subject": self.subject, "blocked": self.blocked, "unsafe": self.unsafe,
                "causes": [cause.to_json() for cause in self.causes],
                "findings": [finding.to_json() for finding in self.shown]}  # fmt: skip


def diagnose(
    run: Path | str,
    *,
    option: str | None = None,
    fast: bool = False,
    mute: Collection[str] = (),
    stages: Stages = quiet,
) -> Diagnosis:
    """Explain a run's results; where it holds a comparison, its report is written again with the answer.

    Args:
        run: a run folder in which something was trained.
        option: which row to explain; default: the trained candidate that did best on validation.
        fast: leave out checks that train.
        mute: codes that are not run; recorded.
        stages: shows progress.

    Raises:
        InputError: ``run`` is no run folder, or has no such option.
        SettingsError: a muted code does not exist.
    """
    limit_threads()
    require_codes(mute, CHECKS)
    run = Path(run)
    if not (run / "recipe.json").exists():
        raise InputError(explain(f"{run} is no run folder", got="no recipe.json in it",
                                 fix="name a folder that `segue train` or `segue triage` wrote"))  # fmt: skip
    case = case_of(run, subject=option, stages=stages)
    if option is not None and not case.entries_named(option):
        names = ", ".join(dict.fromkeys(row.name for row in case.entries))
        raise InputError(explain(f"{run} has no finished option of this name", got=option, expected=names))
    audit = _recorded_audit(run) or _audit(case, mute, stages)
    with stages("Diagnosing") as progress:
        findings = run_checks(DIAGNOSIS, case, fast=fast, mute=mute, progress=progress)
    unsafe = _record(run, audit, findings, subject=case.subject)
    causes = tuple(root_causes([*audit, *findings]))
    return Diagnosis(str(run), case.subject, tuple(audit), tuple(findings), causes, unsafe)


def _recorded_audit(run: Path) -> list[Finding]:
    path = run / "triage.json"
    return list(read_record(path).audit) if path.exists() else []


def _audit(case: Case, mute: Collection[str], stages: Stages) -> list[Finding]:
    with stages("Auditing") as progress:
        return run_checks(AUDIT, case, mute=mute, progress=progress)


def _record(run: Path, audit: list[Finding], findings: list[Finding], *, subject: str | None) -> bool:
    """Put the findings into the run's comparison, if it has one, and write its report again.

    Returns:
        Whether the comparison's numbers are labelled unsafe.
    """
    path = run / "triage.json"
    if not path.exists():
        return False
    record = read_record(path)
    found = checked(audit, findings, unsafe=record.unsafe, subject=subject)
    write_record(path, record.model_copy(update=dict(found)))
    write_report(run)
    return found.unsafe
