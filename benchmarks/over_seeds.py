"""Runs of one recipe under several seeds, as one table: hits averaged over seeds, differences paired over windows.

Reads finished runs with the same test windows; those of all folds are joined. A value is the mean over windows and
seeds, its interval is over groups of near-duplicate documents; the spread over seeds alone is reported as their least
and greatest.

    python -m benchmarks.over_seeds runs/best1 runs/best2 runs/best3 --subject rerank \
        --json benchmarks/results/manuals_best.json
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.evaluation.intervals import bootstrap, paired
from segue.evaluation.result import Evaluation
from segue.files import read_json, read_npz, write_json, write_npz

CUTOFFS = {"R@1": 1, "R@5": 5, "R@10": 10, "Contain@50": 50}


@dataclass(frozen=True)
class Ranks:
    """Ranks of one option under one seed; ``fresh`` are those among unseen documents only, empty where not measured."""

    ranks: np.ndarray
    fresh: np.ndarray
    targets: np.ndarray
    groups: np.ndarray

    @classmethod
    def of_folds(cls, folds: list[Evaluation]) -> Ranks:
        """Join the test windows of all folds; every document is a test document of one."""
        parts = [(one.ranks, one.ranks_by_pool.get("fresh", one.ranks[:0]), one.targets, one.groups) for one in folds]
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class OneSeed:
    """A finished run, or what ``--keep`` wrote of it."""

    seed: int
    documents: int
    pool: int
    options: dict[str, Ranks]

    @classmethod
    def read(cls, path: Path) -> OneSeed:
        """Read a run folder, or a file of ranks."""
        if path.suffix == ".npz":
            kept = read_npz(path)
            about = {name: int(kept.pop(name)) for name in ("seed", "documents", "pool")}
            names = sorted({key.split("/")[0] for key in kept})
            each = {name: {part.name: kept[f"{name}/{part.name}"] for part in fields(Ranks)} for name in names}
            return cls(**about, options={name: Ranks(**parts) for name, parts in each.items()})
        found: dict[str, list[Evaluation]] = {}
        for folder in sorted(path.glob("options/*/fold-*/evaluation")):
            found.setdefault(folder.parts[-3], []).append(Evaluation.load(folder))
        folds = max(found.values(), key=len)
        options = {name: Ranks.of_folds(several) for name, several in found.items() if len(several) == len(folds)}
        seed = read_json(path / "recipe.json")["training"]["seed"]
        return cls(seed, sum(one.num_documents for one in folds), folds[0].pool_size, options)

    def keep(self, path: Path) -> None:
        """Write the ranks, so that other seeds can be added on another day."""
        arrays = {f"{name}/{part}": values for name, one in self.options.items() for part, values in vars(one).items()}
        about = {"seed": self.seed, "documents": self.documents, "pool": self.pool}
        write_npz(path, {name: np.array(value) for name, value in about.items()} | arrays, compressed=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, or files that --keep wrote")
    parser.add_argument("--subject", required=True, help="the row that is compared with all others")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="where the ranks of the only run go (.npz)")
    args = parser.parse_args()
    read = [OneSeed.read(path) for path in args.runs]
    if args.keep:
        (only,) = read
        only.keep(args.keep)
    found = {name: [one.options[name] for one in read] for name in common(read)}
    subject = found[args.subject]
    rows = [row(name, several, subject) for name, several in found.items()]
    write_json(args.json, {"environment": surroundings(), "subject": args.subject, "seeds": [one.seed for one in read],
                            "windows": len(subject[0].targets), "documents": read[0].documents, "pool": read[0].pool,
                            "table": rows})  # fmt: skip
    for one in rows:
        difference = one.get("Δ R@5", {"value": 0, "low": 0, "high": 0})
        print(f"{one['name']:28} R@5 {100 * one['R@5']['value']:.1f}  subject {100 * difference['value']:+.1f} "
              f"({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})")  # fmt: skip


def common(read: list[OneSeed]) -> list[str]:
    """Return the options that all seeds have; their windows are the same."""
    names = sorted(set.intersection(*(set(one.options) for one in read)))
    for name in names:
        targets = [one.options[name].targets for one in read]
        assert all(np.array_equal(other, targets[0]) for other in targets), "the runs have other windows"
    return names


def row(name: str, several: list[Ranks], subject: list[Ranks]) -> dict[str, Any]:
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


def averaged(several: list[Ranks]) -> dict[str, np.ndarray]:
    """Return each window's values, averaged over seeds."""
    each = [per_window(one) for one in several]
    return {name: np.mean([values[name] for values in each], axis=0) for name in each[0]}


def per_window(one: Ranks) -> dict[str, np.ndarray]:
    found = {name: (one.ranks <= cutoff).astype(float) for name, cutoff in CUTOFFS.items()}
    found["MRR"] = 1.0 / one.ranks
    if len(one.fresh):
        found["R@5 fresh"] = (one.fresh <= 5).astype(float)
    return found


if __name__ == "__main__":
    main()
