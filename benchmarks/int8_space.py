"""What a space in int8 costs: copy-last on a bank in float32, and on the same passages encoded in int8.

``python -m benchmarks.int8_space --documents BANK --cache FOLDER --json benchmarks/results/int8_space.json`` encodes
all passages of a bank of texts in int8 (OpenVINO; ``pip install 'segue[fast]'``), and ranks the target of every window
among all passages in both spaces. No model is trained, so every document is tested. An interrupted encoding is
continued.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.bank.reencoded import reencode_texts
from segue.encoders import EncoderSettings, load_encoder
from segue.encoders.space import difference
from segue.evaluation.intervals import paired
from segue.files import write_json
from segue.hardware import limit_threads
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.types import Bank, Windows
from segue.windows.near_duplicates import document_groups
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

CUTOFFS = {"R@5": 5, "Contain@50": 50}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=Path, required=True, help="bank of texts, encoded in float32")
    parser.add_argument("--cache", type=Path, default=Path("runs/int8"), help="folder of the vectors in int8")
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    limit_threads()
    bank = PassageBank.open(args.documents)
    assert bank.manifest.encoder is not None, "a bank of texts records its encoder"
    changes = {"runtime": "openvino", "precision": "int8"}
    encoder = load_encoder(EncoderSettings.model_validate({**bank.manifest.encoder.model_dump(), **changes}))
    low = reencode_texts(bank, encoder, folder=args.cache)
    groups = document_groups(bank, SplitSettings().near_duplicates)
    windows = make_windows(bank, np.arange(len(bank.document_ids)), WindowSettings(), groups=groups)
    of_window = groups[bank.document_of[windows.target]]
    exact = ranks(bank, bank, windows)
    table: dict[str, Any] = {}
    for name, (queries, searched) in {"int8": (low, low), "queries in float32, bank in int8": (bank, low)}.items():
        found = ranks(queries, searched, windows)
        table[name] = {metric: compared(exact, found, most, of_window) for metric, most in CUTOFFS.items()}
        print(name, table[name], flush=True)
    cosines = np.concatenate([np.einsum("rd,rd->r", block, low.gather(np.arange(start, start + len(block))))
                              for start, block in bank.blocks()])  # fmt: skip
    record = {
        "passages": len(bank), "documents": len(bank.document_ids), "windows": len(windows),
        "precision_of_the_bank": bank.space.precision, "spaces": difference(bank.space, low.space),
        "cosine": {"mean": float(cosines.mean()), "1st percentile": float(np.percentile(cosines, 1)),
                   "least": float(cosines.min())},
        "copy-last": table, "environment": surroundings(),
    }  # fmt: skip
    print(record["cosine"])
    if args.json:
        write_json(args.json, record)


def ranks(queries: Bank, searched: Bank, windows: Windows) -> np.ndarray:
    """Return the exact rank of each target, queried with the vector of the last passage read."""
    pool, found = Pool(searched), []
    for batch in windows.batches(1024):
        contexts = gather_contexts(queries, batch)
        last = contexts.vectors[:, -1].astype(np.float32)
        found.append(target_ranks(last, pool, batch.target, exclude=contexts.exclude))
    return np.concatenate(found)


def compared(exact: np.ndarray, found: np.ndarray, most: int, groups: np.ndarray) -> dict[str, Any]:
    """Return the share of ranks up to ``most`` in float32 and now, and the paired difference with its 95 % interval."""
    before, after = ((one <= most).astype(float) for one in (exact, found))
    apart = paired(after, before, groups).difference
    return {"float32": before.mean(), "found": after.mean(), "difference": apart.value, "low": apart.low,
            "high": apart.high, "windows_that_differ": float((before != after).mean())}  # fmt: skip


if __name__ == "__main__":
    main()
