"""A fault at any write of any command: the disk is full, an operation fails, the process is killed, blocks are torn.

    python -m benchmarks.write_faults --out runs/write_faults.jsonl --json benchmarks/results/write_faults.json

A cell is one command with one kind of fault at one of its operations on the disk (``tests/write_faults.py``). The
command may pass, end in one clear error, or be killed; run again without a fault, it has to end in the files of an
undisturbed run, those that a clock decides excepted, and leave nothing else behind. Exits with 1 where a cell does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from faulty_disk import KINDS
from write_faults import COMMANDS, FINE, Sweep, places

from benchmarks.resumable import Units
from benchmarks.surroundings import surroundings
from segue.files import write_json

SAMPLED = {"triage": 8, "report": 10}
"""Operations of a command that fail, for each kind, where all of them would take days."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, help="most operations of a command that fail, for each kind; default: all")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each cell; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    args = parser.parse_args()
    units = Units(args.out, total=0)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.commands:
            table.append(_faults(name, args.cells or SAMPLED.get(name), units, Path(folder)))
    bad = [one for one in units.done if one.get("outcome", FINE[0]) not in FINE]
    cells = sum(row["cells"] for row in table)
    if args.json:
        write_json(args.json, {"environment": surroundings(), "cells": cells, "table": table, "bad": bad})
    print(f"{cells:,} cells, {len(bad)} of them bad")
    sys.exit(bool(bad))


def _faults(name: str, most: int | None, units: Units, folder: Path) -> dict[str, object]:
    """Let operations of a command fail, all of them or ``most`` evenly spread; return its row of the table."""
    sweep = cache(lambda: Sweep(COMMANDS[name], folder))  # made when a cell is missing
    found = units.one({"command": name, "undisturbed": True}, lambda: {"operations": sweep().operations})
    operations = found["operations"]
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number, kind in enumerate(KINDS):
        for at in places(operations, most or operations, seed=number):
            key = {"command": name, "kind": kind, "at": at, "of": operations}
            outcome = units.one(key, lambda kind=kind, at=at: {"outcome": sweep().cell(kind, at).outcome})["outcome"]
            outcomes[kind][outcome if outcome in FINE else "bad"] += 1
    return {"command": name, "operations": operations, "cells": sum(one.total() for one in outcomes.values()),
            "kinds": {kind: dict(found) for kind, found in outcomes.items()}}  # fmt: skip


if __name__ == "__main__":
    main()
