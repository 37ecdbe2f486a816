"""Kills and bad weather: every command is killed, or meets a full disk, little memory and the like, and is run again.

    python -m benchmarks.kills --out runs/kills.jsonl --json benchmarks/results/kills.json

A cell is one command with one signal at one moment, or in one kind of weather (``tests/killed.py``). The command may
finish, end in one clear error, or end by the signal: SIGINT and SIGTERM with one line and exit code 130 or 143. Run
again undisturbed, it has to end in the files of an undisturbed run, those that a clock decides excepted, and leave
nothing else behind. Exits with 1 where a cell does not.

The first 50 ms and any moment are counted from the entry point, in processes that have imported everything; "fresh"
cells are new interpreters, killed at any moment from 50 ms of processor time on, also while they import. A full and a
read-only disk are mounted (tmpfs), and left out where that is not allowed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from signal import Signals

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from killed import DISKS, FINE, MOMENTS, NAMES, SIGNALS, WEATHER, Cells, can_mount

from benchmarks.resumable import Units
from benchmarks.surroundings import surroundings
from segue.files import write_json

SLOW = ("triage", "evaluate", "audit")
"""Commands that take seconds; they get fewer cells."""


@dataclass(frozen=True)
class Cell:
    """One signal at one moment, or one kind of weather; ``number`` tells equal ones apart."""

    command: str
    part: str
    group: str
    number: int

    def outcome(self, cells: Cells) -> dict[str, str]:
        """Do it, at a place that follows from the cell."""
        draw = random.Random(zlib.crc32(repr(self).encode()))
        if self.part == "weather":
            return {"outcome": cells.weather(self.group, draw)}
        signal, moment = self.group.split(", ")
        kill = cells.kill_fresh if moment == FRESH else partial(cells.kill, moment=moment)
        return {"outcome": kill(Signals[signal], draw=draw)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=3, help="cells for each command, signal and moment")
    parser.add_argument("--slow-cells", type=int, default=1, help=f"the same, for {', '.join(SLOW)}")
    parser.add_argument("--fresh", type=int, default=2, help="cells with a new interpreter for each command")
    parser.add_argument("--commands", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each cell; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wanted = _wanted(args, (*WEATHER, *DISKS) if can_mount(Path(folder)) else WEATHER)
        units = Units(args.out, total=len(wanted))
        cells = cache(lambda name: Cells(name, Path(folder)))  # made when a cell is missing
        outcomes = [units.one(asdict(one), lambda one=one: one.outcome(cells(one.command)))["outcome"]
                    for one in wanted]  # fmt: skip
    table: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    for one, outcome in zip(wanted, outcomes, strict=True):
        counts = table.setdefault(one.command, {}).setdefault(one.part, {}).setdefault(one.group, Counter())
        counts[outcome if outcome in FINE else "bad"] += 1
    bad = [one for one in units.done if one["outcome"] not in FINE]
    totals = Counter(one.part for one in wanted)
    if args.json:
        write_json(args.json, {"environment": surroundings(), "cells": totals, "table": table, "bad": bad})
    print(f"{totals['kills']} kills and {totals['weather']} cells of weather, {len(bad)} of them bad")
    sys.exit(bool(bad))


def _wanted(args: argparse.Namespace, weather: tuple[str, ...]) -> list[Cell]:
    """List the cells, quick ones first."""
    found = []
    for name in args.commands:
        for group in [f"{Signals(number).name}, {moment}" for number in SIGNALS for moment in MOMENTS]:
            count = args.slow_cells if name in SLOW else args.cells
            found += [Cell(name, "kills", group, n) for n in range(count)]
        for kind in weather:
            count = 2 if kind in ("memory", "full") and name not in SLOW else 1
            found += [Cell(name, "weather", kind, n) for n in range(count)]
        signals = [Signals(SIGNALS[(n + NAMES.index(name)) % len(SIGNALS)]).name for n in range(args.fresh)]
        found += [Cell(name, "kills", f"{signal}, {FRESH}", n) for n, signal in enumerate(signals)]
    return sorted(found, key=lambda one: (one.command in SLOW, FRESH in one.group))


FRESH = "fresh"

if __name__ == "__main__":
    main()
