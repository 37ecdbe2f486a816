"""The summary on top of the report: sentences that the intervals allow.

Each is left out where its entries were not measured.
"""

from __future__ import annotations

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
    winner,
)
from segue.reports.document import Bullets, Notice, Section
from segue.reports.sections.metrics import gate_sentence
from segue.reports.text import PERCENT, code, listing, plain, strong


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
        return f"{_naming(record, chosen)} It {score}; {code('copy-last')} was not measured."
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
        alone = f"{code(chosen.name)} alone does, but some of the documents it is tested on were used to choose it."
        return f"{start} {alone} Chosen: {_described(chosen)}."
    if not others:
        start = strong("No option clearly beats copying the last passage.")
        return f"{start} Best on validation: {_described(chosen)}."
    start = strong("The best option on validation does not clearly beat copying the last passage.")
    names = listing([code(entry.name) for entry in others])
    verb = "does" if len(others) == 1 else "do"
    return f"{start} {names} {verb} on test documents, which are not used for choosing. Chosen: {_described(chosen)}."


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
        "better": "the model adds to what reranking alone achieves",
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
        f"Choosing again in each fold selects {listing(names)} and has R@5 {PERCENT.sentence(found.metrics['R@5'])}. "
        "This number is what to expect of the procedure: no document was used to choose the option it tests."
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
