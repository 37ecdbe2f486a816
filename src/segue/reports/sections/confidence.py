"""When to answer and when to abstain: the winner's confidence, what it is worth, and how to choose a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.reports.document import (
    Block,
    Cell,
    Column,
    Group,
    Notice,
    Paragraph,
    Section,
    Table,
    TableRow,
    single,
)
from segue.reports.plots.confidence import CUTOFFS, DRAWN, confidence_gallery, curve
from segue.reports.record import Comparison, interval, mapping, number
from segue.reports.text.markup import code, strong
from segue.reports.text.numbers import DASH, PERCENT, SCORE, Scale, count, listing
from segue.types import Interval

KINDS = {
    "answerable": "are answerable",
    "absent": "had their next passage taken out of the bank",
    "ended": "stand at the end of a document",
}
HEADS = {"answerable": "answerable", "absent": "absent", "ended": "ended"}
LISTED = tuple(round(0.1 * step, 1) for step in range(10))


def confidence_section(comparison: Comparison) -> Section:
    """Everything about the winner's confidence; without blocks where none was measured."""
    record = mapping(comparison.data.get("confidence"))
    judged = {name: mapping(mapping(record.get("judged")).get(name)) for name in CUTOFFS}
    judged = {name: found for name, found in judged.items() if found}
    usable = {name: found for name, found in judged.items() if found.get("usable") is True}
    blocks: list[Block | None] = []
    if judged:
        blocks = [_asked(record), *_unusable(judged, usable), _worth(judged), confidence_gallery(judged)]
        blocks += [_choice(usable), _table(usable)] if usable else []
    return Section("confidence", "Confidence: when to abstain", tuple(block for block in blocks if block is not None))


def _asked(record: Mapping[str, Any]) -> Paragraph:
    """What was asked, in which mix."""
    tested, mix = mapping(mapping(record.get("asked")).get("test")), mapping(record.get("mix"))
    parts = [
        f"{PERCENT.number(number(mix.get(kind)))} % {words} ({count(number(tested.get(kind)))} asked)"
        for kind, words in KINDS.items()
        if number(tested.get(kind))
    ]
    return Paragraph(
        "From the shape of one ranking (scores and cosines, never documents or positions) "
        f"{code(record.get('option'))} can say how likely its answer is right, so that a caller can abstain. That "
        "confidence was fitted on validation documents and is judged here on test documents "
        f"({count(number(record.get('groups')))} groups), with questions weighted to a fixed mix: {listing(parts)}. To "
        "the last two kinds no answer is right."
    )


def _unusable(judged: Mapping[str, Any], usable: Mapping[str, Any]) -> list[Notice]:
    """Say for which cutoffs the confidence tells nothing."""
    names = [CUTOFFS[name][0] for name in judged if name not in usable]
    if not names:
        return []
    return [
        Notice(
            f"{strong('Not to be used')} for answers {listing(names)}: on test documents right answers were not "
            "shown to get more confidence than wrong ones (the interval of the AUROC includes 0.5, or there is none). "
            "A threshold on it would abstain at random."
        )
    ]


def _worth(judged: Mapping[str, Any]) -> Table:
    """AUROC, Brier score, calibration, and whether questions without an answer are noticed."""
    columns = (Column("Answer is right", False), Column("of all", True, "%"), Column("AUROC"), Column("Brier score"),
               Column("constant’s"), Column("calibration error"), Column("told from absent", True, "%"),
               Column("told from ended", True, "%"))  # fmt: skip
    lines = []
    for name, found in judged.items():
        together = mapping(found.get("together"))
        shares = [interval(mapping(found.get(kind)).get("told_from_answerable")) for kind in ("absent", "ended")]
        lines.append(
            TableRow(
                (
                    Cell(CUTOFFS[name][0]),
                    _cell(interval(together.get("right"))),
                    _cell(interval(together.get("auroc")), SCORE),
                    _cell(interval(together.get("brier")), SCORE),
                    Cell(SCORE.number(number(together.get("brier_constant")))),
                    _cell(interval(together.get("calibration_error")), SCORE),
                    *(_cell(share) for share in shares),
                )
            )
        )
    caption = (
        "All questions in the mix, with 95 % intervals. Constant’s: the Brier score of always saying the share right. "
        "Told from absent, from ended: in so many pairs an answerable question has more confidence than one whose next "
        "passage is absent, or than the end of a document; 50 % is chance."
    )
    return Table("confidence-worth", caption, columns, single(lines))


def _percent(found: Interval | None) -> str:
    span = PERCENT.span(found)
    return f"{PERCENT.number(found.value if found else None)} %" + (f" ({span})" if span else "")


def _choice(usable: Mapping[str, Any]) -> Paragraph:
    """How to choose a threshold, with an example from the table."""
    name, found = next(iter(usable.items()))
    steps = curve(found, "together")
    example = min(steps, key=lambda step: abs(step["answered"].value - 0.5))
    rest = [
        f"{PERCENT.number(step['answered'].value)} % of those that {KINDS[kind]}"
        for kind in ("absent", "ended")
        for step in curve(found, kind)
        if step["threshold"] == example["threshold"]
    ]
    return Paragraph(
        f"{strong('To choose a threshold')}, decide how often an answer has to be right, go down the table to the "
        "first line whose lower end reaches that, and answer only from that confidence on. Answering from "
        f"{example['threshold']:g} on, for example, answers {_percent(example['answered'])} of all questions, and "
        f"{_percent(example['right'])} of these answers are right {CUTOFFS[name][0]}, against "
        f"{_percent(steps[0]['right'])} if every question is answered"
        + (f"; it still answers {listing(rest)}" if rest else "")
        + ". All this holds for the mix above: where more questions have no answer, fewer answers are right at the "
        "same threshold."
    )


def _table(usable: Mapping[str, Any]) -> Table:
    """Thresholds with what is answered and what is right, in the mix and by kind of question."""
    groups = [Group(CUTOFFS[name][0].capitalize(), tuple(_lines(found))) for name, found in usable.items()]
    heads = [f"answered: {words}" for words in HEADS.values()]
    columns = (Column("Answer from", False), Column("right", True, "%"), Column("answered", True, "%"),
               *(Column(head, True, "%") for head in heads))  # fmt: skip
    caption = (
        "Confidence from which on questions are answered; the share right of what is answered and the share answered "
        "in the mix, with 95 % intervals; then the share answered of each kind of question. Thresholds that leave less "
        f"than {PERCENT.number(DRAWN)} % answered are not listed."
    )
    return Table("confidence", caption, columns, tuple(groups))


def _lines(found: Mapping[str, Any]) -> list[TableRow]:
    by_kind = {kind: {step["threshold"]: step["answered"] for step in curve(found, kind)} for kind in KINDS}
    lines = []
    for step in curve(found, "together"):
        threshold = step["threshold"]
        if threshold in LISTED and step["answered"].value >= DRAWN:
            kinds = [_cell(shares.get(threshold), span=False) for shares in by_kind.values()]
            answered = _cell(step["answered"], span=threshold > 0)
            lines.append(TableRow((Cell(f"{threshold:g}"), _cell(step["right"]), answered, *kinds)))
    return lines


def _cell(found: Interval | None, scale: Scale = PERCENT, *, span: bool = True) -> Cell:
    if found is None:
        return Cell(DASH, tone="muted")
    return Cell(scale.number(found.value), scale.span(found) if span else "", sort=found.value)
