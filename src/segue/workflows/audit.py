"""``segue audit``: check whether the numbers of a bank, a recipe or a run can be trusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.bank.bank import PassageBank
from segue.checks import AUDIT, CHECKS, Case, Finding
from segue.checks.build_case import case_of_bank, case_of_job
from segue.checks.check import Check
from segue.checks.own import OwnChecks, load_checks
from segue.checks.run import blocked, require_codes, run_checks, unproven
from segue.comparison.job import Job, Results, finished_results
from segue.comparison.record import read_record, write_record
from segue.errors import InputError
from segue.evaluation.experiment import require_same_bank
from segue.files import exclusive
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe, Recipe
from segue.reports import write_report
from segue.runs.bank import bank_of_run
from segue.storage import on_storage, place_of
from segue.workflows.check_record import checked
from segue.workflows.evaluate import experiment_of_run
from segue.workflows.prepare import (
    as_recipe,
    bind_job,
    built_bank,
    case_of_recipe,
    experiment_of,
    options_of_run,
    recorded_recipe,
)


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        target: the audited recipe, bank or run.
        findings: one per check, in reading order.
    """

    target: str
    findings: tuple[Finding, ...]

    @property
    def blocked(self) -> list[str]:
        """Codes of the checks that block the headline number."""
        return blocked(self.findings)

    @property
    def unproven(self) -> list[str]:
        """Codes of the integrity checks that were muted or could not be carried out."""
        return unproven(self.findings)

    def to_json(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        return {"target": self.target, "blocked": self.blocked, "unproven": self.unproven,
                "findings": [finding.to_json() for finding in self.findings]}  # fmt: skip


@on_storage("target")
def audit(
    target: AnyRecipe,
    *,
    bank: Path | str | None = None,
    mute: Collection[str] = (),
    checks: Iterable[Check | str] | None = None,
    stages: Stages = quiet,
) -> Audit:
    """Run every integrity check that applies; a run's report is written again with the findings.

    Args:
        target: a recipe or its tables (its bank must be built), a bank folder or a run folder.
        bank: folder of the bank of a run or a recipe; None: where the run recorded it, or the recipe names it.
        mute: codes that are not run; recorded.
        checks: integrity checks of your own that run too; None: those that the recipe names.
        stages: shows progress.

    Raises:
        InputError: the target is not a bank, a recipe or a run; or its bank is not there, or another.
        SettingsError: a muted code does not exist, or a check of your own cannot be loaded.
        StorageError: another process works on the run folder.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    if isinstance(target, Mapping):
        target = as_recipe(target)
    own = own_checks(target, checks)
    require_codes(mute, (*CHECKS, *own.all))
    run = None if isinstance(target, Recipe) or not (Path(target) / "triage.json").exists() else Path(target)
    with nullcontext() if run is None else exclusive(run):  # a comparison is written again
        case = case_of(target, bank=bank)
        with stages("Auditing") as progress:
            findings = run_checks((*AUDIT, *own.integrity), case, mute=mute, progress=progress)
        if run is not None:
            _record(run, findings)
    name = target.title if isinstance(target, Recipe) else place_of(target)
    return Audit(name, tuple(findings))


def _record(run: Path, findings: list[Finding]) -> None:
    """Add the findings to the run's comparison and write its report again."""
    record = read_record(run / "triage.json")
    found = checked(findings, record.diagnosis, unsafe=False, subject=record.subject)
    write_record(run / "triage.json", record.model_copy(update=dict(found)))
    write_report(run)


def own_checks(target: Recipe | Path | str, given: Iterable[Check | str] | None) -> OwnChecks:
    """Return checks of your own: those given, or those that a recipe, or a run's recipe, names.

    Raises:
        SettingsError: one of them cannot be loaded.
    """
    if given is None and not isinstance(target, Recipe):
        if Path(target).suffix == ".toml":
            target = as_recipe(target)
        elif (Path(target) / "recipe.json").exists():
            target = recorded_recipe(Path(target))
    named = target.checks.own if isinstance(target, Recipe) else ()
    return load_checks(named if given is None else given)


def case_of(
    target: Recipe | Path | str, *, bank: PassageBank | Path | str | None = None, subject: str | None = None
) -> Case:
    """Return the case of a recipe, a bank folder or a run folder; no bank is built."""
    if isinstance(target, Recipe) or Path(target).suffix == ".toml":
        recipe = as_recipe(target)
        opened = bank if isinstance(bank, PassageBank) else built_bank(recipe, bank)
        return case_of_recipe(recipe, experiment_of(recipe, opened))
    folder = Path(target)
    if (folder / "recipe.json").exists():
        job, results = job_of_run(folder, bank=bank)
        return case_of_job(job, results, subject=subject)
    if (folder / "manifest.json").exists():
        if bank is not None:
            raise InputError(f"{folder} is a bank itself", got=f"--bank {bank}", fix="leave out --bank")
        return case_of_bank(PassageBank.open(folder))
    raise InputError(
        f"{folder} cannot be audited",
        got="neither recipe.json nor manifest.json in it" if folder.is_dir() else "no such folder",
        expected="a recipe, a bank folder or a run folder",
        fix="name a folder that `segue bank build`, `segue train` or `segue triage` wrote",
    )


def job_of_run(run: Path, *, bank: PassageBank | Path | str | None = None) -> tuple[Job, Results]:
    """Read a run folder back: its job, and the results of the options that are finished.

    Args:
        run: the run folder.
        bank: its bank, or the folder; None: it is opened where the run recorded it.

    Raises:
        InputError: ``run`` is not a run folder, nothing was trained in it, or its bank is not there or has changed.
    """
    recipe = recorded_recipe(run)
    opened = bank_of_run(run, given=bank)
    experiment = experiment_of_run(run, recipe, opened)
    require_same_bank(experiment.bank, run / "split.json")
    job = bind_job(recipe, experiment, options_of_run(run), run)
    return job, finished_results(job)
