"""Are spoilt data found, and sound data left alone, on real vectors? The checks of the data alone, on banks of yours.

Of each bank (`segue bank build`), documents of at least 24 passages are taken, their first 24 each, as they are and
spoilt in the ways below. A line says which checks raise an issue. Then the same with made-up essays
(`tests/worlds.py`), over seeds: how often each check raises an issue.

    python -m benchmarks.spoilt_data runs/demo/bank bank/ --json benchmarks/results/spoilt_data.json
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.checks import AUDIT, Case
from segue.checks.run import run_checks
from segue.files import write_json
from segue.hardware import limit_threads
from segue.ranking.pool import Pool

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import worlds

DOCUMENTS, LENGTH = 72, 24
CHECKS = tuple(check for check in AUDIT if check.code in ("SG106", "SG115", "SG116", "SG117"))

Vectors = Float[np.ndarray, "document passage dim"]
Data = tuple[Vectors, list[list[str]], int]
"""Vectors, texts, and passages of each document."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("banks", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=40, help="made-up corpora of 60 documents of 24 passages")
    parser.add_argument("--json", type=Path, required=True, help="where the table goes")
    args = parser.parse_args()
    limit_threads()
    found = {}
    for path in args.banks:
        vectors, texts = take(PassageBank.open(path))
        found[str(path)] = {"documents": len(vectors), **{name: outcomes(spoil(vectors, texts))
                                                          for name, spoil in SPOILT.items()}}  # fmt: skip
        for name, codes in found[str(path)].items():
            print(f"{path}  {name:<28} {codes}", flush=True)
    essays = over_seeds(args.seeds)
    write_json(args.json, {"environment": surroundings(), "length": LENGTH, "found": found, "essays": essays})


def over_seeds(seeds: int) -> Mapping[str, Any]:
    """Return for each way of spoiling essays in how many seeds each check raised an issue or a tip."""
    raised: dict[str, Counter[str]] = {name: Counter() for name in SPOILT}
    for seed in range(seeds):
        texts, vectors = worlds.essay_texts_and_vectors(seed + 1000, documents=60, length=LENGTH)
        for name, spoil in SPOILT.items():
            raised[name].update(f"{code} {outcome}" for code, outcome in outcomes(spoil(vectors, texts)).items())
    for name, counts in raised.items():
        print(f"essays  {name:<28} {dict(counts)}", flush=True)
    return {
        "seeds": seeds,
        "documents": 60,
        "raised": {name: dict(sorted(counts.items())) for name, counts in raised.items()},
    }


def take(bank: PassageBank) -> tuple[Vectors, list[list[str]]]:
    """Return the first passages of the first documents that are long enough."""
    first = bank.first_row[bank.num_rows >= LENGTH][:DOCUMENTS]
    rows = [np.arange(row, row + LENGTH) for row in first.tolist()]
    return np.stack([bank.gather(part) for part in rows]), [bank.texts(part) for part in rows]


def outcomes(data: Data) -> Mapping[str, Any]:
    """Return the issues and tips that the checks raise, with what they measured."""
    vectors, texts, length = data
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float32)
    lengths = [length] * (len(flat) // length)
    rows = sum(lengths)
    bank = worlds.make_bank(flat[:rows], lengths, [text for passages in texts for text in passages][:rows])
    findings = run_checks(CHECKS, Case(bank, Pool(bank)))
    return {finding.code: finding.outcome for finding in findings if finding.outcome in ("issue", "tip")}


def unit(vectors: Vectors) -> Vectors:
    """Return vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def mixed(vectors: Vectors, share: float) -> Vectors:
    """Mix each vector with that of the next passage."""
    result = vectors.copy()
    result[:, :-1] = unit((1 - share) * vectors[:, :-1] + share * vectors[:, 1:])
    return result


def in_a_fifth(vectors: Vectors, axis: int) -> Vectors:
    """Give every fifth document the vectors of the passage before (axis 1) or of another document (axis 0)."""
    result = vectors.copy()
    result[::5] = np.roll(vectors[::5], 1, axis=axis)
    return result


def two_encoders(vectors: Vectors) -> Vectors:
    """Turn the vectors of every other document."""
    dimension, result = vectors.shape[-1], vectors.copy()
    result[::2] @= np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, dimension)))[0]
    return result


def sorted_as_text(vectors: Vectors, texts: list[list[str]]) -> Data:
    """Put passages in the order of their numbers as text."""
    order = sorted(range(LENGTH), key=str)
    return vectors[:, order], [[passages[place] for place in order] for passages in texts], LENGTH


def overlapping(texts: list[list[str]]) -> list[list[str]]:
    """Begin each passage with the last eight words of the one before."""
    return [[passages[0], *(f"{' '.join(before.split()[-8:])} {after}" for before, after in pairwise(passages))]
            for passages in texts]  # fmt: skip


SPOILT: dict[str, Callable[[Vectors, list[list[str]]], Data]] = {
    "as they are": lambda vectors, texts: (vectors, texts, LENGTH),
    "look ahead by 35 %": lambda vectors, texts: (mixed(vectors, 0.35), texts, LENGTH),
    "look ahead by 20 %": lambda vectors, texts: (mixed(vectors, 0.2), texts, LENGTH),
    "passages overlap": lambda vectors, texts: (vectors, overlapping(texts), LENGTH),
    "a fifth one row off": lambda vectors, texts: (in_a_fifth(vectors, 1), texts, LENGTH),
    "a fifth of other documents": lambda vectors, texts: (in_a_fifth(vectors, 0), texts, LENGTH),
    "two encoders": lambda vectors, texts: (two_encoders(vectors), texts, LENGTH),
    "centred by document": lambda vectors, texts: (unit(vectors - vectors.mean(axis=1, keepdims=True)), texts, LENGTH),
    "shards of 50": lambda vectors, texts: (vectors, texts, 50),
    "positions sorted as text": sorted_as_text,
}
"""What is done to the data; none but the first may pass."""


if __name__ == "__main__":
    main()
