"""Recommendation, what to run meanwhile, next steps: written rules over measured rows.

Each rule names the row it rests on, and speaks of a lead only where the paired test does.
"""

from __future__ import annotations

from segue.reports.choice import ENOUGH_SEEDS, choice_against, has_folds, repeats, seeds_said
from segue.reports.document import Bullets, Cards, Paragraph, Section
from segue.reports.record import Comparison, Contrast, Row, best_on_validation, mapping, number
from segue.reports.sections.header import fresh_facts
from segue.reports.sections.summary import AT_THESE_STEPS, choice_difference, late, score_line
from segue.reports.tables.metrics import best_baseline, gates, sentence_of
from segue.reports.text.markup import code
from segue.reports.text.numbers import MILLISECONDS, PERCENT, count, duration, listing, of_things

RESOLUTION = 0.005
"""Differences in R@5 below half a point are not worth more documents."""
ROOM = 0.05
"""Contain@50 minus R@5 from which a reranker is worth naming."""


def recommendation_section(comparison: Comparison) -> Section:
    """Four cards: meanwhile, short, medium, long term."""
    terms = (
        ("In production meanwhile", meanwhile(comparison)),
        ("Short term: the loss", short_term(comparison)),
        ("Medium term: architecture and ranking", medium_term(comparison)),
        ("Long term: evidence", long_term(comparison)),
    )
    cards = tuple((title, tuple(items)) for title, items in terms if items)
    note = Paragraph("Derived by fixed rules from the rows above; a rule whose rows were not measured is silent.")
    return Section("recommendation", "Recommendation", (note, Cards(cards)) if cards else ())


def meanwhile(comparison: Comparison) -> list[str]:
    """Serve the winner where it clearly beats the best baseline and passes the ship gate, else the baseline."""
    baseline, leader = best_baseline(comparison), comparison.winner
    if baseline is None:
        return []
    contrast = choice_against(comparison, baseline)
    if leader and contrast and contrast.outcome == "better" and _ship_gate(comparison) == "pass":
        return [
            f"Serve {score_line(leader)}. It passes the ship gate and is clearly above {code(baseline.name)}: "
            f"{choice_difference(comparison, contrast)}.",
            f"Keep {code(baseline.name)}, the best baseline on validation, as the fallback{_latency(baseline)}.",
        ]
    return [
        f"Serve {score_line(baseline)}: the best baseline on validation{_latency(baseline)}.",
        *_why_not(comparison, leader, contrast),
        *_below_ship(comparison, baseline),
    ]


def _ship_gate(comparison: Comparison) -> str | None:
    return next((str(gate.get("outcome")) for gate in gates(comparison) if gate["name"] == "ship"), None)


def _latency(row: Row) -> str:
    found = row.value("search_p95_ms")
    return f" (search P95 {MILLISECONDS.number(found)} ms)" if found is not None else ""


def _why_not(comparison: Comparison, leader: Row | None, contrast: Contrast | None) -> list[str]:
    if leader is None or contrast is None:
        return []
    difference = choice_difference(comparison, contrast)
    if contrast.outcome != "better":
        return [f"Not {code(leader.name)}: its difference to that is no established gain, {difference}."]
    said = {"fail": "fails", "not-enough-evidence": "lacks evidence"}.get(
        _ship_gate(comparison) or "", "was not judged"
    )
    return [f"Not yet {code(leader.name)} ({difference}): the ship gate {said}."]


def _below_ship(comparison: Comparison, served: Row) -> list[str]:
    """Name whom the failed ship gate judged: the winner or the procedure, which is not always what is served."""
    if _ship_gate(comparison) != "fail":
        return []
    leader, folds = comparison.leader, has_folds(comparison)
    judged = "the choice made inside each fold" if folds else code(leader.name) if leader else "the winner"
    is_other = folds or leader is None or leader.name != served.name
    other = f"; {code(served.name)} itself was not judged" if is_other else ""
    return [
        f"The ship gate judged {judged}, which fails it{other}: show such answers as suggestions, do not act on them "
        "unattended."
    ]


def short_term(comparison: Comparison) -> list[str]:
    """Which loss to train with, and what to train longer."""
    advice = [found for found in (_loss_advice(comparison), _projection_advice(comparison)) if found]
    names = [code(row.name) for row in comparison.candidates if row.under_trained]
    if names:
        verb = "it" if len(names) == 1 else "any of them"
        advice.append(f"Train {listing(names)} longer before ruling {verb} out: validation had not flattened.")
    return advice


def best_loss(comparison: Comparison) -> Row | None:
    """The candidate among the losses that did best on validation, trained with the recipe's architecture."""
    reference = comparison.measured("ar-cosine")
    model = reference.training.get("model") if reference else None
    rows = [row for row in comparison.candidates if row.family == "loss" and row.training.get("model") == model]
    return best_on_validation(rows)


def _loss_advice(comparison: Comparison) -> str:
    reference, best = comparison.measured("ar-cosine"), best_loss(comparison)
    if reference is None or best is None:
        return ""
    if best.name == reference.name:
        return f"Keep the cosine loss: {code('ar-cosine')} did best of the losses on validation."
    contrast = best.against(reference)
    if contrast is None:
        return ""
    differs = f"{sentence_of(contrast)} in R@5 against {code('ar-cosine')}{_steps_note(best, reference)}"
    if contrast.outcome == "better":
        return f"Replace the cosine loss by that of {code(best.name)}, the best of the losses on validation: {differs}."
    return f"Do not change the loss on this evidence: {code(best.name)}, the best on validation, has {differs}."


def _projection_advice(comparison: Comparison) -> str:
    projected, raw = comparison.measured("infonce-projected"), comparison.measured("infonce-ar")
    contrast = raw.against(projected) if raw and projected else None
    if raw is None or projected is None or contrast is None or contrast.outcome == "undecided":
        return ""
    verb = "Drop" if contrast.outcome == "better" else "Keep"
    return (
        f"{verb} the projection head: {code('infonce-ar')} has {sentence_of(contrast)} in R@5 against "
        f"{code('infonce-projected')}{_steps_note(raw, projected)}."
    )


def _steps_note(*rows: Row) -> str:
    return f", {AT_THESE_STEPS}" if late(rows) else ""


NETS = ("architecture", "towers")
"""The families that differ from each other in their nets."""


def medium_term(comparison: Comparison) -> list[str]:
    """Architecture, cost, and what a reranker could add."""
    leader = comparison.leader
    if leader is None:
        return []
    advice = (_architecture_advice(comparison), _cheaper(comparison, leader), _rerank(leader))
    return [found for found in advice if found]


def _architecture_advice(comparison: Comparison) -> str:
    reference = comparison.measured("copy-last")
    rows = [row for row in comparison.candidates if row.family in NETS]
    if reference is None or not rows:
        return ""
    better = [row for row in rows if (found := row.against(reference)) and found.outcome == "better"]
    if not better:
        return (
            f"No anchored architecture clearly beats {code('copy-last')}: a larger one is not the next step on this "
            "evidence."
        )
    names = listing([code(row.name) for row in better], "or")
    others = f"; the other {len(rows) - len(better)} are not" if len(better) < len(rows) else ""
    return f"Go on with {names}: clearly above {code('copy-last')} in R@5{others}."


def _cheaper(comparison: Comparison, leader: Row) -> str:
    """Name the cheapest architecture whose interval overlaps the leader's, where it saves a fifth or more."""
    spent = number(leader.training.get("seconds"))
    alike = [
        (seconds, row)
        for row in comparison.candidates
        if row.family in NETS
        and (seconds := number(row.training.get("seconds"))) is not None
        and (contrast := row.against(leader)) is not None
        and contrast.outcome == "undecided"
    ]
    if spent is None or not alike:
        return ""
    seconds, row = min(alike, key=lambda pair: pair[0])
    if row.name == leader.name or seconds > 0.8 * spent:
        return ""
    return (
        f"{code(row.name)} trained in {duration(seconds)} against {duration(spent)}, and its interval overlaps that of "
        f"{code(leader.name)}: try it where cost matters."
    )


def _rerank(leader: Row) -> str:
    found, contained = leader.value("R@5"), leader.value("Contain@50")
    if found is None or contained is None or contained - found < ROOM:
        return ""
    return (
        f"Rerank: the first 50 answers of {code(leader.name)} hold the target in {PERCENT.number(contained)} % of "
        f"windows, the first five in {PERCENT.number(found)} %; the {PERCENT.number(contained - found)} points between "
        "are the most that a reranker of 50 can add to R@5."
    )


def long_term(comparison: Comparison) -> list[str]:
    """What would make the claims firmer: documents, seeds, sizes, fresh text."""
    steps = (_documents(comparison), _seeds(comparison), _sizes(comparison))
    command = code("segue evaluate RUN --corpus fresh.toml")
    before = [] if fresh_facts(comparison) else [f"Score the chosen run on fresh documents before shipping: {command}."]
    return [*(step for step in steps if step), *before]


def _documents(comparison: Comparison) -> str:
    """Extrapolate by the square root how many documents would decide the difference that was seen."""
    reference, documents = comparison.measured("copy-last"), comparison.amount("documents")
    contrast = choice_against(comparison, reference) if reference else None
    if contrast is None or contrast.outcome != "undecided" or documents is None:
        return ""
    difference = contrast.difference
    if difference.low is None or difference.high is None or abs(difference.value) < RESOLUTION:
        return f"Measure on more than {count(documents)} test documents: the difference to {code('copy-last')} is open."
    half = (difference.high - difference.low) / 2
    needed = max(documents * (half / abs(difference.value)) ** 2, 1.2 * documents)
    return (
        f"Measure on more documents: to establish a difference to {code('copy-last')} of the size seen "
        f"({sentence_of(contrast)}) takes about {count(round(needed, -1))} test documents instead of "
        f"{count(documents)}, as intervals shrink with the square root."
    )


def _seeds(comparison: Comparison) -> str:
    if not comparison.trained or not 0 < repeats(comparison) < ENOUGH_SEEDS:
        return ""
    verb = "speaks" if repeats(comparison) == 1 else "speak"
    return (
        f"Repeat with at least {ENOUGH_SEEDS} seeds: {seeds_said(comparison)} {verb} for these weights, not for the "
        "method."
    )


def _sizes(comparison: Comparison) -> str:
    size = str(comparison.data.get("size") or "")
    if size in ("", "full"):
        return ""
    encoder = mapping(comparison.data.get("encoder")).get("encoder")
    beside = f" (encoder here: {code(encoder)})" if encoder else ""
    return f"Repeat with {code('full')} sizes: these rows are {code(size)}-sized{beside}."


def next_steps_section(comparison: Comparison) -> Section:
    """What stopped early, what broke, where to look."""
    late = [row for row in comparison.rows if row.under_trained or row.status == "aborted"]
    broken = [code(row.name) for row in comparison.rows if row.status in ("failed", "skipped")]
    steps = []
    if late:
        more = f"a larger {code('[triage] budget_minutes')}, a new {code('--out')}"
        steps.append(f"Give the triage more time ({more}): {of_things(len(late), 'option')} stopped early.")
    if broken:
        steps.append(
            f"Fix what kept {listing(broken)} from running (reasons in the table of options) and run the triage "
            "again: options that are done are read back."
        )
    steps.append(
        f"Look at windows where the winner and {code('copy-last')} disagree: the TREC runs under Files hold both."
    )
    if not fresh_facts(comparison):
        command = code("segue evaluate RUN --corpus fresh.toml")
        steps.append(f"Score on documents that nobody has looked at: {command}.")
    steps.append(f"Write this report again from the same measurements: {code('segue report RUN')}.")
    return Section("next", "Next steps", (Bullets(tuple(steps)),))
