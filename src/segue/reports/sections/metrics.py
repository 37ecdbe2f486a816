"""The tables of measured numbers: the entries that matter, all metrics, differences, gates, options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from segue.comparison.record import Entry, GateRecord, Record, SpaceTest, TuningRecord
from segue.progress import duration
from segue.reports.contrasts import (
    FAMILIES,
    Contrast,
    against,
    best_baseline,
    best_on_validation,
    candidates,
    choice_against,
    chosen_for_cost,
    converged,
    leader,
    measured,
    reranked_copies,
    won,
)
from segue.reports.document import Cell, Column, Group, Table, TableRow, Tone, single
from segue.reports.text import (
    DASH,
    MILLISECONDS,
    PERCENT,
    SCALES,
    SCORE,
    Scale,
    code,
    count,
    listing,
    magnitude,
    p_value,
    plain,
    scale_of,
)
from segue.types import Interval

HEADLINE = ("R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "total_p95_ms")
MORE = ("R@20", "horizon R@1", "horizon R@5", "horizon R@10", "nDCG@10", "median rank", "contrastive accuracy",
        "copying ratio", "search_p95_ms")  # fmt: skip
"""Metrics of the appendix."""
HEADS = {"total_p95_ms": "answer P95", "search_p95_ms": "search P95"}
REFERENCES = ("copy-last", "ar-cosine")
QUESTIONED = ("copy-last", "ar-cosine", "infonce-projected", "infonce")
"""Entries that the overview shows wherever they were measured: the baseline to beat, and the losses to compare."""
SMALLER_IS_BETTER = {"total_p95_ms"}
SIGNS = {"better": "▲", "worse": "▼", "undecided": "·"}
INTENT_TAGS = {"control": "control", "projected": "projected", "context-left-in": "context left in"}
STATUS_TONES: dict[str, Tone] = {"under-trained": "warn", "aborted": "fail", "failed": "fail", "skipped": "muted"}
OPTION = Column("Option", False)
NO_CELL = Cell(DASH, tone="muted")


def unit_of(metric: str) -> str:
    """Return the unit in a column's head."""
    return scale_of(metric).unit.strip()


def tags(record: Record, entry: Entry, *, status: bool = True) -> tuple[str, ...]:
    """Return the labels next to the name: the winner, a declared intent, a status other than done."""
    found = []
    if won(record, entry):  # *winner* if the choice clearly beats copying, else *chosen*
        reference = measured(record, "copy-last")
        contrast = choice_against(record, reference) if reference else None
        found = ["winner" if reference is None or (contrast and contrast.outcome == "better") else "chosen"]
        found += ["as good as the best"] if chosen_for_cost(record) else []
    found += [INTENT_TAGS[entry.intent]] if entry.intent in INTENT_TAGS else []
    ended = "under-trained" if entry.under_trained else entry.status
    return (*found, ended) if status and ended != "done" else tuple(found)


def _table(
    name: str,
    caption: str,
    record: Record,
    columns: Sequence[Column],
    cells: Callable[[Entry], Sequence[Cell] | None],
    *,
    status: bool = True,
) -> Table | None:
    """Return a table with a line for each entry that has cells, by family, controls last; None where none has.

    The status is next to the name unless it has a column of its own.
    """
    groups = []
    for family, title in FAMILIES.items():
        lines = []
        for entry in record.entries:
            found = cells(entry) if entry.family == family else None
            if found is not None:
                style = "winner" if won(record, entry) else "control" if entry.intent == "control" else ""
                lines.append(TableRow((Cell(code(entry.name)), *found), style, tags(record, entry, status=status)))
        groups += [Group(title, tuple(lines))] if lines else []
    return Table(name, caption, (OPTION, *columns), tuple(groups)) if groups else None


def references(record: Record) -> list[Entry]:
    """Return what options are compared with: the entries of ``REFERENCES`` whose training converged."""
    found = [measured(record, name) for name in REFERENCES]
    return [entry for entry in found if entry is not None and converged(entry)]


def overview_entries(record: Record) -> list[Entry]:
    """Return the entries that answer the main questions, the leader first, then by R@5.

    They are the leader, what it is as good as, the same reranker without its model, the best single model, the best
    baseline, and those of ``QUESTIONED``.
    """
    chosen = leader(record)
    models = [entry for entry in candidates(record) if entry.training and entry.family != "rerank"]
    best = measured(record, record.choice.best) if record.choice else None
    found = [chosen, best, reranked_copies(record, chosen) if chosen else None, best_on_validation(models),
             best_baseline(record), *(measured(record, name) for name in QUESTIONED)]  # fmt: skip
    known = {entry.name: entry for entry in found if entry is not None}
    return sorted(known.values(), key=lambda entry: (entry is not chosen, -(entry.value("R@5") or 0.0)))


def overview_table(record: Record) -> Table | None:
    """Return the entries that matter, with what they do, and their difference to copy-last."""
    entries, reference = overview_entries(record), measured(record, "copy-last")
    if not entries:
        return None
    names = ("R@1", "R@5", "MRR", "total_p95_ms")
    rows = []
    for entry in entries:
        cells = [metric_cell(entry, name) for name in names]
        cells = [cell if name == "R@5" else replace(cell, detail="") for name, cell in zip(names, cells, strict=True)]
        differs = [_contrast_cell(entry, reference, "R@5")] if reference else []
        style = "winner" if won(record, entry) else ""
        rows.append(TableRow((Cell(code(entry.name)), Cell(plain(entry.description)), *cells, *differs), style,
                             tags(record, entry)))  # fmt: skip
    columns = [OPTION, Column("What it does", False), *(Column(HEADS.get(name, name), True, unit_of(name))
                                                        for name in names)]  # fmt: skip
    columns += [Column(f"ΔR@5 vs {code('copy-last')}", True, "points")] if reference else []
    caption = "R@5: share of test windows whose next passage is among the first five answers, with 95 % intervals."
    if reference:
        caption += " Δ by a paired test over documents: ▲ better, ▼ worse, · undecided or under-trained."
    return Table("overview", caption, tuple(columns), single(rows))


def metric_table(record: Record) -> Table | None:
    """Return the headline metrics of every measured entry, with intervals."""
    best = {name: best_value(record, name) for name in (*HEADLINE, *record.own_metrics)}

    def cells(entry: Entry) -> list[Cell] | None:
        if not entry.measured:
            return None
        return [metric_cell(entry, name, best[name]) for name in best]

    columns = [Column(HEADS.get(name, plain(name)), True, unit_of(name)) for name in best]
    caption = (
        "Test documents, the whole bank searched. Each value is shown with its 95 % interval over groups of "
        "near-duplicate documents. Bold: the best candidate of the column."
    ) + "".join(f" {plain(name)}: {plain(own.description)}" for name, own in record.own_metrics.items())
    return _table("metrics", caption, record, columns, cells)


def best_value(record: Record, name: str) -> float | None:
    """Return the best value that a candidate has."""
    values = [value for entry in candidates(record) if (value := entry.value(name)) is not None]
    if not values:
        return None
    own = record.own_metrics.get(name)
    return min(values) if name in SMALLER_IS_BETTER or (own and not own.larger_is_better) else max(values)


def metric_cell(entry: Entry, name: str, best: float | None = None) -> Cell:
    """Return value and interval; the candidates' best is marked."""
    found, scale = entry.metrics.get(name), scale_of(name)
    if found is None:
        return NO_CELL
    tone: Tone = "best" if best is not None and found.value == best and entry.can_win else ""
    return Cell(scale.number(found.value), scale.span(found), tone, found.value)


def _contrast(entry: Entry, reference: Entry, metric: str) -> Contrast | None:
    """Return the paired difference to a reference; None where no pairing is on record."""
    contrast = against(entry, reference, metric) if entry.name != reference.name else None
    return contrast if contrast and contrast.paired else None


def _contrast_cell(entry: Entry, reference: Entry, metric: str) -> Cell:
    contrast = _contrast(entry, reference, metric)
    if contrast is None:
        return NO_CELL
    scale, difference = SCALES[metric], contrast.difference
    text = f"{SIGNS[contrast.outcome]} {scale.signed(difference.value)}"
    return Cell(text, scale.signed_span(difference), contrast.outcome, difference.value)


def difference_table(record: Record) -> Table | None:
    """Return paired differences in R@5 and MRR against the references that converged, with p-values."""
    pairs = [(reference, metric) for reference in references(record) for metric in ("R@5", "MRR")]

    def cells(entry: Entry) -> list[Cell] | None:
        found = [cell for pair in pairs for cell in (_contrast_cell(entry, *pair), _p_cell(_contrast(entry, *pair)))]
        return None if entry.intent == "control" or all(cell.text == DASH for cell in found) else found

    columns = []
    for reference, metric in pairs:
        unit = "points" if metric == "R@5" else ""
        columns += [Column(f"Δ{metric} vs {code(reference.name)}", True, unit), Column("p")]
    caption = (
        "Option minus reference over the same windows, by sign-flipping documents; p-values adjusted by Holm. "
        "▲ better, ▼ worse, · undecided, which an under-trained option stays."
    )
    return _table("differences", caption, record, columns, cells)


def _p_cell(contrast: Contrast | None) -> Cell:
    if contrast is None or contrast.p is None:
        return NO_CELL
    return Cell(p_value(contrast.p).removeprefix("p ").removeprefix("= "), sort=contrast.p)


def drop_table(record: Record) -> Table | None:
    """Return cosine, R@5 and MRR on validation and on test, with what changes between them."""
    metrics = ("cosine", "R@5", "MRR")

    def cells(entry: Entry) -> list[Cell] | None:
        if entry.intent == "control" or all(entry.validated(name) is None for name in metrics):
            return None
        found = []
        for name in metrics:
            scale, before, after = SCALES[name], entry.validated(name), entry.value(name)
            change = None if before is None or after is None else after - before
            found += [_number(scale, before), _number(scale, after), Cell(scale.signed(change), sort=change)]
        return found

    columns = []
    for name in metrics:
        columns += [Column(f"{name} {part}", True, unit_of(name)) for part in ("validation", "test")]
        columns += [Column(f"Δ{name}", True, "points" if unit_of(name) else "")]
    caption = (
        "Δ is test minus validation. The weights were trained on neither. The checkpoint and the option were selected "
        "on validation, so validation numbers are optimistic; the two also have different documents and windows."
    )
    return _table("drop", caption, record, columns, cells)


def _number(scale: Scale, value: int | float | None) -> Cell:
    return Cell(scale.number(value), sort=value)


def compatibility_table(record: Record) -> Table | None:
    """Return the cosine of prediction and target, and that of a random pair, in the raw and in the projected space."""

    def cells(entry: Entry) -> list[Cell] | None:
        found = entry.compatibility
        return [*_space_cells(found.raw), *_space_cells(found.projected)] if found and entry.measured else None

    columns = []
    for space in ("raw", "projected"):
        columns += [Column(f"{space}: matched"), Column("random"), Column("gap"), Column("R@5", True, "%")]
    caption = (
        "Cosine of prediction and target (matched) and of prediction and a random passage (random): only the gap "
        "between the two says something about a space. R@5 is measured by searching in that space. All on validation "
        "documents."
    )
    return _table("compatibility", caption, record, columns, cells)


def _space_cells(space: SpaceTest) -> list[Cell]:
    return [_number(SCORE, space.matched), _number(SCORE, space.random),
            Cell(SCORE.signed(space.gap), sort=space.gap), _number(PERCENT, space.recall_5)]  # fmt: skip


CONDITIONS: tuple[tuple[str, str, str], ...] = (
    ("macro", "R@5", "macro R@5"),
    ("macro", "MRR", "macro MRR"),
    ("macro", "horizon R@5", "macro horizon R@5"),
    ("in_document", "R@5", "in-document R@5"),
    ("context_left_in", "R@1", "context left in: R@1"),
    ("context_left_in", "R@5", "context left in: R@5"),
    ("prefix", "R@5", "prefix excluded: R@5"),
    ("fresh", "R@5", "fresh pool: R@5"),
)
"""Field of an entry, metric, and head of the column."""


def pools_table(record: Record) -> Table | None:
    """Return the same rankings under other rules: per document, within the document, with other candidates."""

    def value(entry: Entry, field: str, metric: str) -> float | None:
        scores: Mapping[str, float | None] = getattr(entry, field)
        return scores.get(metric)

    shown = [one for one in CONDITIONS if any(value(entry, *one[:2]) is not None for entry in record.entries)]

    def cells(entry: Entry) -> list[Cell] | None:
        if not entry.measured or not shown:
            return None
        found = [_number(SCALES[metric], value(entry, field, metric)) for field, metric, _ in shown]
        return [_number(PERCENT, entry.value("R@5")), *found]

    columns = [Column("R@5", True, "%"), *(Column(head, True, unit_of(metric)) for _, metric, head in shown)]
    caption = "The same windows and rankings under other rules; the definitions below explain each column."
    return _table("pools", caption, record, columns, cells)


def more_metrics_table(record: Record) -> Table | None:
    """Return the metrics that are not in the headline table."""
    names = [name for name in MORE if any(name in entry.metrics for entry in record.entries)]
    columns = [Column(HEADS.get(name, name), True, unit_of(name)) for name in names]
    caption = "Further metrics of the same rankings, with intervals where they are defined."

    def cells(entry: Entry) -> list[Cell] | None:
        return [metric_cell(entry, name) for name in names] if entry.measured and names else None

    return _table("more-metrics", caption, record, columns, cells)


def option_table(record: Record) -> Table | None:
    """Return what each option does, what it costs and risks, and what became of it, measured or not."""

    def cells(entry: Entry) -> list[Cell]:
        cost = entry.training
        steps, seconds, size = (cost.steps, cost.seconds, cost.parameters) if cost else (None, None, None)
        status = "under-trained" if entry.under_trained else entry.status
        return [
            Cell(plain(entry.description), plain(entry.question)),
            Cell(magnitude(size), sort=size),
            Cell(count(steps), sort=steps),
            Cell(DASH if seconds is None else duration(seconds), sort=seconds),
            Cell(entry.risk),
            Cell(status, plain(entry.reason or ""), STATUS_TONES.get(status, "")),
        ]

    columns = [Column("Description, and the question it answers", False), Column("Parameters"), Column("Steps"),
               Column("Training"), Column("Risk", False), Column("Status", False)]  # fmt: skip
    caption = "Training time is the sum over folds, steps are those of one fold."
    return _table("options", caption, record, columns, cells, status=False)


GATE_OUTCOMES: dict[str, tuple[str, Tone]] = {
    "pass": ("✓ pass", "pass"),
    "fail": ("✕ fail", "fail"),
    "not-enough-evidence": ("? not enough evidence", "warn"),
}
_CONDITION = re.compile(r"(Δ?)([\w@]+)(?: over [\w.-]+)? [≥≤] (\d+(?:\.\d+)?)")


def gate_table(record: Record) -> Table | None:
    """Return the conditions of each gate, what was measured, and the outcome."""
    if not record.gates:
        return None
    names = listing([code(name) for name in sorted({gate.candidate for gate in record.gates})])
    judged = f"Judged: {names}. "
    if record.procedure and len(record.procedure.chosen) > 1:
        judged = (
            "Judged: the procedure, that is on each fold the candidate that did best on that fold’s validation "
            "documents, because one fold’s validation documents are another’s test documents. "
        )
    caption = (
        f"{judged}A gate passes or fails only where the whole 95 % interval lies on one side of the threshold and p, "
        "adjusted by Holm over all gates, is below 0.05. Of several conditions one has to pass, and its numbers are "
        f"shown. A recipe sets its own: {code('[[gates]]')}."
    )
    columns = (Column("Gate", False), Column("Outcome", False), Column("Condition", False), Column("Measured"),
               Column("Threshold"), Column("The threshold comes from", False))  # fmt: skip
    return Table("gates", caption, columns, single([_gate_line(gate) for gate in record.gates]))


def _gate_line(gate: GateRecord) -> TableRow:
    scale, signed = gate_scale(gate)
    show, unit = (scale.signed, scale.difference_unit) if signed else (scale.number, scale.unit)
    word, tone = GATE_OUTCOMES[gate.outcome]
    measured_cell = Cell(DASH)
    if gate.value is not None:
        found = Interval(gate.value, gate.low, gate.high)
        measured_cell = Cell(f"{show(gate.value)}{unit}", scale.signed_span(found) if signed else scale.span(found))
    bar = DASH if gate.threshold is None else f"{show(gate.threshold)}{unit}"
    reason = plain(gate.reason) if gate.outcome == "not-enough-evidence" else ""
    return TableRow((Cell(code(gate.name)), Cell(word, tone=tone), Cell(plain(gate.text), reason), measured_cell,
                     Cell(bar), Cell(plain(gate.source) or DASH)))  # fmt: skip


def gate_scale(gate: GateRecord) -> tuple[Scale, bool]:
    """Return how a gate's numbers are printed, and whether they are differences.

    The condition that decided is the one whose threshold the gate carries; where that leaves several metrics or none,
    numbers are printed as they are stored.
    """
    conditions = _CONDITION.findall(gate.text)
    decisive = {(metric, sign) for sign, metric, bar in conditions if float(bar) == gate.threshold}
    if len(decisive) != 1:
        return SCORE, False
    metric, sign = decisive.pop()
    return MILLISECONDS if metric.endswith("_ms") else scale_of(metric), bool(sign)


def gate_sentence(record: Record) -> str:
    """Return all outcomes in one sentence."""
    verbs = {"pass": ("passes", "pass"), "fail": ("fails", "fail"), "not-enough-evidence": ("lacks evidence",
             "lack evidence")}  # fmt: skip
    parts = []
    for outcome, (one, many) in verbs.items():
        names = [code(gate.name) for gate in record.gates if gate.outcome == outcome]
        parts += [f"{listing(names)} {many if len(names) > 1 else one}"] if names else []
    return f"Gates: {'; '.join(parts)}." if parts else ""


TUNING_CAPTION = (
    "Settings were searched on training and validation documents alone, with the same number of trials and steps for "
    "every option. MRR is the best on validation with the recipe’s own settings (the first trial) and with those that "
    "were kept; as the largest of several measurements it is optimistic. A trial was stopped when it fell below the "
    "median of the finished ones."
)
TUNING_WORDS = {"width": "width × {}"}


def tuning_table(record: Record) -> Table | None:
    """Return one line for each option and fold that was tuned."""
    if not record.tuning:
        return None
    folds = len({found.fold for found in record.tuning})
    columns = (OPTION, Column("Trials"), Column("stopped"), Column("Steps"), Column("MRR before"), Column("after"),
               Column("Δ"), Column("What changed", False), Column("Time"))  # fmt: skip
    rows = [_tuning_line(found, folds) for found in record.tuning]
    return Table("tuning", TUNING_CAPTION, columns, single(rows))


def _tuning_line(found: TuningRecord, folds: int) -> TableRow:
    name = code(found.option) + (f", fold {found.fold + 1}" if folds > 1 else "")
    before, after = found.validation_mrr.before, found.validation_mrr.after
    gain = None if before is None else after - before
    changed = [
        _setting(name, value)
        for name, value in found.settings.items()
        if value is not None and value != found.own.get(name)
    ]
    return TableRow(
        (
            Cell(name),
            *(Cell(count(number), sort=number) for number in (found.trials, found.pruned, found.steps)),
            _number(SCORE, before),
            _number(SCORE, after),
            Cell(SCORE.signed(gain), sort=gain),
            Cell(listing(changed) if changed else "nothing: the recipe’s own settings were best"),
            Cell(duration(found.seconds), sort=found.seconds),
        )
    )


def _setting(name: str, value: int | float | bool) -> str:
    """Print one setting.

    >>> _setting("learning_rate", 0.0031234), _setting("width", 2.0), _setting("span_corruption", False)
    ('learning rate 0.0031', 'width × 2', 'span corruption off')
    """
    shown = ("on" if value else "off") if isinstance(value, bool) else f"{value:.2g}"
    return TUNING_WORDS.get(name, f"{plain(name.replace('_', ' '))} {{}}").format(shown)
