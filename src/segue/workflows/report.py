"""``segue report``: write a run's report again, from what was measured."""

from __future__ import annotations

from pathlib import Path

from segue.comparison.record import write_record
from segue.files import exclusive
from segue.reports import write_report
from segue.runs.bank import changes_of_bank
from segue.storage import on_storage
from segue.workflows.check_record import is_unsafe
from segue.workflows.triage import Comparison


@on_storage("run")
def report(run: Path | str, *, unsafe: bool = False) -> Comparison:
    """Write ``report.md``, ``report.html`` and ``report.json`` into a run folder; they state if its bank has changed.

    Args:
        run: the run folder.
        unsafe: print numbers, labelled, although an integrity check blocks them; without it they are refused.

    Raises:
        InputError: the folder holds no comparison.
        MissingExtraError: the run is in object storage, and its client is not installed.
        StorageError: another process works on the run folder, or it cannot be written.
    """
    run = Path(run)
    Comparison.open(run)  # refuses another folder before it is locked
    with exclusive(run):
        record = Comparison.open(run).record
        unsafe = is_unsafe(record.audit, unsafe=unsafe)
        record = record.model_copy(update={"unsafe": unsafe, "bank_changes": changes_of_bank(run)})
        write_record(run / "triage.json", record)
        write_report(run)
    return Comparison(run, record)
