"""How long `import segue` and `segue --help` take, in fresh processes; beside Python that imports nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks.speed.measurement import BenchSettings, Measurement
from benchmarks.speed.turns import spread
from segue.types import Progress

COMMANDS: Mapping[str, tuple[list[str], float]] = {
    "import-segue": (["-c", "import segue"], 0.5),
    "segue-help": (["-m", "segue", "--help"], 1.0),
}
"""Measurement → arguments of the Python command, and the most seconds."""


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return one row a command; the ratio is seconds, since the target is."""
    rows = []
    for number, (name, (words, target)) in enumerate(COMMANDS.items()):
        ours, empty = [], []
        for _ in range(settings.repeats + 1):
            ours.append(_seconds(words))
            empty.append(_seconds(["-c", ""]))
        seconds = tuple(ours[1:])
        rows.append(Measurement(name, "lower", target, seconds, {"seconds": spread(seconds)},
                        {"engine": "python -c ''", "seconds": spread(empty[1:])},
                        about={"ratio": "seconds by the clock"}))  # fmt: skip
        progress(number + 1, len(COMMANDS), name)
    return rows


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began
