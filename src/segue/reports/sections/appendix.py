"""The end of the report: files, definitions, data and settings, machine, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping

from segue.comparison.record import Record
from segue.progress import duration
from segue.reports.document import Cell, Column, Section, Table, TableRow, Terms, single
from segue.reports.sections.header import facts
from segue.reports.text import DASH, code, listing, of_things, plain

DEFINITIONS: tuple[tuple[str, str], ...] = (
    ("Window", "Some consecutive passages of one document (the context) and the passage that followed (the target)."),
    (
        "Pool",
        "All candidates of the bank. Passages with the same normalised text are one candidate. The context’s own "
        "passages are not candidates unless stated otherwise. Ties count against the option.",
    ),
    ("R@k", "Share of windows whose target is among the first k answers; one target per window, so it is Success@k."),
    ("Contain@50", "R@50 of the ranking as served: what a reranker of 50 could work with."),
    (
        "horizon R@k",
        "Share of windows with any of the next three passages of the document among the first k answers: for callers "
        "that fetch ahead of a reader. Near the end of a document there are fewer than three.",
    ),
    ("Eff@5", "R@5 / Contain@50: of the targets contained, the share that is ranked among the first five."),
    ("MRR", "Mean of 1 / rank of the target, over the whole pool."),
    ("cosine", "Mean cosine of the query vector and the target’s vector. Reported, never selected on."),
    ("search P95", "95th percentile of the search time of one query at a time, without encoding and prediction."),
    ("micro, macro", "Mean over windows, mean over documents’ means. Tables are micro unless stated otherwise."),
    ("in-document", "Candidates are only the passages of the window’s own document."),
    ("context left in", "Candidates include the passages already read."),
    ("prefix excluded", "All passages of the document before the target are excluded from the candidates."),
    ("fresh pool", "Candidates are only passages of documents that were not trained on."),
    (
        "Confidence",
        "Probability that the next passage is among the first answers, from a logistic regression on the scores and "
        "cosines of one ranking. Abstaining is right for a query without an answer.",
    ),
    ("AUROC", "How often a right answer has more confidence than a wrong one, ties count half; 0.5 is chance."),
    ("Brier score", "Mean squared difference of confidence and truth (1 right, 0 wrong); smaller is better."),
    ("Calibration error", "Mean difference of confidence and share right over ten bins of equal weight."),
    ("Interval", "95 % bootstrap over groups of near-duplicate documents."),
    ("Paired test", "Sign-flipping of documents on per-window differences; p-values adjusted by Holm."),
    ("Under-trained", "Training stopped before the validation curve flattened: the result is a lower bound."),
    (
        "Control",
        "An entry that breaks a rule on purpose and cannot win: the oracle knows the answer, chance is random.",
    ),
    ("Projected", "An entry whose loss works, by design, in a space that is not searched; it cannot win."),
)
OWN_FILES = {
    "report.html": "this report, one self-contained file",
    "report.md": "the same as Markdown",
    "report_files/": "its plots as SVG",
    "report.json": "the numbers in their public form",
    "triage.json": "all measurements the report is written from",
}


def files_section(record: Record) -> Section:
    """Return what the run left, and this report's own files."""
    listed = {file.path: file.what for file in record.files}
    own = {path: what for path, what in OWN_FILES.items()
           if path not in listed and not (record.refused and path == "report_files/")}  # fmt: skip
    rows = [TableRow((Cell(code(path)), Cell(plain(what)))) for path, what in _by_option(record, listed | own).items()]
    columns = (Column("Path", False), Column("What", False))
    return Section("files", "Files", (Table("files", "Paths are relative to the run folder.", columns, single(rows)),))


def _by_option(record: Record, files: Mapping[str, str]) -> dict[str, str]:
    """Fold files that differ only in the option's name into one line."""
    lines: dict[tuple[str, str], list[tuple[str, str]]] = {}
    names = {entry.name for entry in record.entries}
    for path, what in files.items():
        name = next((part for part in path.split("/") if part in names), None)
        key = (path.replace(f"/{name}/", "/OPTION/"), what.replace(name, "OPTION")) if name else (path, what)
        lines.setdefault(key, []).append((path, what))
    return dict(
        found[0] if len(found) == 1 else (key[0], f"{key[1]}, for {of_things(len(found), 'option')}")
        for key, found in lines.items()
    )


def definitions_section() -> Section:
    """Return short definitions of the words in tables."""
    return Section("definitions", "Definitions", (Terms(DEFINITIONS),))


def machine_section(record: Record) -> Section:
    """Return what was measured on what, where it ran, and where the time went."""
    machine = record.machine.model_dump() | {"memory_gb": f"{record.machine.memory_gb:.1f}"}
    rows = [
        TableRow((Cell(plain(name.replace("_", " "))), Cell(plain(value))))
        for name, value in machine.items()
        if value is not None
    ]
    columns = (Column("Machine", False), Column("", False))
    table = Table("machine", "As recorded by the run.", columns, single(rows))
    spent = seconds_table(record)
    return Section(
        "machine", "Data, settings, machine and time", (Terms(facts(record)), *([spent] if spent else []), table)
    )


def seconds_table(record: Record) -> Table | None:
    """Return time by stage; stages that begin with *of which* are parts of the one before and add nothing.

    Parts that took longer than their stage were spent by earlier sessions of the same run; they are named in the
    caption.
    """
    spent, earlier, whole = record.seconds, dict[str, float](), 0.0
    for name, value in spent.items():
        if not name.startswith("of which"):
            whole = value
        elif value > whole:
            earlier[name] = value
    total = sum(value for name, value in spent.items() if not name.startswith("of which"))
    if total <= 0:
        return None
    rows = [
        TableRow((Cell(plain(name)), Cell(DASH, tone="muted"), Cell(DASH, tone="muted")))
        if name in earlier
        else TableRow((Cell(plain(name)), Cell(duration(value), sort=value), Cell(f"{100 * value / total:.0f}")))
        for name, value in [*spent.items(), ("total", total)]
    ]
    caption = "Where the time went."
    if earlier:
        parts = listing([f"{name.removeprefix('of which').strip()} {duration(v)}" for name, v in earlier.items()])
        why = "the trained run was read back" if record.fresh else "the run was resumed"
        caption = f"Where this session’s time went. {why.capitalize()}: earlier sessions took more ({plain(parts)})."
    return Table("seconds", caption, (Column("Stage", False), Column("Time"), Column("Share", True, "%")), single(rows))
