"""Recommendation: written rules over measured entries.

Each rule names the entry it rests on, speaks of a lead only where the paired test does, and compares only entries whose
training converged.
"""

from __future__ import annotations

from segue.comparison.record import Entry, GateVerdict, Record
from segue.reports.contrasts import (
    Contrast,
    against,
    beats,
    best_baseline,
    best_on_validation,
    candidates,
    choice_against,
    choice_difference,
    choice_in_words,
    chosen_for_cost,
    converged,
    differences,
    leader,
    measured,
    reranked_copies,
    winner,
)
from segue.reports.document import Cards, Section
from segue.reports.text import MILLISECONDS, PERCENT, code, count, listing, of_things

RESOLUTION = 0.005
"""Differences in R@5 below this are not worth more documents."""
NETS = ("architecture", "towers")
"""Families that differ from each other in their nets."""
SHIP = "ship"


def recommendation_section(record: Record) -> Section:
    """Return three cards: what to serve meanwhile, what to train, and what would make the claims firmer."""
    found = (
        ("In production meanwhile", meanwhile(record)),
        ("What to train", what_to_train(record)),
        ("Next steps", next_steps(record)),
    )
    cards = tuple((title, tuple(items)) for title, items in found if items)
    return Section("recommendation", "Recommendation", (Cards(cards),) if cards else (), detail=False)


def meanwhile(record: Record) -> list[str]:
    """Advise to serve the winner if it clearly beats the best baseline and passes the ship gate, else the baseline."""
    baseline, chosen = best_baseline(record), winner(record)
    if baseline is None:
        return []
    contrast, gate = choice_against(record, baseline), ship_outcome(record)
    if chosen and contrast and contrast.outcome == "better" and gate in ("pass", None):
        return [
            f"Serve {code(chosen.name)}: clearly above {code(baseline.name)}, the best baseline on validation, which "
            f"is the fallback{_latency(baseline)}.",
            *([f"It is {choice_in_words(record)}."] if chosen_for_cost(record) else []),
            *_simpler(record, chosen),
        ]
    cheaper = baseline is chosen and chosen_for_cost(record)
    why = choice_in_words(record) if cheaper else "the best baseline on validation"
    advice = [f"Serve {code(baseline.name)}, R@5 {PERCENT.sentence(baseline.metrics.get('R@5'))}: "
              f"{why}{_latency(baseline)}."]  # fmt: skip
    if chosen and contrast:
        advice.append(_why_not(record, chosen, contrast, gate))
    if gate == "fail":
        advice.append(_below_ship(record, baseline))
    return advice


def ship_outcome(record: Record) -> GateVerdict | None:
    """Return the outcome of the ship gate, or of all gates together where none has that name; None without gates."""
    outcomes = {gate.outcome for gate in record.gates if gate.name == SHIP} or {gate.outcome for gate in record.gates}
    order: tuple[GateVerdict, ...] = ("fail", "not-enough-evidence", "pass")
    return next((outcome for outcome in order if outcome in outcomes), None)


def _ship(record: Record) -> tuple[str, str]:
    """Return the subject of a sentence about the ship gate or what stands for it, and the ending of its verb."""
    return ("the ship gate", "s") if any(gate.name == SHIP for gate in record.gates) else ("the gates", "")


def _simpler(record: Record, chosen: Entry) -> list[str]:
    """Name the same reranker without a model where the winner is not clearly above it."""
    alone = reranked_copies(record, chosen)
    contrast = against(chosen, alone) if alone else None
    if alone is None or contrast is None or contrast.outcome == "better":
        return []
    return [f"{code(alone.name)} needs no trained model, and {code(chosen.name)} is not clearly above it."]


def _latency(entry: Entry) -> str:
    found = entry.value("search_p95_ms")
    return f" (search P95 {MILLISECONDS.number(found)} ms)" if found is not None else ""


def _why_not(record: Record, chosen: Entry, contrast: Contrast, gate: GateVerdict | None) -> str:
    difference = choice_difference(record, contrast)
    if contrast.outcome != "better":
        return f"Not {code(chosen.name)}: a gain over that is not established, {difference}."
    name, ending = _ship(record)
    verb = f"fail{ending}" if gate == "fail" else f"lack{ending} evidence"
    return f"Not yet {code(chosen.name)} ({difference}): {name} {verb}."


def _below_ship(record: Record, served: Entry) -> str:
    """Name what the failed ship gate judged: the winner or the procedure, which is not always what is served."""
    chosen, (name, _) = leader(record), _ship(record)
    judged = "the choice made inside each fold" if record.folds > 1 else code(chosen.name) if chosen else "the winner"
    is_other = record.folds > 1 or chosen is None or chosen.name != served.name
    other = f"; {code(served.name)} itself was not judged" if is_other else ""
    them = "it" if name.endswith("gate") else "them"
    return f"{name.capitalize()} judged {judged}, which fails {them}{other}: show its answers as suggestions only."


def what_to_train(record: Record) -> list[str]:
    """Advise on the loss and the architecture."""
    return [found for found in (_loss(record), _architecture(record)) if found]


def _loss(record: Record) -> str:
    """Compare the best of the losses with the cosine loss; silent where it is not worth training at all."""
    reference, copying = measured(record, "ar-cosine"), measured(record, "copy-last")
    if reference is None or not converged(reference):
        return ""
    losses = [entry for entry in candidates(record) if entry.family == "loss" and converged(entry)
              and not {*differences(record, entry, reference)} - {"loss"}]  # fmt: skip
    best = best_on_validation(losses)
    contrast = against(best, reference) if best else None
    if best is None or contrast is None or (copying and beats(copying, best)):
        return ""
    if best.name == reference.name:
        return f"Keep the cosine loss: of the losses {code('ar-cosine')} did best on validation." if losses[1:] else ""
    differs = f"{contrast.sentence()} in R@5 against {code('ar-cosine')}"
    if contrast.outcome == "better":
        return f"Replace the cosine loss by that of {code(best.name)}, the best of the losses on validation: {differs}."
    return f"Do not change the loss on this evidence: {code(best.name)}, the best on validation, has {differs}."


def _architecture(record: Record) -> str:
    reference = measured(record, "copy-last")
    entries = [entry for entry in candidates(record) if entry.family in NETS and converged(entry)]
    if reference is None or not entries:
        return ""
    better = [code(entry.name) for entry in entries if beats(entry, reference)]
    if not better:
        return f"No anchored architecture clearly beats {code('copy-last')}: do not try a larger one on this evidence."
    left = len(entries) - len(better)
    others = f"; the other {left} {'is' if left == 1 else 'are'} not" if left else ""
    return f"Continue with {listing(better, 'or')}: clearly above {code('copy-last')} in R@5{others}."


def next_steps(record: Record) -> list[str]:
    """Advise on what stopped early, what broke, and what would make the claims firmer: documents, fresh text."""
    stopped = [entry for entry in record.entries if entry.under_trained or entry.status == "aborted"]
    broken = [code(entry.name) for entry in record.entries if entry.status == "failed"]
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
    return steps


def _documents(record: Record) -> str:
    """Extrapolate by the square root how many documents would decide the difference that was measured."""
    reference, documents = measured(record, "copy-last"), record.documents
    contrast = choice_against(record, reference) if reference else None
    if contrast is None or contrast.outcome != "undecided" or contrast.late:
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
