"""The comparing stage on one process and on several: the same ranks, and how much shorter.

``python -m benchmarks.processes --json benchmarks/results/processes.json`` runs the demo's comparison on the bank that
``segue demo`` built, in turns, each time in a new run folder. ``--all`` compares every option.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.surroundings import surroundings
from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import Results
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.settings import ComputeSettings
from segue.files import write_json
from segue.hardware import limit_threads
from segue.workflows.demo import demo_recipe
from segue.workflows.prepare import experiment_of, make_job, open_bank


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="folder of a finished demo")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="compare every option")
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    limit_threads()
    plan: Path | None = None
    seconds: dict[int, list[float]] = {1: [], args.processes: []}
    hashes: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(args.repeats):
            for processes, taken in seconds.items():
                out = Path(scratch) / f"{processes}-{repeat}"
                spent, results = compare_once(args.demo, out, processes=processes, every=args.all, plan=plan)
                taken.append(spent)
                hashes.add(sha256_of_ranks(results))
                print(f"{processes} at once: {spent:.1f} s, ranks {sorted(hashes)}", flush=True)
                if plan is None:  # every later run takes the same steps
                    plan = Path(scratch) / "plan.json"
                    shutil.copyfile(out / "plan.json", plan)
    medians = {count: statistics.median(found) for count, found in seconds.items()}
    record: dict[str, Any] = {
        "options": "all" if args.all else "core",
        "seconds": {str(count): [round(one, 1) for one in found] for count, found in seconds.items()},
        "ratio": round(medians[args.processes] / medians[1], 3),
        "sha256_of_ranks": sorted(hashes),
        **surroundings(),
    }
    print(f"{args.processes} processes take {record['ratio']} of the time of one; {len(hashes)} set(s) of ranks")
    if args.json:
        write_json(args.json, record)


def compare_once(demo: Path, out: Path, *, processes: int, every: bool, plan: Path | None) -> tuple[float, Results]:
    """Run the comparing stage in a new folder and return its seconds and results."""
    recipe = demo_recipe(demo, options="all" if every else "core")
    triage = recipe.triage.model_copy(update={"plan": None if plan is None else str(plan)})
    recipe = recipe.model_copy(update={"triage": triage, "compute": ComputeSettings(processes=processes)})
    bank = open_bank(recipe)
    job = make_job(recipe, bank, choose_options(recipe.triage.options), out, experiment=experiment_of(recipe, bank))
    began = monotonic()
    results = run_triage(job, baselines=Baselines(job))
    return monotonic() - began, results


def sha256_of_ranks(results: Results) -> str:
    """Return one hash over the ranks and rankings of every option, fold by fold."""
    digest = hashlib.sha256()
    for name in sorted(results):
        for fold in results[name]:
            if fold.evaluation is not None:
                digest.update(name.encode() + fold.evaluation.ranks.tobytes() + fold.evaluation.rankings.tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
