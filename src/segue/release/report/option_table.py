"""The table of options: what each asked, what it cost, what is risked with it, what came out."""

from __future__ import annotations

from segue.release.report.document import Cell, Column, Table, TableRow, Tone
from segue.release.report.facts import Comparison, Row, number, sequence
from segue.release.report.inline import code, plain
from segue.release.report.tables import REFERENCES, grouped, name_cell, style, tags
from segue.release.report.wording import DASH, SCALES, count, duration, magnitude

WORDS = {"better": "▲ better", "worse": "▼ worse", "undecided": "· undecided"}
STATUS_TONES: dict[str, Tone] = {"under-trained": "warn", "aborted": "fail", "failed": "fail", "skipped": "muted"}


def option_table(comparison: Comparison) -> Table | None:
    """One line per option, whether it was measured or not."""

    def line(row: Row) -> TableRow:
        cells = [name_cell(row), _what_cell(row), *_cost_cells(row), Cell(plain(row.text("risk")) or DASH)]
        cells += [_outcome_cell(comparison, row, name) for name in shown]
        return TableRow((*cells, _status_cell(row)), style(comparison, row), _intent_tags(comparison, row))

    shown = [name for name in REFERENCES if comparison.measured(name)]
    columns = [Column("Option", False), Column("What it does, what it answers", False), Column("Parameters")]
    columns += [Column("Steps"), Column("Training"), Column("Risk", False)]
    columns += [Column(f"R@5 against {code(name)}", False) for name in shown] + [Column("Status", False)]
    caption = (
        "Outcomes by the paired test in R@5 over documents, Holm-adjusted; “undecided” is a difference that this many "
        "documents cannot show. Training time is the sum over folds, steps are those of one fold."
    )
    groups = grouped(comparison, line)
    return Table("options", caption, tuple(columns), groups) if groups else None


def _intent_tags(comparison: Comparison, row: Row) -> tuple[str, ...]:
    """The status has a column of its own here."""
    return tuple(tag for tag in tags(comparison, row) if tag not in (row.status, "under-trained"))


def _what_cell(row: Row) -> Cell:
    description, question = plain(row.text("description")), plain(row.text("question"))
    return Cell(description or question or DASH, question if description else "")


def _cost_cells(row: Row) -> list[Cell]:
    cost = row.training
    parameters, seconds = number(cost.get("parameters")), number(cost.get("seconds"))
    steps = number(cost.get("steps"))
    return [
        Cell(magnitude(parameters), sort=parameters),
        Cell(count(steps), sort=steps),
        Cell(duration(seconds), sort=seconds),
    ]


def _outcome_cell(comparison: Comparison, row: Row, name: str) -> Cell:
    reference = comparison.row(name)
    contrast = None if reference is None or row.name == name else row.against(reference)
    if contrast is None or not contrast.paired:
        return Cell(DASH, tone="muted")
    value = contrast.difference.value
    return Cell(WORDS[contrast.outcome], f"{SCALES['R@5'].signed(value)} points", contrast.outcome, value)


def _status_cell(row: Row) -> Cell:
    status = "under-trained" if row.under_trained else row.status
    return Cell(plain(status) or DASH, plain(row.text("reason")), STATUS_TONES.get(status, ""))


def best_steps(row: Row) -> list[int]:
    """The step with the best validation MRR, per fold."""
    return [int(step) for entry in sequence(row.training.get("best_steps")) if (step := number(entry)) is not None]
