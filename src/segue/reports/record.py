"""A triage's JSON, read with care: anything may be absent, and what is absent is None.

Enters: the content of ``triage.json``. Leaves: a ``Comparison`` of ``Row`` objects that answer in ``Interval`` and
``Contrast`` values. Nothing is computed here that was not measured, save the sign of a difference turned round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from segue.comparison.record import Record
from segue.types import Interval

Outcome = Literal["better", "worse", "undecided"]
SIGNIFICANCE = 0.05

FAMILIES = {
    "baseline": "Baselines without training",
    "loss": "Losses, same architecture",
    "architecture": "Architectures, from the anchor, under the winning loss",
    "towers": "Two towers and siamese, from the anchor, under InfoNCE",
    "rerank": "Retrieve, then rerank",
    "other": "Other options",
    "control": "Controls: break a rule on purpose, cannot win",
}


def number(value: Any) -> float | None:
    """Return a finite number, or None for anything else.

    >>> number(1), number(float("nan")), number("1"), number(True)
    (1.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def interval(value: Any) -> Interval | None:
    """Read ``{"value", "low", "high"}`` or a bare number.

    >>> interval({"value": 0.5, "low": None}), interval(None)
    (Interval(value=0.5, low=None, high=None), None)
    """
    entry = value if isinstance(value, Mapping) else {"value": value}
    middle = number(entry.get("value"))
    return None if middle is None else Interval(middle, number(entry.get("low")), number(entry.get("high")))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value when it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """Return the value when it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


@dataclass(frozen=True)
class Contrast:
    """One row minus another.

    Attributes:
        difference: with its interval where the two were compared window by window.
        p: of the paired test, Holm-adjusted.
        paired: False when only the two rows' own intervals are known.
        outcome: *better* or *worse* only where the evidence says so.
    """

    difference: Interval
    p: float | None
    paired: bool
    outcome: Outcome


def paired_contrast(entry: Mapping[str, Any], sign: int = 1) -> Contrast | None:
    """Read a paired difference; decided when its interval leaves out 0 and its p-value, where known, is below 0.05.

    >>> paired_contrast({"value": 0.03, "low": 0.01, "high": 0.05, "p": 0.2}).outcome
    'undecided'
    """
    found = interval(entry)
    if found is None:
        return None
    if sign < 0:
        found = Interval(-found.value, _negative(found.high), _negative(found.low))
    return Contrast(found, number(entry.get("p")), True, _paired_outcome(found, number(entry.get("p"))))


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _paired_outcome(found: Interval, p: float | None) -> Outcome:
    if found.low is None or found.high is None or (p is not None and p >= SIGNIFICANCE):
        return "undecided"
    return "better" if found.low > 0 else "worse" if found.high < 0 else "undecided"


def unpaired_contrast(one: Interval, other: Interval) -> Contrast:
    """Compare two intervals; decided only when they do not touch, which asks for more than a paired test would."""
    outcome: Outcome = "undecided"
    if None not in (one.low, one.high, other.low, other.high):
        outcome = "better" if one.low > other.high else "worse" if one.high < other.low else "undecided"  # type: ignore[operator]
    return Contrast(Interval(one.value - other.value), None, False, outcome)


@dataclass(frozen=True)
class Row:
    """One compared option."""

    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As on the command line."""
        return str(self.data.get("name") or "unnamed")

    @property
    def intent(self) -> str:
        """``candidate`` unless the row declares something else."""
        return str(self.data.get("intent") or "candidate")

    @property
    def family(self) -> str:
        """A key of ``FAMILIES``; a control stays one whatever its family says."""
        if self.intent == "control":
            return "control"
        family = str(self.data.get("family") or "other")
        return family if family in FAMILIES else "other"

    @property
    def status(self) -> str:
        """``done``, ``under-trained``, ``skipped``, ``aborted``, ``failed``, or empty."""
        return str(self.data.get("status") or "")

    def text(self, key: str) -> str:
        """A sentence that the option carries, or nothing."""
        return str(self.data.get(key) or "")

    def metric(self, name: str) -> Interval | None:
        """A test metric with its interval."""
        return interval(mapping(self.data.get("metrics")).get(name))

    def value(self, name: str) -> float | None:
        """A test metric alone."""
        found = self.metric(name)
        return None if found is None else found.value

    def part(self, part: str, name: str) -> float | None:
        """A number of another measurement: ``validation``, ``macro``, ``in_document`` ..."""
        found = interval(mapping(self.data.get(part)).get(name))
        return None if found is None else found.value

    @property
    def training(self) -> Mapping[str, Any]:
        """What training left; empty for an option that trains nothing."""
        return mapping(self.data.get("training"))

    @property
    def under_trained(self) -> bool:
        """Whether training stopped before its validation curve flattened."""
        return self.status == "under-trained" or self.training.get("under_trained") is True

    @property
    def can_win(self) -> bool:
        """A measured candidate."""
        return self.intent == "candidate" and self.metric("R@5") is not None

    def against(self, other: Row, metric: str = "R@5") -> Contrast | None:
        """Subtract another row: by the paired test on record, turned round if need be, else by both intervals."""
        for row, reference, sign in ((self, other, 1), (other, self, -1)):
            entry = mapping(mapping(mapping(row.data.get("delta")).get(reference.name)).get(metric))
            found = paired_contrast(entry, sign)
            if found is not None:
                return found
        mine, theirs = self.metric(metric), other.metric(metric)
        return None if mine is None or theirs is None else unpaired_contrast(mine, theirs)


@dataclass(frozen=True)
class Comparison:
    """A whole triage."""

    data: Mapping[str, Any]

    @classmethod
    def of(cls, record: Record | Mapping[str, Any]) -> Comparison:
        """Return a record in the form that the report still reads."""
        if not isinstance(record, Record):
            return cls(record)
        data = record.to_json()
        dropout = data.pop("article_dropout")
        data |= {"options": data.pop("entries"),
                 "article_dropout": {"with anchor": dropout["anchored"], "without": dropout["bare"]}}  # fmt: skip
        if data["confidence"]:
            data["confidence"]["asked"] = data["confidence"].pop("queries")
            for judged in data["confidence"]["judged"].values():
                for kind in ("absent", "ended"):
                    if judged[kind]:
                        judged[kind]["told_from_answerable"] = judged[kind].pop("separation")
        for entry in data["options"]:
            if entry["compatibility"]:
                spaces = entry["compatibility"]
                spaces["R@5"] = {name: spaces[name]["recall_5"] for name in ("raw", "projected")}
            if entry["training"]:
                entry["training"]["curves"] = [[point | point["scores"] for point in curve]
                                               for curve in entry["training"]["curves"]]  # fmt: skip
        return cls(data)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """All options in reading order."""
        return tuple(Row(option) for option in sequence(self.data.get("options")) if isinstance(option, Mapping))

    def row(self, name: str | None) -> Row | None:
        """The row of that name, if it took part."""
        return next((row for row in self.rows if row.name == name), None)

    def measured(self, name: str) -> Row | None:
        """The row of that name, if its R@5 was measured."""
        row = self.row(name)
        return row if row is not None and row.metric("R@5") is not None else None

    @property
    def candidates(self) -> list[Row]:
        """Measured rows that may win."""
        return [row for row in self.rows if row.can_win]

    @property
    def trained(self) -> list[Row]:
        """Measured rows with weights learnt by gradient descent, the projected ones among them."""
        return [row for row in self.rows if row.training and row.metric("R@5") is not None]

    @property
    def blocked(self) -> list[str]:
        """Codes of the integrity checks that failed."""
        return [str(code) for code in sequence(self.data.get("blocked"))]

    @property
    def unsafe(self) -> bool:
        """Whether numbers are printed although a check failed, was muted or was skipped."""
        return self.data.get("unsafe") is True

    @property
    def refused(self) -> bool:
        """Whether no headline number may be printed."""
        return bool(self.blocked) and not self.unsafe

    @property
    def winner(self) -> Row | None:
        """The candidate that the triage chose on validation."""
        row = self.row(self.data.get("winner"))
        return row if row is not None and row.can_win and not self.refused else None

    def won(self, row: Row) -> bool:
        """Whether this is the winner's row."""
        return self.winner is not None and row.name == self.winner.name

    @property
    def leader(self) -> Row | None:
        """The winner, or without one the candidate with the best validation MRR; never chosen on test."""
        ranked = best_on_validation(self.candidates)
        return self.winner or ranked

    def amount(self, key: str) -> float | None:
        """A number that stands at the top of the file: ``pool``, ``windows`` ..."""
        return number(self.data.get(key))


def best_on_validation(rows: Iterable[Row]) -> Row | None:
    """The row with the highest validation MRR, or None where none has one."""
    scored = [(row.part("validation", "MRR"), row) for row in rows]
    return max(
        ((score, row) for score, row in scored if score is not None), key=lambda pair: pair[0], default=(0, None)
    )[1]
