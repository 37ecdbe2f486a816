"""Run ``python -m benchmarks.phase1 --out runs/phase1``; exit code 3 where a check did not do what it must."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.phase1.replay import replay_phase1
from segue.errors import BlockedError
from segue.files import write_json
from segue.progress import visible


def main() -> None:
    """Repeat the experiment and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phase1", description="The original report, repeated.")
    parser.add_argument("--out", type=Path, default=Path("runs/phase1"), help="folder of the three reports")
    parser.add_argument("--bank", type=Path, help="the demo's bank; default: built in OUT")
    parser.add_argument("--json", type=Path, help="where all numbers go, beside OUT/replay.json")
    options = parser.parse_args()
    found = replay_phase1(options.out, bank=options.bank, stages=visible())
    if options.json:
        write_json(options.json, found.record)
    print("\n".join(found.lines))
    if not found.as_expected:
        sys.exit(BlockedError.exit_code)


if __name__ == "__main__":
    main()
