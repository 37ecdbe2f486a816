"""A bank and a comparison on one process, on two, on Ray, and on Ray with workers killed: the same bits, and the cost.

``python -m benchmarks.ray --repeats 3 --json benchmarks/results/ray.json`` takes articles of the demo. Each way builds
its own bank and compares the same options over two folds, with the steps that the first way planned. On Ray, two tasks
run at a time, on a cluster of this machine that starts and ends with each stage that uses it. In the last way one
process gets SIGKILL while a shard is encoded, and another one while a model is trained.

With ``--repeats`` the ways take turns; seconds are medians, with the least and greatest. The overhead of Ray is the
difference to two local processes, turn by turn: its start is in each stage that uses it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes import sha256_of_ranks
from benchmarks.speed.turns import spread
from benchmarks.surroundings import surroundings
from segue.cluster import ComputeSettings
from segue.comparison.job import finished_results
from segue.files import write_json
from segue.hardware import limit_threads
from segue.recipe import Recipe
from segue.workflows.demo import demo_recipe
from segue.workflows.prepare import bind_job, experiment_of, open_bank
from segue.workflows.triage import run_comparison

WAYS = {
    "one process": ComputeSettings(processes=1, threads=1),
    "two processes": ComputeSettings(processes=2, threads=1),
    "Ray": ComputeSettings(executor="ray", processes=2),
    "Ray, two workers killed": ComputeSettings(executor="ray", processes=2),
}
TIMED = "_ms"
"""Ends the names of metrics that a clock measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=106, help="articles of the demo, which has 106")
    parser.add_argument("--shard-passages", type=int, default=512)
    parser.add_argument("--options", default="core", help='a preset, or names: "mlp,infonce"')
    parser.add_argument("--steps", type=int, help="optimiser steps of each option (else: as the budget holds)")
    parser.add_argument("--address", help="a cluster of this machine, instead of one that each way starts")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--repeats", type=int, default=1, help="turns of each way")
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    limit_threads(1)
    taken: dict[str, list[dict[str, Any]]] = {way: [] for way in args.ways}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(args.repeats):
            for way, turns in taken.items():
                turns.append(once(way, Path(scratch) / str(turn), args, plan=Path(scratch) / "plan.json"))
                print(way, json.dumps(turns[-1]), flush=True)
    every = [one for turns in taken.values() for one in turns]
    same = {key: len({str(one[key]) for one in every}) == 1 for key in ("bank", "ranks", "metrics")}
    ways = {way: {**turns[0], "killed": [one["killed"] for one in turns], "seconds": by_stage(turns)}
            for way, turns in taken.items()}  # fmt: skip
    record: dict[str, Any] = {"documents": args.documents, "repeats": args.repeats, "ways": ways, "same": same,
                              **surroundings()}  # fmt: skip
    if {"two processes", "Ray"} <= taken.keys():
        record["overhead_seconds"] = by_stage(taken["Ray"], less=taken["two processes"])
    print(f"the same: {same}; overhead of Ray over local processes: {record.get('overhead_seconds')}")
    if args.json:
        write_json(args.json, record)
    if not all(same.values()):
        raise SystemExit("the ways differ")


def by_stage(turns: list[dict[str, Any]], less: list[dict[str, Any]] | None = None) -> dict[str, dict[str, float]]:
    """Return the median, least and greatest seconds of each stage; ``less``: of the difference, turn by turn."""
    others = less or [{"seconds": dict.fromkeys(one["seconds"], 0.0)} for one in turns]
    pairs = [(one["seconds"], other["seconds"]) for one, other in zip(turns, others, strict=True)]
    values = {stage: spread([mine[stage] - theirs[stage] for mine, theirs in pairs]) for stage in pairs[0][0]}
    return {stage: {name: round(value, 1) for name, value in found.items()} for stage, found in values.items()}


def once(way: str, scratch: Path, args: argparse.Namespace, *, plan: Path) -> dict[str, Any]:
    """Build a bank and compare in a new folder; return hashes, and seconds by stage."""
    folder = scratch / way.replace(" ", "-")
    compute = WAYS[way]
    if compute.executor == "ray":
        compute = compute.model_copy(update={"address": args.address})
    recipe = recipe_of(folder, args, compute, plan)
    killed: list[str] = []
    kills = "killed" in way
    began = time.monotonic()
    with killing(lambda: any((folder / "bank").glob("shard-*.json")), killed) if kills else contextlib.nullcontext():
        bank = open_bank(recipe)
    seconds = {"bank": time.monotonic() - began}
    out = folder / "run"
    training = "options/*/fold-*/training"
    with killing(lambda: any(out.glob(training)), killed) if kills else contextlib.nullcontext():
        comparison = run_comparison(recipe, recipe.chosen_options(), out, bank=bank, with_report=False)
    seconds |= comparison.record.seconds
    if not plan.exists():
        plan.write_bytes((out / "plan.json").read_bytes())
    job = bind_job(recipe, experiment_of(recipe, bank), recipe.chosen_options(), out)
    results = finished_results(job)
    metrics = json.dumps(untimed(comparison.to_json()["options"]), sort_keys=True)
    return {
        "bank": bank.hash,
        "shards": len(bank.manifest.shards),
        "passages": len(bank),
        "ranks": sha256_of_ranks(results),
        "metrics": hashlib.sha256(metrics.encode()).hexdigest()[:16],
        "measured options": sum(entry.measured for entry in comparison.record.entries),
        "folds": comparison.record.folds,
        "killed": killed,
        "seconds": {stage: round(spent, 1) for stage, spent in seconds.items()},
    }


def recipe_of(folder: Path, args: argparse.Namespace, compute: ComputeSettings, plan: Path) -> Recipe:
    """Return the demo's recipe on fewer articles, with a plan that is there already or is made of ``--steps``."""
    recipe = demo_recipe(folder)
    options = args.options if "," not in args.options else tuple(args.options.split(","))
    triage = recipe.triage.model_copy(update={"options": options, "encoder_share": None})
    recipe = recipe.model_copy(
        update={
            "corpus": recipe.corpus.model_copy(update={"maximum_documents": args.documents}),
            "bank": recipe.bank.model_copy(update={"shard_passages": args.shard_passages}),
            "encoder": recipe.encoder.model_copy(update={"precision": "float32"}),
            "compute": compute,
            "triage": triage,
        }
    )
    if args.steps and not plan.exists():
        steps = {option.name: args.steps for option in recipe.chosen_options() if option.planned}
        record = {"steps": steps, "steps_per_second": {}, "score_seconds": 0.0, "budget_minutes": 1.0}
        write_json(plan, {"format": 1, **record})
    if plan.exists():
        recipe = recipe.model_copy(update={"triage": triage.model_copy(update={"plan": str(plan)})})
    return recipe


def untimed(value: Any) -> Any:
    """Leave out of a record what a clock measured."""
    if isinstance(value, dict):
        return {key: untimed(one) for key, one in value.items() if not key.endswith(TIMED)}
    return [untimed(one) for one in value] if isinstance(value, list) else value


@contextlib.contextmanager
def killing(when: Callable[[], bool], killed: list[str]) -> Iterator[None]:
    """Send SIGKILL to one busy process of this machine's Ray cluster as soon as ``when`` holds, once."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            if when() and (busy := ray_workers()):
                killed.append(busy[0].cmdline()[0])
                busy[0].kill()
                return

    killer = threading.Thread(target=watch, daemon=True)
    killer.start()
    try:
        yield
    finally:
        ended.set()
        killer.join()


def ray_workers() -> list[psutil.Process]:
    """Return the processes of this machine's cluster that have a task or an actor of Segue, the busiest first."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, IndexError):
            title = process.cmdline()[0]
            if title.startswith("ray::") and ("_run" in title or "_Actor" in title):
                found.append((sum(process.cpu_times()[:2]), process))
    return [process for _, process in sorted(found, key=lambda one: -one[0])]


if __name__ == "__main__":
    main()
