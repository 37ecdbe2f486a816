"""The summary on top of the report, and the key learnings: sentences that the intervals allow.

Each is left out where its entries were not measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.comparison.record import Entry, Record
from segue.reports.contrasts import (
    Contrast,
    against,
    beats,
    candidates,
    choice_against,
    choice_difference,
    judged_procedure,
    leader,
    measured,
    trained,
    winner,
)
from segue.reports.document import Bullets, Notice, Section
from segue.reports.sections.metrics import gate_sentence
from segue.reports.text import PERCENT, SCORE, code, listing, plain, strong


def summary_section(record: Record) -> Section:
    """Return what won, by how much, and what the gates decided."""
    sentences = (headline(record), same_reranker(record), _procedure(record), gate_sentence(record), _controls(record),
                 _under_trained(record))  # fmt: skip
    found = tuple(sentence for sentence in sentences if sentence)
    return Section("summary", "TL;DR", (Bullets(found) if found else Notice("Nothing was measured.", "muted"),))


def headline(record: Record) -> str:
    """Name the winner, or state that none clearly beats copy-last."""
    chosen, reference = leader(record), measured(record, "copy-last")
    if chosen is None:
        return "No candidate was measured on validation documents, so nothing could be chosen."
    score = f"has the next passage among its first five answers in {PERCENT.sentence(chosen.metrics['R@5'])} of windows"
    if reference is None:
        return f"{_naming(record, chosen)} It {score}; {code('copy-last')} was not measured beside it."
    if reference.name == chosen.name:
        return f"{strong('No option does better on validation than copying the last passage,')} which {score}."
    contrast = choice_against(record, reference)
    return f"{_opening(record, chosen, contrast)} It {score}{_verdict(record, contrast)}."


def _opening(record: Record, chosen: Entry, contrast: Contrast | None) -> str:
    if contrast is None or contrast.outcome == "better":
        return _naming(record, chosen)
    reference = measured(record, "copy-last")
    others = [entry for entry in candidates(record) if reference and beats(entry, reference)]
    if chosen in others:  # by its own test, though the choice inside each fold is not
        start = strong("The choice on validation does not clearly beat copying the last passage.")
        alone = f"{code(chosen.name)} alone does, but documents it is tested on took part in choosing it."
        return f"{start} {alone} Chosen: {_described(chosen)}."
    if not others:
        start = strong("No option clearly beats copying the last passage.")
        return f"{start} Best on validation: {_described(chosen)}."
    start = strong("The best option on validation does not clearly beat copying the last passage.")
    names = listing([code(entry.name) for entry in others])
    verb = "does" if len(others) == 1 else "do"
    return f"{start} {names} {verb} on test, which may not choose. Chosen: {_described(chosen)}."


def _naming(record: Record, chosen: Entry) -> str:
    if winner(record) is None:
        return f"No winner is named; best on validation is {_described(chosen)}."
    return f"{strong('The winner is')} {_described(chosen)}, chosen on validation."


def _described(entry: Entry) -> str:
    return f"{code(entry.name)} ({plain(entry.description)})" if entry.description else code(entry.name)


def _verdict(record: Record, contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    meaning = {
        "better": "clearly better than copying",
        "worse": "clearly worse than copying",
        "undecided": "this many documents do not decide it",
    }[contrast.outcome]
    mark = ";" if judged_procedure(record) else ","
    return f"{mark} {choice_difference(record, contrast)} against {code('copy-last')}: {meaning}"


def same_reranker(record: Record) -> str:
    """Compare a leader that reranks with the same reranker over copy-last."""
    chosen, reference = leader(record), measured(record, "copy-last-rerank")
    if chosen is None or reference is None or chosen.family != "rerank" or chosen.name == reference.name:
        return ""
    contrast = against(chosen, reference)
    if contrast is None:
        return ""
    meaning = {
        "better": "the model adds to what reranking alone gives",
        "worse": "reranking without the model is better",
        "undecided": "the gain may come from the reranker alone, not from the model",
    }[contrast.outcome]
    return (
        f"The same reranker over {code('copy-last')} has R@5 {PERCENT.sentence(reference.metrics['R@5'])}. "
        f"{code(chosen.name)} differs from it by {contrast.sentence()}: {meaning}."
    )


def _procedure(record: Record) -> str:
    """State what the choice itself scores, where there are folds."""
    found = record.procedure
    if found is None or len(found.chosen) < 2 or "R@5" not in found.metrics:
        return ""
    kinds = {name: found.chosen.count(name) for name in found.chosen}
    names = [f"{code(name)}{f' ({many} folds)' if many > 1 else ''}" for name, many in kinds.items()]
    return (
        f"Choosing anew inside each fold takes {listing(names)} and has R@5 {PERCENT.sentence(found.metrics['R@5'])}. "
        "Expect this number of the procedure: no document took part in choosing what it tests."
    )


def _controls(record: Record) -> str:
    oracle, chance = measured(record, "oracle"), measured(record, "chance")
    parts = []
    if oracle:
        parts.append(f"with the true vector as the query R@1 is {PERCENT.number(oracle.value('R@1'))} %")
    if chance:
        parts.append(f"a random order has R@5 {PERCENT.number(chance.value('R@5'))} %")
    return f"Controls: {' and '.join(parts)}." if parts else ""


def _under_trained(record: Record) -> str:
    names = [code(entry.name) for entry in record.entries if entry.under_trained]
    if not names:
        return ""
    verb, what = ("was", "its result is a lower bound") if len(names) == 1 else ("were", "results are lower bounds")
    return (
        f"{listing(names)} {verb} still improving on validation when the planned steps ended (under-trained): {what}."
    )


def learnings_section(record: Record) -> Section:
    """Return what holds beyond this winner."""
    rules = (_exclusion, _cosine_is_no_guide, _heads_need_controls, _document_or_passage)
    found = tuple(sentence for rule in rules if (sentence := rule(record)))
    return Section("learnings", "Key learnings", (Bullets(found),) if found else ())


def _exclusion(record: Record) -> str:
    """Show what leaving read passages among the candidates does to copy-last."""
    entry = measured(record, "copy-last")
    before, after = (entry.context_left_in.get("R@1"), entry.value("R@1")) if entry else (None, None)
    if before is None or after is None or before >= after:
        return ""
    return (
        f"{strong('Passages already read must leave the candidates.')} With the context left in, {code('copy-last')} "
        f"has R@1 {PERCENT.number(before)} %, without it {PERCENT.number(after)} %."
    )


def _cosine_is_no_guide(record: Record) -> str:
    """Compare the candidate with the highest cosine with the leader."""
    entries, chosen = with_cosine(record), leader(record)
    if len(entries) < 3 or chosen is None or chosen.value("cosine") is None:
        return ""
    top = max(entries, key=lambda entry: entry.value("cosine") or 0.0)
    if (top.value("R@5") or 0.0) >= (chosen.value("R@5") or 0.0):
        return ""
    names = (f"{code(entry.name)} (cosine {SCORE.number(entry.value('cosine'))}, R@5 "
             f"{PERCENT.number(entry.value('R@5'))} %)" for entry in (top, chosen))  # fmt: skip
    return f"{strong('Select by retrieval, not by cosine.')} Cosine would have chosen {' instead of '.join(names)}."


def with_cosine(record: Record) -> Sequence[Entry]:
    """Return the candidates whose query is a vector."""
    return [entry for entry in candidates(record) if entry.value("cosine") is not None]


def _heads_need_controls(record: Record) -> str:
    entry = next((entry for entry in trained(record) if entry.compatibility), None)
    if entry is None or entry.compatibility is None:
        return ""
    raw, projected = SCORE.signed(entry.compatibility.raw.gap), SCORE.signed(entry.compatibility.projected.gap)
    return (
        f"{strong('A cosine needs that of a random pair beside it.')} For {code(entry.name)} matched minus random is "
        f"{raw} in the raw space and {projected} in the projected one."
    )


def _document_or_passage(record: Record) -> str:
    """Show where the difficulty lies: in finding the document, or the passage within it."""
    chosen = leader(record)
    inside = chosen.in_document.get("R@5") if chosen else None
    if chosen is None or inside is None:
        return ""
    return (
        f"{strong('Finding the document or the passage?')} Among the passages of the right document "
        f"{code(chosen.name)} has R@5 {PERCENT.number(inside)} %, in the whole bank "
        f"{PERCENT.number(chosen.value('R@5'))} %."
    )
