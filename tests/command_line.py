"""The command line on precomputed vectors, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import worlds

from segue.cli.main import main


def write_corpus(folder: Path, *, documents: int = 16, length: int = 10) -> Path:
    """Write a world's vectors and texts as files, and a recipe that imports them."""
    bank = worlds.drift_world(1, documents, length, 16)
    np.save(folder / "vectors.npy", bank.vectors)
    names = [bank.document_ids[number] for number in bank.document_of]
    table = {"document_id": names, "position": bank.position, "text": bank.texts(np.arange(len(bank)))}
    pq.write_table(pa.table(table), folder / "table.parquet")
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f"""
        [corpus]
        kind = "vectors"
        vectors = "{folder}/vectors.npy"
        table = "{folder}/table.parquet"
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
        steps = 10
        evaluations = 2
        [triage]
        options = ["ar-cosine", "infonce"]
        budget_minutes = 0.2
        [evaluation]
        resamples = 200
        latency_queries = 5
        run_depth = 10
        """
    )
    return recipe


def run(*words: str) -> int:
    """Run the command line in this process and return its exit code."""
    before, sys.argv = sys.argv, ["segue", *words]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
