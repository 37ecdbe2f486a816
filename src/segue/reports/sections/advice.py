"""Recommendation and next steps: written rules over measured entries.

Each rule names the entry it rests on, and speaks of a lead only where the paired test does.
"""

from __future__ import annotations

from segue.comparison.record import Entry, Record
from segue.reports.contrasts import (
    ENOUGH_SEEDS,
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
    repeats,
    seeds_sentence,
    trained,
    winner,
)
from segue.reports.document import Bullets, Cards, Paragraph, Section
from segue.reports.sections.hypotheses import AT_THESE_STEPS
from segue.reports.text import MILLISECONDS, PERCENT, SCORE, code, count, duration, listing, of_things

RESOLUTION = 0.005
"""Differences in R@5 below this are not worth more documents."""
ROOM = 0.05
"""Contain@50 minus R@5 from which a reranker is worth naming."""
NETS = ("architecture", "towers")
"""Families that differ from each other in their nets."""


def recommendation_section(record: Record) -> Section:
    """Return four cards: in production meanwhile, short, medium and long term."""
    terms = (
        ("In production meanwhile", meanwhile(record)),
        ("Short term: the loss", short_term(record)),
        ("Medium term: architecture and ranking", medium_term(record)),
        ("Long term: evidence", long_term(record)),
    )
    cards = tuple((title, tuple(items)) for title, items in terms if items)
    note = Paragraph(
        "Derived from the entries above by fixed rules; a rule whose entries were not measured is left out."
    )
    return Section("recommendation", "Recommendation", (note, Cards(cards)) if cards else ())


def meanwhile(record: Record) -> list[str]:
    """Advise to serve the winner if it clearly beats the best baseline and passes the ship gate, else the baseline."""
    baseline, chosen = best_baseline(record), winner(record)
    if baseline is None:
        return []
    contrast, ship = choice_against(record, baseline), _ship_gate(record)
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


def _ship_gate(record: Record) -> str | None:
    return next((gate.outcome for gate in record.gates if gate.name == "ship"), None)


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
    return f"The ship gate judged {judged}, which fails it{other}: show such answers as suggestions only."


def short_term(record: Record) -> list[str]:
    """Advise on the loss, and on what to train longer."""
    advice = [found for found in (_loss_advice(record), _projection_advice(record)) if found]
    names = [code(entry.name) for entry in candidates(record) if entry.under_trained]
    if names:
        advice.append(f"Train {listing(names)} longer before you rule it out: validation still improved.")
    return advice


def _loss_advice(record: Record) -> str:
    reference = measured(record, "ar-cosine")
    if reference is None:
        return ""
    model = reference.training.model if reference.training else None
    losses = [entry for entry in candidates(record)
              if entry.family == "loss" and (entry.training.model if entry.training else None) == model]  # fmt: skip
    best = best_on_validation(losses)
    if best is None:
        return ""
    if best.name == reference.name:
        return f"Keep the cosine loss: of the losses {code('ar-cosine')} did best on validation."
    contrast = against(best, reference)
    if contrast is None:
        return ""
    differs = f"{contrast.sentence()} in R@5 against {code('ar-cosine')}{_steps_note(best, reference)}"
    if contrast.outcome == "better":
        return f"Replace the cosine loss by that of {code(best.name)}, the best of the losses on validation: {differs}."
    return f"Do not change the loss on this evidence: {code(best.name)}, the best on validation, has {differs}."


def _projection_advice(record: Record) -> str:
    projected, raw = measured(record, "infonce-projected"), measured(record, "infonce-ar")
    contrast = against(raw, projected) if raw and projected else None
    if raw is None or projected is None or contrast is None or contrast.outcome == "undecided":
        return ""
    verb = "Drop" if contrast.outcome == "better" else "Keep"
    return (
        f"{verb} the projection head: {code('infonce-ar')} has {contrast.sentence()} in R@5 against "
        f"{code('infonce-projected')}{_steps_note(raw, projected)}."
    )


def _steps_note(*entries: Entry) -> str:
    return f", {AT_THESE_STEPS}" if any(entry.under_trained for entry in entries) else ""


def medium_term(record: Record) -> list[str]:
    """Advise on architecture, cost, and reranking."""
    chosen = leader(record)
    if chosen is None:
        return []
    return [found for found in (_architecture_advice(record), _cheaper(record, chosen), _rerank(chosen)) if found]


def _architecture_advice(record: Record) -> str:
    reference = measured(record, "copy-last")
    entries = [entry for entry in candidates(record) if entry.family in NETS]
    if reference is None or not entries:
        return ""
    better = [entry for entry in entries if beats(entry, reference)]
    if not better:
        return f"No anchored architecture clearly beats {code('copy-last')}: do not try a larger one on this evidence."
    names = listing([code(entry.name) for entry in better], "or")
    others = f"; the other {len(entries) - len(better)} are not" if len(better) < len(entries) else ""
    return f"Continue with {names}: clearly above {code('copy-last')} in R@5{others}."


def _cheaper(record: Record, chosen: Entry) -> str:
    """Name the cheapest architecture that does not differ clearly from the leader, where it saves a fifth or more."""
    alike = [
        (entry.training.seconds, entry)
        for entry in candidates(record)
        if entry.family in NETS
        and entry.training
        and (contrast := against(entry, chosen)) is not None
        and contrast.outcome == "undecided"
    ]
    if chosen.training is None or not alike:
        return ""
    seconds, entry = min(alike, key=lambda pair: pair[0])
    if entry.name == chosen.name or seconds > 0.8 * chosen.training.seconds:
        return ""
    return (
        f"Where cost matters, try {code(entry.name)}: it trained in {duration(seconds)} instead of "
        f"{duration(chosen.training.seconds)} and does not differ clearly from {code(chosen.name)}."
    )


def _rerank(chosen: Entry) -> str:
    found, contained = chosen.value("R@5"), chosen.value("Contain@50")
    if found is None or contained is None or contained - found < ROOM:
        return ""
    return (
        f"Rerank: {code(chosen.name)} has the target among its first 50 answers in {PERCENT.number(contained)} % of "
        f"windows and among the first five in {PERCENT.number(found)} %, so a reranker of 50 can add at most "
        f"{PERCENT.number(contained - found)} points to R@5."
    )


def long_term(record: Record) -> list[str]:
    """Advise on what would make the claims firmer: documents, seeds, sizes, fresh text."""
    steps = [found for found in (_documents(record), _seeds(record), _sizes(record)) if found]
    if record.fresh is None:
        command = code("segue evaluate RUN --corpus fresh.toml")
        steps.append(f"Evaluate the chosen run on fresh documents before shipping: {command}.")
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
        f"Measure on about {count(round(needed, -1))} test documents instead of {count(documents)}: so many establish "
        f"a difference to {code('copy-last')} of the size measured, {contrast.sentence()}; intervals shrink with the "
        "square root."
    )


def _seeds(record: Record) -> str:
    if not trained(record) or repeats(record) >= ENOUGH_SEEDS:
        return ""
    verb = "describes" if repeats(record) == 1 else "describe"
    return f"Repeat with at least {ENOUGH_SEEDS} seeds: {seeds_sentence(record)} {verb} these weights, not the method."


def _sizes(record: Record) -> str:
    if record.size == "full":
        return ""
    return f"Repeat with {code('full')} sizes: these models are {code(record.size)}-sized."


def next_steps_section(record: Record) -> Section:
    """Return what stopped early, what broke, and where to look."""
    stopped = [entry for entry in record.entries if entry.under_trained or entry.status == "aborted"]
    broken = [code(entry.name) for entry in record.entries if entry.status in ("failed", "skipped")]
    steps = []
    if stopped:
        more = f"a larger {code('[triage] budget_minutes')}, a new {code('--out')}"
        steps.append(f"Give the triage more time ({more}): {of_things(len(stopped), 'option')} stopped early.")
    if broken:
        steps.append(
            f"Fix what kept {listing(broken)} from running (reasons in the table of options) and run the triage again: "
            "finished options are read back."
        )
    steps.append(
        f"Read windows where the winner and {code('copy-last')} disagree: the TREC runs under Files hold both."
    )
    steps.append(f"Write this report again from the same measurements: {code('segue report RUN')}.")
    return Section("next", "Next steps", (Bullets(tuple(steps)),))
