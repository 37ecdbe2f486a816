"""One line of the table of speed: Segue beside what a user would pick instead."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.speed.turns import SideResult, spread
from segue.settings import Settings

Better = Literal["lower", "higher"]


class BenchSettings(Settings):
    """Settings of all measurements."""

    documents: Path | None = Field(None, description="a bank of real passages; default: the demo's corpus, encoded")
    cache: Path = Field(Path("runs/bench"), description="folder of the banks and indexes that are measured")
    repeats: int = Field(5, ge=1, description="counted turns of each side; 5 or more for a published figure")
    scale: float = Field(1.0, gt=0, le=1, description="share of the named problem; below 1 no target can be met")


@dataclass(frozen=True)
class Measurement:
    """A ratio and its target.

    Attributes:
        name: of the row.
        better: which way the ratio is meant.
        target: the ratio to reach; None where there is only something to report.
        ratios: ours / theirs, or theirs / ours, one per pair of turns.
        ours: what our side measured.
        theirs: what the other side measured.
        limit: what the machine allows: bytes over measured bandwidth, operations over measured peak.
        about: what was measured on what.
        whole: False where the problem was smaller than the named one.
        holds: an extra condition for the target (recall, equality of results); None where there is none.
    """

    name: str
    better: Better
    target: float | None
    ratios: tuple[float, ...]
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    limit: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True
    holds: bool | None = None

    @property
    def ratio(self) -> float:
        """The median over the pairs of turns."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or on a smaller problem."""
        if self.target is None or not self.whole:
            return None
        reached = self.ratio <= self.target if self.better == "lower" else self.ratio >= self.target
        return reached and self.holds is not False

    def to_json(self) -> dict[str, Any]:
        """Return what ``python -m benchmarks.speed --json`` prints."""
        return {
            "name": self.name,
            "ratio": self.ratio,
            "target": self.target,
            "met": self.met,
            "better": self.better,
            "ratio_spread": spread(self.ratios),
            "ours": dict(self.ours),
            "theirs": dict(self.theirs),
            "limit": dict(self.limit),
            "about": dict(self.about),
        }


def pairwise(ours: SideResult, theirs: SideResult, value: str, *, better: Better) -> tuple[float, ...]:
    """Return the ratio of each pair of turns.

    ``lower``: ours / theirs, of something where less is better. ``higher``: how many times better ours is, theirs /
    ours of a duration.
    """
    pairs = zip(ours.values[value], theirs.values[value], strict=True)
    return tuple(own / other if better == "lower" else other / own for own, other in pairs)
