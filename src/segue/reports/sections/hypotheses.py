"""Hypotheses about the options, each with its evidence and a verdict.

A verdict compares entries that differ in one thing and whose training converged. Where no such pair was measured, the
hypothesis ends in *not enough evidence*, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from segue.comparison.record import Entry, Record
from segue.reports.contrasts import (
    ENOUGH_SEEDS,
    Contrast,
    against,
    beats,
    candidates,
    converged,
    differences,
    measured,
    seeds_sentence,
    trained,
)
from segue.reports.document import Cell, Column, Section, Table, TableRow, Tone, single
from segue.reports.text import PERCENT, code, listing, of_things

Verdict = Literal["supported", "contradicted", "mixed", "undecided", "not enough evidence"]
VERDICTS: dict[str, Verdict] = {"better": "supported", "worse": "contradicted", "undecided": "undecided"}
SHOWN: dict[Verdict, tuple[str, Tone]] = {
    "supported": ("✓", "better"),
    "contradicted": ("✕", "worse"),
    "mixed": ("±", "warn"),
    "undecided": ("·", "undecided"),
    "not enough evidence": ("?", "muted"),
}
FEW = 3
"""Contrasts that are all printed; of more the largest is."""
Pair = tuple[Entry, Entry]
Contrasts = Sequence[tuple[Entry, Entry, Contrast]]


@dataclass(frozen=True)
class Hypothesis:
    """A claim, its evidence and verdict."""

    statement: str
    evidence: str
    verdict: Verdict


def hypotheses_section(record: Record) -> Section:
    """Return the table of hypotheses; without blocks where no entry that they are about was measured."""
    found = hypotheses(record)
    return Section("hypotheses", "Hypotheses and evidence", (hypothesis_table(record, found),) if found else ())


def hypotheses(record: Record) -> list[Hypothesis]:
    """Judge all hypotheses of which some pair of entries was measured."""
    found = [
        _for_all(record, "InfoNCE behind a projection head with AR on the raw vectors finds less than InfoNCE on the "
                 "raw vectors.", _named(record, [(name, "infonce-projected") for name in ("infonce-ar", "infonce")]),
                 allowed="loss"),
        _for_one(record, "A contrastive term helps: some loss with one finds more than the cosine loss alone.",
                 _named(record, [(name, "ar-cosine") for name in ("infonce-projected", "infonce-ar", "infonce")]),
                 allowed="loss"),
        _for_all(record, "The AR term hurts: InfoNCE alone finds more than InfoNCE with some AR.",
                 _named(record, [("infonce", "infonce-ar")]), allowed="loss"),
        _temperature(record),
        _for_one(record, "Training finds more than copying the last passage.", _from_copying(record)),
        _for_one(record, "Under the same reranker, a trained first stage finds more than copying.",
                 _named(record, [("rerank", "copy-last-rerank")])),
        _for_all(record, "The anchor helps: a model that starts from copying finds more than one without an anchor.",
                 _anchored(record), allowed="anchor"),
        _architecture(record),
        _for_one(record, "Earlier passages help without learning: some mean of the context finds more than the last.",
                 _named(record, [(name, "copy-last") for name in ("mean", "exp-mean")])),
        _for_all(record, "Shared words find the next passage better than embeddings of the same passages do.",
                 _named(record, [("bm25", "copy-last"), ("bm25-context", "encoder-context")])),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def _named(record: Record, names: Sequence[tuple[str, str]]) -> list[Pair]:
    """Return the pairs of entries of which both were measured."""
    pairs = [(measured(record, one), measured(record, other)) for one, other in names]
    return [(one, other) for one, other in pairs if one and other]


def _from_copying(record: Record) -> list[Pair]:
    """Return the single models that start as copy-last, each with copy-last: only training is between them."""
    reference = measured(record, "copy-last")
    models = [entry for entry in trained(record) if entry.training and entry.training.anchor]
    return [(entry, reference) for entry in models if reference and entry.can_win and entry.family != "rerank"]


def _anchored(record: Record) -> list[Pair]:
    """Return models with the anchor, each with one without that has the same architecture and loss."""
    pairs = [(one, other) for one in trained(record) for other in trained(record)
             if one.training and other.training and one.training.anchor > other.training.anchor]  # fmt: skip
    return [pair for pair in pairs if not {"architecture", "loss", "reranking"} & {*differences(record, *pair)}]


def _usable(record: Record, pairs: Iterable[Pair], allowed: str) -> tuple[Contrasts, list[str]]:
    """Return the contrasts of pairs that bear a verdict, and for the others why they bear none."""
    found: list[tuple[Entry, Entry, Contrast]] = []
    reasons: dict[str, None] = {}
    for one, other in pairs:
        contrast = against(one, other)
        late = [code(entry.name) for entry in (one, other) if not converged(entry)]
        more = [name for name in differences(record, one, other) if name != allowed] if allowed else []
        if contrast and not late and not more:
            found.append((one, other, contrast))
        reasons |= {f"{name} is under-trained": None for name in late}
        reasons |= {f"{code(one.name)} and {code(other.name)} differ in {listing(more)} too": None} if more else {}
    return found, [*reasons]


def _for_all(record: Record, statement: str, pairs: Sequence[Pair], *, allowed: str = "") -> Hypothesis | None:
    """Judge a claim about all pairs: mixed when one pair contradicts another.

    Args:
        record: the comparison.
        statement: the claim that the first entry of each pair finds more.
        pairs: entries to compare.
        allowed: the one respect in which two trained entries may differ; empty: the pairs are chosen by hand.
    """
    if not pairs:
        return None
    found, reasons = _usable(record, pairs, allowed)
    outcomes = {contrast.outcome for *_, contrast in found}
    clear = outcomes - {"undecided"}
    verdict: Verdict = "mixed" if len(clear) > 1 else VERDICTS[clear.pop()] if clear else "undecided"
    return _judged(statement, found, verdict, reasons)


def _for_one(record: Record, statement: str, pairs: Sequence[Pair], *, allowed: str = "") -> Hypothesis | None:
    """Judge a claim that there is a pair whose first entry is better; only all pairs together can contradict it."""
    if not pairs:
        return None
    found, reasons = _usable(record, pairs, allowed)
    outcomes = [contrast.outcome for *_, contrast in found]
    clear: Verdict = "contradicted" if {*outcomes} == {"worse"} and not reasons else "undecided"
    return _judged(statement, found, "supported" if "better" in outcomes else clear, reasons)


def _judged(statement: str, found: Contrasts, verdict: Verdict, reasons: Sequence[str]) -> Hypothesis:
    left_out = f" Left out: {'; '.join(reasons)}." if found and reasons else ""
    if not found:
        return Hypothesis(statement, f"{'; '.join(reasons) or 'The entries were not compared'}.", "not enough evidence")
    return Hypothesis(statement, _shown(found) + left_out, verdict)


def _shown(found: Contrasts) -> str:
    """Print the contrasts: all of a few, else how many there are of each outcome and the largest."""
    if len(found) <= FEW:
        return "; ".join(f"{code(one.name)} − {code(other.name)}: {c.sentence()}" for one, other, c in found) + "."
    names = {outcome: [c.outcome for *_, c in found].count(outcome) for outcome in ("better", "undecided", "worse")}
    counts = listing([f"{number} {outcome}" for outcome, number in names.items() if number])
    top = max(found, key=lambda pair: pair[2].difference.value)
    return f"Of {of_things(len(found), 'pair')}: {counts}. The largest difference: {_shown([top])}"


def _temperature(record: Record) -> Hypothesis | None:
    """Compare the temperatures of both sweeps, each with the entry of the same configuration at τ 0.07."""
    bases = {"projected": "infonce-projected", "raw": "infonce-ar"}
    sweeps = {label: sweep for label, base in bases.items() if len(sweep := _sweep(record, base)) > 1}
    evidence = "; ".join(
        f"{label}: {', '.join(values)}"
        for label, sweep in sweeps.items()
        if (values := [f"τ {tau}: {PERCENT.number(entry.value('R@5'))} %" for tau, entry in sweep.items()
                       if converged(entry)])
    )  # fmt: skip
    return _any_apart("The temperature matters.", evidence, [[*sweep.values()] for sweep in sweeps.values()])


def _sweep(record: Record, base: str) -> Mapping[str, Entry]:
    middle = measured(record, base)
    found = {"0.07": middle} if middle else {}
    for entry in record.entries:
        match = re.fullmatch(re.escape(base) + r"-tau-(\d+\.\d+)", entry.name)
        if match and entry.measured:
            found[match[1]] = entry
    return dict(sorted(found.items(), key=lambda pair: float(pair[0])))


def _architecture(record: Record) -> Hypothesis | None:
    entries = [entry for entry in candidates(record) if entry.family == "architecture"]
    if len(entries) < 2:
        return None
    ranked = sorted(filter(converged, entries), key=lambda entry: -(entry.value("R@5") or 0.0))
    ends = [f"{code(entry.name)} {PERCENT.sentence(entry.metrics['R@5'])}" for entry in ranked[:: len(ranked) - 1 or 1]]
    return _any_apart("The architecture matters.", f"Best and last of {len(ranked)}: {', '.join(ends)}", [entries])


def _any_apart(statement: str, evidence: str, groups: Sequence[Sequence[Entry]]) -> Hypothesis | None:
    """Judge a claim that some entries of a group differ; only those that converged count."""
    if not groups:
        return None
    known = [[entry for entry in entries if converged(entry)] for entries in groups]
    if all(len(entries) < 2 for entries in known):
        late = [code(entry.name) for entries in groups for entry in entries if not converged(entry)]
        return Hypothesis(statement, f"Under-trained: {listing(late)}.", "not enough evidence")
    decided = any(beats(one, other) for entries in known for one in entries for other in entries)
    note = "some differ clearly" if decided else "no two differ clearly"
    return Hypothesis(statement, f"{evidence}; {note}.", "supported" if decided else "undecided")


def hypothesis_table(record: Record, found: Sequence[Hypothesis]) -> Table:
    """Return claim, verdict and evidence."""
    rows = []
    for one in found:
        mark, tone = SHOWN[one.verdict]
        rows.append(TableRow((Cell(one.statement), Cell(f"{mark} {one.verdict}", tone=tone), Cell(one.evidence))))
    columns = (Column("Hypothesis", False), Column("Verdict", False), Column("Evidence (R@5 on test documents)", False))
    caption = (
        "A verdict compares options that differ in one thing and whose training converged, by a paired test (interval "
        "without 0, adjusted p < 0.05) or, where no pairing was recorded, by two intervals that do not touch."
    )
    if trained(record):
        caption += (
            f" Trained with {seeds_sentence(record)}: a claim about a method in general needs {ENOUGH_SEEDS} seeds."
        )
    return Table("hypotheses", caption, columns, single(rows))
