"""Hypotheses about the options, each with its evidence and a verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy.stats import spearmanr

from segue.comparison.record import Entry, Record
from segue.reports.contrasts import (
    ENOUGH_SEEDS,
    Contrast,
    against,
    beats,
    candidates,
    measured,
    seeds_sentence,
    trained,
)
from segue.reports.document import Cell, Column, Section, Table, TableRow, Tone, single
from segue.reports.text import PERCENT, SCORE, code, listing, of_things, p_value

Verdict = Literal["supported", "contradicted", "mixed", "undecided"]
VERDICTS: dict[str, Verdict] = {"better": "supported", "worse": "contradicted", "undecided": "undecided"}
SHOWN: dict[Verdict, tuple[str, Tone]] = {
    "supported": ("✓", "better"),
    "contradicted": ("✕", "worse"),
    "mixed": ("±", "warn"),
    "undecided": ("·", "undecided"),
}
MISLEADS, AGREES = 0.0, 0.7
"""Rank correlations at or below which cosine is taken to mislead, and at or above which not."""
AT_THESE_STEPS = "at these steps"
Pairs = Sequence[tuple[Entry, Entry, Contrast]]


@dataclass(frozen=True)
class Hypothesis:
    """A claim, its evidence and verdict, and whether the verdict rests on an under-trained entry."""

    statement: str
    evidence: str
    verdict: Verdict
    late: bool = False


def hypotheses_section(record: Record) -> Section:
    """Return the table of hypotheses; without blocks where none could be judged."""
    found = hypotheses(record)
    return Section("hypotheses", "Hypotheses and evidence", (hypothesis_table(record, found),) if found else ())


def hypotheses(record: Record) -> list[Hypothesis]:
    """Judge all hypotheses whose entries were measured."""
    found = [
        _for_all("The split objective (InfoNCE behind a projection head, AR on the raw vectors) costs recall.",
                 _contrasts(record, [(name, "infonce-projected") for name in ("infonce-ar", "infonce")])),
        _for_one("A contrastive term helps: some loss with one finds more than the cosine loss alone.",
                 _contrasts(record, [(name, "ar-cosine") for name in ("infonce-projected", "infonce-ar", "infonce")])),
        _for_all("The AR term hurts: InfoNCE alone finds more than InfoNCE with some AR.",
                 _contrasts(record, [("infonce", "infonce-ar")])),
        _temperature(record),
        _cosine_misleads(record),
        _beyond_copying(record),
        _anchor(record),
        _architecture(record),
        _for_one("Earlier passages help without learning: some mean of the context finds more than the last.",
                 _contrasts(record, [(name, "copy-last") for name in ("mean", "exp-mean")])),
        _for_all("Shared words find the next passage better than embeddings do.",
                 _contrasts(record, [(name, "copy-last") for name in ("bm25", "bm25-context")])),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def _temperature(record: Record) -> Hypothesis | None:
    """Compare the temperatures of both sweeps, each with the entry of the same configuration at τ 0.07."""
    bases = {"projected": "infonce-projected", "raw": "infonce-ar"}
    sweeps = {label: sweep for label, base in bases.items() if len(sweep := _sweep(record, base)) > 1}
    evidence = "; ".join(
        f"{label}: " + ", ".join(f"τ {tau}: {PERCENT.number(entry.value('R@5'))} %" for tau, entry in sweep.items())
        for label, sweep in sweeps.items()
    )
    groups = [[*sweep.values()] for sweep in sweeps.values()]
    return _any_apart("The temperature matters.", evidence, groups) if sweeps else None


def _sweep(record: Record, base: str) -> dict[str, Entry]:
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
    ranked = sorted(entries, key=lambda entry: -(entry.value("R@5") or 0.0))
    ends = [f"{code(entry.name)} {PERCENT.sentence(entry.metrics['R@5'])}" for entry in (ranked[0], ranked[-1])]
    return _any_apart("The architecture matters.", f"Best and last of {len(entries)}: {', '.join(ends)}", [entries])


def _any_apart(statement: str, evidence: str, groups: Sequence[Sequence[Entry]]) -> Hypothesis:
    """Judge a claim that some entries of a group differ."""
    decided = any(_apart(entries) for entries in groups)
    without_late = [[entry for entry in entries if not entry.under_trained] for entries in groups]
    is_late = any(_late(entries) for entries in groups) and not any(_apart(entries) for entries in without_late)
    note = "some differ clearly" if decided else "no two differ clearly"
    return Hypothesis(statement, f"{evidence}; {note}.", "supported" if decided else "undecided", is_late)


def _apart(entries: Sequence[Entry]) -> bool:
    return any(beats(one, other) for one in entries for other in entries)


def _cosine_misleads(record: Record) -> Hypothesis | None:
    """Correlate cosine with R@5 over the candidates."""
    entries = [entry for entry in candidates(record) if entry.value("cosine") is not None]
    cosines, recalls = [entry.value("cosine") for entry in entries], [entry.value("R@5") for entry in entries]
    if len(entries) < 5 or len(set(cosines)) == 1 or len(set(recalls)) == 1:
        return None
    result = spearmanr(cosines, recalls)
    rho, p = float(result.statistic), float(result.pvalue)
    verdict: Verdict = "supported" if rho <= MISLEADS else "contradicted" if rho >= AGREES else "undecided"
    top = max(entries, key=lambda entry: entry.value("cosine") or 0.0)
    place = 1 + sum((entry.value("R@5") or 0.0) > (top.value("R@5") or 0.0) for entry in entries)
    evidence = (
        f"Over {len(entries)} candidates Spearman’s ρ of cosine and R@5 is {SCORE.signed(rho)} ({p_value(p)}; options "
        "share windows, so this only describes them). The one with the highest cosine "
        f"({SCORE.number(top.value('cosine'))}, {code(top.name)}) is number {place} in R@5 "
        f"({PERCENT.number(top.value('R@5'))} %)."
    )
    return Hypothesis("A higher cosine to the target does not mean a higher recall.", evidence, verdict, _late(entries))


def _anchor(record: Record) -> Hypothesis | None:
    """Compare the same architecture and loss with and without the anchor."""
    pairs = [
        (one.name, other.name) for one in trained(record) for other in trained(record) if _differ_in_anchor(one, other)
    ]
    statement = "The anchor helps: a model that starts from copying finds more than one without an anchor."
    found = _for_all(statement, _contrasts(record, pairs))
    dropout = record.article_dropout
    if found is None or dropout.anchored == dropout.bare:
        return found
    note = (
        f"Article dropout differs too ({dropout.anchored:g} with the anchor, {dropout.bare:g} without), so the two "
        "effects are not separated."
    )
    return replace(found, evidence=f"{found.evidence} {note}")


def _differ_in_anchor(anchored: Entry, bare: Entry) -> bool:
    """Return whether both have one architecture and, fold by fold, one loss, and only the first has an anchor."""
    one, other = anchored.training, bare.training
    if one is None or other is None or not one.anchor or other.anchor or one.model != other.model:
        return False
    losses = [training.losses or (training.loss,) for training in (one, other)]
    if len(losses[0]) == len(losses[1]):
        return losses[0] == losses[1]
    return {*losses[0]} == {*losses[1]} and len({*losses[0]}) == 1  # one stands for all folds


def _beyond_copying(record: Record) -> Hypothesis | None:
    found = _contrasts(record, [(one.name, "copy-last") for one in trained(record) if one.intent == "candidate"])
    if not found:
        return None
    names = {outcome: [c.outcome for *_, c in found].count(outcome) for outcome in ("better", "undecided", "worse")}
    counts = listing([f"{number} {outcome}" for outcome, number in names.items() if number])
    top = max(found, key=lambda pair: pair[2].difference.value)
    evidence = f"Of {of_things(len(found), 'trained candidate')} against {code('copy-last')}: {counts}. "
    evidence += f"The largest difference: {_shown([top])}"
    return Hypothesis("Training finds more than copying the last passage.", evidence, *_exists(found))


def _contrasts(record: Record, pairs: Sequence[tuple[str, str]]) -> list[tuple[Entry, Entry, Contrast]]:
    """Return the contrasts of pairs of which both entries were measured."""
    found = []
    for names in pairs:
        one, other = (measured(record, name) for name in names)
        contrast = against(one, other) if one and other else None
        if one and other and contrast:
            found.append((one, other, contrast))
    return found


def _shown(found: Pairs) -> str:
    return "; ".join(f"{code(one.name)} − {code(other.name)}: {c.sentence()}" for one, other, c in found) + "."


def _late(entries: Iterable[Entry]) -> bool:
    return any(entry.under_trained for entry in entries)


def _for_all(statement: str, found: Pairs) -> Hypothesis | None:
    """Judge a claim about all pairs: mixed when one pair contradicts another."""
    outcomes = {contrast.outcome for *_, contrast in found} - {"undecided"}
    verdict: Verdict = "mixed" if len(outcomes) > 1 else VERDICTS[outcomes.pop()] if outcomes else "undecided"
    entries = [entry for *pair, _ in found for entry in pair]
    return Hypothesis(statement, _shown(found), verdict, _late(entries)) if found else None


def _for_one(statement: str, found: Pairs) -> Hypothesis | None:
    """Judge a claim that there is a pair."""
    return Hypothesis(statement, _shown(found), *_exists(found)) if found else None


def _exists(found: Pairs) -> tuple[Verdict, bool]:
    """Judge a claim that *there is* a pair whose first entry is better; only all pairs together can contradict it.

    Returns:
        The verdict, and whether it rests on an under-trained entry: one pair without suffices to support.
    """
    better = [_late(pair) for *pair, contrast in found if contrast.outcome == "better"]
    if better:
        return "supported", all(better)
    is_contradicted = {contrast.outcome for *_, contrast in found} == {"worse"}
    return "contradicted" if is_contradicted else "undecided", any(_late(pair) for *pair, _ in found)


def hypothesis_table(record: Record, found: Sequence[Hypothesis]) -> Table:
    """Return claim, verdict and evidence."""
    rows = []
    for one in found:
        mark, tone = SHOWN[one.verdict]
        verdict = Cell(f"{mark} {one.verdict}", AT_THESE_STEPS if one.late else "", tone)
        rows.append(TableRow((Cell(one.statement), verdict, Cell(one.evidence))))
    columns = (Column("Hypothesis", False), Column("Verdict", False), Column("Evidence (R@5 on test documents)", False))
    caption = (
        "A verdict needs a paired test (interval without 0, adjusted p < 0.05) or, where no pairing was recorded, two "
        f"intervals that do not touch. Cosine: supported at ρ ≤ {MISLEADS:.0f}, contradicted at ρ ≥ {AGREES}."
    )
    if any(one.late for one in found):
        caption += (
            f" {AT_THESE_STEPS.capitalize()}: the verdict rests on an under-trained entry; more steps may change it."
        )
    if trained(record):
        caption += (
            f" Trained with {seeds_sentence(record)}: a claim about a method in general needs {ENOUGH_SEEDS} seeds."
        )
    return Table("hypotheses", caption, columns, single(rows))
