"""The report of a run: ``triage.json`` becomes ``report.md``, ``report.html`` and ``report.json``.

Nothing is measured here: a statement is printed when the entries it rests on were measured, and left out otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segue.comparison.record import read_record
from segue.files import disk, write_folder, write_json, write_text
from segue.reports.document import Figure
from segue.reports.public import public_json
from segue.reports.render import FILES_FOLDER, render_html, render_markdown
from segue.reports.report import draw_plot, report_content
from segue.reports.svg import standalone_svg
from segue.reports.terminal import causes_lines, findings_table, summary_lines, terminal_table

__all__ = [
    "ReportPaths",
    "causes_lines",
    "draw_plot",
    "findings_table",
    "public_json",
    "report_content",
    "summary_lines",
    "terminal_table",
    "write_report",
]


@dataclass(frozen=True)
class ReportPaths:
    """Paths of a written report."""

    markdown: Path
    html: Path
    json: Path


def write_report(run: Path) -> ReportPaths:
    """Write the report of the run in its folder, over an earlier one.

    Raises:
        InputError: the folder holds no ``triage.json``.
        StorageError: the report cannot be written.
    """
    record = read_record(run / "triage.json")
    report = report_content(record)
    paths = ReportPaths(run / "report.md", run / "report.html", run / "report.json")
    _write_plots(run / FILES_FOLDER, report.figures)
    write_json(paths.json, public_json(record, run=run), sealed=False)
    write_text(paths.html, render_html(report))
    write_text(paths.markdown, render_markdown(report))
    return paths


def _write_plots(folder: Path, figures: list[Figure]) -> None:
    """Replace all plots, so that none of an earlier report remains."""
    if not figures:
        disk.remove(folder)
        return

    def fill(target: Path) -> None:
        for figure in figures:
            write_text(target / f"{figure.name}.svg", standalone_svg(figure.svg))

    write_folder(folder, fill)
