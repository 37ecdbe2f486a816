"""The sections of the numbered checks: may the numbers be printed, and why are they not better?

An outcome is shown by a mark and a word, never by its colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segue.comparison.record import Cause, CheckOutcome, Finding, Record
from segue.reports.document import (
    Block,
    Bullets,
    Cards,
    Cell,
    Column,
    Notice,
    Section,
    Table,
    TableRow,
    Tone,
    single,
)
from segue.reports.plots.diagnosis import diagnosis_gallery
from segue.reports.text import DASH, Scale, code, count, listing, of_things, plain, strong

HEALTHY = "Healthy: what a sound experiment measures."
CHECK, OUTCOME, STATEMENT = (Column(head, False) for head in ("Check", "Outcome", "What was found"))
FIGURES = (Column("Measured"), Column("Threshold"), Column("Healthy", False))
LOUD: tuple[CheckOutcome, ...] = ("issue", "tip")
NOT_EXAMINED: tuple[CheckOutcome, ...] = ("skipped", "muted")


@dataclass(frozen=True)
class ShownOutcome:
    """Mark, word and colours of an outcome."""

    mark: str
    word: str
    tone: Tone
    colour: str


OUTCOMES: dict[CheckOutcome, ShownOutcome] = {
    "issue": ShownOutcome("✕", "issue", "fail", "bold red"),
    "tip": ShownOutcome("!", "tip", "warn", "yellow"),
    "passed": ShownOutcome("✓", "passed", "pass", "green"),
    "skipped": ShownOutcome("»", "skipped", "muted", "dim"),
    "muted": ShownOutcome("∅", "muted", "muted", "dim"),
    "not-applicable": ShownOutcome("–", "not applicable", "muted", "dim"),
}
"""Outcomes in the order of urgency."""


def by_urgency(findings: Iterable[Finding]) -> list[Finding]:
    """Sort: issues, tips, passed, then what was not examined; codes keep their order."""
    order = list(OUTCOMES)
    return sorted(findings, key=lambda finding: order.index(finding.outcome))


def having(findings: Iterable[Finding], *outcomes: CheckOutcome) -> list[Finding]:
    """Return the findings with one of some outcomes."""
    return [finding for finding in findings if finding.outcome in outcomes]


def unproven(record: Record) -> dict[str, list[str]]:
    """Return the codes of integrity checks that were skipped or muted, by outcome."""
    found = {outcome: [finding.code for finding in having(record.audit, outcome)] for outcome in NOT_EXAMINED}
    return {outcome: codes for outcome, codes in found.items() if codes}


def quantity(value: float | None, unit: str) -> str:
    """Print a figure in its unit; further words of the unit are printed elsewhere.

    >>> quantity(0.0123, "share of windows"), quantity(7.0, "windows"), quantity(0.12345, "cosine"), quantity(None, "")
    ('1.2 %', '7', '0.123', '–')
    >>> quantity(0.0004, "share"), quantity(12.34, "ms"), quantity(-0.012, "gain in R@5"), quantity(0.98, "recall@50")
    ('0.04 %', '12.3', '−1.2 points', '98.0 %')
    """
    if value is None:
        return DASH
    if unit.startswith(("share", "recall@")):
        return f"{_digits(100 * value, 1)} %"
    if "R@" in unit:
        return f"{_digits(100 * value, 1)} points"
    return count(value).replace("-", "−") if value == int(value) else _digits(value, 3 if abs(value) < 10 else 1)


def _digits(value: float, places: int) -> str:
    """Print so many places, or more where only zeros would be left."""
    while value != 0 and abs(value) < 0.5 * 10**-places and places < 6:
        places += 1
    return Scale(places=places).number(value)


def integrity_section(record: Record) -> Section:
    """Return all integrity checks: outcome, measured value, threshold, and what healthy looks like.

    While numbers are refused, only what blocks them is quoted: other statements may contain a model's score.
    """
    findings = record.audit
    if not findings:
        return Section("integrity", "", ())
    rows = [
        TableRow(
            (
                _name(finding),
                outcome_cell(finding),
                *_figures(finding),
                Cell("" if record.refused and finding.outcome != "issue" else plain(finding.statement)),
            )
        )
        for finding in findings
    ]
    caption = f"Integrity checks; an issue blocks the headline numbers. {HEALTHY}"
    table = Table("integrity", caption, (CHECK, OUTCOME, *FIGURES, STATEMENT), single(rows), stacked=True)
    return Section("integrity", "Integrity: may these numbers be printed?", (table,))


def integrity_sentence(findings: Sequence[Finding]) -> str:
    """Count the outcomes of integrity checks, and name those that were not carried out."""
    applicable = len(findings) - len(having(findings, "not-applicable"))
    counts = "".join(f", {of_things(len(found), outcome)}" for outcome in LOUD if (found := having(findings, outcome)))
    unseen = listing([code(finding.code) for finding in having(findings, *NOT_EXAMINED)])
    text = f"{len(having(findings, 'passed'))} of {of_things(applicable, 'integrity check')} passed{counts}"
    return f"{text}; not examined: {unseen}" if unseen else text


def _name(finding: Finding) -> Cell:
    return Cell(code(finding.code), plain(finding.title))


def outcome_cell(finding: Finding) -> Cell:
    """Return mark and word; the colour only repeats them."""
    shown = OUTCOMES[finding.outcome]
    return Cell(f"{shown.mark} {shown.word}", tone=shown.tone)


def _figures(finding: Finding) -> tuple[Cell, Cell, Cell]:
    """Return measured, threshold, healthy."""
    unit = plain(finding.unit.removeprefix("share").strip())
    measured, threshold = (
        Cell(DASH, tone="muted") if value is None else Cell(quantity(value, finding.unit), detail, sort=value)
        for value, detail in ((finding.measured, unit), (finding.threshold, ""))
    )
    return measured, threshold, Cell(plain(finding.healthy) or DASH)


def loud_table(name: str, caption: str, findings: Sequence[Finding]) -> Table:
    """Return issues and tips with what to do about them."""
    rows = [
        TableRow((_name(f), outcome_cell(f), Cell(plain(f.statement)), *_figures(f), Cell(plain(f.fix))))
        for f in findings
    ]
    return Table(name, caption, (CHECK, OUTCOME, STATEMENT, *FIGURES, Column("Fix", False)), single(rows), stacked=True)


def diagnosis_section(record: Record) -> Section:
    """Return root causes first, then the checks they rest on, then their pictures."""
    findings = by_urgency(record.diagnosis)
    if not findings:
        return Section("diagnosis", "Why is it not better?", ())
    gallery = diagnosis_gallery(record)
    blocks = [*_causes(record.causes, findings), *_diagnosis_tables(findings), *([gallery] if gallery else [])]
    return Section("diagnosis", "Why is it not better?", tuple(blocks))


def _causes(causes: Sequence[Cause], findings: Sequence[Finding]) -> list[Block]:
    """Return root causes as cards, or state that none was found."""
    if causes:
        outcomes = {finding.code: finding.outcome for finding in findings}
        return [Cards(tuple(_card(place, cause, outcomes) for place, cause in enumerate(causes, 1)))]
    loud = len(having(findings, *LOUD))
    noted = f"; {loud} of them found something that is not a cause by itself" if loud else ""
    text = f"No rule has enough evidence. {of_things(len(findings), 'check')} ran{noted}."
    return [Notice(f"{strong('No cause found.')} {text}", "muted")]


def _card(place: int, cause: Cause, outcomes: Mapping[str, CheckOutcome]) -> tuple[str, tuple[str, ...]]:
    evidence = [
        code(name) + (f" ({OUTCOMES[outcomes[name]].word})" if name in outcomes else "") for name in cause.evidence
    ]
    options = listing([code(name) for name in cause.options])
    items = (
        f"Evidence: {listing(evidence)}." if evidence else "",
        f"Fix: {plain(cause.fix)}.",
        f"Options that address it: {options}." if options else "",
    )
    return f"{place}. {plain(cause.title)}", tuple(item for item in items if item)


def _diagnosis_tables(findings: Sequence[Finding]) -> list[Block]:
    """Return the tables of findings: issues and tips, then passed and unexamined checks."""
    loud, passed = having(findings, *LOUD), having(findings, "passed")
    rest = having(findings, *NOT_EXAMINED, "not-applicable")
    tables: list[Block] = [loud_table("diagnosis", f"Issues and tips. {HEALTHY}", loud)] if loud else []
    tables += [_quiet_table("passed", "Checks that found nothing wrong.", passed)] if passed else []
    return tables + ([_quiet_table("not-examined", "Checks without a result, and why.", rest)] if rest else [])


def _quiet_table(name: str, caption: str, findings: Sequence[Finding]) -> Table:
    rows = [TableRow((_name(f), outcome_cell(f), Cell(plain(f.statement)), *_figures(f)[:2])) for f in findings]
    columns = (CHECK, OUTCOME, STATEMENT, *FIGURES[:2])
    return Table(name, f"{_counts(findings)}. {caption}", columns, single(rows), stacked=True)


def _counts(findings: Sequence[Finding]) -> str:
    """Count outcomes by word."""
    kinds = dict.fromkeys(finding.outcome for finding in findings)
    return ", ".join(f"{OUTCOMES[kind].mark} {len(having(findings, kind))} {OUTCOMES[kind].word}" for kind in kinds)


def blocked_section(record: Record) -> Section:
    """Return what failed, why no number follows, and what to do."""
    names = listing([code(name) for name in record.blocked])
    failed = f"{names} failed." if len(record.blocked) > 1 else f"The integrity check {names} failed."
    notice = Notice(
        f"{strong('No headline number is printed.')} {failed} The numbers of this run would be misleading.", "fail"
    )
    steps = Bullets(
        (
            f"Fix the cause named above, then run the triage again into the same folder; {code('segue audit RUN')} "
            "shows each check's measured value and threshold.",
            f"{code('--unsafe')} prints the numbers anyway, labelled as such.",
        )
    )
    findings = [finding for finding in record.audit if finding.blocks]
    causes = [cause for cause in record.causes if {*record.blocked} & {*cause.evidence}]
    blocks = _causes(causes, findings) if causes else []  # others rest on numbers that may not be printed
    table = loud_table("blocked", "What failed, and how to fix it.", findings)
    return Section("blocked", "Blocked by an integrity check", (notice, *blocks, table, steps), detail=False)
