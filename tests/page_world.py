"""A folder of two finished runs and the bundle of one of them, made by the verbs: what the pages show."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bundle_world import DIMENSION, sentence
from processes import environment

from recipes import write_recipe

DOCUMENTS, LENGTH = 14, 10

TABLES = {
    "passages": {"target_characters": 70},
    "encoder": {"name": "fake_encoder:HashEncoder", "options": {"dimension": DIMENSION}},
    "training": {"steps": 6, "evaluations": 1},
    "evaluation": {"resamples": 100, "latency_queries": 3, "run_depth": 12},
}


@dataclass(frozen=True)
class World:
    """What was made.

    Attributes:
        runs: folder of the runs ``first`` and ``second``.
        bundle: of a row of ``first``.
    """

    runs: Path
    bundle: Path


def make_world(folder: Path) -> World:
    """Compare a few rows and build a bundle in a process of its own; the second run is a copy of the first."""
    write_documents(folder / "corpus.jsonl")
    write_recipe(folder, title="Volumes", corpus={"kind": "jsonl", "path": str(folder / "corpus.jsonl")}, **TABLES)
    done = subprocess.run([sys.executable, __file__, str(folder)], env=environment(), capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "second")
    return World(folder / "runs", folder / "bundle")


def compare_and_bundle(folder: Path) -> None:
    """Run the verbs."""
    import segue

    run = folder / "runs" / "first"
    segue.triage(folder / "recipe.toml", run)
    segue.bundle(run, folder / "bundle", option="infonce", name="Volumes served")


def write_documents(path: Path) -> None:
    """Write documents whose ids need care in an address."""
    lines = [{"id": f"volume/{number} №{number}", "title": f"Volume {number}", "text": text_of(number)}
             for number in range(DOCUMENTS)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def text_of(number: int) -> str:
    """Return the text of a document; every sentence is a passage."""
    return "\n\n".join(sentence(number, place) for place in range(LENGTH))


if __name__ == "__main__":
    compare_and_bundle(Path(sys.argv[1]))
