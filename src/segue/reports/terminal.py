"""The comparison as a table and a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from segue.comparison.record import Cause, Entry, Finding, Record
from segue.reports.contrasts import against, leader, measured, won
from segue.reports.sections.checks import LOUD, OUTCOMES, by_urgency, quantity
from segue.reports.sections.header import notices
from segue.reports.sections.metrics import HEADLINE, SIGNS, best_value, gate_sentence, tags
from segue.reports.sections.summary import caveats, headline
from segue.reports.text import DASH, PERCENT, UNSAFE, count, listing, one_line, scale_of, to_text

SHORT = {"Contain@50": "C@50", "total_p95_ms": "P95 ms", "cosine": "cos"}
LAYOUTS: tuple[tuple[tuple[str, ...], bool], ...] = (
    (HEADLINE, True),
    (("R@1", "R@5", "R@10", "Contain@50", "MRR", "cosine", "total_p95_ms"), False),
    (("R@1", "R@5", "Contain@50", "MRR", "total_p95_ms"), False),
    (("R@5", "MRR", "total_p95_ms"), False),
    (("R@5",), False),
)
"""Metrics, and whether all have an interval (else R@5 alone); the widest first, and the first that fits is printed."""
WITHOUT_INTERVAL = {"Eff@5", "cosine", "total_p95_ms"}
UNSAFE_TITLE = f"{UNSAFE}: an integrity check failed or was not carried out"
COLOURS = {"better": "green", "worse": "red", "undecided": "dim"}
MARKS = {"projected": "ᵖ", "context left in": "ᶜ", "under-trained": "ᵘ"}


def terminal_table(record: Record, *, width: int | None = None) -> Table:
    """Return the table of entries, intervals as ±; a blocked comparison gives the failed checks instead.

    The winner stands first, then other candidates by R@5, then what cannot win, then what was not measured.

    Args:
        record: record of the comparison.
        width: columns of the terminal: fewer metrics where they are few, names and numbers are never cut; None: all.
    """
    if record.refused:
        table = findings_table([finding for finding in record.audit if finding.blocks])
        table.title, table.title_justify = "Blocked: no number is printed", "left"
        return table
    layouts = [((*HEADLINE, *record.own_metrics), True), *LAYOUTS] if record.own_metrics else LAYOUTS
    tables = (_table(record, metrics, intervals=intervals) for metrics, intervals in layouts)
    return next((table for table in tables if width is None or _columns(table) <= width), _table(record, *LAYOUTS[-1]))


def _columns(table: Table) -> int:
    console = Console(width=1000)
    return Measurement.get(console, console.options, table).maximum


def _table(record: Record, metrics: Sequence[str], intervals: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if record.unsafe:
        table.title, table.title_style, table.title_justify = UNSAFE_TITLE, "bold red", "left"
    table.add_column(UNSAFE if record.unsafe else "", no_wrap=True)
    for name in metrics:
        table.add_column(SHORT.get(name, one_line(name)), justify="right", no_wrap=True)
    table.add_column("ΔR@5 vs copy", justify="right", no_wrap=True)
    best = {name: best_value(record, name) for name in metrics}
    for title, entries in _groups(record):
        if title and entries:
            table.add_row(Text(title, "italic dim"))
        for entry in entries:
            table.add_row(*_line(record, entry, best, intervals=intervals))
    return table


def _groups(record: Record) -> Iterator[tuple[str, list[Entry]]]:
    """Yield the entries under their titles, the best first."""
    found = sorted((entry for entry in record.entries if entry.measured), key=lambda entry: -entry.metrics["R@5"].value)
    found.sort(key=lambda entry: not won(record, entry))
    yield "", [entry for entry in found if entry.can_win]
    yield "Cannot win", [entry for entry in found if not entry.can_win]
    yield "Not measured", [entry for entry in record.entries if not entry.measured]


def _line(record: Record, entry: Entry, best: Mapping[str, float | None], *, intervals: bool) -> list[Text]:
    style = "bold" if won(record, entry) else "dim" if entry.intent == "control" or not entry.measured else ""
    marks = "".join(MARKS.get(tag, "") for tag in tags(record, entry))
    marks += f" {entry.status}" if entry.status in ("skipped", "aborted", "failed") else ""
    name = Text(f"{'★' if won(record, entry) else ' '} {one_line(entry.name)}{marks}", style)
    cells = [
        _metric(entry, metric, value, style, interval=intervals or metric == "R@5") for metric, value in best.items()
    ]
    return [name, *cells, _difference(record, entry)]


def _metric(entry: Entry, name: str, best: float | None, style: str, *, interval: bool) -> Text:
    found, scale = entry.metrics.get(name), scale_of(name)
    if found is None:
        return Text(DASH, "dim")
    shown = "bold" if found.value == best and entry.can_win else style
    half = scale.half_width(found) if interval and name not in WITHOUT_INTERVAL else ""
    return Text.assemble((scale.number(found.value), shown), (f" {half}" if half else "", "dim"))


def _difference(record: Record, entry: Entry) -> Text:
    reference = measured(record, "copy-last")
    contrast = against(entry, reference) if reference and entry.name != reference.name else None
    if contrast is None or not contrast.paired:
        return Text(DASH, "dim")
    difference = contrast.difference
    text = f"{SIGNS[contrast.outcome]} {PERCENT.signed(difference.value)} {PERCENT.half_width(difference)}"
    return Text(text.strip(), COLOURS[contrast.outcome])


def summary_lines(record: Record) -> list[str]:
    """Return the lines below the table: the key to its marks, the winner, what bears on its number, the gates."""
    if record.refused:
        codes = ", ".join(map(one_line, record.blocked))
        return [f"Blocked by {codes}: the numbers would be misleading."]
    lines = [to_text(notice.text) for notice in notices(record)]
    label = f"{UNSAFE}: " if record.unsafe else ""
    found = [to_text(headline(record))] if leader(record) or record.entries else []
    found += [f"- {to_text(caveat)}" for caveat in caveats(record)]
    found.append(to_text(gate_sentence(record)))
    return [*lines, _key(record), *(f"{label}{line}" for line in found if line)]


def _key(record: Record) -> str:
    text = (
        f"{count(record.pool)} candidates, {count(record.windows)} windows, {count(record.documents)} test documents, "
        "rates in per cent, ± half of the 95 % interval (≤, ≥: its far end); ▲ better, ▼ worse, · undecided against "
        "copy-last by the paired test"
    )
    projected = "; ᵖ trained in a projected space" if any(e.intent == "projected" for e in record.entries) else ""
    late = "; ᵘ under-trained" if any(entry.under_trained for entry in record.entries) else ""
    return f"{text}{projected}{late}."


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a table of findings, issues first; issues and tips with figures and what to do."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head, least in (("check", 5), ("outcome", 9), ("title", 12)):
        table.add_column(head, no_wrap=head != "title", min_width=least, max_width=24)
    table.add_column("what was found", overflow="fold", ratio=1)
    for finding in by_urgency(findings):
        shown, loud = OUTCOMES[finding.outcome], finding.outcome in LOUD
        dim = "" if loud or finding.outcome == "passed" else "dim"
        text = Text(one_line(finding.statement), dim)
        if loud:
            text.append(f"\n{figures_line(finding)}", "dim")
            text.append(f"\n→ {one_line(finding.fix)}", "bold" if finding.outcome == "issue" else "")
        table.add_row(
            Text(one_line(finding.code), shown.colour if loud else dim),
            Text(f"{shown.mark} {shown.word}", shown.colour),
            Text(one_line(finding.title), dim),
            text,
        )
    return table


def figures_line(finding: Finding) -> str:
    """Print measured, threshold and healthy on one line; what is not known is left out."""
    unit = one_line(finding.unit.removeprefix("share"))
    measured, threshold = quantity(finding.measured, finding.unit), quantity(finding.threshold, finding.unit)
    parts = (
        f"measured {measured}{f' {unit}' if unit else ''}" if finding.measured is not None else "",
        f"threshold {threshold}" if finding.threshold is not None else "",
        f"healthy: {one_line(finding.healthy)}" if finding.healthy else "",
    )
    return " · ".join(part for part in parts if part)


def causes_lines(causes: Sequence[Cause]) -> list[str]:
    """Return root causes as lines of plain text, or that none was found."""
    if not causes:
        return ["No cause found: no rule has enough evidence."]
    lines = []
    for place, cause in enumerate(causes, 1):
        lines += [f"{place}. {one_line(cause.title)} ({one_line(listing(cause.evidence))})",
                  f"   {one_line(cause.statement)}", f"   → {one_line(cause.fix)}"]  # fmt: skip
        lines += [f"   options: {one_line(listing(cause.options))}"] if cause.options else []
    return lines
