"""``segue diagnose``: explain why a trained run is not better."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.checks import AUDIT, CHECKS, DIAGNOSIS, Finding
from segue.checks.causes import root_causes
from segue.checks.check import Check
from segue.checks.run import blocked, require_codes, run_checks
from segue.comparison.record import Cause, read_record, write_record
from segue.errors import InputError
from segue.files import exclusive
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.reports import write_report
from segue.storage import on_storage, place_of
from segue.workflows.audit import case_of, own_checks
from segue.workflows.check_record import checked
from segue.workflows.prepare import recorded_recipe


@dataclass(frozen=True)
class RunDiagnosis:
    """Result of a diagnosis.

    Attributes:
        run: the run folder.
        subject: the option that it explains.
        audit: the integrity findings.
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
        """Codes of the integrity checks that failed; while any failed, only their causes are named."""
        return blocked(self.audit)

    @property
    def refused(self) -> bool:
        """Whether the diagnosis is not printed, since it quotes blocked numbers."""
        return bool(self.blocked) and not self.unsafe

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings to print: where numbers are refused, those that block them."""
        return tuple(finding for finding in self.audit if finding.blocks) if self.refused else self.findings

    def to_json(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        return {"run": self.run, "subject": self.subject, "blocked": self.blocked, "unsafe": self.unsafe,
                "causes": [cause.to_json() for cause in self.causes],
                "findings": [finding.to_json() for finding in self.shown]}  # fmt: skip


@on_storage("run")
def diagnose(
    run: Path | str,
    *,
    option: str | None = None,
    bank: Path | str | None = None,
    fast: bool = False,
    mute: Collection[str] = (),
    checks: Iterable[Check | str] | None = None,
    stages: Stages = quiet,
) -> RunDiagnosis:
    """Explain a run's results; where it holds a comparison, its report is written again with the findings.

    Args:
        run: a run folder in which something was trained.
        option: the option to explain; default: what is chosen on validation among the trained candidates.
        bank: folder of the run's bank; None: where the run recorded it.
        fast: leave out checks that train.
        mute: codes that are not run; recorded.
        checks: checks of your own that run too; None: those that the run's recipe names.
        stages: shows progress.

    Raises:
        InputError: ``run`` is not a run folder or has no such option; or its bank is not there, or another.
        SettingsError: a muted code does not exist, or a check of your own cannot be loaded.
        StorageError: another process works on the run folder.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    run = Path(run)
    own = own_checks(recorded_recipe(run), checks)
    require_codes(mute, (*CHECKS, *own.all))
    recorded = (run / "triage.json").exists()
    with exclusive(run) if recorded else nullcontext():  # a comparison is written again
        case = case_of(run, bank=bank, subject=option)
        if option is not None and not case.entries_named(option):
            names = ", ".join(dict.fromkeys(entry.name for entry in case.entries))
            raise InputError(f"{run} has no finished option of this name", got=option, expected=names)
        audit = list(read_record(run / "triage.json").audit) if recorded else []
        if not audit:
            with stages("Auditing") as progress:
                audit = run_checks((*AUDIT, *own.integrity), case, mute=mute, progress=progress)
        with stages("Diagnosing") as progress:
            findings = run_checks((*DIAGNOSIS, *own.diagnosis), case, fast=fast, mute=mute, progress=progress)
        unsafe = recorded and _record(run, audit, findings, subject=case.subject)
    causes = tuple(root_causes([*audit, *findings]))
    return RunDiagnosis(place_of(run), case.subject, tuple(audit), tuple(findings), causes, unsafe)


def _record(run: Path, audit: list[Finding], findings: list[Finding], *, subject: str | None) -> bool:
    """Add the findings to the run's comparison, and write its report again.

    Returns:
        Whether the comparison's numbers are labelled unsafe.
    """
    path = run / "triage.json"
    record = read_record(path)
    found = checked(audit, findings, unsafe=record.unsafe, subject=subject)
    write_record(path, record.model_copy(update=dict(found)))
    write_report(run)
    return found.unsafe
