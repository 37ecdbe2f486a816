"""What a blocked report says instead of numbers: which checks failed, what they measured, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

from segue.release.report.check_findings import CheckFinding, audit_of
from segue.release.report.checks_tables import causes_blocks, loud_table
from segue.release.report.document import Block, Bullets, Notice, Section
from segue.release.report.facts import Comparison, mapping, sequence
from segue.release.report.inline import code, strong
from segue.release.report.wording import listing

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
            f"Mend the cause named above, then run the triage again into the same folder; {code('segue audit RUN')} "
            "shows each check's measured value beside its threshold.",
            f"{code('--unsafe')} prints the numbers all the same, labelled as such.",
        )
    )
    table = loud_table("blocked", "What failed, and how to mend it.", blocking_findings(comparison))
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
    from segue.evaluation.checks import CHECKS  # loads models and indexes, which few reports need

    words = {"code": name, "outcome": "issue"}
    check = next((check for check in CHECKS if check.code == name), None)
    if check is None:
        return CheckFinding(words | {"statement": UNKNOWN, "mend": "see what segue audit says of this code"})
    return CheckFinding(
        words | {"title": check.title, "statement": check.question, "healthy": check.healthy, "mend": check.mend}
    )
