"""Where do the missing points lie: is the target not drawn, its document not found, or its place in the document?

    python -m benchmarks.limits RUN --json benchmarks/results/limits.json

Reads the evaluations of a finished run (one split). Every test window of an option is in one of four cases: *hit*, the
target is among the first five; *order*, it is not, but another passage of its document is; *document*, none of the
first five is of its document, but the target is among the first 50; *far*, it is not. ``in document`` is the rank among
the passages of the target's document that were not read: what is left where the document is known. Its chance is that
of a random order. Intervals are over groups of documents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.evaluation.intervals import bootstrap
from segue.evaluation.result import Evaluation
from segue.files import write_json
from segue.runs.bank import bank_of_run

FIRST, FAR = 5, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--options", nargs="+", default=["copy-last", "tokens", "copy-last-rerank", "rerank"])
    parser.add_argument("--context", type=int, default=5, help="passages that were read")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bank = bank_of_run(args.run)
    document_of, lengths = np.asarray(bank.document_of), np.asarray(bank.num_rows)
    table = {}
    for name in args.options:
        found = Evaluation.load(args.run / "options" / name / "fold-0" / "evaluation")
        table[name] = cases(found, document_of, lengths, args.context)
        print(name, {key: f"{100 * value['value']:.1f}" for key, value in table[name].items()})
    if args.json:
        write_json(args.json, {"environment": surroundings(), "windows": len(found.targets),
                                "documents": len(np.unique(found.documents)), "table": table})  # fmt: skip


def cases(found: Evaluation, document_of: np.ndarray, lengths: np.ndarray, context: int) -> dict[str, Any]:
    """Return the share of every case, with its interval."""
    own = document_of[found.targets]
    first = found.rankings[:, :FIRST]
    there = (first >= 0) & (document_of[np.maximum(first, 0)] == own[:, None])
    hit, near = found.ranks <= FIRST, there.any(axis=1)
    inside = found.ranks_by_pool["in-document"]
    others = lengths[own] - context  # passages that compete where the document is known
    values = {
        "hit": hit,
        "order": ~hit & near,
        "document": ~hit & ~near & (found.ranks <= FAR),
        "far": ~hit & ~near & (found.ranks > FAR),
        "first answer is of the document": there[:, 0],
        "in document, R@1": inside <= 1,
        "in document, R@5": inside <= FIRST,
        "in document, R@5 by chance": np.minimum(1.0, FIRST / others),
    }
    measured = bootstrap({name: np.asarray(value, dtype=np.float64) for name, value in values.items()}, found.groups,
                         ratios={})  # fmt: skip
    return {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in measured.items()}


if __name__ == "__main__":
    main()
