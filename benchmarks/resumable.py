"""What the benchmarks on a bank share: which bank, and results that are written unit by unit.

A unit is one training or one fit. Its result is appended to a file of lines as soon as it is known; a run that was
killed is begun again with the same arguments and goes on after the last whole line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.checks import Case
from segue.checks.build_case import case_of_experiment
from segue.evaluation.experiment import build_experiment
from segue.files import write_json
from segue.hardware import limit_threads
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

DEMO = Path("runs/demo/bank")


def parser_of(doc: str | None, *, windows: int = 2000, seeds: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all of them take."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bank", type=Path, help="folder of a bank")
    source.add_argument("--demo", action="store_true", help=f"the demo's bank, {DEMO}, as `segue demo` builds it")
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each unit; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--windows", type=int, default=windows, help="most validation windows to evaluate")
    parser.add_argument("--context", type=int, default=5)
    return parser


def open_case(args: argparse.Namespace) -> Case:
    """Return the bank's windows in a split of 80 : 10 : 10 documents; the test part is not used."""
    limit_threads()
    bank = PassageBank.open(args.bank or DEMO)
    experiment = build_experiment(bank, SplitSettings(seed=1), WindowSettings(context=args.context))
    return case_of_experiment(experiment)


class Units:
    """The results so far, and the file they are appended to; ``total`` is 0 where nobody knows it."""

    def __init__(self, path: Path, *, total: int) -> None:
        self.path, self.total, self.began = path, total, time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = _read(path)
        self.done: list[dict[str, Any]] = []
        self.fresh = 0

    def one(self, key: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the unit's result, from the file where it stands there."""
        name = json.dumps(key, sort_keys=True)
        if name not in self.known:
            began = time.perf_counter()
            record = {"unit": key, **work(), "seconds": round(time.perf_counter() - began, 2)}
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
            self.known[name] = record
            self.fresh += 1
        self.done.append(self.known[name])
        self._print_progress(name)
        return self.known[name]

    def _print_progress(self, name: str) -> None:
        done, spent = len(self.done), time.perf_counter() - self.began
        left = (self.total - done) * spent / self.fresh if self.fresh else 0.0
        of = f"/{self.total}, {spent:.0f} s, about {left:.0f} s left" if self.total else f", {spent:.0f} s"
        print(f"{done}{of}: {name}", file=sys.stderr, flush=True)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read whole lines; the last one may have been cut by a kill, and is cut off so that the next begins afresh."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    records = [json.loads(line) for line in whole.splitlines()]
    return {json.dumps(record["unit"], sort_keys=True): record for record in records}


def write_summary(args: argparse.Namespace, case: Case, summary: dict[str, Any]) -> None:
    """Write the summary beside what it depends on, and print it where no file was named."""
    said = {name: value for name, value in vars(args).items() if name not in ("bank", "out", "json")}
    parts = {part: len(getattr(case.folds[0], part)) for part in ("train", "validation")}
    bank = {"name": "demo" if args.demo else args.bank.name, "hash": case.bank.hash,
            "passages": len(case.bank), "documents": len(case.bank.first_row), "windows": parts}  # fmt: skip
    record = {"environment": surroundings(), "settings": said, "bank": bank, **summary}
    if args.json:
        write_json(args.json, record)
    else:
        print(json.dumps(record, indent=1))
