"""Key learnings: statements of which each rests on a measured row, and which are left out without it."""

from __future__ import annotations

from collections.abc import Callable

from segue.release.report.document import Bullets, Section
from segue.release.report.facts import Comparison
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
    return (
        f"{strong('Copying is the bar.')} {code('copy-last')} needs no training and has R@5 {PERCENT.sentence(reference.metric('R@5'))}; "
        f"{len(beaten) or 'none'} of {of_things(len(trained), 'trained candidate')} clearly beat it."
    )


def exclusion_matters(comparison: Comparison) -> str:
    """What leaving read passages among the candidates does to the most copying of all rows."""
    row = comparison.measured("copy-last")
    before = row.part("context_left_in", "R@1") if row else None
    after = row.value("R@1") if row else None
    if row is None or before is None or after is None or before >= after:
        return ""
    return (
        f"{strong('What has been read must leave the candidates.')} With the context left in, {code(row.name)} has R@1 {PERCENT.number(before)} %, "
        f"without it {PERCENT.number(after)} %: the same query, another rule."
    )


def cosine_is_no_guide(comparison: Comparison) -> str:
    """Whether selecting by cosine would have chosen another row, and what that would have cost."""
    rows = [row for row in comparison.candidates if row.value("cosine") is not None]
    leader = comparison.leader
    if len(rows) < 3 or leader is None:
        return ""
    top = max(rows, key=lambda row: row.value("cosine") or 0.0)
    if (top.value("R@5") or 0.0) >= (leader.value("R@5") or 0.0):
        return ""
    return (
        f"{strong('Select by retrieval, not by cosine.')} Cosine would have chosen {code(top.name)} (cosine {SCORE.number(top.value('cosine'))}, R@5 "
        f"{PERCENT.number(top.value('R@5'))} %) before {code(leader.name)} ({SCORE.number(leader.value('cosine'))}, {PERCENT.number(leader.value('R@5'))} %)."
    )


def document_or_passage(comparison: Comparison) -> str:
    """Where the difficulty lies: in finding the document, or the passage within it."""
    leader = comparison.leader
    inside = leader.part("in_document", "R@5") if leader else None
    overall = leader.value("R@5") if leader else None
    if leader is None or inside is None or overall is None:
        return ""
    return (
        f"{strong('How much is finding the document?')} Given the right document, {code(leader.name)} has R@5 {PERCENT.number(inside)} %; "
        f"in the whole bank {PERCENT.number(overall)} %."
    )


def room_above(comparison: Comparison) -> str:
    """Whether the answers are among the first 50 and only badly ordered."""
    leader = comparison.leader
    if leader is None or leader.value("Contain@50") is None or leader.value("Eff@5") is None:
        return ""
    return (
        f"{strong('Containment and order.')} {code(leader.name)} has the target among its first 50 in {PERCENT.number(leader.value('Contain@50'))} % "
        f"of windows, and of those {PERCENT.number(leader.value('Eff@5'))} % are among the first five (Eff@5)."
    )


def validation_told_the_truth(comparison: Comparison) -> str:
    """How far the leader's validation numbers were from its test numbers."""
    leader = comparison.leader
    before = leader.part("validation", "R@5") if leader else None
    after = leader.value("R@5") if leader else None
    if leader is None or before is None or after is None:
        return ""
    return (
        f"{strong('From validation to test')} {code(leader.name)} goes from R@5 {PERCENT.number(before)} % to {PERCENT.number(after)} % "
        f"({PERCENT.signed(after - before)} points), both on documents that its weights have not seen."
    )


def heads_need_controls(comparison: Comparison) -> str:
    """What the compatibility test says once it has controls."""
    row = next((row for row in comparison.trained if compatibility(row, "projected", "gap") is not None), None)
    raw = compatibility(row, "raw", "gap") if row else None
    if row is None or raw is None:
        return ""
    return (
        f"{strong('A cosine says little without a random pair beside it.')} For {code(row.name)} the gap between matched and random is "
        f"{SCORE.signed(raw)} in the raw space and {SCORE.signed(compatibility(row, 'projected', 'gap'))} in the projected one."
    )


def cost(comparison: Comparison) -> str:
    """The dearest training beside the leader's."""
    spent = {
        row.name: row.training.get("seconds")
        for row in comparison.trained
        if isinstance(row.training.get("seconds"), int | float)
    }
    leader = comparison.leader
    if leader is None or leader.name not in spent or len(spent) < 2:
        return ""
    dearest = max(spent, key=lambda name: spent[name])
    if dearest == leader.name:
        return f"{strong('Cost.')} {code(leader.name)} was also the dearest to train: {duration(spent[dearest])} over all folds."
    return f"{strong('Cost.')} {code(leader.name)} trained in {duration(spent[leader.name])} over all folds; the dearest, {code(dearest)}, took {duration(spent[dearest])}."


def words_against_vectors(comparison: Comparison) -> str:
    """Lexical and dense find different things or the same."""
    rows = [row for name in ("bm25", "bm25-context") if (row := comparison.measured(name))]
    baseline = best_baseline(comparison)
    if not rows or baseline is None or baseline in rows:
        return ""
    shown = listing([f"{code(row.name)} {PERCENT.number(row.value('R@5'))} %" for row in rows])
    return f"{strong('Words alone')} reach R@5 of {shown}, beside {PERCENT.number(baseline.value('R@5'))} % by {code(baseline.name)}."


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
