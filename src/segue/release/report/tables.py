"""The tables of measured numbers: metrics with differences, what is lost from validation to test, other pools."""

from __future__ import annotations

from collections.abc import Callable

from segue.release.report.chosen import choice_against
from segue.release.report.document import Cell, Column, Group, Table, TableRow, Tone
from segue.release.report.facts import FAMILIES, Comparison, Contrast, Row, best_on_validation
from segue.release.report.inline import code
from segue.release.report.wording import DASH, SCALES, p_value
from segue.types import Interval

HEADLINE = ("R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "total_p95_ms")
HEADS = {"total_p95_ms": "answer P95"}
UNITS = {"R@1": "%", "R@5": "%", "R@10": "%", "Contain@50": "%", "total_p95_ms": "ms"}
REFERENCES = ("copy-last", "ar-only")
SMALLER_IS_BETTER = {"total_p95_ms"}
SIGNS = {"better": "▲", "worse": "▼", "undecided": "·"}
INTENT_TAGS = {"control": "control", "projected": "projected", "context-left-in": "context left in"}


def name_cell(row: Row) -> Cell:
    """The option's name as it is typed on the command line."""
    return Cell(code(row.name))


def tags(comparison: Comparison, row: Row) -> tuple[str, ...]:
    """What a reader must know beside the name: the winner, a declared intent, a status other than done."""
    found = [_winner_tag(comparison)] if comparison.won(row) else []
    found += [INTENT_TAGS[row.intent]] if row.intent in INTENT_TAGS else []
    found += [row.status] if row.status not in ("", "done") else []
    return (*found, "under-trained") if row.under_trained and row.status != "under-trained" else tuple(found)


def _winner_tag(comparison: Comparison) -> str:
    """*Winner* is who clearly beats copying; who merely did best on validation is *chosen*."""
    reference = comparison.measured("copy-last")
    contrast = choice_against(comparison, reference) if reference else None
    return "winner" if reference is None or (contrast and contrast.outcome == "better") else "chosen"


def style(comparison: Comparison, row: Row) -> str:
    """How the line is set apart."""
    if comparison.won(row):
        return "winner"
    return "control" if row.intent == "control" else ""


def grouped(comparison: Comparison, line: Callable[[Row], TableRow | None]) -> tuple[Group, ...]:
    """Lines for all rows by family, in reading order, controls last; rows without a line are left out."""
    groups = []
    for family, title in FAMILIES.items():
        lines = [line(row) for row in comparison.rows if row.family == family]
        kept = tuple(found for found in lines if found is not None)
        groups += [Group(title, kept)] if kept else []
    return tuple(groups)


def metric_table(comparison: Comparison) -> Table:
    """The headline metrics of every measured row, with intervals and paired differences."""
    best = {name: best_value(comparison, name) for name in HEADLINE}
    shown = [name for name in REFERENCES if comparison.measured(name)]

    def line(row: Row) -> TableRow | None:
        if row.metric("R@5") is None:
            return None
        cells = [metric_cell(row, name, best[name]) for name in HEADLINE]
        cells += [contrast_cell(row, comparison.row(name), "R@5") for name in shown]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    columns = [Column("Option", False)]
    columns += [Column(HEADS.get(name, name), True, UNITS.get(name, "")) for name in HEADLINE]
    columns += [Column(f"ΔR@5 vs {code(name)}", True, "points") for name in shown]
    return Table("metrics", METRIC_CAPTION, tuple(columns), grouped(comparison, line))


METRIC_CAPTION = (
    "Test documents, the whole bank searched. Beside each value its 95 % interval over groups of near-duplicate "
    "documents; bold: the best candidate of the column; Δ: ▲ better, ▼ worse, · undecided by a paired test over "
    "documents."
)


def best_value(comparison: Comparison, name: str) -> float | None:
    """The best value that a candidate has."""
    values = [value for row in comparison.candidates if (value := row.value(name)) is not None]
    if not values:
        return None
    return min(values) if name in SMALLER_IS_BETTER else max(values)


def metric_cell(row: Row, name: str, best: float | None = None) -> Cell:
    """Value and interval; the candidates' best is marked."""
    found, scale = row.metric(name), SCALES[name]
    if found is None:
        return Cell(DASH, tone="muted")
    tone: Tone = "best" if best is not None and found.value == best and row.can_win else ""
    return Cell(scale.number(found.value), scale.span(found), tone, found.value)


def contrast_cell(row: Row, reference: Row | None, metric: str) -> Cell:
    """The paired difference to a reference with its interval and verdict; a dash where no pairing is on record."""
    contrast = None if reference is None or reference.name == row.name else row.against(reference, metric)
    if contrast is None or not contrast.paired:
        return Cell(DASH, tone="muted")
    scale = SCALES[metric]
    sign = SIGNS[contrast.outcome]
    return Cell(
        f"{sign} {scale.signed(contrast.difference.value)}",
        scale.signed_span(contrast.difference),
        contrast.outcome,
        contrast.difference.value,
    )


def difference_table(comparison: Comparison) -> Table:
    """Paired differences in R@5 and MRR against both references, with p-values."""
    pairs = [(name, metric) for name in REFERENCES for metric in ("R@5", "MRR") if comparison.measured(name)]

    def line(row: Row) -> TableRow | None:
        cells: list[Cell] = []
        for name, metric in pairs:
            reference = comparison.row(name)
            cells += [contrast_cell(row, reference, metric), _p_cell(row, reference, metric)]
        if row.intent == "control" or all(cell.text == DASH for cell in cells):
            return None
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    columns = [Column("Option", False)]
    for name, metric in pairs:
        columns += [Column(f"Δ{metric} vs {code(name)}", True, "points" if metric == "R@5" else ""), Column("p")]
    caption = "Option minus reference over the same windows: sign-flipping documents, p-values adjusted by Holm."
    return Table("differences", caption, tuple(columns), grouped(comparison, line))


def _p_cell(row: Row, reference: Row | None, metric: str) -> Cell:
    contrast = None if reference is None or reference.name == row.name else row.against(reference, metric)
    p = None if contrast is None else contrast.p
    text = p_value(p).removeprefix("p").removeprefix(" = ").strip()
    return Cell(text or DASH, sort=p, tone="" if text else "muted")


def best_baseline(comparison: Comparison) -> Row | None:
    """The candidate without training that did best on validation; copy-last where none was scored there."""
    untrained = [row for row in comparison.candidates if row.family == "baseline"]
    return best_on_validation(untrained) or comparison.measured("copy-last")


def sentence_of(contrast: Contrast, metric: str = "R@5") -> str:
    """Print a difference with its interval and p-value as it stands in a sentence."""
    scale = SCALES[metric]
    value: Interval = contrast.difference
    notes = [note for note in (scale.signed_span(value), p_value(contrast.p)) if note]
    notes += [] if contrast.paired else [_unpaired_note(contrast)]
    return f"{scale.signed(value.value)}{scale.difference_unit}" + (f" ({', '.join(notes)})" if notes else "")


def _unpaired_note(contrast: Contrast) -> str:
    return "not paired" if contrast.outcome == "undecided" else "not paired; the two intervals do not touch"
