"""The TL;DR: what won, by how much, and what the gates say, in sentences that the intervals allow."""

from __future__ import annotations

from segue.release.report.chosen import BY_PROCEDURE, choice_against, procedure_row
from segue.release.report.document import Bullets, Notice, Section
from segue.release.report.facts import Comparison, Contrast, Row, interval, mapping, sequence
from segue.release.report.gates_table import gate_sentence
from segue.release.report.hypotheses import highest_cosine
from segue.release.report.inline import code, plain, strong
from segue.release.report.tables import sentence_of
from segue.release.report.wording import PERCENT, SCORE, listing, of_things


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
    reference = comparison.measured("ar-only")
    rows = [row for row in comparison.candidates if row.family == "loss" and row.name != "ar-only"]
    if reference is None or not rows:
        return ""
    contrasts = [(row, contrast) for row in rows if (contrast := row.against(reference)) is not None]
    better = [row for row, contrast in contrasts if contrast.outcome == "better"]
    best, contrast = max(contrasts, key=lambda pair: pair[1].difference.value)
    verb = "is" if len(better) <= 1 else "are"
    return (
        f"{code('ar-only')} has R@5 {PERCENT.sentence(reference.metric('R@5'))}. Of "
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
