"""What stands at the end: definitions, files, machine, where the time went."""

from __future__ import annotations

from collections.abc import Mapping

from segue.reports.document import Block, Cell, Column, Section, Table, TableRow, Terms, single
from segue.reports.record import Comparison, mapping, number, sequence
from segue.reports.sections.header import fresh_facts
from segue.reports.text.markup import code, plain
from segue.reports.text.numbers import DASH, count, duration, listing, of_things

DEFINITIONS: tuple[tuple[str, str], ...] = (
    ("Window", "Some consecutive passages of one document (the context) and the passage that followed (the target)."),
    (
        "Pool",
        "All candidates of the bank. Passages with the same normalised text are one candidate; the context’s own "
        "passages leave the candidates unless a row declares otherwise. Ties count against the option.",
    ),
    ("R@k", "Share of windows whose target is among the first k answers; one target per window, so it is Success@k."),
    ("Contain@50", "R@50 of the ranking as served: what a reranker of 50 could work with."),
    (
        "horizon R@k",
        "Share of windows with any of the next three passages of the document among the first k answers: for who "
        "fetches ahead of a reader. Near a document’s end there are fewer than three.",
    ),
    ("Eff@5", "R@5 / Contain@50: of the targets contained, the share that is ranked among the first five."),
    ("MRR", "Mean of 1 / rank of the target, over the whole pool."),
    ("cosine", "Mean cosine of the query vector and the target’s vector. Reported, never selected on."),
    ("search P95", "95th percentile of one query’s search time, one query at a time, encoding and prediction apart."),
    ("micro, macro", "Mean over windows, mean over documents’ means. Tables are micro unless they say macro."),
    ("in-document", "Candidates are only the passages of the window’s own document."),
    ("context left in", "Candidates include the passages already read."),
    ("prefix excluded", "All passages of the document before the target leave the candidates."),
    ("fresh pool", "Candidates are only passages of documents that were not trained on."),
    (
        "Confidence",
        "Probability that the next passage is among the first answers, from a logistic regression on the scores and "
        "cosines of one ranking. A question without an answer is right to be left unanswered.",
    ),
    ("AUROC", "How often a right answer has more confidence than a wrong one, ties by half; 0.5 is chance."),
    ("Brier score", "Mean squared difference of confidence and truth (1 right, 0 wrong); smaller is better."),
    ("Calibration error", "Mean difference of confidence and share right over ten bins of equal weight."),
    ("Interval", "95 % bootstrap over groups of near-duplicate documents."),
    ("Paired test", "Sign-flipping of documents on per-window differences; p-values adjusted by Holm."),
    ("Under-trained", "Training stopped before the validation curve flattened: the row is a lower bound."),
    (
        "Control",
        "A row that breaks a rule on purpose and cannot win: the oracle knows the answer, chance knows nothing.",
    ),
    ("Projected", "A row whose loss lives, by design, in another space than the one that is searched; it cannot win."),
)


OWN_FILES = (
    ("report.html", "this report, one self-contained file"),
    ("report.md", "the same as Markdown"),
    ("report_files/", "its plots as SVG"),
    ("report.json", "the numbers in their public form"),
    ("triage.json", "all measurements the report is written from"),
)


def files_section(comparison: Comparison) -> Section:
    """What the run left, and this report's own files."""
    entries = [mapping(entry) for entry in sequence(comparison.data.get("files"))]
    listed = {str(entry["path"]): str(entry.get("what") or "") for entry in entries if entry.get("path")}
    own = {
        path: what for path, what in OWN_FILES if path not in listed and not (comparison.refused and "_files" in path)
    }
    rows = [TableRow((Cell(code(path)), Cell(plain(what)))) for path, what in _by_option(comparison, listed | own)]
    columns = (Column("Path", False), Column("What", False))
    return Section("files", "Files", (Table("files", "Paths are relative to the run folder.", columns, single(rows)),))


def _by_option(comparison: Comparison, files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Fold files that differ in the option's name alone into one line."""
    lines: dict[tuple[str, str], list[tuple[str, str]]] = {}
    names = {row.name for row in comparison.rows}
    for path, what in files.items():
        name = next((part for part in path.split("/") if part in names), None)
        key = (path.replace(f"/{name}/", "/OPTION/"), what.replace(name, "OPTION")) if name else (path, what)
        lines.setdefault(key, []).append((path, what))
    return [
        found[0] if len(found) == 1 else (key[0], f"{key[1]}, for {of_things(len(found), 'option')}")
        for key, found in lines.items()
    ]


def definitions_section() -> Section:
    """Short definitions of every word the tables use."""
    return Section("definitions", "Definitions", (Terms(DEFINITIONS),))


def machine_section(comparison: Comparison) -> Section:
    """Where it ran, and where the time went."""
    blocks: list[Block] = [table for table in (seconds_table(comparison), machine_table(comparison)) if table]
    return Section("machine", "Machine and time", tuple(blocks))


def seconds_table(comparison: Comparison) -> Table | None:
    """Time by stage; entries that begin with *of which* are parts of the one before and add nothing."""
    record = mapping(comparison.data.get("seconds"))
    spent = {name: value for name, raw in record.items() if (value := number(raw)) is not None}
    earlier = _earlier(spent)
    total = sum(value for name, value in spent.items() if not name.startswith("of which"))
    if total <= 0:
        return None
    lines = [*spent.items(), ("total", total)]
    rows = [
        TableRow((Cell(plain(name)), *(Cell(DASH, tone="muted"),) * 2))
        if name in earlier
        else TableRow((Cell(plain(name)), Cell(duration(value), sort=value), Cell(f"{100 * value / total:.0f}")))
        for name, value in lines
    ]
    columns = (Column("Stage", False), Column("Time"), Column("Share", True, "%"))
    return Table("seconds", _seconds_caption(comparison, earlier), columns, single(rows))


def _earlier(spent: Mapping[str, float]) -> dict[str, float]:
    """Parts that took longer than the stage they belong to: other sessions of the same run spent them."""
    found, whole = {}, 0.0
    for name, value in spent.items():
        if not name.startswith("of which"):
            whole = value
        elif value > whole:
            found[name] = value
    return found


def _seconds_caption(comparison: Comparison, earlier: Mapping[str, float]) -> str:
    if not earlier:
        return "Where the time went."
    parts = listing([f"{plain(name.removeprefix('of which').strip())} {duration(v)}" for name, v in earlier.items()])
    resumed = "the trained run was read back" if fresh_facts(comparison) else "the run was resumed"
    return f"Where this session’s time went; {resumed}, and earlier sessions are part of what it took in all ({parts})."


def machine_table(comparison: Comparison) -> Table | None:
    """The machine, as the run recorded it."""
    record = mapping(comparison.data.get("machine"))
    rows = [
        TableRow((Cell(plain(name).replace("_", " ")), Cell(_value(value))))
        for name, value in record.items()
        if value is not None
    ]
    columns = (Column("Machine", False), Column("", False))
    return Table("machine", "As recorded when the run began.", columns, single(rows)) if rows else None


def _value(value: object) -> str:
    found = number(value)
    if found is not None:
        return count(found) if found == int(found) else f"{found:.1f}"
    return plain(value) or DASH
