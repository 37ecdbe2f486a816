"""The TL;DR: what won, by how much, and what the gates say, in sentences that the intervals allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy.stats import spearmanr

from segue.reports.choice import BY_PROCEDURE, ENOUGH_SEEDS, choice_against, procedure_row, seeds_said
from segue.reports.document import Bullets, Cell, Column, Notice, Section, Table, TableRow, Tone, single
from segue.reports.record import Comparison, Contrast, Row, interval, mapping, number, sequence
from segue.reports.tables.metrics import best_baseline, compatibility, gate_sentence, sentence_of
from segue.reports.text.markup import code, plain, strong
from segue.reports.text.numbers import PERCENT, SCORE, duration, listing, of_things, p_value


def summary_section(comparison: Comparison) -> Section:
    """A handful of sentences; each is left out where its rows were not measured."""
    sentences = (
        headline(comparison),
        same_reranker(comparison),
        procedure(comparison),
        gate_sentence(comparison),
        against_ar_only(comparison),
        cosine(comparison),
        ends_of_the_scale(comparison),
        under_trained(comparison),
    )
    found = tuple(sentence for sentence in sentences if sentence)
    blocks = (Bullets(found),) if found else (Notice("Nothing was measured.", "muted"),)
    return Section("summary", "TL;DR", blocks)


def headline(comparison: Comparison) -> str:
    """Name the winner, or say that none clearly beats copy-last."""
    leader, reference = comparison.leader, comparison.measured("copy-last")
    if leader is None:
        return "No candidate was measured on validation, so that nothing could be chosen."
    score = (
        f"finds the next passage among its first five answers in {PERCENT.sentence(leader.metric('R@5'))} of windows"
    )
    if reference is None:
        return f"{_naming(comparison, leader)} It {score}; {code('copy-last')} was not measured beside it."
    if reference.name == leader.name:
        return f"{strong('No option does better on validation than copying the last passage,')} which {score}."
    contrast = choice_against(comparison, reference)
    return f"{_opening(comparison, leader, contrast)} It {score}{_verdict(comparison, contrast)}."


def same_reranker(comparison: Comparison) -> str:
    """Say of a leader that reranks what the same reranker does without its model."""
    leader, reference = comparison.leader, comparison.measured("copy-last-rerank")
    if leader is None or reference is None or leader.family != "rerank" or leader.name == reference.name:
        return ""
    contrast = leader.against(reference)
    if contrast is None:
        return ""
    meaning = {
        "better": "more than reranking alone gives",
        "worse": "less than reranking gives without the model",
        "undecided": "what was gained may be the reranker's alone, not the model's",
    }[contrast.outcome]
    return (
        f"The same reranker over {code('copy-last')} has R@5 {PERCENT.sentence(reference.metric('R@5'))}: "
        f"{code(leader.name)} differs from it by {sentence_of(contrast)}, {meaning}."
    )


def _opening(comparison: Comparison, leader: Row, contrast: Contrast | None) -> str:
    if contrast is None or contrast.outcome == "better":
        return _naming(comparison, leader)
    reference = comparison.measured("copy-last")
    others = [row for row in comparison.candidates if reference and _clearly_above(row, reference)]
    if leader in others:  # by its own test, though the choice inside each fold is not
        start = strong("The choice on validation does not clearly beat copying the last passage.")
        alone = f"{code(leader.name)} alone does, but documents it is tested on took part in choosing it."
        return f"{start} {alone} Chosen: {_described(leader)}."
    if not others:
        start = strong("No option clearly beats copying the last passage.")
        return f"{start} Best on validation: {_described(leader)}."
    start = strong("What did best on validation does not clearly beat copying the last passage.")
    names = listing([code(row.name) for row in others])
    return f"{start} {names} would on test, but choosing there proves nothing. Chosen: {_described(leader)}."


def _clearly_above(row: Row, reference: Row) -> bool:
    contrast = row.against(reference) if row.name != reference.name else None
    return contrast is not None and contrast.outcome == "better"


def _naming(comparison: Comparison, leader: Row) -> str:
    if comparison.winner is None:
        return f"No winner is named; best on validation is {_described(leader)}."
    return f"{strong('The winner is')} {_described(leader)}, chosen on validation."


def _described(row: Row) -> str:
    described = plain(row.text("description"))
    return f"{code(row.name)} ({described})" if described else code(row.name)


def _verdict(comparison: Comparison, contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    meaning = {
        "better": "clearly more than copying",
        "worse": "clearly less than copying",
        "undecided": "a difference that this many documents do not establish",
    }[contrast.outcome]
    mark = ";" if procedure_row(comparison) else ","
    return f"{mark} {choice_difference(comparison, contrast)} against {code('copy-last')}: {meaning}"


def choice_difference(comparison: Comparison, contrast: Contrast) -> str:
    """Print the difference of ``choice_against``, and whose it is where that is not the leader's own."""
    whose = f"{BY_PROCEDURE} " if procedure_row(comparison) else ""
    return f"{whose}{sentence_of(contrast)}"


def against_ar_only(comparison: Comparison) -> str:
    """The comparison that the original report was about."""
    reference = comparison.measured("ar-cosine")
    rows = [row for row in comparison.candidates if row.family == "loss" and row.name != "ar-cosine"]
    if reference is None or not rows:
        return ""
    contrasts = [(row, contrast) for row in rows if (contrast := row.against(reference)) is not None]
    better = [row for row, contrast in contrasts if contrast.outcome == "better"]
    best, contrast = max(contrasts, key=lambda pair: pair[1].difference.value)
    verb = "is" if len(better) <= 1 else "are"
    return (
        f"{code('ar-cosine')} has R@5 {PERCENT.sentence(reference.metric('R@5'))}. Of "
        f"{of_things(len(contrasts), 'other loss option')} that can win, {len(better) or 'none'} {verb} clearly "
        f"better; the largest difference is {sentence_of(contrast)}, by {code(best.name)}."
    )


def procedure(comparison: Comparison) -> str:
    """With folds, what the choice itself scores."""
    record = mapping(comparison.data.get("procedure"))
    chosen = [str(name) for name in sequence(record.get("chosen"))]
    recall = interval(mapping(record.get("metrics")).get("R@5"))
    if len(chosen) < 2 or recall is None:
        return ""
    kinds = {name: chosen.count(name) for name in chosen}
    names = [f"{code(name)}{f' ({many} folds)' if many > 1 else ''}" for name, many in kinds.items()]
    return (
        f"Choosing anew inside each fold takes {listing(names)} and has R@5 {PERCENT.sentence(recall)}: the number to "
        "expect of the procedure, as no document took part in choosing what it tests."
    )


def ends_of_the_scale(comparison: Comparison) -> str:
    """The controls say that the truth is in the pool and that nothing else gives it away."""
    oracle, chance = comparison.measured("oracle"), comparison.measured("chance")
    parts = []
    if oracle:
        parts.append(f"with the true vector as the query R@1 is {PERCENT.number(oracle.value('R@1'))} %")
    if chance:
        parts.append(f"a random order has R@5 {PERCENT.number(chance.value('R@5'))} %")
    return f"Controls: {' and '.join(parts)}." if parts else ""


def cosine(comparison: Comparison) -> str:
    """What selecting by cosine would have chosen."""
    rows = [row for row in comparison.candidates if row.value("cosine") is not None]
    return highest_cosine(rows) if len(rows) >= 3 else ""


def under_trained(comparison: Comparison) -> str:
    """Options of which nothing final can be said."""
    names = [code(row.name) for row in comparison.rows if row.under_trained]
    if not names:
        return ""
    verb, what = ("was", "it is a lower bound") if len(names) == 1 else ("were", "they are lower bounds")
    return (
        f"{listing(names)} {verb} still improving on validation when the planned steps ended (under-trained): {what}."
    )


def score_line(row: Row) -> str:
    """R@5 and MRR of a row, as other sections quote it."""
    recall, mrr = PERCENT.sentence(row.metric("R@5")), SCORE.sentence(row.metric("MRR"))
    return f"{code(row.name)}, R@5 {recall}, MRR {mrr}"


def learnings_section(comparison: Comparison) -> Section:
    """All learnings whose rows were measured."""
    found = tuple(sentence for rule in RULES if (sentence := rule(comparison)))
    return Section("learnings", "Key learnings", (Bullets(found),) if found else ())


def copying_is_strong(comparison: Comparison) -> str:
    """How many trained options fail to beat the simplest baseline."""
    reference = comparison.measured("copy-last")
    trained = [row for row in comparison.trained if row.intent == "candidate"]
    if reference is None or not trained:
        return ""
    beaten = [row for row in trained if (found := row.against(reference)) and found.outcome == "better"]
    verb = "beats" if len(beaten) <= 1 else "beat"
    return (
        f"{strong('Copying is the bar.')} {code('copy-last')} needs no training and has R@5 "
        f"{PERCENT.sentence(reference.metric('R@5'))}; {len(beaten) or 'none'} of "
        f"{of_things(len(trained), 'trained candidate')} clearly {verb} it."
    )


def exclusion_matters(comparison: Comparison) -> str:
    """What leaving read passages among the candidates does to the most copying of all rows."""
    row = comparison.measured("copy-last")
    before = row.part("context_left_in", "R@1") if row else None
    after = row.value("R@1") if row else None
    if row is None or before is None or after is None or before >= after:
        return ""
    return (
        f"{strong('What has been read must leave the candidates.')} With the context left in, {code(row.name)} has R@1 "
        f"{PERCENT.number(before)} %, without it {PERCENT.number(after)} %: the same query, another rule."
    )


def cosine_is_no_guide(comparison: Comparison) -> str:
    """Whether selecting by cosine would have chosen another row, and what that would have cost."""
    rows = [row for row in comparison.candidates if row.value("cosine") is not None]
    leader = comparison.leader
    if len(rows) < 3 or leader is None or leader.value("cosine") is None:
        return ""
    top = max(rows, key=lambda row: row.value("cosine") or 0.0)
    if (top.value("R@5") or 0.0) >= (leader.value("R@5") or 0.0):
        return ""
    names = (f"{code(row.name)} (cosine {SCORE.number(row.value('cosine'))}, R@5 {PERCENT.number(row.value('R@5'))} %)"
             for row in (top, leader))  # fmt: skip
    return f"{strong('Select by retrieval, not by cosine.')} Cosine would have chosen {' before '.join(names)}."


def document_or_passage(comparison: Comparison) -> str:
    """Where the difficulty lies: in finding the document, or the passage within it."""
    leader = comparison.leader
    inside = leader.part("in_document", "R@5") if leader else None
    overall = leader.value("R@5") if leader else None
    if leader is None or inside is None or overall is None:
        return ""
    return (
        f"{strong('How much is finding the document?')} Among the passages of the right document {code(leader.name)} "
        f"has R@5 {PERCENT.number(inside)} %, in the whole bank {PERCENT.number(overall)} %."
    )


def room_above(comparison: Comparison) -> str:
    """Whether the answers are among the first 50 and only badly ordered."""
    leader = comparison.leader
    if leader is None or leader.value("Contain@50") is None or leader.value("Eff@5") is None:
        return ""
    contained, early = PERCENT.number(leader.value("Contain@50")), PERCENT.number(leader.value("Eff@5"))
    return (
        f"{strong('Containment and order.')} {code(leader.name)} has the target among its first 50 in {contained} % of "
        f"windows, and of those {early} % are among the first five (Eff@5)."
    )


def validation_told_the_truth(comparison: Comparison) -> str:
    """How far the leader's validation numbers were from its test numbers."""
    leader = comparison.leader
    before = leader.part("validation", "R@5") if leader else None
    after = leader.value("R@5") if leader else None
    if leader is None or before is None or after is None:
        return ""
    return (
        f"{strong('From validation to test.')} {code(leader.name)} goes from R@5 {PERCENT.number(before)} % to "
        f"{PERCENT.number(after)} % ({PERCENT.signed(after - before)} points); neither part was trained on."
    )


def heads_need_controls(comparison: Comparison) -> str:
    """What the compatibility test says once it has controls."""
    row = next((row for row in comparison.trained if compatibility(row, "projected", "gap") is not None), None)
    raw = compatibility(row, "raw", "gap") if row else None
    if row is None or raw is None:
        return ""
    projected = SCORE.signed(compatibility(row, "projected", "gap"))
    return (
        f"{strong('A cosine says little without a random pair beside it.')} For {code(row.name)} matched minus random "
        f"is {SCORE.signed(raw)} in the raw space and {projected} in the projected one."
    )


def cost(comparison: Comparison) -> str:
    """The dearest training beside the leader's."""
    spent = {row.name: seconds for row in comparison.trained if (seconds := number(row.training.get("seconds")))}
    leader = comparison.leader
    if leader is None or leader.name not in spent or len(spent) < 2:
        return ""
    dearest = max(spent, key=lambda name: spent[name])
    if dearest == leader.name:
        return f"{strong('Cost.')} {code(leader.name)} was also the dearest to train: {duration(spent[dearest])}."
    return (
        f"{strong('Cost.')} {code(leader.name)} trained in {duration(spent[leader.name])}; the dearest, "
        f"{code(dearest)}, took {duration(spent[dearest])}."
    )


def words_against_vectors(comparison: Comparison) -> str:
    """Lexical beside dense."""
    rows = [row for name in ("bm25", "bm25-context") if (row := comparison.measured(name))]
    baseline = best_baseline(comparison)
    if not rows or baseline is None or baseline in rows:
        return ""
    shown = listing([f"{PERCENT.number(row.value('R@5'))} % ({code(row.name)})" for row in rows])
    best = f"{PERCENT.number(baseline.value('R@5'))} % ({code(baseline.name)})"
    return f"{strong('Words alone')} reach R@5 {shown}, beside {best}."


RULES: tuple[Callable[[Comparison], str], ...] = (
    copying_is_strong,
    exclusion_matters,
    cosine_is_no_guide,
    heads_need_controls,
    room_above,
    document_or_passage,
    validation_told_the_truth,
    words_against_vectors,
    cost,
)


def hypotheses(comparison: Comparison) -> list[Finding]:
    """All rules whose rows were measured."""
    return [finding for rule in HYPOTHESES if (finding := rule(comparison)) is not None]


def split_objective(comparison: Comparison) -> Finding | None:
    """The report's own diagnosis: two objectives in two spaces."""
    found = contrasts(comparison, [(name, "infonce-projected") for name in ("infonce-ar", "infonce")])
    statement = "The split objective (InfoNCE behind a projection head, AR on the raw vectors) costs recall."
    return by_majority(statement, found)


def contrastive(comparison: Comparison) -> Finding | None:
    """Whether negatives help at all."""
    names = ("infonce-projected", "infonce-ar", "infonce")
    found = contrasts(comparison, [(name, "ar-cosine") for name in names])
    statement = "A contrastive term finds more than the cosine loss alone: some loss with one does."
    return by_existence(statement, found)


def ar_term(comparison: Comparison) -> Finding | None:
    """Option 3 against option 1."""
    found = contrasts(comparison, [("infonce", "infonce-ar")])
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


_SWEEPS = (("projected", "infonce-projected"), ("raw", "infonce-ar"))


def _sweep(comparison: Comparison, prefix: str, base: str) -> list[tuple[str, Row]]:
    start = "infonce-projected-tau-" if prefix == "projected" else "infonce-ar-tau-"
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


HYPOTHESES: tuple[Callable[[Comparison], Finding | None], ...] = (
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
