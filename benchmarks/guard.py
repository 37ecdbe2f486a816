"""Measure the kept benchmarks again, and fail where a ratio has lost more than a quarter.

    python -m benchmarks.guard [--documents BANK] [--keep]

``guard.json`` keeps, for each benchmark, at which scale it was measured and the ratio of each of its rows. ``--keep``
writes the ratios found now instead of comparing. Inputs are cached in ``runs/bench``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.bench import bench
from segue.files import read_json, write_json

KEPT = Path(__file__).with_name("guard.json")
MAXIMUM_LOSS = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=Path, help="bank of real passages; default: the demo's")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"))
    parser.add_argument("--keep", action="store_true", help="keep the ratios found now")
    args = parser.parse_args()
    kept = read_json(KEPT)
    lost = []
    for name, before in kept["benchmarks"].items():
        settings = {"documents": args.documents, "cache": args.cache, "scale": before["scale"]}
        now = bench(name, settings)["rows"]
        lost += losses(before["rows"], now)
        if args.keep:
            before["rows"] = {row["name"]: {"ratio": row["ratio"], "better": row["better"]} for row in now}
    if args.keep:
        write_json(KEPT, kept)
        return
    print("\n".join(lost) or "no ratio has lost more than a quarter")
    sys.exit(1 if lost else 0)


def losses(before: dict[str, Any], now: list[dict[str, Any]]) -> list[str]:
    """Say which rows have lost more than a quarter of their ratio, or are gone.

    >>> kept = {"x": {"ratio": 4.0, "better": "higher"}, "y": {"ratio": 0.2, "better": "lower"}}
    >>> losses(kept, [{"name": "x", "ratio": 3.1}, {"name": "y", "ratio": 0.26}])
    ['y: ratio 0.26, was 0.2 (lower is better)']
    """
    found = {row["name"]: row["ratio"] for row in now}
    lost = []
    for name, kept in before.items():
        ratio = found.get(name)
        higher = kept["better"] == "higher"
        if ratio is None:
            lost.append(f"{name}: not measured any more")
        elif ratio < kept["ratio"] * (1 - MAXIMUM_LOSS) if higher else ratio > kept["ratio"] * (1 + MAXIMUM_LOSS):
            lost.append(f"{name}: ratio {ratio:.3g}, was {kept['ratio']:.3g} ({kept['better']} is better)")
    return lost


if __name__ == "__main__":
    main()
