"""Corruption: every file that Segue reads back, damaged, exchanged or put back to an older state.

    python -m benchmarks.corruption --json benchmarks/results/corruption.json

A cell is one file of a bank, a checkpoint, an index, a training state, a result, a run or a bundle, changed in one way
(``tests/corruption.py``). It is *refused* with an error that names the file, refused by a *neighbour* that it no longer
fits, *harmless* (everything that is read is equal) or *older, whole* (the state before a change of the whole folder,
which no single file can show to be old). Anything else is bad, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corruption import FINE, KINDS, cells, run_places, small_places

from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="random places of each change of a file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="without a run and a bundle")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes: Counter[tuple[str, str]] = Counter()
    bad, began = list[dict[str, str]](), time.process_time()
    scratch = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        places = small_places(Path(folder) / "small") + ([] if args.small else run_places(Path(folder) / "runs"))
        for place in places:
            for cell in cells(place, Path(folder) / "work" / place.name, rounds=args.rounds, seed=args.seed):
                outcomes[place.name, cell.outcome if cell.fine else "bad"] += 1
                if not cell.fine:
                    bad.append({"place": cell.place, "file": cell.file, "kind": cell.kind, "outcome": cell.outcome})
                    print("bad:", cell.place, cell.file, cell.kind, cell.outcome, flush=True)
            print(place.name, {word: outcomes[place.name, word] for word in (*FINE, "bad")}, flush=True)
        cost = cost_of_verification(Path(folder))
    words = (*FINE, "bad")
    table = [
        {
            "place": place.name,
            "cells": sum(outcomes[place.name, word] for word in words),
            **{word: outcomes[place.name, word] for word in words},
        }
        for place in places
    ]
    total = sum(outcomes.values())
    summary = {
        "environment": surroundings(),
        "cells": total,
        "kinds": list(KINDS),
        "rounds": args.rounds,
        "seed": args.seed,
        "processor_seconds": round(time.process_time() - began, 1),
        "table": table,
        "bad": bad,
        "verification": cost,
    }
    if args.json:
        write_json(args.json, summary)
    print(f"{total:,} cells, {len(bad)} of them bad; {cost}")
    sys.exit(bool(bad))


def cost_of_verification(folder: Path) -> dict[str, float]:
    """Return the processor seconds of opening a bank of 40,000 x 384 and gathering one row, and of the next row."""
    vectors = np.random.default_rng(0).normal(size=(40_000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    PassageBank.from_arrays(vectors, np.arange(40_000) // 40, path=folder / "large")
    found = {}
    bank = PassageBank.open(folder / "large")
    for name in ("first_gather_seconds", "second_gather_seconds"):
        began = time.process_time()
        bank.gather(np.arange(0, 40_000, 1000))
        found[name] = round(time.process_time() - began, 4)
    return {"rows": 40_000, "dimension": 384, **found}


if __name__ == "__main__":
    main()
