"""The table of tuned options: how many settings were tried, which were kept, what that gained on validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.release.report.document import Cell, Column, Group, Table, TableRow
from segue.release.report.facts import Comparison, mapping, number, sequence
from segue.release.report.inline import code, plain
from segue.release.report.wording import DASH, SCORE, count, duration, listing

CAPTION = (
    "Settings were searched on training and validation documents alone, with the same number of trials and steps for "
    "every option. MRR is the best on validation with the recipe’s own settings (the first trial) and with those that "
    "were kept; it is the largest of several looks, so it flatters. A trial was stopped when it fell below the median "
    "of the finished ones."
)
FACTORS = {"width": "width × {}", "article_dropout": "article dropout {}", "span_corruption": "span corruption {}"}


def tuning_table(comparison: Comparison) -> Table | None:
    """One line for each option and fold that was tuned."""
    entries = [mapping(entry) for entry in sequence(comparison.data.get("tuning"))]
    folds = len({entry.get("fold") for entry in entries})
    lines = tuple(_line(entry, folds) for entry in entries if entry.get("option"))
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
    return Table("tuning", CAPTION, columns, (Group("", lines),), folded="How settings were tuned") if lines else None


def _line(entry: Mapping[str, Any], folds: int) -> TableRow:
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
    return FACTORS[name].format(said) if name in FACTORS else f"{plain(name.replace('_', ' '))} {said}"
