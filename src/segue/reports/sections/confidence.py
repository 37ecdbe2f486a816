"""When to answer and when to abstain: the winner's confidence, its quality, and how to choose a threshold."""

from __future__ import annotations

from collections.abc import Mapping

from segue.comparison.record import ConfidenceRecord, CutoffQuality, Record, ThresholdPoint
from segue.reports.document import Block, Cell, Column, Group, Notice, Paragraph, Section, Table, TableRow, single
from segue.reports.plots.confidence import CUTOFFS, DRAWN, confidence_gallery
from segue.reports.text import DASH, PERCENT, SCORE, Scale, code, count, listing, strong
from segue.types import Interval

KINDS = {
    "answerable": "are answerable",
    "absent": "had their next passage taken out of the bank",
    "ended": "are at the end of a document",
}
LISTED = tuple(round(0.1 * step, 1) for step in range(10))
"""Thresholds of the table."""
Judged = Mapping[str, CutoffQuality]


def confidence_section(record: Record) -> Section:
    """Return everything about the winner's confidence; no blocks where none was measured."""
    found, blocks = record.confidence, list[Block | None]()
    if found:
        judged = {name: found.judged[name] for name in CUTOFFS if name in found.judged}
        usable = {name: quality for name, quality in judged.items() if quality.usable}
        blocks = [_queries(found), *_unusable(judged), _quality_table(judged), confidence_gallery(judged)]
        blocks += [_choice(usable), _threshold_table(usable)] if usable else []
    return Section("confidence", "Confidence: when to abstain", tuple(block for block in blocks if block is not None))


def _queries(found: ConfidenceRecord) -> Paragraph:
    """Return what was queried, in which mix."""
    tested = found.queries.get("test", {})
    parts = [
        f"{PERCENT.number(found.mix.get(kind))} % {words} ({count(tested[kind])} queries)"
        for kind, words in KINDS.items()
        if tested.get(kind)
    ]
    return Paragraph(
        f"{code(found.option)} can state how likely its answer is right, so that a caller can abstain. The confidence "
        "is computed from the scores and cosines of one ranking, never from documents or positions. It was fitted on "
        f"validation documents and is judged here on test documents ({count(found.groups)} groups), with queries "
        f"weighted to a fixed mix: {listing(parts)}. Any answer to the last two kinds is wrong."
    )


def _unusable(judged: Judged) -> list[Notice]:
    """Name the cutoffs whose confidence cannot be used."""
    names = [CUTOFFS[name][0] for name, quality in judged.items() if not quality.usable]
    if not names:
        return []
    return [
        Notice(
            f"{strong('Not to be used')} for answers {listing(names)}: on test documents right answers were not "
            "shown to get more confidence than wrong ones (the interval of the AUROC includes 0.5, or there is none). "
            "A threshold on it would abstain at random."
        )
    ]


def _quality_table(judged: Judged) -> Table:
    columns = (Column("Answer is right", False), Column("of all", True, "%"), Column("AUROC"), Column("Brier score"),
               Column("constant’s"), Column("calibration error"), Column("AUROC absent", True, "%"),
               Column("AUROC ended", True, "%"))  # fmt: skip
    rows = []
    for name, quality in judged.items():
        together = quality.together
        others = [kind.separation if kind else None for kind in (quality.absent, quality.ended)]
        rows.append(
            TableRow(
                (
                    Cell(CUTOFFS[name][0]),
                    _cell(together.right),
                    _cell(together.auroc, SCORE),
                    _cell(together.brier, SCORE),
                    Cell(SCORE.number(together.brier_constant)),
                    _cell(together.calibration_error, SCORE),
                    *(_cell(other) for other in others),
                )
            )
        )
    caption = (
        "All queries in the mix, with 95 % intervals. Constant’s: the Brier score of always stating the share right. "
        "AUROC absent, ended: the share of pairs in which an answerable query has more confidence than one whose next "
        "passage is absent, or than the end of a document; 50 % is chance."
    )
    return Table("confidence-worth", caption, columns, single(rows))


def _percent(found: Interval | None) -> str:
    return PERCENT.sentence(found) if found else f"{DASH} %"


def _answered(curve: tuple[ThresholdPoint, ...]) -> dict[float, tuple[Interval, Interval | None]]:
    """Return what is answered and what is right, by threshold."""
    return {point.threshold: (point.answered, point.right) for point in curve if point.answered is not None}


def _by_kind(quality: CutoffQuality) -> dict[str, dict[float, tuple[Interval, Interval | None]]]:
    kinds = {"answerable": quality.answerable, "absent": quality.absent, "ended": quality.ended}
    return {kind: _answered(found.curve) if found else {} for kind, found in kinds.items()}


def _choice(usable: Judged) -> Paragraph:
    """Return how to choose a threshold, with an example from the table."""
    name, quality = next(iter(usable.items()))
    points, kinds = _answered(quality.together.curve), _by_kind(quality)
    example = min(points, key=lambda threshold: abs(points[threshold][0].value - 0.5))
    answered, right = points[example]
    rest = [
        f"{PERCENT.number(kinds[kind][example][0].value)} % of those that {KINDS[kind]}"
        for kind in ("absent", "ended")
        if example in kinds[kind]
    ]
    return Paragraph(
        f"{strong('To choose a threshold')}, decide how often an answer has to be right. Go down the table to the "
        "first line whose lower end reaches that, and answer only from that confidence on. For example, answering from "
        f"{example:g} on answers {_percent(answered)} of all queries, and {_percent(right)} of these answers are right "
        f"{CUTOFFS[name][0]}, instead of {_percent(next(iter(points.values()))[1])} if every query is answered"
        + (f"; it still answers {listing(rest)}" if rest else "")
        + ". This holds for the mix above: where more queries have no answer, fewer answers are right at the same "
        "threshold."
    )


def _threshold_table(usable: Judged) -> Table:
    """Return thresholds with what is answered and what is right, in the mix and by kind of query."""
    groups = [Group(CUTOFFS[name][0].capitalize(), tuple(_lines(quality))) for name, quality in usable.items()]
    columns = (Column("Answer from", False), Column("right", True, "%"), Column("answered", True, "%"),
               *(Column(f"answered: {kind}", True, "%") for kind in KINDS))  # fmt: skip
    caption = (
        "Confidence from which on queries are answered; the share right of what is answered and the share answered in "
        "the mix, with 95 % intervals; then the share answered of each kind of query. Thresholds that leave less than "
        f"{PERCENT.number(DRAWN)} % answered are not listed."
    )
    return Table("confidence", caption, columns, tuple(groups))


def _lines(quality: CutoffQuality) -> list[TableRow]:
    kinds, lines = _by_kind(quality), []
    for threshold, (answered, right) in _answered(quality.together.curve).items():
        if threshold in LISTED and answered.value >= DRAWN:
            shares = [_cell(points[threshold][0] if threshold in points else None, span=False)
                      for points in kinds.values()]  # fmt: skip
            lines.append(TableRow((Cell(f"{threshold:g}"), _cell(right), _cell(answered, span=threshold > 0), *shares)))
    return lines


def _cell(found: Interval | None, scale: Scale = PERCENT, *, span: bool = True) -> Cell:
    if found is None:
        return Cell(DASH, tone="muted")
    return Cell(scale.number(found.value), scale.span(found) if span else "", sort=found.value)
