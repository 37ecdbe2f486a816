"""The comparing stage on one process and on several: the same ranks, and how much shorter.

The processes start while the data are checked, before the stage, as in every triage.

``python -m benchmarks.processes --json benchmarks/results/processes.json`` runs the demo's comparison on the bank that
``segue demo`` built, in turns, each time in a new run folder. ``--all`` compares every option.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.surroundings import surroundings
from segue.comparison.job import Results, finished_results
from segue.comparison.options import choose_options
from segue.comparison.settings import ComputeSettings
from segue.files import write_json
from segue.hardware import limit_threads
from segue.workflows.demo import demo_recipe
from segue.workflows.prepare import bind_job, experiment_of, open_bank
from segue.workflows.triage import run_comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="folder of a finished demo")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="compare every option")
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    limit_threads()
    seconds: dict[int, list[float]] = {1: [], args.processes: []}
    hashes: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(args.repeats):
            for processes, taken in seconds.items():
                out = Path(scratch) / f"{processes}-{repeat}"
                spent, results = compare_once(args.demo, out, processes=processes, every=args.all)
                taken.append(spent)
                hashes.add(sha256_of_ranks(results))
                print(f"{processes} at once: {spent:.1f} s, ranks {sorted(hashes)}", flush=True)
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


def compare_once(demo: Path, out: Path, *, processes: int, every: bool) -> tuple[float, Results]:
    """Compare in a new folder as the demo does, with its plan; return the seconds of the stage and the results."""
    recipe = demo_recipe(demo, options="all" if every else "core")
    triage = recipe.triage.model_copy(update={"plan": str(demo / "plan.json")})
    recipe = recipe.model_copy(update={"triage": triage, "compute": ComputeSettings(processes=processes)})
    options = choose_options(recipe.triage.options)
    bank = open_bank(recipe)
    seconds = run_comparison(recipe, options, out, bank=bank, with_report=False).record.seconds
    return seconds["comparing"], finished_results(bind_job(recipe, experiment_of(recipe, bank), options, out))


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
