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
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from faulty_disk import KINDS
from write_faults import COMMANDS, FINE, Sweep, places

from benchmarks.resumable import Units
from benchmarks.surroundings import surroundings
from segue.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=40, help="most operations of a command that fail, for each kind")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each cell; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    args = parser.parse_args()
    units = Units(args.out, total=len(args.commands) * len(KINDS) * args.cells)
    operations = {}
    for name in args.commands:
        with tempfile.TemporaryDirectory() as folder:
            sweep = Sweep(COMMANDS[name], Path(folder))
            operations[name] = sweep.operations
            for number, kind in enumerate(KINDS):
                for at in places(sweep.operations, args.cells, seed=number):
                    key = {"command": name, "kind": kind, "at": at, "of": sweep.operations}
                    units.one(key, partial(_outcome, sweep, kind, at))
    bad = [one for one in units.done if one["outcome"] not in FINE]
    outcomes = Counter((one["unit"]["command"], one["outcome"]) for one in units.done if one["outcome"] in FINE)
    table = [{"command": name, "operations": operations[name], "cells": sum(outcomes[name, word] for word in FINE),
              **{word: outcomes[name, word] for word in FINE}} for name in args.commands]  # fmt: skip
    summary = {
        "environment": surroundings(),
        "cells": len(units.done),
        "kinds": list(KINDS),
        "table": table,
        "bad": bad,
    }
    if args.json:
        write_json(args.json, summary)
    print(f"{len(units.done):,} cells, {len(bad)} of them bad")
    sys.exit(bool(bad))


def _outcome(sweep: Sweep, kind: str, at: int) -> dict[str, str]:
    return {"outcome": sweep.cell(kind, at).outcome}


if __name__ == "__main__":
    main()
