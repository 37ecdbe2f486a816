"""What a blocked report says instead of numbers: which check failed, what it asks, how to mend it."""

from __future__ import annotations

from segue.release.report.document import Bullets, Cell, Column, Notice, Section, Table, TableRow, single
from segue.release.report.facts import Comparison
from segue.release.report.inline import code, plain, strong
from segue.release.report.wording import listing

CHECKS: dict[str, tuple[str, str]] = {
    "SG101": (
        "Is every target in the index that is searched?",
        "build the index over the whole bank, test documents included",
    ),
    "SG102": (
        "Do context and target vectors equal the bank's rows, consecutive and in order?",
        "make the windows again from the bank; never repair keys by hand",
    ),
    "SG103": (
        "Does the truth carry information, and does a shuffled truth score chance?",
        "trace how targets were joined to contexts; one of the two sides is shuffled or overwritten",
    ),
    "SG104": (
        "Was anything that is evaluated trained on?",
        "split by document with near-duplicates grouped, then train again",
    ),
    "SG105": (
        "Do training and validation windows share passages?",
        "split documents before making windows, then train again",
    ),
    "SG106": (
        "Do encoder, bank, checkpoint and index live in one space?",
        "rebuild the bank and the index with the encoder the checkpoint names",
    ),
    "SG107": (
        "Can the future reach the prediction?",
        "freeze statistics on training documents and read context passages only",
    ),
    "SG108": (
        "Are the context passages and their duplicates out of the candidates, as the row declares?",
        "evaluate with exclude = \"context\", or declare the row context-left-in",
    ),
    "SG109": (
        "Does the ranking depend on ids, row numbers or positions?",
        "remove position features and break ties against the retriever",
    ),
    "SG110": (
        "Is the space of the loss the space that is indexed and served?",
        "serve the space the loss was computed in, or declare the row projected",
    ),
    "SG111": ("Is the query really a prediction?", "query with the predictor's output; declare an oracle as control"),
    "SG112": ("Is this the model that was trained?", "load the checkpoint with the code and settings it came with"),
    "SG113": (
        "Does the approximate index find what the exact one finds?",
        "search more lists or raise k_factor until recall@50 is at least 0.98, or search exactly",
    ),
    "SG114": (
        "Are the compared numbers comparable: same pool, windows, exclusion, duplicates rule?",
        "evaluate all rows again under one recipe",
    ),
}  # fmt: skip
UNKNOWN = ("No description of this check is on record.", "see the audit's output for this code")


def blocked_section(comparison: Comparison) -> Section:
    """Say what failed, why no number follows, and what to do."""
    codes = comparison.blocked
    notice = Notice(
        f"{strong('No headline number is printed.')} {_failed(codes)} "
        "Numbers from this run would answer another question than the one asked.",
        "fail",
    )
    steps = Bullets(
        (
            f"Mend the cause named above, then run the triage again into the same folder; {code('segue audit RUN')} "
            "shows each check's measured value beside its threshold.",
            f"{code('--unsafe')} prints the numbers all the same, labelled as such.",
        )
    )
    return Section("blocked", "Blocked by an integrity check", (notice, checks_table(codes), steps))


def _failed(codes: list[str]) -> str:
    names = listing([code(name) for name in codes])
    return f"{names} failed." if len(codes) > 1 else f"The integrity check {names} failed."


def checks_table(codes: list[str]) -> Table:
    """One line per failed check: its question and how to mend it."""
    rows = []
    for name in codes:
        question, mend = CHECKS.get(name, UNKNOWN)
        rows.append(TableRow((Cell(code(name)), Cell(plain(question)), Cell("failed", tone="fail"), Cell(plain(mend)))))
    columns = (Column("Check", False), Column("Question", False), Column("Outcome", False), Column("To mend it", False))
    return Table("blocked", "What failed, and how to mend it.", columns, single(rows))
