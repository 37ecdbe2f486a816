"""Hypotheses with their evidence. Each is a written rule over measured rows; a rule without its rows says nothing.

*supported*, *contradicted*, *mixed* (one row says this, another that) or *undecided* follows from a paired test where
one is on record, and otherwise from whether the two rows' own 95 % intervals touch. The rules are printed with the
report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from scipy.stats import spearmanr

from segue.release.report.facts import Comparison, Row, mapping, number, sequence
from segue.release.report.findings import (
    AGREES,
    MISLEADS,
    Finding,
    Verdict,
    by_existence,
    by_majority,
    contrasts,
    existence,
    late,
    shown,
)
from segue.release.report.inline import code
from segue.release.report.wording import PERCENT, SCORE, listing, of_things, p_value


def hypotheses(comparison: Comparison) -> list[Finding]:
    """All rules whose rows were measured."""
    return [finding for rule in RULES if (finding := rule(comparison)) is not None]


def split_objective(comparison: Comparison) -> Finding | None:
    """The report's own diagnosis: two objectives in two spaces."""
    found = contrasts(comparison, [(name, "infonce-projected") for name in ("option-1-raw", "option-3-pure")])
    statement = "The split objective (InfoNCE behind a projection head, AR on the raw vectors) costs recall."
    return by_majority(statement, found)


def contrastive(comparison: Comparison) -> Finding | None:
    """Whether negatives help at all."""
    names = ("infonce-projected", "option-1-raw", "option-3-pure")
    found = contrasts(comparison, [(name, "ar-only") for name in names])
    statement = "A contrastive term finds more than the cosine loss alone: some loss with one does."
    return by_existence(statement, found)


def ar_term(comparison: Comparison) -> Finding | None:
    """Option 3 against option 1."""
    found = contrasts(comparison, [("option-3-pure", "option-1-raw")])
    statement = "The AR term hurts: InfoNCE alone finds more than InfoNCE with a little AR."
    return by_majority(statement, found)


def temperature(comparison: Comparison) -> Finding | None:
    """Both sweeps, each with the row of the same configuration at τ 0.07."""
    sweeps = [(prefix, _sweep(comparison, prefix, base)) for prefix, base in _SWEEPS]
    measured = [(prefix, sweep) for prefix, sweep in sweeps if len(sweep) > 1]
    if not measured:
        return None
    evidence = "; ".join(
        f"{label}: " + ", ".join(f"τ {tau}: {PERCENT.number(row.value('R@5'))} %" for tau, row in sweep)
        for label, sweep in measured
    )
    rows = [[row for _, row in sweep] for _, sweep in measured]
    decided = any(_apart(sweep) for sweep in rows)
    note = "some intervals do not touch" if decided else "within each sweep all intervals overlap"
    is_late = _rests_on_late(rows)
    return Finding("The temperature decides.", f"{evidence}; {note}.", "supported" if decided else "undecided", is_late)


_SWEEPS = (("projected", "infonce-projected"), ("raw", "option-1-raw"))


def _sweep(comparison: Comparison, prefix: str, base: str) -> list[tuple[str, Row]]:
    start = "option-2-tau-" if prefix == "projected" else "option-2-raw-tau-"
    middle = comparison.measured(base)
    rows = {"0.07": middle} if middle else {}
    for row in comparison.rows:
        match = re.fullmatch(re.escape(start) + r"(\d+\.\d+)", row.name)
        if match and comparison.measured(row.name):
            rows[match[1]] = row
    return sorted(rows.items(), key=lambda pair: float(pair[0]))


def _apart(rows: Sequence[Row]) -> bool:
    """Whether any two rows' intervals do not touch."""
    pairs = [(one, other) for one in rows for other in rows if one is not other]
    return any((contrast := one.against(other)) is not None and contrast.outcome == "better" for one, other in pairs)


def _rests_on_late(groups: Sequence[Sequence[Row]]) -> bool:
    """Whether some row is under-trained and no two fully trained rows of a group are apart without it."""
    trained = [[row for row in rows if not row.under_trained] for rows in groups]
    return any(late(rows) for rows in groups) and not any(_apart(rows) for rows in trained)


def cosine_misleads(comparison: Comparison) -> Finding | None:
    """Rank correlation of cosine and R@5 over the candidates."""
    rows = [row for row in comparison.candidates if row.value("cosine") is not None]
    if len(rows) < 5:
        return None
    cosines, recalls = [row.value("cosine") for row in rows], [row.value("R@5") for row in rows]
    if len(set(cosines)) == 1 or len(set(recalls)) == 1:
        return None
    result = spearmanr(cosines, recalls)
    rho, p = float(result.statistic), float(result.pvalue)
    verdict: Verdict = "supported" if rho <= MISLEADS else "contradicted" if rho >= AGREES else "undecided"
    evidence = (
        f"Over {len(rows)} candidates Spearman’s ρ of cosine and R@5 is {SCORE.signed(rho)} "
        f"({p_value(p)}; options share windows, so read it as a description). {highest_cosine(rows)}"
    )
    statement = "Cosine to the target misleads: who has more of it does not find more."
    return Finding(statement, evidence, verdict, late(rows))


def highest_cosine(rows: Sequence[Row]) -> str:
    """Say where the row with the highest cosine stands by R@5."""
    top = max(rows, key=lambda row: row.value("cosine") or 0.0)
    place = 1 + sum((row.value("R@5") or 0.0) > (top.value("R@5") or 0.0) for row in rows)
    return (
        f"Of {len(rows)} candidates with a cosine, the one with the highest ({SCORE.number(top.value('cosine'))}, "
        f"{code(top.name)}) has place {place} in R@5 ({PERCENT.number(top.value('R@5'))} %)."
    )


def anchor(comparison: Comparison) -> Finding | None:
    """The same architecture and loss with and without the anchor, where both were trained."""
    pairs = [
        (one.name, other.name)
        for one in comparison.trained
        for other in comparison.trained
        if one.training.get("anchor") is True and other.training.get("anchor") is False and _alike(one, other)
    ]
    statement = "The anchor matters: starting from copying finds more than starting from nothing."
    finding = by_majority(statement, contrasts(comparison, pairs))
    return finding and replace(finding, evidence=f"{finding.evidence} {_dropout_note(comparison)}".strip())


def _dropout_note(comparison: Comparison) -> str:
    """Say that the pair differs in more than the anchor; runs before this was recorded had the defaults."""
    record = mapping(comparison.data.get("article_dropout")) or {"with anchor": 0.0, "without": 0.2}
    anchored, bare = number(record.get("with anchor")), number(record.get("without"))
    if anchored is None or bare is None or anchored == bare:
        return ""
    return f"Article dropout differs too ({anchored:g} with the anchor, {bare:g} without): the two are not told apart."


def _alike(anchored: Row, bare: Row) -> bool:
    """Whether both have one architecture and, fold by fold, one loss."""
    if anchored.training.get("model") != bare.training.get("model"):
        return False
    one, other = _losses(anchored), _losses(bare)
    if len(one) == len(other):
        return one == other and None not in one
    return {*map(str, one)} == {*map(str, other)} and len({*map(str, one)}) == 1  # one stands for all folds


def _losses(row: Row) -> list[object]:
    return sequence(row.training.get("losses")) or [row.training.get("loss")]


def beyond_copying(comparison: Comparison) -> Finding | None:
    """Every trained candidate against copy-last."""
    names = [row.name for row in comparison.trained if row.intent == "candidate"]
    found = contrasts(comparison, [(name, "copy-last") for name in names])
    if not found:
        return None
    outcome = {
        word: [row.name for row, _, c in found if c.outcome == word] for word in ("better", "undecided", "worse")
    }
    counts = [f"{len(names)} {word}" for word, names in outcome.items() if names]
    top = max(found, key=lambda entry: entry[2].difference.value)
    evidence = f"Of {of_things(len(found), 'trained candidate')} against {code('copy-last')}: {listing(counts)}. "
    evidence += f"The largest difference: {shown([top])}"
    return Finding("Training adds something that copying the last passage does not have.", evidence, *existence(found))


def recency(comparison: Comparison) -> Finding | None:
    """Earlier passages, without learning."""
    found = contrasts(comparison, [(name, "copy-last") for name in ("mean", "exp-mean")])
    statement = "Passages before the last one help even without learning: some weighting of them does."
    return by_existence(statement, found)


def words(comparison: Comparison) -> Finding | None:
    """Lexical against dense."""
    found = contrasts(comparison, [("bm25", "copy-last"), ("bm25-context", "copy-last")])
    statement = "Shared words find the next passage better than embeddings do."
    return by_majority(statement, found)


def architecture(comparison: Comparison) -> Finding | None:
    """Whether any two architectures under the same loss can be told apart."""
    rows = [row for row in comparison.candidates if row.family == "architecture"]
    if len(rows) < 2:
        return None
    ranked = sorted(rows, key=lambda row: -(row.value("R@5") or 0.0))
    decided = _apart(rows)
    ends = ", ".join(f"{code(row.name)} {PERCENT.sentence(row.metric('R@5'))}" for row in (ranked[0], ranked[-1]))
    note = "some intervals do not touch" if decided else "no two of them can be told apart"
    evidence = f"Best and last of {len(rows)}: {ends}; {note}."
    verdict: Verdict = "supported" if decided else "undecided"
    return Finding("The architecture decides.", evidence, verdict, _rests_on_late([rows]))


RULES: tuple[Callable[[Comparison], Finding | None], ...] = (
    split_objective,
    contrastive,
    ar_term,
    temperature,
    cosine_misleads,
    beyond_copying,
    anchor,
    architecture,
    recency,
    words,
)
