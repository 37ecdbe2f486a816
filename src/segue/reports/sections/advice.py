"""Recommendation: written rules over measured entries.

Each rule names the entry it rests on, and speaks of a lead only where the paired test does.
"""

from __future__ import annotations

from segue.comparison.record import Entry, Record
from segue.progress import duration
from segue.reports.contrasts import (
    Contrast,
    against,
    beats,
    best_baseline,
    best_on_validation,
    candidates,
    choice_against,
    choice_difference,
    leader,
    measured,
    winner,
)
from segue.reports.document import Cards, Paragraph, Section
from segue.reports.sections.hypotheses import AT_THESE_STEPS
from segue.reports.text import MILLISECONDS, PERCENT, SCORE, code, count, listing, of_things

RESOLUTION = 0.005
"""Differences in R@5 below this are not worth more documents."""
NETS = ("architecture", "towers")
"""Families that differ from each other in their nets."""


def recommendation_section(record: Record) -> Section:
    """Return three cards: what to serve meanwhile, what to train, and what would make the claims firmer."""
    found = (
        ("In production meanwhile", meanwhile(record)),
        ("What to train", what_to_train(record)),
        ("Next steps", next_steps(record)),
    )
    cards = tuple((title, tuple(items)) for title, items in found if items)
    note = Paragraph(
        "Derived from the entries above by fixed rules; a rule whose entries were not measured is left out."
    )
    return Section("recommendation", "Recommendation", (note, Cards(cards)))


def meanwhile(record: Record) -> list[str]:
    """Advise to serve the winner if it clearly beats the best baseline and passes the ship gate, else the baseline."""
    baseline, chosen = best_baseline(record), winner(record)
    if baseline is None:
        return []
    contrast = choice_against(record, baseline)
    ship = next((gate.outcome for gate in record.gates if gate.name == "ship"), None)
    if chosen and contrast and contrast.outcome == "better" and ship == "pass":
        return [
            f"Serve {_scores(chosen)}. It passes the ship gate and is clearly above {code(baseline.name)}: "
            f"{choice_difference(record, contrast)}.",
            f"Keep {code(baseline.name)}, the best baseline on validation, as the fallback{_latency(baseline)}.",
        ]
    advice = [f"Serve {_scores(baseline)}: the best baseline on validation{_latency(baseline)}."]
    if chosen and contrast:
        advice.append(_why_not(chosen, choice_difference(record, contrast), contrast, ship))
    if ship == "fail":
        advice.append(_below_ship(record, baseline))
    return advice


def _scores(entry: Entry) -> str:
    return (f"{code(entry.name)}, R@5 {PERCENT.sentence(entry.metrics.get('R@5'))}, "
            f"MRR {SCORE.sentence(entry.metrics.get('MRR'))}")  # fmt: skip


def _latency(entry: Entry) -> str:
    found = entry.value("search_p95_ms")
    return f" (search P95 {MILLISECONDS.number(found)} ms)" if found is not None else ""


def _why_not(chosen: Entry, difference: str, contrast: Contrast, ship: str | None) -> str:
    if contrast.outcome != "better":
        return f"Not {code(chosen.name)}: a gain over that is not established, {difference}."
    outcome = {"fail": "fails", "not-enough-evidence": "lacks evidence"}.get(ship or "", "was not judged")
    return f"Not yet {code(chosen.name)} ({difference}): the ship gate {outcome}."


def _below_ship(record: Record, served: Entry) -> str:
    """Name what the failed ship gate judged: the winner or the procedure, which is not always what is served."""
    chosen = leader(record)
    judged = "the choice made inside each fold" if record.folds > 1 else code(chosen.name) if chosen else "the winner"
    is_other = record.folds > 1 or chosen is None or chosen.name != served.name
    other = f"; {code(served.name)} itself was not judged" if is_other else ""
    return f"The ship gate judged {judged}, which fails it{other}: show its answers as suggestions only."


def what_to_train(record: Record) -> list[str]:
    """Advise on the loss, the architecture, and its cost."""
    return [found for found in (_loss(record), _architecture(record), _cheaper(record)) if found]


def _loss(record: Record) -> str:
    reference = measured(record, "ar-cosine")
    if reference is None:
        return ""
    model = reference.training.model if reference.training else None
    losses = [entry for entry in candidates(record)
              if entry.family == "loss" and (entry.training.model if entry.training else None) == model]  # fmt: skip
    best = best_on_validation(losses)
    contrast = against(best, reference) if best else None
    if best is None or contrast is None:
        return ""
    if best.name == reference.name:
        return f"Keep the cosine loss: of the losses {code('ar-cosine')} did best on validation."
    late = f", {AT_THESE_STEPS}" if best.under_trained or reference.under_trained else ""
    differs = f"{contrast.sentence()} in R@5 against {code('ar-cosine')}{late}"
    if contrast.outcome == "better":
        return f"Replace the cosine loss by that of {code(best.name)}, the best of the losses on validation: {differs}."
    return f"Do not change the loss on this evidence: {code(best.name)}, the best on validation, has {differs}."


def _architecture(record: Record) -> str:
    reference = measured(record, "copy-last")
    entries = [entry for entry in candidates(record) if entry.family in NETS]
    if reference is None or not entries:
        return ""
    better = [code(entry.name) for entry in entries if beats(entry, reference)]
    if not better:
        return f"No anchored architecture clearly beats {code('copy-last')}: do not try a larger one on this evidence."
    others = f"; the other {len(entries) - len(better)} are not" if len(better) < len(entries) else ""
    return f"Continue with {listing(better, 'or')}: clearly above {code('copy-last')} in R@5{others}."


def _cheaper(record: Record) -> str:
    """Name the cheapest architecture that does not differ clearly from the leader, where it saves a fifth or more."""
    chosen = leader(record)
    if chosen is None or chosen.training is None:
        return ""
    alike = [
        (entry.training.seconds, entry.name)
        for entry in candidates(record)
        if entry.family in NETS
        and entry.training
        and (contrast := against(entry, chosen)) is not None
        and contrast.outcome == "undecided"
    ]
    seconds, name = min(alike, default=(chosen.training.seconds, chosen.name))
    if name == chosen.name or seconds > 0.8 * chosen.training.seconds:
        return ""
    return (
        f"Where cost matters, try {code(name)}: it trained in {duration(seconds)} instead of "
        f"{duration(chosen.training.seconds)} and does not differ clearly from {code(chosen.name)}."
    )


def next_steps(record: Record) -> list[str]:
    """Advise on what stopped early, what broke, and what would make the claims firmer: documents, fresh text."""
    stopped = [entry for entry in record.entries if entry.under_trained or entry.status == "aborted"]
    broken = [code(entry.name) for entry in record.entries if entry.status in ("failed", "skipped")]
    steps = [found] if (found := _documents(record)) else []
    if stopped:
        more = f"a larger {code('[triage] budget_minutes')}, a new {code('--out')}"
        steps.append(f"Give the triage more time ({more}): {of_things(len(stopped), 'option')} stopped early.")
    if broken:
        steps.append(
            f"Fix what kept {listing(broken)} from running (reasons in the table of options) and run the triage again: "
            "finished options are read back."
        )
    if record.fresh is None:
        command = code("segue evaluate RUN --corpus fresh.toml")
        steps.append(f"Evaluate the chosen run on fresh documents before shipping: {command}.")
    steps.append(
        f"Read windows where the winner and {code('copy-last')} disagree: the TREC runs under Files hold both."
    )
    return steps


def _documents(record: Record) -> str:
    """Extrapolate by the square root how many documents would decide the difference that was measured."""
    reference, documents = measured(record, "copy-last"), record.documents
    contrast = choice_against(record, reference) if reference else None
    if contrast is None or contrast.outcome != "undecided":
        return ""
    difference = contrast.difference
    if difference.low is None or difference.high is None or abs(difference.value) < RESOLUTION:
        return f"Measure on more than {count(documents)} test documents: the difference to {code('copy-last')} is open."
    half = (difference.high - difference.low) / 2
    needed = max(documents * (half / abs(difference.value)) ** 2, 1.2 * documents)
    return (
        f"Measure on about {count(round(needed, -1))} test documents instead of {count(documents)}: that is enough to "
        f"establish a difference to {code('copy-last')} of the size measured, {contrast.sentence()}; intervals shrink "
        "with the square root."
    )
