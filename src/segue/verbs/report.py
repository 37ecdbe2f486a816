"""``segue report``: write a run's report again, from what was measured."""

from __future__ import annotations

from pathlib import Path

from segue.release.report import write_report
from segue.run_folder import read_json
from segue.verbs.triage import Comparison


def report(run: Path | str) -> Comparison:
    """Write ``report.md``, ``report.html`` and ``report.json`` into a run folder.

    Raises:
        InputError: the folder holds no comparison.
    """
    run = Path(run)
    record = read_json(run / "triage.json")
    write_report(run)
    return Comparison(run, record)
