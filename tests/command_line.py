"""The command line on precomputed vectors, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import worlds

from recipes import write_import
from segue.cli.main import main


def write_corpus(folder: Path, *, documents: int = 16, length: int = 10) -> Path:
    """Write a world's vectors and texts as files, and a recipe that imports them."""
    bank = worlds.drift_world(1, documents, length, 16)
    names = [bank.document_ids[number] for number in bank.document_of]
    columns = {"document_id": names, "position": bank.position, "text": bank.texts(np.arange(len(bank)))}
    return write_import(folder, bank.vectors, columns, triage={"options": ["ar-cosine", "infonce"]})


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
