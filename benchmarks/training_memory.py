"""Measure what a training window costs in memory: row numbers, beside windows whose vectors are materialised.

    python -m benchmarks.training_memory [--windows 10000 20000 40000] [--out FILE]

Prints JSON. A figure is the median over processes of their own (the peaks of equal processes differ by about 0.1 MB) of
the peak of RssAnon (anonymous memory; pages of the mapped bank do not count, the kernel can drop them at any time)
while windows are made and trained on, after imports and one warming-up training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.memory import PeakMemory
from benchmarks.surroundings import surroundings
from segue.models import ModelSettings, build_model
from segue.training.losses.loss import LOSSES, build_loss
from segue.training.train import TrainingSettings, train
from segue.types import Windows
from segue.windows.windows import WindowSettings, make_windows

DIMENSION, CONTEXT, DOCUMENT = 768, 5, 45  # 40 windows a document
LARGEST = 40_000 // (DOCUMENT - CONTEXT)
STEPS = 100  # the same at every size, since more steps show higher peaks; into a second epoch of 40,000 windows
# Freed arrays go back to the system at once; otherwise what malloc keeps for later (up to 30 MB) hides the windows.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class MappedBank:
    """Synthetic unit vectors in one memory-mapped file; documents of equal length."""

    vectors: np.ndarray
    space: Any = None
    manifest: dict[str, Any] = field(default_factory=dict)
    path: Any = None
    has_texts: bool = False

    def __post_init__(self) -> None:
        rows, documents = np.arange(len(self.vectors)), len(self.vectors) // DOCUMENT
        columns = {
            "document_of": (rows // DOCUMENT).astype(np.int32),
            "position": (rows % DOCUMENT).astype(np.int32),
            "duplicate_group": rows.astype(np.int64),
            "alive": np.ones(len(rows), dtype=bool),
            "first_row": np.arange(documents) * DOCUMENT,
            "num_rows": np.full(documents, DOCUMENT),
            "document_ids": [str(number) for number in range(documents)],
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.vectors[rows], dtype=np.float32)

    def blocks(self, rows_per_block: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self), rows_per_block):
            yield start, np.asarray(self.vectors[start : start + rows_per_block], dtype=np.float32)


def write_vectors(path: Path) -> None:
    """Write the bank's vectors block by block."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (LARGEST * DOCUMENT, DIMENSION))
    for start in range(0, len(vectors), 4500):
        block = np.random.default_rng(start).standard_normal((len(vectors[start : start + 4500]), DIMENSION))
        vectors[start : start + 4500] = block / np.linalg.norm(block, axis=1, keepdims=True)
    vectors.flush()


def measure(bank_path: Path, windows: int, kind: str) -> int:
    """Train on so many windows and return the peak of anonymous memory, in bytes."""
    bank = MappedBank(np.load(bank_path, mmap_mode="r"))
    run_training(bank, windows_of(bank, 800), bank_path.parent / "warm")
    with PeakMemory() as memory:
        chosen = windows_of(bank, windows)
        if kind == "materialised":
            bank, chosen = materialise(bank, chosen)
        run_training(bank, chosen, bank_path.parent / f"{kind}-{windows}")
    assert memory.peak is not None, "only Linux reports RssAnon"
    return memory.peak


def windows_of(bank: MappedBank, count: int) -> Windows:
    return make_windows(bank, np.arange(count // (DOCUMENT - CONTEXT)), WindowSettings(context=CONTEXT))


def materialise(bank: MappedBank, windows: Windows) -> tuple[MappedBank, Windows]:
    """Copy each window's six vectors, as training scripts of the field do: (window, context + 1, dim) in memory."""
    rows = np.column_stack([windows.context, windows.target])
    copies = np.empty((*rows.shape, DIMENSION), dtype=np.float32)
    for start in range(0, len(rows), 1000):
        copies[start : start + 1000] = bank.gather(rows[start : start + 1000])
    held = MappedBank(bank.vectors)
    flat = copies.reshape(-1, DIMENSION)
    object.__setattr__(held, "gather", lambda wanted: flat[wanted % len(flat)])
    return held, windows


def run_training(bank: MappedBank, windows: Windows, folder: Path) -> None:
    torch.manual_seed(1)
    predictor = build_model(ModelSettings(name="mlp", size="toy"), dimension=DIMENSION, context=CONTEXT)
    train(
        predictor, build_loss(LOSSES["infonce"], DIMENSION), bank, windows,
        settings=TrainingSettings(steps=STEPS, evaluations=1), score=lambda _: {"MRR": 0.0}, folder=folder,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        path, windows, kind = options.child
        print(measure(Path(path), int(windows), kind))
        return
    text = json.dumps(report(options.windows, options.repeats), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def report(counts: list[int], repeats: int) -> dict[str, Any]:
    """Measure both kinds at every size; slopes are between the smallest and the largest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        write_vectors(path)
        peaks = {
            kind: [int(statistics.median(in_child(path, count, kind) for _ in range(repeats))) for count in counts]
            for kind in ("row numbers", "materialised")
        }
    return {
        "benchmark": "training_memory",
        "windows": counts,
        "dimension": DIMENSION,
        "context": CONTEXT,
        "repeats": repeats,
        "peak_anonymous_bytes": peaks,
        "bytes_per_window": {
            kind: round((values[-1] - values[0]) / (counts[-1] - counts[0]), 1) for kind, values in peaks.items()
        },
        "environment": surroundings(),
    }


def in_child(path: Path, windows: int, kind: str) -> int:
    command = [sys.executable, __file__, "--child", str(path), str(windows), kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | MALLOC).stdout)


if __name__ == "__main__":
    main()
