"""What a hypothesis comes to: a statement, its evidence, a verdict; and how contrasts of rows turn into verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from segue.release.report.chosen import ENOUGH_SEEDS, seeds_said
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
AT_THESE_STEPS = "at these steps"
Pairs = Sequence[tuple[Row, Row, Contrast]]


@dataclass(frozen=True)
class Finding:
    """A statement, what was measured about it, and what that says.

    Attributes:
        statement: what is claimed.
        evidence: what was measured.
        verdict: what the evidence says of the claim.
        late: whether the verdict rests on a row whose training stopped before its curve flattened.
    """

    statement: str
    evidence: str
    verdict: Verdict
    late: bool = False


def hypothesis_table(comparison: Comparison, findings: Sequence[Finding]) -> Table:
    """Statement, evidence, verdict."""
    rows = [
        TableRow(
            (
                Cell(finding.statement),
                _verdict_cell(finding),
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
    return Table("hypotheses", _caption(comparison, findings), columns, single(rows))


def _verdict_cell(finding: Finding) -> Cell:
    note = AT_THESE_STEPS if finding.late else ""
    return Cell(f"{_SIGNS[finding.verdict]} {finding.verdict}", note, _TONES[finding.verdict])


def _caption(comparison: Comparison, findings: Sequence[Finding]) -> str:
    rule = (
        "A verdict needs a paired test (interval without 0, adjusted p < 0.05) or, where no pairing is on record, two "
        f"intervals that do not touch. Cosine: supported at ρ ≤ {MISLEADS:.0f}, contradicted at ρ ≥ {AGREES}."
    )
    steps = f" {AT_THESE_STEPS.capitalize()}: the verdict rests on an under-trained row, more steps may turn it."
    seeds = seeds_said(comparison)
    trained = (
        f" Trained with {seeds}: verdicts speak for these weights, a claim about a method in general wants "
        f"{ENOUGH_SEEDS} seeds."
    )
    noted = steps if any(finding.late for finding in findings) else ""
    return f"{rule}{noted}{trained if seeds and comparison.trained else ''}"


def contrasts(comparison: Comparison, pairs: Sequence[tuple[str, str]]) -> list[tuple[Row, Row, Contrast]]:
    """The pairs of which both rows were measured."""
    found = []
    for one, other in pairs:
        row, reference = comparison.measured(one), comparison.measured(other)
        contrast = row.against(reference) if row and reference else None
        if row and reference and contrast:
            found.append((row, reference, contrast))
    return found


def shown(found: Pairs) -> str:
    """Write contrasts as evidence."""
    parts = [f"{code(row.name)} − {code(other.name)}: {sentence_of(contrast)}" for row, other, contrast in found]
    return "; ".join(parts) + "."


def majority(found: Pairs) -> Verdict:
    """Decided when some contrast is; mixed when another says the opposite."""
    outcomes = {contrast.outcome for *_, contrast in found} - {"undecided"}
    if len(outcomes) > 1:
        return "mixed"
    return VERDICTS[outcomes.pop()] if outcomes else "undecided"


def late(rows: Iterable[Row]) -> bool:
    """Whether any of the rows is under-trained."""
    return any(row.under_trained for row in rows)


def by_majority(statement: str, found: Pairs) -> Finding | None:
    """Judge a claim about all pairs."""
    rows = [row for *pair, _ in found for row in pair]
    return Finding(statement, shown(found), majority(found), late(rows)) if found else None


def existence(found: Pairs) -> tuple[Verdict, bool]:
    """Judge a claim that *there is* a pair whose first row is better; only all pairs together can contradict it.

    Returns:
        The verdict, and whether it rests on an under-trained row: one pair of fully trained rows suffices to support.
    """
    outcomes = [contrast.outcome for *_, contrast in found]
    better = [late(pair) for *pair, contrast in found if contrast.outcome == "better"]
    if better:
        return "supported", all(better)
    is_contradicted = bool(outcomes) and set(outcomes) == {"worse"}
    return "contradicted" if is_contradicted else "undecided", any(late(pair) for *pair, _ in found)


def by_existence(statement: str, found: Pairs) -> Finding | None:
    """Judge a claim that there is a pair."""
    return Finding(statement, shown(found), *existence(found)) if found else None
