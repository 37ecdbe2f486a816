"""What each part of the first stage is worth: anchor, whole bank, document tower, each kind of negatives.

Each variant is trained as `segue triage` trains (the best of its evaluations on validation), everything but the named
part equal; differences to the reference are paired over validation windows, with the seeds' hits averaged. The test
part is not used. With `--seeds 3` a claim rests on three trainings of each variant.

    python -m benchmarks.first_stage --bank runs/manuals/bank --out runs/first-stage.jsonl \
        --json benchmarks/results/first_stage.json
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.resumable import Units, open_case, parser_of, write_summary
from segue.checks import Case
from segue.evaluation.intervals import bootstrap, paired
from segue.models import ModelSettings, Predictor, build_model
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.predictor import predictor_retriever
from segue.training.losses.loss import LOSSES, build_loss
from segue.training.train import TrainingSettings, train
from segue.windows.windows import gather_contexts

CUTOFFS = (1, 5, 10, 50)
BATCH = 1024
REFERENCE = "whole bank"
VARIANTS: dict[str, dict[str, Any]] = {
    REFERENCE: {"loss": "infonce-bank"},
    "without the anchor": {"loss": "infonce-bank", "model": {"anchor": False}},
    "in-batch": {"loss": "infonce-tau-0.05"},
    "in-batch, without the anchor": {"loss": "infonce-tau-0.05", "model": {"anchor": False}},
    "sampled softmax, logQ": {"loss": "infonce-sampled"},
    "in-batch + mined": {"loss": "infonce-mined"},
    "whole bank, float32": {"loss": "infonce-bank", "training": {"precision": "float32"}},
    "whole bank, margin": {"loss": "infonce-bank-margin"},
    "in-batch, linear document tower": {"loss": "infonce-tau-0.05", "model": {"documents": "linear"}},
    "in-batch, mlp document tower": {"loss": "infonce-tau-0.05", "model": {"documents": "mlp"}},
    "in-batch, siamese": {"loss": "infonce-tau-0.05", "model": {"documents": "shared"}},
    "AR-only": {"loss": "ar-cosine", "model": {"anchor": False}},
    "AR-only with the anchor": {"loss": "ar-cosine"},
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    case = open_case(args)
    units = Units(args.out, total=1 + len(args.variants) * args.seeds)
    how = {name: getattr(args, name) for name in ("model", "width", "epochs", "windows", "context")}
    copying = VectorRetriever("copy-last", "candidate", copy_last, Pool(case.bank))
    units.one({"variant": "copy-last", **how}, lambda: {"ranks": ranks_of(case, args, copying).tolist()})
    for seed, variant in product(range(1, args.seeds + 1), args.variants):
        key = {"variant": variant, "seed": seed, **how}
        units.one(key, lambda key=key: trained(case, args, key))
    write_summary(args, case, {"reference": REFERENCE, "table": table(case, args, units)})


def trained(case: Case, args: argparse.Namespace, key: dict[str, Any]) -> dict[str, Any]:
    """Train one variant under one seed, and return the ranks of the validation windows."""
    variant, bank = VARIANTS[key["variant"]], case.bank
    model = ModelSettings(name=args.model, dropout=0.1, options={"width": args.width}, **variant.get("model", {}))
    torch.manual_seed(key["seed"])
    predictor = build_model(model, dimension=bank.dimension, context=args.context)
    how = variant.get("training", {})
    settings = TrainingSettings(epochs=args.epochs, evaluations=6, seed=key["seed"], **how)

    def retriever(found: Predictor) -> Any:
        return predictor_retriever("variant", "candidate", found, pool=Pool(case.bank))

    def score(found: Predictor) -> dict[str, float]:
        return {"MRR": float((1.0 / ranks_of(case, args, retriever(found))).mean())}

    with tempfile.TemporaryDirectory() as folder:
        result = train(predictor, build_loss(LOSSES[variant["loss"]], bank.dimension, seed=key["seed"]), bank,
                       case.folds[0].train, settings=settings, score=score, folder=Path(folder))  # fmt: skip
    ranks = ranks_of(case, args, retriever(predictor))
    return {"ranks": ranks.tolist(), "best_step": result.best_step, "steps": result.steps,
            "training_seconds": round(result.seconds, 1)}  # fmt: skip


def ranks_of(case: Case, args: argparse.Namespace, retriever: Any) -> np.ndarray:
    """Return the exact ranks of the validation windows' targets over the whole pool."""
    windows = watched(case, args)
    parts = [windows.take(slice(start, start + BATCH)) for start in range(0, len(windows), BATCH)]
    return np.concatenate([retriever.target_ranks(gather_contexts(case.bank, part), part.target) for part in parts])


def watched(case: Case, args: argparse.Namespace) -> Any:
    """Return validation windows, evenly spread, as many as wanted."""
    windows = case.folds[0].validation
    most = min(args.windows, len(windows))
    return windows.take(np.linspace(0, len(windows) - 1, most).round().astype(np.int64))


def table(case: Case, args: argparse.Namespace, units: Units) -> list[dict[str, Any]]:
    """Return, for each variant, its metrics and the paired difference of R@5 and MRR to the reference."""
    groups = case.groups_of(watched(case, args))
    found: dict[str, list[np.ndarray]] = {}
    for record in units.done:
        found.setdefault(record["unit"]["variant"], []).append(np.array(record["ranks"]))
    rows = []
    for variant, ranks in found.items():
        row: dict[str, Any] = {"variant": variant, "seeds": len(ranks)}
        values = {f"R@{cutoff}": hits(ranks, cutoff) for cutoff in CUTOFFS} | {"MRR": reciprocal(ranks)}
        for name, whole in bootstrap(values, groups, ratios={}).items():
            row[name] = {"value": whole.value, "low": whole.low, "high": whole.high}
        for name, of in (("R@5", lambda some: hits(some, 5)), ("MRR", reciprocal)):
            if REFERENCE in found and variant != REFERENCE:
                test = paired(of(ranks), of(found[REFERENCE]), groups)
                row[f"Δ {name}"] = {"value": test.difference.value, "low": test.difference.low,
                                    "high": test.difference.high, "p": test.p_value}  # fmt: skip
        rows.append(row)
    return rows


def hits(ranks: list[np.ndarray], cutoff: int) -> np.ndarray:
    """Return each window's hits, averaged over seeds."""
    return np.mean([one <= cutoff for one in ranks], axis=0)


def reciprocal(ranks: list[np.ndarray]) -> np.ndarray:
    """Return each window's reciprocal rank, averaged over seeds."""
    return np.mean([1.0 / one for one in ranks], axis=0)


if __name__ == "__main__":
    main()
