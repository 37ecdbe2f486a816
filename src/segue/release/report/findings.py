"""What a hypothesis comes to: a statement, its evidence, a verdict; and how contrasts of rows turn into verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segue.release.report.document import Cell, Column, Table, TableRow, Tone, single
from segue.release.report.facts import Comparison, Contrast, Row
from segue.release.report.inline import code
from segue.release.report.tables import sentence_of

Verdict = Literal["supported", "contradicted", "mixed", "undecided"]
VERDICTS: dict[str, Verdict] = {"better": "supported", "worse": "contradicted", "undecided": "undecided"}
_TONES: dict[Verdict, Tone] = {
    "supported": "better",
    "contradicted": "worse",
    "mixed": "warn",
    "undecided": "undecided",
}
_SIGNS = {"supported": "✓", "contradicted": "✕", "mixed": "±", "undecided": "·"}
MISLEADS, AGREES = 0.0, 0.7
"""Rank correlations over options at or below which cosine is said to mislead, at or above which it is said not to."""


@dataclass(frozen=True)
class Finding:
    """A statement, what was measured about it, and what that says."""

    statement: str
    evidence: str
    verdict: Verdict


def hypothesis_table(findings: Sequence[Finding]) -> Table:
    """Statement, evidence, verdict."""
    rows = [
        TableRow(
            (
                Cell(finding.statement),
                Cell(f"{_SIGNS[finding.verdict]} {finding.verdict}", tone=_TONES[finding.verdict]),
                Cell(finding.evidence),
            )
        )
        for finding in findings
    ]
    columns = (
        Column("Hypothesis", False),
        Column("Verdict", False),
        Column("Evidence (R@5 on test unless said)", False),
    )
    caption = (
        "A verdict needs a paired test (interval without 0, adjusted p < 0.05) or, where no pairing is on record, two "
        f"intervals that do not touch. Cosine: supported at ρ ≤ {MISLEADS:.0f}, contradicted at ρ ≥ {AGREES}."
    )
    return Table("hypotheses", caption, columns, single(rows))


def contrasts(comparison: Comparison, pairs: Sequence[tuple[str, str]]) -> list[tuple[Row, Row, Contrast]]:
    """The pairs of which both rows were measured."""
    found = []
    for one, other in pairs:
        row, reference = comparison.measured(one), comparison.measured(other)
        contrast = row.against(reference) if row and reference else None
        if row and reference and contrast:
            found.append((row, reference, contrast))
    return found


def shown(found: Sequence[tuple[Row, Row, Contrast]]) -> str:
    """Write contrasts as evidence."""
    parts = [f"{code(row.name)} − {code(other.name)}: {sentence_of(contrast)}" for row, other, contrast in found]
    return "; ".join(parts) + "."


def majority(found: Sequence[tuple[Row, Row, Contrast]]) -> Verdict:
    """Decided when some contrast is; mixed when another says the opposite."""
    outcomes = {contrast.outcome for *_, contrast in found} - {"undecided"}
    if len(outcomes) > 1:
        return "mixed"
    return VERDICTS[outcomes.pop()] if outcomes else "undecided"
