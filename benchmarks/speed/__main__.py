"""Run ``python -m benchmarks.speed [NAME]``; the figures are those of docs/performance.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.speed.bench import bench
from segue.cli.output import print_rows
from segue.progress import visible


def main() -> None:
    """Measure, print the ratios, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Speed and memory, side by side.")
    parser.add_argument("name", nargs="?", default="all", help="which measurement; default: all")
    parser.add_argument("--documents", type=Path, help="bank of real passages; default: the demo's")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="folder of prepared inputs")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full problem; below 1 meets no target")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = vars(parser.parse_args())
    name, out = options.pop("name"), options.pop("out")
    found = bench(name, options, out=out, stages=visible())
    print_rows([{key: row[key] for key in ("name", "ratio", "target", "met")} for row in found["rows"]])


if __name__ == "__main__":
    main()
