"""Commands that go on from here."""

from __future__ import annotations

from segue.release.report.document import Bullets, Section
from segue.release.report.facts import Comparison
from segue.release.report.header import fresh_facts
from segue.release.report.inline import code
from segue.release.report.wording import listing, of_things


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
            f"Mend what kept {listing(broken)} from running (reasons in the table of options) and run the triage "
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
