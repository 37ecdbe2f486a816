"""Kill the bank build and the triage at random moments, resume, and compare with an undisturbed run.

    python -m benchmarks.kill_and_resume --kills 10

Real text, the real encoder, real processes, SIGKILL. The bank must end in the same hash, the triage in the same
numbers (those that a clock measured excepted), given the same plan. Prints JSON; exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPE = """
[corpus]
kind = "wikipedia-dump"
path = "demo"
maximum_documents = 24

[bank]
path = "{bank}"
shard_passages = 128

[split]
folds = 2
validation = 0.2

[model]
size = "toy"

[training]
batch_size = 128
steps = 40
evaluations = 4

[evaluation]
latency_queries = 10
run_depth = 10
resamples = 500

[triage]
options = ["ar-cosine", "infonce-projected", "infonce", "gru", "mamba"]
budget_minutes = 30
{plan}
"""
CLOCKED = ("seconds", "latency", "created", "machine", "time")


def main() -> None:
    """Run both experiments and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = experiment(Path(folder), kills=options.kills)
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["bank"]["same"] and found["triage"]["same"] else 1)


def experiment(folder: Path, *, kills: int) -> dict[str, Any]:
    """Run undisturbed, then disturbed, and compare."""
    whole = recipe(folder / "whole.toml", bank=folder / "whole-bank")
    bank_seconds = finish(["bank", "build", str(whole)])
    run_seconds = finish(["triage", str(whole), "--out", str(folder / "whole")])
    plan = f'plan = "{folder / "whole" / "plan.json"}"'
    broken = recipe(folder / "broken.toml", bank=folder / "broken-bank", plan=plan)
    build = ["bank", "build", str(broken)]
    bank_kills = disturb(build, kills=kills, seconds=bank_seconds, done=folder / "broken-bank" / "manifest.json")
    finish(build)
    triage = ["triage", str(broken), "--out", str(folder / "broken")]
    run_kills = disturb(triage, kills=kills, seconds=run_seconds, done=folder / "broken" / "report.json")
    finish(triage)
    hashes = [
        json.loads((folder / name / "manifest.json").read_text())["hash"] for name in ("whole-bank", "broken-bank")
    ]
    records = [without_times(json.loads((folder / name / "triage.json").read_text())) for name in ("whole", "broken")]
    return {
        "bank": {"kills": bank_kills, "undisturbed_seconds": bank_seconds, "hash": hashes[0],
                 "same": hashes[0] == hashes[1]},
        "triage": {"kills": run_kills, "undisturbed_seconds": run_seconds, "options": len(records[0]["entries"]),
                   "same": records[0] == records[1]},
    }  # fmt: skip


def recipe(path: Path, *, bank: Path, plan: str = "") -> Path:
    """Write a recipe."""
    path.write_text(RECIPE.format(bank=bank, plan=plan))
    return path


def finish(words: list[str]) -> float:
    """Run a command to its end and return its seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "segue", *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def disturb(words: list[str], *, kills: int, seconds: float, done: Path) -> int:
    """Start a command and kill it after a random share of its time, ``kills`` times; count the kills that hit it alive.

    Once the work is whole, a further start only reads it: such a start counts as no kill.
    """
    hits = 0
    for _ in range(3 * kills):
        if hits == kills or done.exists():
            break
        process = subprocess.Popen([sys.executable, "-m", "segue", *words], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        wait = START_SECONDS + random.uniform(0.0, max(1.0, 2.0 * (seconds - START_SECONDS) / kills))
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            hits += 1
    return hits


START_SECONDS = 5.0
"""A process needs about this long to import and load before it works; killing it earlier disturbs nothing."""


def without_times(value: Any) -> Any:
    """Leave out what a clock measured, and the latency gate, which judges a clock."""
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name not in CLOCKED and not name.endswith("_ms")}
        return {name: without_times(item) for name, item in kept.items()}
    if isinstance(value, list):
        return [without_times(item) for item in value if not (isinstance(item, dict) and item.get("name") == "latency")]
    return value


if __name__ == "__main__":
    main()
