"""The tables of measured numbers: metrics with differences, what is lost from validation to test, other pools."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segue.reports.choice import choice_against
from segue.reports.document import Cell, Column, Group, Table, TableRow, Tone, single
from segue.reports.record import (
    FAMILIES,
    Comparison,
    Contrast,
    Row,
    best_on_validation,
    interval,
    mapping,
    number,
    sequence,
)
from segue.reports.text.markup import code, plain
from segue.reports.text.numbers import (
    DASH,
    MILLISECONDS,
    PERCENT,
    SCALES,
    SCORE,
    Scale,
    count,
    duration,
    listing,
    magnitude,
    p_value,
)
from segue.types import Interval

HEADLINE = ("R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "total_p95_ms")
HEADS = {"total_p95_ms": "answer P95"}
UNITS = {"R@1": "%", "R@5": "%", "R@10": "%", "Contain@50": "%", "total_p95_ms": "ms"}
REFERENCES = ("copy-last", "ar-cosine")
SMALLER_IS_BETTER = {"total_p95_ms"}
SIGNS = {"better": "▲", "worse": "▼", "undecided": "·"}
INTENT_TAGS = {"control": "control", "projected": "projected", "context-left-in": "context left in"}


def name_cell(row: Row) -> Cell:
    """The option's name as it is typed on the command line."""
    return Cell(code(row.name))


def tags(comparison: Comparison, row: Row) -> tuple[str, ...]:
    """What a reader must know beside the name: the winner, a declared intent, a status other than done."""
    found = [_winner_tag(comparison)] if comparison.won(row) else []
    found += [INTENT_TAGS[row.intent]] if row.intent in INTENT_TAGS else []
    found += [row.status] if row.status not in ("", "done") else []
    return (*found, "under-trained") if row.under_trained and row.status != "under-trained" else tuple(found)


def _winner_tag(comparison: Comparison) -> str:
    """*Winner* is who clearly beats copying; who merely did best on validation is *chosen*."""
    reference = comparison.measured("copy-last")
    contrast = choice_against(comparison, reference) if reference else None
    return "winner" if reference is None or (contrast and contrast.outcome == "better") else "chosen"


def style(comparison: Comparison, row: Row) -> str:
    """How the line is set apart."""
    if comparison.won(row):
        return "winner"
    return "control" if row.intent == "control" else ""


def grouped(comparison: Comparison, line: Callable[[Row], TableRow | None]) -> tuple[Group, ...]:
    """Lines for all rows by family, in reading order, controls last; rows without a line are left out."""
    groups = []
    for family, title in FAMILIES.items():
        lines = [line(row) for row in comparison.rows if row.family == family]
        kept = tuple(found for found in lines if found is not None)
        groups += [Group(title, kept)] if kept else []
    return tuple(groups)


def metric_table(comparison: Comparison) -> Table:
    """The headline metrics of every measured row, with intervals and paired differences."""
    best = {name: best_value(comparison, name) for name in HEADLINE}
    shown = [name for name in REFERENCES if comparison.measured(name)]

    def line(row: Row) -> TableRow | None:
        if row.metric("R@5") is None:
            return None
        cells = [metric_cell(row, name, best[name]) for name in HEADLINE]
        cells += [contrast_cell(row, comparison.row(name), "R@5") for name in shown]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    columns = [Column("Option", False)]
    columns += [Column(HEADS.get(name, name), True, UNITS.get(name, "")) for name in HEADLINE]
    columns += [Column(f"ΔR@5 vs {code(name)}", True, "points") for name in shown]
    return Table("metrics", METRIC_CAPTION, tuple(columns), grouped(comparison, line))


METRIC_CAPTION = (
    "Test documents, the whole bank searched. Beside each value its 95 % interval over groups of near-duplicate "
    "documents; bold: the best candidate of the column; Δ: ▲ better, ▼ worse, · undecided by a paired test over "
    "documents."
)


def best_value(comparison: Comparison, name: str) -> float | None:
    """The best value that a candidate has."""
    values = [value for row in comparison.candidates if (value := row.value(name)) is not None]
    if not values:
        return None
    return min(values) if name in SMALLER_IS_BETTER else max(values)


def metric_cell(row: Row, name: str, best: float | None = None) -> Cell:
    """Value and interval; the candidates' best is marked."""
    found, scale = row.metric(name), SCALES[name]
    if found is None:
        return Cell(DASH, tone="muted")
    tone: Tone = "best" if best is not None and found.value == best and row.can_win else ""
    return Cell(scale.number(found.value), scale.span(found), tone, found.value)


def contrast_cell(row: Row, reference: Row | None, metric: str) -> Cell:
    """The paired difference to a reference with its interval and verdict; a dash where no pairing is on record."""
    contrast = None if reference is None or reference.name == row.name else row.against(reference, metric)
    if contrast is None or not contrast.paired:
        return Cell(DASH, tone="muted")
    scale = SCALES[metric]
    sign = SIGNS[contrast.outcome]
    return Cell(
        f"{sign} {scale.signed(contrast.difference.value)}",
        scale.signed_span(contrast.difference),
        contrast.outcome,
        contrast.difference.value,
    )


def difference_table(comparison: Comparison) -> Table:
    """Paired differences in R@5 and MRR against both references, with p-values."""
    pairs = [(name, metric) for name in REFERENCES for metric in ("R@5", "MRR") if comparison.measured(name)]

    def line(row: Row) -> TableRow | None:
        cells: list[Cell] = []
        for name, metric in pairs:
            reference = comparison.row(name)
            cells += [contrast_cell(row, reference, metric), _p_cell(row, reference, metric)]
        if row.intent == "control" or all(cell.text == DASH for cell in cells):
            return None
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    columns = [Column("Option", False)]
    for name, metric in pairs:
        columns += [Column(f"Δ{metric} vs {code(name)}", True, "points" if metric == "R@5" else ""), Column("p")]
    caption = "Option minus reference over the same windows: sign-flipping documents, p-values adjusted by Holm."
    return Table("differences", caption, tuple(columns), grouped(comparison, line))


def _p_cell(row: Row, reference: Row | None, metric: str) -> Cell:
    contrast = None if reference is None or reference.name == row.name else row.against(reference, metric)
    p = None if contrast is None else contrast.p
    text = p_value(p).removeprefix("p").removeprefix(" = ").strip()
    return Cell(text or DASH, sort=p, tone="" if text else "muted")


def best_baseline(comparison: Comparison) -> Row | None:
    """The candidate without training that did best on validation; copy-last where none was scored there."""
    untrained = [row for row in comparison.candidates if row.family == "baseline"]
    return best_on_validation(untrained) or comparison.measured("copy-last")


def sentence_of(contrast: Contrast, metric: str = "R@5") -> str:
    """Print a difference with its interval and p-value as it stands in a sentence."""
    scale = SCALES[metric]
    value: Interval = contrast.difference
    notes = [note for note in (scale.signed_span(value), p_value(contrast.p)) if note]
    notes += [] if contrast.paired else [_unpaired_note(contrast)]
    return f"{scale.signed(value.value)}{scale.difference_unit}" + (f" ({', '.join(notes)})" if notes else "")


def _unpaired_note(contrast: Contrast) -> str:
    return "not paired" if contrast.outcome == "undecided" else "not paired; the two intervals do not touch"


def drop_table(comparison: Comparison) -> Table | None:
    """Validation beside test: cosine, R@5 and MRR with what is lost between them."""
    metrics = ("cosine", "R@5", "MRR")

    def line(row: Row) -> TableRow | None:
        if row.intent == "control" or all(row.part("validation", name) is None for name in metrics):
            return None
        cells = [cell for name in metrics for cell in _drop_cells(row, name)]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    groups = grouped(comparison, line)
    heads = [column for name in metrics for column in _drop_columns(name)]
    return Table("drop", _drop_caption(), (Column("Option", False), *heads), groups) if groups else None


def _drop_columns(name: str) -> list[Column]:
    unit = UNITS.get(name, "")
    values = [Column(f"{name} {part}", True, unit) for part in ("validation", "test")]
    return [*values, Column(f"Δ{name}", True, "points" if unit else "")]


def _drop_caption() -> str:
    return (
        "Δ is test minus validation. The weights have seen neither kind of document; selection (the checkpoint, the "
        "option) used validation, so that its numbers are flattered, and they come from other documents and windows."
    )


def _drop_cells(row: Row, name: str) -> list[Cell]:
    scale = SCALES[name]
    before, after = row.part("validation", name), row.value(name)
    lost = None if before is None or after is None else after - before
    return [
        Cell(scale.number(before), sort=before),
        Cell(scale.number(after), sort=after),
        Cell(scale.signed(lost), sort=lost),
    ]


def compatibility_table(comparison: Comparison) -> Table | None:
    """Cosine of prediction and target beside a random pair, in the raw and in the projected space."""
    lines = []
    for row in comparison.rows:
        entry = row.data.get("compatibility")
        if isinstance(entry, dict) and row.metric("R@5") is not None:
            cells = [_space_cell(row, *place) for place in _PLACES]
            lines.append(TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row)))
    columns = [Column("Option", False)]
    for space in ("raw", "projected"):
        columns += [Column(f"{space}: matched"), Column("random"), Column("gap"), Column("R@5", True, "%")]
    caption = (
        "Cosine of prediction and target (matched) beside that of prediction and a random passage (random): only the "
        "gap between the two says something about a space. R@5 is that of searching in that space. All on validation "
        "documents."
    )
    return Table("compatibility", caption, tuple(columns), (Group("", tuple(lines)),)) if lines else None


_PLACES = [(space, what) for space in ("raw", "projected") for what in ("matched", "random", "gap", "R@5")]


def _space_cell(row: Row, space: str, what: str) -> Cell:
    value = compatibility(row, space, what)
    scale = PERCENT if what == "R@5" else SCORE
    return Cell(scale.signed(value) if what == "gap" else scale.number(value), sort=value)


def compatibility(row: Row, space: str, what: str) -> float | None:
    """One number of the compatibility test; *gap* is matched minus random."""
    if what == "gap":
        matched, random = compatibility(row, space, "matched"), compatibility(row, space, "random")
        return None if matched is None or random is None else matched - random
    entry = Row(row.data.get("compatibility") or {})
    return entry.part("R@5", space) if what == "R@5" else entry.part(space, what)


def pools_table(comparison: Comparison) -> Table | None:
    """The same rankings under other rules: per document, within the document, with other candidates."""
    parts = [
        (part, name, head)
        for part, name, head in _PARTS
        if any(row.part(part, name) is not None for row in comparison.rows)
    ]

    def line(row: Row) -> TableRow | None:
        values = [(SCALES[name], row.part(part, name)) for part, name, _ in parts]
        if row.metric("R@5") is None or all(value is None for _, value in values):
            return None
        cells = [metric_without_span(row, "R@5"), *(Cell(scale.number(value), sort=value) for scale, value in values)]
        return TableRow((name_cell(row), *cells), style(comparison, row), tags(comparison, row))

    if not parts:
        return None
    heads = [Column(head, True, UNITS.get(name, "")) for _, name, head in parts]
    columns = (Column("Option", False), Column("R@5", True, "%"), *heads)
    caption = "The same windows and rankings under other rules; the definitions below say what each column means."
    return Table("pools", caption, columns, grouped(comparison, line))


def metric_without_span(row: Row, name: str) -> Cell:
    """A value without its interval."""
    value = row.value(name)
    return Cell(SCALES[name].number(value), sort=value)


_PARTS: Sequence[tuple[str, str, str]] = (
    ("macro", "R@5", "macro R@5"),
    ("macro", "MRR", "macro MRR"),
    ("macro", "horizon R@5", "macro horizon R@5"),
    ("in_document", "R@5", "in-document R@5"),
    ("context_left_in", "R@1", "context left in: R@1"),
    ("context_left_in", "R@5", "context left in: R@5"),
    ("prefix", "R@5", "prefix excluded: R@5"),
    ("fresh", "R@5", "fresh pool: R@5"),
)


def more_metrics_table(comparison: Comparison) -> Table | None:
    """The metrics that are not in the headline table."""
    names = [name for name in _MORE if any(row.metric(name) is not None for row in comparison.rows)]

    def line(row: Row) -> TableRow | None:
        if row.metric("R@5") is None:
            return None
        return TableRow((name_cell(row), *(metric_cell(row, name) for name in names)), style(comparison, row))

    columns = (Column("Option", False), *(Column(_MORE[name], True, _MORE_UNITS.get(name, "")) for name in names))
    caption = "Further metrics of the same rankings, with intervals where they are defined."
    return Table("more-metrics", caption, columns, grouped(comparison, line)) if names else None


_MORE = {
    "R@20": "R@20",
    "horizon R@1": "horizon R@1",
    "horizon R@5": "horizon R@5",
    "horizon R@10": "horizon R@10",
    "nDCG@10": "nDCG@10",
    "median rank": "median rank",
    "contrastive accuracy": "contrastive accuracy",
    "copying ratio": "copying ratio",
    "search_p95_ms": "search P95",
}
_MORE_UNITS = {**dict.fromkeys(("R@20", "horizon R@1", "horizon R@5", "horizon R@10"), "%"), "search_p95_ms": "ms"}


WORDS = {"better": "▲ better", "worse": "▼ worse", "undecided": "· undecided"}
STATUS_TONES: dict[str, Tone] = {"under-trained": "warn", "aborted": "fail", "failed": "fail", "skipped": "muted"}


def option_table(comparison: Comparison) -> Table | None:
    """One line per option, whether it was measured or not."""

    def line(row: Row) -> TableRow:
        cells = [name_cell(row), _what_cell(row), *_cost_cells(row), Cell(plain(row.text("risk")) or DASH)]
        cells += [_outcome_cell(comparison, row, name) for name in shown]
        return TableRow((*cells, _status_cell(row)), style(comparison, row), _intent_tags(comparison, row))

    shown = [name for name in REFERENCES if comparison.measured(name)]
    columns = [Column("Option", False), Column("What it does, what it answers", False), Column("Parameters")]
    columns += [Column("Steps"), Column("Training"), Column("Risk", False)]
    columns += [Column(f"R@5 against {code(name)}", False) for name in shown] + [Column("Status", False)]
    caption = (
        "Outcomes by the paired test in R@5 over documents, Holm-adjusted; “undecided” is a difference that this many "
        "documents cannot show. Training time is the sum over folds, steps are those of one fold."
    )
    groups = grouped(comparison, line)
    return Table("options", caption, tuple(columns), groups) if groups else None


def _intent_tags(comparison: Comparison, row: Row) -> tuple[str, ...]:
    """The status has a column of its own here."""
    return tuple(tag for tag in tags(comparison, row) if tag not in (row.status, "under-trained"))


def _what_cell(row: Row) -> Cell:
    description, question = plain(row.text("description")), plain(row.text("question"))
    return Cell(description or question or DASH, question if description else "")


def _cost_cells(row: Row) -> list[Cell]:
    cost = row.training
    parameters, seconds = number(cost.get("parameters")), number(cost.get("seconds"))
    steps = number(cost.get("steps"))
    return [
        Cell(magnitude(parameters), sort=parameters),
        Cell(count(steps), sort=steps),
        Cell(duration(seconds), sort=seconds),
    ]


def _outcome_cell(comparison: Comparison, row: Row, name: str) -> Cell:
    reference = comparison.row(name)
    contrast = None if reference is None or row.name == name else row.against(reference)
    if contrast is None or not contrast.paired:
        return Cell(DASH, tone="muted")
    value = contrast.difference.value
    return Cell(WORDS[contrast.outcome], f"{SCALES['R@5'].signed(value)} points", contrast.outcome, value)


def _status_cell(row: Row) -> Cell:
    status = "under-trained" if row.under_trained else row.status
    return Cell(plain(status) or DASH, plain(row.text("reason")), STATUS_TONES.get(status, ""))


def best_steps(row: Row) -> list[int]:
    """The step with the best validation MRR, per fold."""
    return [int(step) for entry in sequence(row.training.get("best_steps")) if (step := number(entry)) is not None]


OUTCOMES: dict[str, tuple[str, Tone]] = {
    "pass": ("✓ pass", "pass"),
    "fail": ("✕ fail", "fail"),
    "not-enough-evidence": ("? not enough evidence", "warn"),
}
AS_STORED = Scale(places=3)
_CONDITION = re.compile(r"(Δ?)([\w@]+)(?: over [\w.-]+)? [≥≤] (\d+(?:\.\d+)?)")


def gates(comparison: Comparison) -> list[Mapping[str, Any]]:
    """The gates on record."""
    return [mapping(gate) for gate in sequence(comparison.data.get("gates")) if mapping(gate).get("name")]


def gate_table(comparison: Comparison) -> Table | None:
    """One line per gate: what it asks, what was measured, the outcome."""
    lines = [_gate_line(gate) for gate in gates(comparison)]
    columns = (
        Column("Gate", False),
        Column("Outcome", False),
        Column("Asks", False),
        Column("Measured"),
        Column("Threshold"),
    )
    return Table("gates", _caption(comparison), columns, single(lines)) if lines else None


def _caption(comparison: Comparison) -> str:
    names = {str(gate["candidate"]) for gate in gates(comparison) if gate.get("candidate")}
    judged = f"Judged: {listing([code(name) for name in sorted(names)])}. " if names else ""
    if len(sequence(mapping(comparison.data.get("procedure")).get("chosen"))) > 1:
        judged = (
            "Judged: the procedure, that is on each fold the candidate that did best on that fold’s validation "
            "documents, because one fold’s validation documents are another’s test documents. "
        )
    return (
        f"{judged}A gate passes or fails only where the whole 95 % interval lies on one side of the threshold and p, "
        "Holm-adjusted over all gates, is below 0.05; of several conditions one has to pass, and its numbers are shown."
    )


def _gate_line(gate: Mapping[str, Any]) -> TableRow:
    scale, signed = gate_scale(gate)
    found, threshold = interval(gate), number(gate.get("threshold"))
    show = scale.signed if signed else scale.number
    unit = scale.difference_unit if signed else scale.unit
    span = scale.signed_span(found) if signed else scale.span(found)
    word, tone = OUTCOMES.get(str(gate.get("outcome")), (DASH, "muted"))
    measured = f"{show(found.value)}{unit}" if found else DASH
    return TableRow(
        (
            Cell(code(gate["name"])),
            Cell(word, tone=tone),
            Cell(plain(gate.get("text") or DASH), _open(gate)),
            Cell(measured, span),
            Cell(DASH if threshold is None else f"{show(threshold)}{unit}"),
        )
    )


def _open(gate: Mapping[str, Any]) -> str:
    """Say what the evidence lacks."""
    return plain(gate.get("reason") or "") if gate.get("outcome") == "not-enough-evidence" else ""


def gate_scale(gate: Mapping[str, Any]) -> tuple[Scale, bool]:
    """Find how a gate's numbers are printed, and whether they are differences.

    The condition that decided is the one whose threshold the gate carries; where that leaves several metrics or none,
    numbers are printed as they are stored.

    >>> gate_scale({"text": "R@5 ≥ 0.3, or ΔMRR over ar-cosine ≥ 0.2", "threshold": 0.2})[1]
    True
    """
    threshold = number(gate.get("threshold"))
    conditions = _CONDITION.findall(str(gate.get("text") or ""))
    decisive = {(metric, sign) for sign, metric, bar in conditions if threshold is None or float(bar) == threshold}
    if len(decisive) != 1:
        return AS_STORED, False
    metric, sign = decisive.pop()
    scale = MILLISECONDS if metric.endswith("_ms") else SCALES.get(metric, AS_STORED)
    return scale, bool(sign)


def gate_sentence(comparison: Comparison) -> str:
    """All outcomes in one sentence."""
    by_outcome = {
        "pass": ("passes", "pass"),
        "fail": ("fails", "fail"),
        "not-enough-evidence": ("lacks evidence", "lack evidence"),
    }
    parts = []
    for outcome, verbs in by_outcome.items():
        names = [code(gate["name"]) for gate in gates(comparison) if gate.get("outcome") == outcome]
        if names:
            parts.append(f"{listing(names)} {verbs[len(names) > 1]}")
    return f"Gates: {'; '.join(parts)}." if parts else ""


TUNING_CAPTION = (
    "Settings were searched on training and validation documents alone, with the same number of trials and steps for "
    "every option. MRR is the best on validation with the recipe’s own settings (the first trial) and with those that "
    "were kept; it is the largest of several looks, so it flatters. A trial was stopped when it fell below the median "
    "of the finished ones."
)
TUNING_FACTORS = {
    "width": "width × {}",
    "article_dropout": "article dropout {}",
    "span_corruption": "span corruption {}",
}


def tuning_table(comparison: Comparison) -> Table | None:
    """One line for each option and fold that was tuned."""
    entries = [mapping(entry) for entry in sequence(comparison.data.get("tuning"))]
    folds = len({entry.get("fold") for entry in entries})
    lines = tuple(_tuning_line(entry, folds) for entry in entries if entry.get("option"))
    columns = (
        Column("Option", False),
        Column("Trials"),
        Column("stopped"),
        Column("Steps"),
        Column("MRR before"),
        Column("after"),
        Column("Δ"),
        Column("What changed", False),
        Column("Time"),
    )
    return (
        Table("tuning", TUNING_CAPTION, columns, (Group("", lines),), folded="How settings were tuned")
        if lines
        else None
    )


def _tuning_line(entry: Mapping[str, Any], folds: int) -> TableRow:
    fold = number(entry.get("fold"))
    name = code(str(entry["option"])) + (f", fold {int(fold) + 1}" if folds > 1 and fold is not None else "")
    scores = mapping(entry.get("validation_mrr"))
    before, after = number(scores.get("before")), number(scores.get("after"))
    gain = None if before is None or after is None else after - before
    counts = [number(entry.get(key)) for key in ("trials", "pruned", "steps")]
    return TableRow(
        (
            Cell(name),
            *(Cell(count(value), sort=value) for value in counts),
            Cell(SCORE.number(before), sort=before),
            Cell(SCORE.number(after), sort=after),
            Cell(SCORE.signed(gain), sort=gain),
            Cell(_changes(mapping(entry.get("own")), mapping(entry.get("settings")))),
            Cell(duration(number(entry.get("seconds"))), sort=number(entry.get("seconds"))),
        )
    )


def _changes(own: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    """Say what was kept of what the trials changed."""
    changed = [_words(name, value) for name, value in kept.items() if value is not None and value != own.get(name)]
    return listing(changed) if changed else "nothing: the recipe’s own settings were best" if kept else DASH


def _words(name: str, value: Any) -> str:
    """Say one setting.

    >>> _words("learning_rate", 0.0031234), _words("width", 2.0), _words("span_corruption", False)
    ('learning rate 0.0031', 'width × 2', 'span corruption off')
    """
    said = (
        ("on" if value else "off") if isinstance(value, bool) else f"{found:.2g}" if (found := number(value)) else "0"
    )
    return TUNING_FACTORS[name].format(said) if name in TUNING_FACTORS else f"{plain(name.replace('_', ' '))} {said}"
