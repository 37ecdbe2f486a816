"""Compare the report's losses and the anchored models on a JSONL file of documents, one split, one architecture.

    python -m benchmarks.manuals manuals.jsonl.gz --model gru --minutes 7 --out runs/manuals-gru

Writes ``benchmarks/results/manuals_<model>.json``: every option's metrics with intervals, and its paired differences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import segue
from segue.progress import visible
from segue.recipe import Recipe, parse_recipe

RESULTS = Path(__file__).parent / "results"
OPTIONS = ("ar-cosine", "infonce-projected", "infonce-ar", "infonce", "mlp")
SHOWN = ("R@1", "R@5", "R@10", "Contain@50", "MRR", "cosine")


def main() -> None:
    """Run the comparison and write what it came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("documents", type=Path)
    parser.add_argument("--model", default="gru")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    comparison = segue.triage(recipe(args.documents, args.model, args.minutes, args.out), args.out, stages=visible())
    path = RESULTS / f"manuals_{args.model}.json"
    path.write_text(json.dumps(summary(comparison.record.to_json()), indent=1) + "\n", encoding="utf-8")
    print(path)


def recipe(documents: Path, model: str, minutes: float, out: Path) -> Recipe:
    """Return the recipe; all models share one bank beside their run folders."""
    return parse_recipe(
        {
            "title": f"Which passage comes next? {documents.name.split('.')[0]}, {model}",
            "gates": "report",
            "corpus": {"kind": "jsonl", "path": str(documents)},
            "passages": {"target_characters": 420, "maximum_passages": 80},
            "bank": {"path": str(out.parent / "bank")},
            "split": {"test": 0.1, "validation": 0.1, "seed": 1},
            "model": {"name": model},
            "training": {"epochs": 12},
            "triage": {"options": (*OPTIONS, model), "budget_minutes": minutes},
        }
    )


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """Keep what the log quotes."""
    about = {name: record[name] for name in ("segue", "created", "pool", "windows", "documents", "seeds", "machine")}
    rows = {
        row["name"]: {
            "status": row["status"],
            "metrics": {name: row["metrics"][name] for name in SHOWN if name in row["metrics"]},
            "delta": row["delta"],
            "steps": row["training"] and row["training"]["steps"],
            "best_steps": row["training"] and row["training"]["best_steps"],
            "compatibility": row["compatibility"],
        }
        for row in record["entries"]
    }
    return {**about, "winner": record["winner"], "gates": record["gates"], "options": rows}


if __name__ == "__main__":
    main()
