"""Measure how often integrity checks block healthy experiments, how surely faults are found, and causes named rightly.

Three parts, each over synthetic worlds of texts (``tests/faults/story.py``) with seeds of their own:

``error``  small healthy experiments (15 to 60 documents of 8 to 24 passages, 16 to 64 dimensions, two trained options
           of 40 steps): which integrity checks raise an issue, though nothing is wrong.
``power``  the healthy experiment of the tests, at its size, with faults injected: the share of seeds in which each
           statistical check raises what the fault declares.
``cause``  the same experiment with the faults that no rule for causes was written on, all checks: is the root cause
           named?

Every result is a line of a ``.jsonl`` beside the answer, so that an interrupted run goes on where it was.

    OMP_NUM_THREADS=1 python -m benchmarks.check_error_rates --seeds 200 --out benchmarks/results/check_error_rates.json
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
FAULT_FOLDER = REPOSITORY / "tests" / "faults"
sys.path[:0] = [str(REPOSITORY / "tests"), str(FAULT_FOLDER)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from fault import Fault  # noqa: E402
from healthy import Healthy, run_healthy  # noqa: E402
from scipy.stats import binomtest  # noqa: E402
from story import StoryEncoder, story_world  # noqa: E402

from benchmarks.surroundings import commit, surroundings  # noqa: E402
from segue.checks import AUDIT, CHECKS  # noqa: E402
from segue.checks.run import run_checks  # noqa: E402
from segue.files import write_json  # noqa: E402

STATISTICAL = (
    "SG103", "SG104", "SG113", "SG201", "SG202", "SG203", "SG204", "SG206", "SG207", "SG208", "SG209", "SG211", "SG213",
    "SG215", "SG218", "SG219",
)  # fmt: skip
"""Checks whose verdict depends on which documents were drawn."""
SMALL = ("infonce-projected", "mlp")
STEPS = 40

Line = dict[str, Any]


def all_faults() -> dict[str, Fault]:
    """Every fault of the matrix, by name."""
    modules = sorted(path.stem for path in FAULT_FOLDER.glob("faults_*.py"))
    return {fault.name: fault for name in modules for fault in importlib.import_module(name).FAULTS}


def small_world(seed: int) -> dict[str, int]:
    """Draw the size of a healthy experiment."""
    generator = np.random.default_rng((seed, 77))
    return {
        "documents": int(generator.integers(15, 61)),
        "length": int(generator.integers(8, 25)),
        "dimension": int(generator.choice([16, 32, 64])),
    }


def measure_error(seed: int) -> list[Line]:
    """Run all integrity checks on one healthy experiment."""
    size, began = small_world(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bank = story_world(seed, **size)
        healthy = run_healthy(
            Path(folder) / "run", seed=seed, steps=STEPS, trained=SMALL, bank=bank,
            encoder=lambda: StoryEncoder(size["dimension"]),
        )  # fmt: skip
        findings = run_checks(AUDIT, healthy.case)
    said = {finding.code: finding.statement for finding in findings if finding.outcome in ("issue", "tip", "skipped")}
    outcomes = {finding.code: finding.outcome for finding in findings}
    return [{"part": "error", "seed": seed, "size": size, "outcomes": outcomes, "statements": said,
             "seconds": round(time.perf_counter() - began, 2)}]  # fmt: skip


def measure_power(seed: int, done: set[str]) -> Iterator[Line]:
    """Inject every fault that a statistical check has to find, and run those checks alone."""
    faults = {name: fault for name, fault in all_faults().items() if set(fault.raises) & set(STATISTICAL)}
    left = [fault for name, fault in faults.items() if name not in done]
    for fault, inject in injected(left, seed):
        wanted = {code: outcome for code, outcome in fault.raises.items() if code in STATISTICAL}
        checks = [check for check in CHECKS if check.code in wanted]
        yield ask(
            {"part": "power", "seed": seed, "fault": fault.name, "wanted": wanted},
            lambda inject=inject, checks=checks: {
                "outcomes": {finding.code: finding.outcome for finding in run_checks(checks, inject())}
            },
        )


def measure_causes(seed: int, done: set[str]) -> Iterator[Line]:
    """Inject every unseen fault, run all checks, and derive the root causes."""
    left = [fault for name, fault in all_faults().items() if fault.half == "unseen" and name not in done]
    for fault, inject in injected(left, seed):
        yield ask(
            {"part": "cause", "seed": seed, "fault": fault.name, "cause": fault.cause},
            lambda inject=inject: {"named": causes_of(inject())},
        )


def causes_of(case: Any) -> list[str]:
    """Return the names of the root causes, most fundamental first."""
    from segue.checks.causes import root_causes

    return [cause.name for cause in root_causes(run_checks(CHECKS, case))]


def injected(faults: list[Fault], seed: int) -> Iterator[tuple[Fault, Callable[[], Any]]]:
    """Run the healthy experiment at its full size once, and offer it to each fault."""
    if not faults:
        return
    with tempfile.TemporaryDirectory() as folder:
        healthy: Healthy = run_healthy(Path(folder) / "run", seed=seed)
        for fault in faults:
            yield fault, lambda fault=fault: fault.inject(healthy, Path(folder) / fault.name)


def ask(line: Line, measure: Callable[[], Line]) -> Line:
    """Add what was measured to a line, or why it could not be: a fault need not fit every world."""
    began = time.perf_counter()
    try:
        line |= measure()
    except Exception as error:
        line["failed"] = f"{type(error).__name__}: {error}"[:300]
    return {**line, "seconds": round(time.perf_counter() - began, 2)}


Task = tuple[str, int, frozenset[str]]
"""A part, a seed, and the faults that are done."""


def produce(task: Task) -> Iterable[Line]:
    """Do one part for one seed; faults already done are left out."""
    part, seed, done = task
    torch.set_num_threads(1)
    if part == "error":
        return measure_error(seed)
    return (measure_power if part == "power" else measure_causes)(seed, set(done))


def work(task: Task) -> list[Line]:
    """Do a task in a process of its own."""
    return list(produce(task))


def tasks(counts: dict[str, int], lines: list[Line]) -> list[Task]:
    """List the work that is left; a seed of which some faults are done comes again for the others."""
    done: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in lines:
        done[line["part"], line["seed"]].add(line.get("fault", ""))
    wanted = [(part, seed) for part, count in counts.items() for seed in range(count)]
    return [(part, seed, frozenset(done[part, seed])) for part, seed in wanted
            if not (part == "error" and done[part, seed])]  # fmt: skip


def answers(todo: list[Task], jobs: int) -> Iterator[Line]:
    """Work through the tasks, in order: line by line in this process, or task by task in several."""
    if jobs == 1:
        yield from itertools.chain.from_iterable(map(produce, todo))
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield from itertools.chain.from_iterable(executor.map(work, todo))


def rate(hits: int, total: int) -> Line:
    """Return a share with its exact 95 % interval (Clopper and Pearson, 1934)."""
    if total == 0:
        return {"hits": 0, "total": 0, "share": None, "low": None, "high": None}
    interval = binomtest(hits, total).proportion_ci(0.95, method="exact")
    return {"hits": hits, "total": total, "share": hits / total, "low": float(interval.low),
            "high": float(interval.high)}  # fmt: skip


def summarise_errors(lines: list[Line]) -> Line:
    """Count healthy experiments that were blocked, by code; tips and checks that could not be carried out beside."""
    counted = {outcome: Counter(code for line in lines for code, found in line["outcomes"].items() if found == outcome)
               for outcome in ("issue", "tip", "skipped")}  # fmt: skip
    blocked = sum("issue" in line["outcomes"].values() for line in lines)
    return {
        "experiments": len(lines),
        "blocked": rate(blocked, len(lines)),
        "issues": {check.code: rate(counted["issue"][check.code], len(lines)) for check in AUDIT},
        "tips": dict(counted["tip"]),
        "skipped": dict(counted["skipped"]),
        "examples": [
            {"seed": line["seed"], "size": line["size"], "code": code, "statement": line["statements"][code]}
            for line in lines
            for code, outcome in line["outcomes"].items()
            if outcome == "issue"
        ],
    }


def summarise_power(lines: list[Line]) -> Line:
    """Give, for each statistical check and fault, the share of seeds in which the fault raised what it declares."""
    found: dict[str, dict[str, Line]] = defaultdict(dict)
    for name in sorted({line["fault"] for line in lines}):
        tried = [line for line in lines if line["fault"] == name and "failed" not in line]
        for code in sorted({code for line in tried for code in line["outcomes"]}):
            pairs = [(line["wanted"][code], line["outcomes"][code]) for line in tried if code in line["outcomes"]]
            found[code][name] = {
                **rate(sum(got in (wanted, "issue") for wanted, got in pairs), len(pairs)),
                "declared": pairs[0][0],
                "loud": rate(sum(got in ("issue", "tip") for _, got in pairs), len(pairs)),
            }
    return {"checks": dict(sorted(found.items())), "failed": failures(lines)}


def summarise_causes(lines: list[Line]) -> Line:
    """Give the share of unseen faults whose root cause is named, is named first, and is the only one."""
    tried = [line for line in lines if "failed" not in line]
    with_cause = [line for line in tried if line["cause"] is not None]
    without = [line for line in tried if line["cause"] is None]
    return {
        "named": rate(sum(line["cause"] in line["named"] for line in with_cause), len(with_cause)),
        "named_first": rate(sum(line["named"][:1] == [line["cause"]] for line in with_cause), len(with_cause)),
        "named_alone": rate(sum(line["named"] == [line["cause"]] for line in with_cause), len(with_cause)),
        "silent_where_nothing_is_to_name": rate(sum(not line["named"] for line in without), len(without)),
        "missed": [{key: line[key] for key in ("seed", "fault", "cause", "named")} for line in with_cause
                   if line["named"][:1] != [line["cause"]]],
        "failed": failures(lines),
    }  # fmt: skip


def failures(lines: Iterable[Line]) -> list[Line]:
    """List what could not be carried out."""
    return [{key: line[key] for key in ("seed", "fault", "failed")} for line in lines if "failed" in line]


def read_lines(path: Path) -> list[Line]:
    """Read what is done; a last line that was cut off is dropped."""
    if not path.exists():
        return []
    whole = [text for text in path.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]
    path.write_text("".join(whole), encoding="utf-8")
    return [json.loads(text) for text in whole]


def summarise(lines: list[Line], counts: dict[str, int]) -> Line:
    """Join the parts."""
    by_part = {part: [line for line in lines if line["part"] == part and line["seed"] < count]
               for part, count in counts.items()}  # fmt: skip
    return {
        "commits": sorted({line["commit"] for line in lines}),
        "environment": surroundings(),
        "seeds": counts,
        "error": summarise_errors(by_part["error"]),
        "power": summarise_power(by_part["power"]),
        "cause": summarise_causes(by_part["cause"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="healthy experiments")
    parser.add_argument("--power-seeds", type=int, default=20, help="full-size experiments into which faults go")
    parser.add_argument("--cause-seeds", type=int, default=1, help="full-size experiments for root causes")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "check_error_rates.json")
    chosen = parser.parse_args()
    counts = {"error": chosen.seeds, "power": chosen.power_seeds, "cause": chosen.cause_seeds}
    record = chosen.out.with_suffix(".jsonl")
    record.parent.mkdir(parents=True, exist_ok=True)
    lines, measured = read_lines(record), commit()
    todo = tasks(counts, lines)
    with record.open("a", encoding="utf-8") as file:
        for line in answers(todo, chosen.jobs):
            line["commit"] = measured
            file.write(json.dumps(line) + "\n")
            file.flush()
            lines.append(line)
            print(line["part"], line["seed"], line.get("fault", ""), f"{line['seconds']} s", flush=True)
    summary = summarise(lines, counts)
    write_json(chosen.out, summary)
    print(json.dumps({"blocked": summary["error"]["blocked"], "cause": summary["cause"]["named"]}, indent=1))


if __name__ == "__main__":
    main()
