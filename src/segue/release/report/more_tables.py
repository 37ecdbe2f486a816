"""The tables beside the headline: validation against test, the projection head, other pools, further metrics."""

from __future__ import annotations

from collections.abc import Sequence

from segue.release.report.document import Cell, Column, Group, Table, TableRow
from segue.release.report.facts import Comparison, Row
from segue.release.report.tables import UNITS, grouped, metric_cell, name_cell, style, tags
from segue.release.report.wording import PERCENT, SCALES, SCORE


def drop_table(comparison: Comparison) -> Table | None:
    """Validation beside test: cosine, R@5 and MRR with what is lost between them."""
    metrics = ("cosine", "R@5", "MRR")

    def line(row: Row) -> TableRow | None:
        if row.intent == "control" or all(row.part("validation", name) is None for name in metrics):
            return None
        cells = [cell for name in metrics for cell in _drop_cells(row, name)]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    groups = grouped(comparison, line)
    heads = [column for name in metrics for column in _drop_columns(name)]
    return Table("drop", _drop_caption(), (Column("Option", False), *heads), groups) if groups else None


def _drop_columns(name: str) -> list[Column]:
    unit = UNITS.get(name, "")
    values = [Column(f"{name} {part}", True, unit) for part in ("validation", "test")]
    return [*values, Column(f"Δ{name}", True, "points" if unit else "")]


def _drop_caption() -> str:
    return (
        "Δ is test minus validation. The weights have seen neither kind of document; selection (the checkpoint, the "
        "option) used validation, so that its numbers are flattered, and they come from other documents and windows."
    )


def _drop_cells(row: Row, name: str) -> list[Cell]:
    scale = SCALES[name]
    before, after = row.part("validation", name), row.value(name)
    lost = None if before is None or after is None else after - before
    return [
        Cell(scale.number(before), sort=before),
        Cell(scale.number(after), sort=after),
        Cell(scale.signed(lost), sort=lost),
    ]


def compatibility_table(comparison: Comparison) -> Table | None:
    """Cosine of prediction and target beside a random pair, in the raw and in the projected space."""
    lines = []
    for row in comparison.rows:
        entry = row.data.get("compatibility")
        if isinstance(entry, dict) and row.metric("R@5") is not None:
            cells = [_space_cell(row, *place) for place in _PLACES]
            lines.append(TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row)))
    columns = [Column("Option", False)]
    for space in ("raw", "projected"):
        columns += [Column(f"{space}: matched"), Column("random"), Column("gap"), Column("R@5", True, "%")]
    caption = (
        "Cosine of prediction and target (matched) beside that of prediction and a random passage (random): only the "
        "gap between the two says something about a space. R@5 is that of searching in that space. All on validation "
        "documents."
    )
    return Table("compatibility", caption, tuple(columns), (Group("", tuple(lines)),)) if lines else None


_PLACES = [(space, what) for space in ("raw", "projected") for what in ("matched", "random", "gap", "R@5")]


def _space_cell(row: Row, space: str, what: str) -> Cell:
    value = compatibility(row, space, what)
    scale = PERCENT if what == "R@5" else SCORE
    return Cell(scale.signed(value) if what == "gap" else scale.number(value), sort=value)


def compatibility(row: Row, space: str, what: str) -> float | None:
    """One number of the compatibility test; *gap* is matched minus random."""
    if what == "gap":
        matched, random = compatibility(row, space, "matched"), compatibility(row, space, "random")
        return None if matched is None or random is None else matched - random
    entry = Row(row.data.get("compatibility") or {})
    return entry.part("R@5", space) if what == "R@5" else entry.part(space, what)


def pools_table(comparison: Comparison) -> Table | None:
    """The same rankings under other rules: per document, within the document, with other candidates."""
    parts = [
        (part, name, head)
        for part, name, head in _PARTS
        if any(row.part(part, name) is not None for row in comparison.rows)
    ]

    def line(row: Row) -> TableRow | None:
        values = [(SCALES[name], row.part(part, name)) for part, name, _ in parts]
        if row.metric("R@5") is None or all(value is None for _, value in values):
            return None
        cells = [metric_without_span(row, "R@5"), *(Cell(scale.number(value), sort=value) for scale, value in values)]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    if not parts:
        return None
    heads = [Column(head, True, UNITS.get(name, "")) for _, name, head in parts]
    columns = (Column("Option", False), Column("R@5", True, "%"), *heads)
    caption = "The same windows and rankings under other rules; the definitions below say what each column means."
    return Table("pools", caption, columns, grouped(comparison, line))


def metric_without_span(row: Row, name: str) -> Cell:
    """A value without its interval."""
    value = row.value(name)
    return Cell(SCALES[name].number(value), sort=value)


_PARTS: Sequence[tuple[str, str, str]] = (
    ("macro", "R@5", "macro R@5"),
    ("macro", "MRR", "macro MRR"),
    ("macro", "horizon R@5", "macro horizon R@5"),
    ("in_document", "R@5", "in-document R@5"),
    ("context_left_in", "R@1", "context left in: R@1"),
    ("context_left_in", "R@5", "context left in: R@5"),
    ("prefix", "R@5", "prefix excluded: R@5"),
    ("fresh", "R@5", "fresh pool: R@5"),
)


def more_metrics_table(comparison: Comparison) -> Table | None:
    """The metrics that are not in the headline table."""
    names = [name for name in _MORE if any(row.metric(name) is not None for row in comparison.rows)]

    def line(row: Row) -> TableRow | None:
        if row.metric("R@5") is None:
            return None
        return TableRow((name_cell(row), *(metric_cell(row, name) for name in names)), style(comparison, row))

    columns = (Column("Option", False), *(Column(_MORE[name], True, _MORE_UNITS.get(name, "")) for name in names))
    caption = "Further metrics of the same rankings, with intervals where they are defined."
    return Table("more-metrics", caption, columns, grouped(comparison, line)) if names else None


_MORE = {
    "R@20": "R@20",
    "horizon R@1": "horizon R@1",
    "horizon R@5": "horizon R@5",
    "horizon R@10": "horizon R@10",
    "nDCG@10": "nDCG@10",
    "median rank": "median rank",
    "contrastive accuracy": "contrastive accuracy",
    "copying ratio": "copying ratio",
    "search_p95_ms": "search P95",
}
_MORE_UNITS = {**dict.fromkeys(("R@20", "horizon R@1", "horizon R@5", "horizon R@10"), "%"), "search_p95_ms": "ms"}
