"""Fuzzing: inputs that nobody would write, for everything that reads what others wrote.

    python -m benchmarks.fuzzing --minutes 2 --json benchmarks/results/fuzzing.json

A target (``tests/fuzz_targets.py``) may return or raise a ``SegueError``, within 3 seconds of processor time for 100 kB
and 4 GB of memory; anything else is a fault. Four engines draw the inputs: ``pieces`` repeats and nests each piece that
means something to a reader, at two sizes, so that time that grows faster than the input is seen; ``mutations`` changes
valid inputs at random places; ``hypothesis`` draws texts and values by their structure; ``atheris`` is guided by which
lines of Segue an input reaches. Each target and engine is a process of its own, so a crash ends only that one and is
a fault. Counts are added to those in the JSON file, whose ``open`` lists the faults of the last run of ``pieces``. An
input that makes a fault is written to ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.surroundings import surroundings
from segue.files import JsonObject, read_json, write_json

MEMORY_BYTES = 4 * 2**30
SECONDS_OF_100_KB = 3.0
ENGINES = ("pieces", "mutations", "hypothesis", "atheris")
SMALL, LARGE = 12_500, 100_000
"""Bytes of the repeated pieces; eight times the input may take at most ``MOST_GROWTH`` times as long."""
MOST_GROWTH, NOTICED_SECONDS = 20.0, 0.5
LEAST_SECONDS = 0.05
NAMES = (
    "dump",
    "html",
    "markdown",
    "rst",
    "text",
    "jsonl",
    "beir",
    "dialogue",
    "parquet",
    "npy",
    "recipe",
    "checkpoint config",
    "bundle manifest",
    "requests",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target with each engine that has no end")
    parser.add_argument("--targets", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the mutations; other seeds, other inputs"
    )
    parser.add_argument("--json", type=Path, help="counts so far, which this run adds to")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzzing"), help="folder for inputs that make faults")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # "target/engine": the process of one
    args = parser.parse_args()
    if args.only:
        _one(*args.only.split("/"), seconds=60 * args.minutes, seed=args.seed, keep=args.keep)
        return
    args.keep.mkdir(parents=True, exist_ok=True)
    faults = 0
    for target in args.targets:
        for engine in args.engines:
            found = _in_a_process(target, engine, args)
            faults += len(found["faults"])
            print(
                f"{target}, {engine}: {found['inputs']:,} inputs, {found['seconds']:.0f} s, "
                f"slowest {found['slowest_seconds']:.2f} s, {len(found['faults'])} faults",
                flush=True,
            )
            for fault, path in found["faults"].items():
                print(f"    {fault}  ({path})", flush=True)
            if args.json:
                _add(args.json, target, engine, found)
    sys.exit(bool(faults))


def _in_a_process(target: str, engine: str, args: argparse.Namespace) -> JsonObject:
    """Run one target with one engine; a process that dies is a fault, with the input it was reading."""
    words = [
        "--only",
        f"{target}/{engine}",
        "--minutes",
        str(args.minutes),
        "--seed",
        str(args.seed),
        "--keep",
        str(args.keep),
    ]
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzzing", *words], capture_output=True, text=True, check=False
    )
    state = _state(args.keep, target, engine)
    found: JsonObject = json.loads(state.read_text()) if state.exists() else dict(NOTHING, faults={})
    state.unlink(missing_ok=True)
    if answer.returncode:
        said = (answer.stderr.strip().splitlines() or [""])[-1][:200]
        found["faults"][f"the process ended with {answer.returncode}: {said}"] = str(
            _current(args.keep, target, engine)
        )
    return found


NOTHING = {"inputs": 0, "seconds": 0.0, "slowest_seconds": 0.0, "faults": {}}


def _add(path: Path, target: str, engine: str, found: JsonObject) -> None:
    """Add the counts of a run to the file; faults are listed by what they are."""
    whole = read_json(path) if path.exists() else {"inputs": 0, "seconds": 0.0, "targets": {}}
    known = whole["targets"].setdefault(target, {}).setdefault(engine, {**NOTHING, "faults": []})
    for name in ("inputs", "seconds"):
        known[name] = round(known[name] + found[name], 1)
        whole[name] = round(whole[name] + found[name], 1)
    known["slowest_seconds"] = max(known["slowest_seconds"], found["slowest_seconds"])
    known["faults"] = sorted({*known["faults"], *found["faults"]})
    whole.setdefault("open", {})
    if engine == "pieces":  # its inputs are always the same: what it no longer finds is mended
        whole["open"].pop(target, None)
        whole["open"] |= {target: sorted(found["faults"])} if found["faults"] else {}
    write_json(
        path, {"environment": surroundings(), **{key: value for key, value in whole.items() if key != "environment"}}
    )


def _state(keep: Path, target: str, engine: str) -> Path:
    return keep / f"{target.replace(' ', '-')}-{engine}.json"


def _current(keep: Path, target: str, engine: str) -> Path:
    return keep / f"{target.replace(' ', '-')}-{engine}.input"


class Watch:
    """Runs inputs, and writes what was found to the state file, now and then and at the end."""

    def __init__(self, target: Any, engine: str, keep: Path) -> None:
        self.target, self.keep = target, keep
        self.state, self.current = _state(keep, target.name, engine), _current(keep, target.name, engine)
        self.inputs, self.slowest, self.faults = 0, 0.0, dict[str, str]()
        self.began = self.written = time.monotonic()

    def run(self, data: bytes, what: str = "") -> float:
        """Run one input and return its processor time, seconds."""
        from fuzz_targets import attempt

        if self.target.name in CRASHABLE:
            self.current.write_bytes(data)
        began = time.process_time()
        found = attempt(self.target, data)
        seconds = time.process_time() - began
        self.inputs += 1
        self.slowest = max(self.slowest, seconds)
        if found is not None:
            self.fault(found.fault, data)
        allowed = SECONDS_OF_100_KB * max(1.0, len(data) / LARGE)
        if seconds > allowed:
            self.fault(f"slow: {what or 'more than 3 seconds for 100 kB'}", data)
        if time.monotonic() > self.written + 5:
            self.write()
        return seconds

    def fault(self, fault: str, data: bytes) -> None:
        if fault not in self.faults and len(self.faults) < 50:
            path = self.keep / f"{self.target.name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:10]}"
            path.write_bytes(data)
            self.faults[fault] = str(path)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def write(self) -> None:
        self.written = time.monotonic()
        record = {
            "inputs": self.inputs,
            "seconds": self.seconds,
            "slowest_seconds": round(self.slowest, 3),
            "faults": self.faults,
        }
        self.state.write_text(json.dumps(record))


CRASHABLE = ("parquet", "html")
"""Targets whose readers are in C++: their input is on the disk while it is read."""


def _one(name: str, engine: str, *, seconds: float, seed: int, keep: Path) -> None:
    """Run one target with one engine, in this process."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    scratch = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder, contextlib.ExitStack() as stack:
        instrument = _instrumented() if engine == "atheris" else contextlib.nullcontext()
        with instrument:
            target = _target(name, Path(folder), stack)
        for data in target.seeds:
            target.run(data)  # a seed is read; what is imported or built at first is there now
        watch = Watch(target, engine, keep)
        {"pieces": _pieces, "mutations": _mutations, "hypothesis": _hypothesis, "atheris": _atheris}[engine](
            watch, seconds, seed
        )
        watch.write()
        watch.current.unlink(missing_ok=True)


def _target(name: str, folder: Path, stack: contextlib.ExitStack) -> Any:
    import fuzz_targets

    if name != "requests":
        return fuzz_targets.targets(folder)[name]
    from bundle_world import make_run

    return fuzz_targets.request_target(
        make_run(folder, names=("copy-last-rerank",)).bundle("copy-last", folder / "bundle"), stack
    )


def _pieces(watch: Watch, seconds: float, seed: int) -> None:
    """Repeat each piece; eight times the input may not take much more than eight times as long."""
    large = dict(watch.target.repeats(LARGE))
    for what, small in watch.target.repeats(SMALL):
        short = watch.run(small, what)
        if short > SECONDS_OF_100_KB:
            continue
        long = watch.run(large[what], what)
        if long > NOTICED_SECONDS and long > MOST_GROWTH * max(short, LEAST_SECONDS / 8):
            watch.fault(f"grows: {what}: {short:.3f} s, then {long:.2f} s for eight times the input", large[what])


def _mutations(watch: Watch, seconds: float, seed: int) -> None:
    from fuzz_targets import Mutator

    mutator = Mutator(watch.target, seed)
    while watch.seconds < seconds:
        watch.run(mutator.draw())


def _hypothesis(watch: Watch, seconds: float, seed: int) -> None:
    """Draw by structure until the time is over."""
    from fuzz_targets import structured
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    quiet = settings(
        max_examples=2000,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    rounds: Iterator[int] = iter(range(seed, seed + 10**6))
    while watch.seconds < seconds:

        @seeded(next(rounds))
        @quiet
        @given(structured(watch.target))
        def run(data: bytes) -> None:
            if watch.seconds < seconds:
                watch.run(data)

        run()


def _instrumented() -> Any:
    import atheris  # type: ignore[import-not-found, unused-ignore]  # a development extra

    return atheris.instrument_imports(include=["segue"], enable_loader_override=False)


def _atheris(watch: Watch, seconds: float, seed: int) -> None:
    """Let libFuzzer draw; half of its changes are those of ``Mutator``. It ends the process itself."""
    import atheris
    from fuzz_targets import Mutator

    mutator = Mutator(watch.target, seed)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        mutator.random.seed(number)
        return mutator.change(data)[:most] if number % 2 else atheris.Mutate(data, most)

    def run(data: bytes) -> None:
        if watch.seconds > seconds:
            watch.write()
            watch.current.unlink(missing_ok=True)
            os._exit(0)
        watch.run(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(watch.target.seeds):
            (Path(corpus) / str(number)).write_bytes(data)
        words = [sys.argv[0], corpus, f"-seed={seed % 2**31}", "-max_len=8000", "-rss_limit_mb=0", "-verbosity=0"]
        atheris.Setup(words, run, custom_mutator=mutate)
        atheris.Fuzz()


Engine = Callable[[Watch, float, int], None]

if __name__ == "__main__":
    main()
