"""Measure the kept benchmarks again, and fail where a ratio has lost more than a quarter.

    python -m benchmarks.guard [--documents BANK] [--keep]

``guard.json`` keeps the ratios of each row for each processor, by its name and vector units; no processor is judged by
another's ratios. ``--keep`` writes those found now instead of comparing. Inputs are cached in ``runs/bench``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.bench import bench
from segue.files import read_json, write_json
from segue.hardware import describe_machine

KEPT = Path(__file__).with_name("guard.json")
MAXIMUM_LOSS = 0.25
SCALES = {
    "search": 1.0,
    "ranks": 1.0,
    "training": 0.1,
    "whole-bank": 1.0,
    "encoding": 0.25,
    "parsing": 1.0,
    "resampling": 1.0,
    "starting": 1.0,
}
"""What is measured, and the share of its full problem."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=Path, help="bank of real passages; default: the demo's")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"))
    parser.add_argument("--keep", action="store_true", help="keep the ratios found now")
    args = parser.parse_args()
    kept, processor = read_json(KEPT), str(describe_machine()["cpu"])
    before = kept["processors"].get(processor)
    if before is None and not args.keep:
        others = ", ".join(kept["processors"])
        sys.exit(f"no ratios are kept for {processor}, only for {others}; --keep measures and keeps them")
    lost, now = [], {}
    for name, scale in SCALES.items():
        rows = bench(name, {"documents": args.documents, "cache": args.cache, "scale": scale})["rows"]
        now[name] = {row["name"]: {"ratio": row["ratio"], "better": row["better"]} for row in rows}
        lost += losses((before or {}).get(name, {}), rows)
    if args.keep:
        kept["processors"][processor] = now
        write_json(KEPT, kept)
        return
    print("\n".join(lost) or f"no ratio has lost more than a quarter on {processor}")
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
