"""The summary on top of the report: what won, what bears on that number, and what the gates decided.

Each sentence is left out where its entries were not measured.
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
    choice_in_words,
    chosen_for_cost,
    judged_procedure,
    leader,
    measured,
    reranked_copies,
    trained,
    winner,
)
from segue.reports.document import Block, Bullets, Notice, Paragraph, Section
from segue.reports.sections.metrics import gate_sentence
from segue.reports.text import PERCENT, code, count, listing, of_things, plain, strong


def summary_section(record: Record) -> Section:
    """Return what won and by how much; then what bears on that number, and the gates."""
    if not record.entries:
        return Section("summary", "TL;DR", (Notice("Nothing was measured.", "muted"),), detail=False)
    more = (*caveats(record), gate_sentence(record))
    found = tuple(sentence for sentence in more if sentence)
    blocks: tuple[Block, ...] = (Paragraph(headline(record)), *((Bullets(found),) if found else ()))
    return Section("summary", "TL;DR", blocks, detail=False)


def caveats(record: Record) -> list[str]:
    """Return what has to be read beside the leader's number: comparisons, and what checks declared to bear on it."""
    chosen = leader(record)
    if chosen is None:
        return []
    found = [same_reranker(record), *_of_checks(record, chosen), _under_trained(record, chosen), _small(record)]
    return [sentence for sentence in found if sentence]


def _of_checks(record: Record, chosen: Entry) -> list[str]:
    """Return the caveats that checks hold about an entry's number."""
    findings = (*record.audit, *record.diagnosis)
    return [f"{plain(text)} ({code(finding.code)})" for finding in findings
            if finding.outcome in ("issue", "tip") and (text := finding.caveats.get(chosen.name))]  # fmt: skip


def headline(record: Record) -> str:
    """Name the winner, or state that none clearly beats copy-last."""
    chosen, reference = leader(record), measured(record, "copy-last")
    if chosen is None:
        return "No candidate was measured on validation documents, so nothing could be chosen."
    score = f"has the next passage among its first five answers in {PERCENT.sentence(chosen.metrics['R@5'])} of windows"
    if reference is None:
        return f"{_naming(record, chosen)} It {score}; {code('copy-last')} was not measured."
    if reference.name == chosen.name:
        clearly = "clearly does" if chosen_for_cost(record) else "does"
        start = strong(f"No option {clearly} better on validation than copying the last passage,")
        return f"{start} which {score}{_for_cost(record)}."
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
        return f"{start} {alone} Chosen: {_described(chosen)}{_for_cost(record)}."
    if not others:
        start = strong("No option clearly beats copying the last passage.")
        label = "Chosen on validation" if chosen_for_cost(record) else "Best on validation"
        return f"{start} {label}: {_described(chosen)}{_for_cost(record)}."
    which = "choice" if chosen_for_cost(record) else "best option"
    start = strong(f"The {which} on validation does not clearly beat copying the last passage.")
    names = listing([code(entry.name) for entry in others])
    verb = "does" if len(others) == 1 else "do"
    return (f"{start} {names} {verb} on test documents, which are not used for choosing. "
            f"Chosen: {_described(chosen)}{_for_cost(record)}.")  # fmt: skip


def _for_cost(record: Record) -> str:
    """Return why a cheaper option than the best was chosen, for the end of a sentence; "" where it was not."""
    return f": {choice_in_words(record)}" if chosen_for_cost(record) else ""


def _naming(record: Record, chosen: Entry) -> str:
    if winner(record) is None:
        return f"No winner is named; best on validation is {_described(chosen)}."
    return f"{strong('The winner is')} {_described(chosen)}: {choice_in_words(record)}."


def _described(entry: Entry) -> str:
    return f"{code(entry.name)} ({plain(entry.description)})" if entry.description else code(entry.name)


def _verdict(record: Record, contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    meaning = {
        "better": "clearly better than copying",
        "worse": "clearly worse than copying",
        "undecided": "no verdict, since it is under-trained"
        if contrast.late
        else "this many documents do not decide it",
    }[contrast.outcome]
    mark = ";" if judged_procedure(record) else ","
    return f"{mark} {choice_difference(record, contrast)} against {code('copy-last')}: {meaning}"


def same_reranker(record: Record) -> str:
    """Compare a leader that reranks with the same reranker over copy-last."""
    chosen = leader(record)
    reference = reranked_copies(record, chosen) if chosen else None
    contrast = against(chosen, reference) if chosen and reference else None
    if chosen is None or reference is None or contrast is None:
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


def procedure_sentence(record: Record) -> str:
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


def _under_trained(record: Record, chosen: Entry) -> str:
    """Count the options that stopped before validation was flat, and say so of the chosen one."""
    late, all_trained = [entry for entry in record.entries if entry.under_trained], trained(record)
    if not late:
        return ""
    verb, what, it = (
        ("is", "its number is a lower bound", "it")
        if len(late) == 1
        else ("are", "their numbers are lower bounds", "them")
    )
    rest = f"{code(chosen.name)} is among them" if chosen.under_trained else f"no verdict rests on {it}"
    return (
        f"{count(len(late))} of {of_things(len(all_trained), 'trained option')} {verb} under-trained (validation still "
        f"rose at the last step): {what}, and {rest}."
    )


def _small(record: Record) -> str:
    if record.size == "full" or not trained(record):
        return ""
    return f"Models are of size {code(record.size)}: this compares options, and does not show what full sizes reach."
