"""The sections of the numbered checks: may the numbers be printed, and why are they not better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segue.reports.document import (
    Block,
    Bullets,
    Cards,
    Cell,
    Column,
    Notice,
    Paragraph,
    Section,
    Table,
    TableRow,
    single,
)
from segue.reports.findings import (
    LOUD,
    CheckFinding,
    audit_of,
    by_urgency,
    diagnosis_of,
    having,
    shown_outcome,
)
from segue.reports.plots.by_check import diagnosis_gallery
from segue.reports.record import Comparison, mapping, number, sequence
from segue.reports.text.markup import code, plain, strong
from segue.reports.text.numbers import DASH, listing, of_things

HEALTHY = "Healthy: what a sound experiment measures."
NOT_EXAMINED = ("skipped", "muted", "not-applicable")
FIGURES = (Column("Measured"), Column("Threshold"), Column("Healthy", False))


def integrity_section(comparison: Comparison) -> Section:
    """All integrity checks on record: outcome, measured value, threshold, what healthy looks like."""
    findings = audit_of(comparison)
    blocks: tuple[Block, ...] = ()
    if findings:
        table = integrity_table(findings, refused=comparison.refused)
        blocks = (Paragraph(_integrity_sentence(findings)), table)
    return Section("integrity", "Integrity", blocks)


def _integrity_sentence(findings: Sequence[CheckFinding]) -> str:
    asked = [finding for finding in findings if finding.outcome != "not-applicable"]
    counts = [
        f"{of_things(len(found), shown_outcome(outcome).word)}"
        for outcome in ("issue", "tip")
        if (found := having(findings, (outcome,)))
    ]
    unseen = [code(finding.code) for finding in having(findings, ("skipped", "muted"))]
    text = f"May these numbers be printed? {of_things(len(asked), 'integrity check')} apply: "
    text += f"{len(having(findings, ('passed',)))} passed{''.join(f', {count}' for count in counts)}"
    return f"{text}; not examined: {listing(unseen)}." if unseen else f"{text}."


def integrity_table(findings: Sequence[CheckFinding], *, refused: bool = False) -> Table:
    """One line per check, in the order of the codes; folded where every check passed or does not apply.

    While numbers are refused, only what blocks them is quoted: other statements may name a model's score.
    """
    said = ["" if refused and finding.outcome != "issue" else plain(finding.text("statement")) for finding in findings]
    rows = [
        TableRow((_name(f), outcome_cell(f), *_figures(f), Cell(text))) for f, text in zip(findings, said, strict=True)
    ]
    columns = (Column("Check", False), Column("Outcome", False), *FIGURES, Column("What was found", False))
    caption = f"Integrity checks; an issue blocks the headline number. {HEALTHY}"
    quiet = all(finding.outcome in ("passed", "not-applicable") for finding in findings)
    return Table("integrity", caption, columns, single(rows), folded=_fold(findings) if quiet else "", stacked=True)


def _name(finding: CheckFinding) -> Cell:
    return Cell(code(finding.code), plain(finding.text("title")))


def outcome_cell(finding: CheckFinding) -> Cell:
    """Mark and word; the colour only repeats them."""
    shown = shown_outcome(finding.outcome)
    return Cell(f"{shown.mark} {plain(shown.word)}", tone=shown.tone)


def _figures(finding: CheckFinding) -> tuple[Cell, Cell, Cell]:
    """Measured, threshold, healthy."""
    unit = plain(finding.text("unit").removeprefix("share").strip())
    measured = Cell(finding.measured, unit if finding.measured != DASH else "", sort=number(finding.data["measured"]))\
        if finding.measured != DASH else Cell(DASH, tone="muted")  # fmt: skip
    threshold = Cell(finding.threshold, tone="muted" if finding.threshold == DASH else "")
    return measured, threshold, Cell(plain(finding.text("healthy")) or DASH)


def loud_table(name: str, caption: str, findings: Sequence[CheckFinding]) -> Table:
    """Checks that have something to say, with what to do about it."""
    rows = [
        TableRow(
            (
                _name(finding),
                outcome_cell(finding),
                Cell(plain(finding.text("statement"))),
                *_figures(finding),
                Cell(plain(finding.text("fix"))),
            )
        )
        for finding in findings
    ]
    columns = (
        Column("Check", False),
        Column("Outcome", False),
        Column("What was found", False),
        *FIGURES,
        Column("To fix it", False),
    )
    return Table(name, caption, columns, single(rows), stacked=True)


def diagnosis_section(comparison: Comparison) -> Section:
    """Root causes first, then the checks they rest on, then their pictures."""
    findings = diagnosis_of(comparison)
    causes = comparison.data.get("causes")
    blocks: list[Block] = causes_blocks(sequence(causes), findings) if isinstance(causes, list) else []
    blocks += _diagnosis_tables(by_urgency(findings))
    gallery = diagnosis_gallery(comparison, findings)
    return Section("diagnosis", "Why is it not better?", (*blocks, *([gallery] if gallery else [])))


def causes_blocks(causes: Sequence[Any], findings: Sequence[CheckFinding]) -> list[Block]:
    """Root causes as cards; that none was found is an answer too."""
    found = [mapping(cause) for cause in causes if isinstance(cause, Mapping)]
    if not found:
        return [Notice(f"{strong('No cause found.')} {_looked_at(findings)}", "muted")]
    outcomes = {finding.code: finding.outcome for finding in findings}
    return [Cards(tuple(_card(place, cause, outcomes) for place, cause in enumerate(found, 1)))]


def _looked_at(findings: Sequence[CheckFinding]) -> str:
    if not findings:
        return "No check was asked that could name one."
    loud = having(findings, LOUD)
    noted = f"; {len(loud)} of them noted something, which explains nothing by itself" if loud else ""
    return f"None of the written rules has the evidence it asks for. {of_things(len(findings), 'check')} looked{noted}."


def _card(place: int, cause: Mapping[str, Any], outcomes: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    title = plain(cause.get("title") or cause.get("name") or "unnamed")
    evidence = [_cited(str(name), outcomes) for name in sequence(cause.get("evidence"))]
    options = [code(name) for name in sequence(cause.get("options"))]
    items = (
        plain(cause.get("statement") or ""),
        f"Evidence: {listing(evidence)}." if evidence else "",
        f"To fix it: {plain(cause.get('fix'))}." if cause.get("fix") else "",
        f"Options that address it: {listing(options)}." if options else "",
    )
    return f"{place}. {title}", tuple(item for item in items if item)


def _cited(name: str, outcomes: Mapping[str, str]) -> str:
    outcome = outcomes.get(name)
    return f"{code(name)} ({plain(shown_outcome(outcome).word)})" if outcome else code(name)


def _diagnosis_tables(findings: Sequence[CheckFinding]) -> list[Block]:
    """What is loud stands open; what passed and what was not examined is folded."""
    loud, passed = having(findings, LOUD), having(findings, ("passed",))
    rest = [finding for finding in findings if finding not in loud and finding not in passed]
    tables: list[Block] = []
    if loud:
        tables += [loud_table("diagnosis", f"Checks that have something to say. {HEALTHY}", loud)]
    if passed:
        tables += [_quiet_table("passed", "Checks that found nothing wrong.", passed)]
    if rest:
        tables += [_quiet_table("not-examined", "Checks without an answer, and why.", rest)]
    return tables


def _quiet_table(name: str, caption: str, findings: Sequence[CheckFinding]) -> Table:
    rows = [TableRow((_name(f), outcome_cell(f), Cell(plain(f.text("statement"))), *_figures(f)[:2])) for f in findings]
    columns = (Column("Check", False), Column("Outcome", False), Column("What was found", False), *FIGURES[:2])
    return Table(name, caption, columns, single(rows), folded=_fold(findings), stacked=True)


def _fold(findings: Sequence[CheckFinding]) -> str:
    """Count outcomes by word, as the fold's label."""
    kinds = list(dict.fromkeys(finding.outcome for finding in findings))
    words = [
        f"{plain(shown_outcome(kind).mark)} {len(having(findings, (kind,)))} {plain(shown_outcome(kind).word)}"
        for kind in kinds
    ]
    return ", ".join(words)


UNKNOWN = "No check of this code is known to this version."


def blocked_section(comparison: Comparison) -> Section:
    """Say what failed, why no number follows, and what to do."""
    notice = Notice(
        f"{strong('No headline number is printed.')} {_failed(comparison.blocked)} "
        "Numbers from this run would answer another question than the one asked.",
        "fail",
    )
    steps = Bullets(
        (
            f"Fix the cause named above, then run the triage again into the same folder; {code('segue audit RUN')} "
            "shows each check's measured value beside its threshold.",
            f"{code('--unsafe')} prints the numbers all the same, labelled as such.",
        )
    )
    table = loud_table("blocked", "What failed, and how to fix it.", blocking_findings(comparison))
    return Section("blocked", "Blocked by an integrity check", (notice, *_causes(comparison), table, steps))


def _failed(codes: Sequence[str]) -> str:
    names = listing([code(name) for name in codes])
    return f"{names} failed." if len(codes) > 1 else f"The integrity check {names} failed."


def _causes(comparison: Comparison) -> list[Block]:
    """Root causes that rest on a failed integrity check; the others rest on numbers that may not be printed."""
    failed = set(comparison.blocked)
    found = [mapping(cause) for cause in sequence(comparison.data.get("causes"))]
    causes = [cause for cause in found if failed & {str(name) for name in sequence(cause.get("evidence"))}]
    return causes_blocks(causes, audit_of(comparison)) if causes else []


def blocking_findings(comparison: Comparison) -> list[CheckFinding]:
    """The findings that block; for a code without one on record, the check's own words."""
    known = {finding.code: finding for finding in audit_of(comparison)}
    return [known.get(name) or _words_of(name) for name in comparison.blocked]


def _words_of(name: str) -> CheckFinding:
    """Describe a check that a run blocked on before findings were recorded."""
    from segue.checks import CHECKS  # loads models and indexes, which few reports need

    words = {"code": name, "outcome": "issue"}
    check = next((check for check in CHECKS if check.code == name), None)
    if check is None:
        return CheckFinding(words | {"statement": UNKNOWN, "fix": "see what segue audit says of this code"})
    return CheckFinding(
        words | {"title": check.title, "statement": check.question, "healthy": check.healthy, "fix": check.fix}
    )
