"""Key learnings: statements of which each rests on a measured row, and which are left out without it."""

from __future__ import annotations

from collections.abc import Callable

from segue.release.report.document import Bullets, Section
from segue.release.report.facts import Comparison, number
from segue.release.report.inline import code, strong
from segue.release.report.more_tables import compatibility
from segue.release.report.tables import best_baseline
from segue.release.report.wording import PERCENT, SCORE, duration, listing, of_things


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
