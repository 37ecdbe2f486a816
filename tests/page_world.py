"""A folder of two finished runs and the bundle of one of them, made through the verbs: what the pages show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bundle_world import DIMENSION, sentence

import segue

DOCUMENTS, LENGTH = 14, 10

RECIPE = """
title = "Volumes"
[corpus]
kind = "jsonl"
path = "{folder}/corpus.jsonl"
[passages]
target_characters = 70
[encoder]
name = "fake_encoder:HashEncoder"
options = {{ dimension = {dimension} }}
[bank]
path = "{folder}/bank"
[windows]
context = 3
[split]
test = 0.3
validation = 0.2
[model]
name = "mlp"
size = "toy"
[training]
batch_size = 32
steps = 6
evaluations = 1
[triage]
options = ["option-3-pure"]
budget_minutes = 0.1
[evaluation]
resamples = 100
latency_queries = 3
run_depth = 12
"""


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
    """Compare a few rows twice over one bank, and build a bundle."""
    write_documents(folder / "corpus.jsonl")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder, dimension=DIMENSION))
    for name in ("first", "second"):
        recipe = segue.load_recipe(folder / "recipe.toml", overrides={"training": {"seed": len(name)}})
        segue.triage(recipe, folder / "runs" / name)
    segue.bundle(folder / "runs" / "first", folder / "bundle", option="option-3-pure", name="Volumes served")
    return World(folder / "runs", folder / "bundle")


def write_documents(path: Path) -> None:
    """Write documents whose ids need care in an address."""
    lines = [{"id": f"volume/{number} №{number}", "title": f"Volume {number}",
              "text": "\n\n".join(sentence(number, place) for place in range(LENGTH))} for number in range(DOCUMENTS)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
