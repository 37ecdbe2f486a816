"""Runs of one recipe under several seeds, as one table: hits averaged over seeds, differences paired over windows.

Reads finished runs (one split, the same test windows). A value is the mean over windows and seeds, its interval is over
groups of near-duplicate documents; the spread over seeds alone is reported as their least and greatest.

    python -m benchmarks.over_seeds runs/best1 runs/best2 runs/best3 --subject rerank \
        --json benchmarks/results/manuals_best.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.evaluation.intervals import bootstrap, paired
from segue.evaluation.result import Evaluation
from segue.files import read_json, write_json

CUTOFFS = {"R@1": 1, "R@5": 5, "R@10": 10, "Contain@50": 50}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--subject", required=True, help="the row that is compared with all others")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    found = {name: evaluations(args.runs, name) for name in common(args.runs)}
    subject, first = found[args.subject], found[args.subject][0]
    rows = [row(name, several, subject) for name, several in found.items()]
    seeds = [read_json(run / "recipe.json")["training"]["seed"] for run in args.runs]
    write_json(args.json, {"environment": surroundings(), "subject": args.subject, "seeds": seeds,
                            "windows": len(first), "documents": first.num_documents, "pool": first.pool_size,
                            "table": rows})  # fmt: skip
    for one in rows:
        difference = one.get("Δ R@5", {"value": 0, "low": 0, "high": 0})
        print(f"{one['name']:28} R@5 {100 * one['R@5']['value']:.1f}  subject {100 * difference['value']:+.1f} "
              f"({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})")  # fmt: skip


def common(runs: list[Path]) -> list[str]:
    """Return the options that all runs have finished."""
    done = [{path.parts[-3] for path in run.glob("options/*/fold-0/evaluation")} for run in runs]
    return sorted(set.intersection(*done))


def evaluations(runs: list[Path], name: str) -> list[Evaluation]:
    found = [Evaluation.load(run / "options" / name / "fold-0" / "evaluation") for run in runs]
    assert all(np.array_equal(one.targets, found[0].targets) for one in found), "the runs have other windows"
    return found


def row(name: str, several: list[Evaluation], subject: list[Evaluation]) -> dict[str, Any]:
    values, groups = averaged(several), several[0].groups
    found: dict[str, Any] = {"name": name}
    for metric, whole in bootstrap(values, groups, ratios={}).items():
        by_seed = [float(per_window(one)[metric].mean()) for one in several]
        found[metric] = {"value": whole.value, "low": whole.low, "high": whole.high,
                         "least_seed": min(by_seed), "greatest_seed": max(by_seed)}  # fmt: skip
    if several is not subject:
        ours = averaged(subject)
        for metric in ("R@5", "Contain@50", "MRR"):
            test = paired(ours[metric], values[metric], groups)
            found[f"Δ {metric}"] = {"value": test.difference.value, "low": test.difference.low,
                                    "high": test.difference.high, "p": test.p_value}  # fmt: skip
    return found


def averaged(several: list[Evaluation]) -> dict[str, np.ndarray]:
    """Return each window's values, averaged over seeds."""
    each = [per_window(one) for one in several]
    return {name: np.mean([values[name] for values in each], axis=0) for name in each[0]}


def per_window(one: Evaluation) -> dict[str, np.ndarray]:
    found = {name: (one.ranks <= cutoff).astype(float) for name, cutoff in CUTOFFS.items()}
    found["MRR"] = 1.0 / one.ranks
    if "fresh" in one.ranks_by_pool:
        found["R@5 fresh"] = (one.ranks_by_pool["fresh"] <= 5).astype(float)
    return found


if __name__ == "__main__":
    main()
