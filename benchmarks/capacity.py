"""Has the space the capacity for raw InfoNCE? The same model in spaces of fewer dimensions, with fewer negatives.

The bank is reduced to each dimension by the main directions of its training passages (uncentred, so that inner products
are kept best) or by random directions, and brought back to length 1. In each space the same architecture learns pure
InfoNCE, with the same windows in every step: only the block of the batch that serves as negatives changes, so what
differs is the number of negatives and not the amount of data. Controls in each space: the true vector as the query
(can the targets be told apart at all?) and copying the last passage.

    python -m benchmarks.capacity --bank runs/manuals/bank --out runs/capacity.jsonl \
        --json benchmarks/results/capacity.json
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.resumable import Units, open_case, parser_of, write_summary
from segue.bank.copies import BankCopy, copy_documents
from segue.checks import Case
from segue.checks.diagnosis.short_runs import CUTOFF, ranks_of_query
from segue.evaluation.intervals import bootstrap, paired, t_interval
from segue.models import ModelSettings
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.baselines import Oracle, copy_last, normalise
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.training.losses.in_batch import info_nce
from segue.training.losses.loss import LossSettings
from segue.training.settings import TrainingSettings
from segue.training.train import begin_short_run


def main() -> None:
    args = arguments()
    case = open_case(args)
    dimensions = [size for size in args.dimensions if size <= case.bank.dimension]
    settings = list(product(range(1, args.seeds + 1), dimensions, args.negatives))
    units = Units(args.out, total=len(settings) + len(dimensions) * len(CONTROLS))
    spaces = functools.lru_cache(maxsize=2)(functools.partial(reduced, case, args.how))
    how = {name: getattr(args, name) for name in ("how", "model", "anchor", "steps", "batch_size", "windows",
                                                   "context", "temperature", "learning_rate")}  # fmt: skip
    for size, control in product(dimensions, CONTROLS):
        key = {"control": control, "dimension": size, "how": args.how, "windows": args.windows,
               "context": args.context}  # fmt: skip
        units.one(key, lambda size=size, control=control: control_of(spaces(size), args, control))
    for seed, size, block in settings:
        key = {"dimension": size, "negatives": block, "seed": seed, **how}
        units.one(key, lambda key=key: train(spaces(key["dimension"]), args, key))
    write_summary(args, case, {"table": table(case, args, units)})


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, windows=2000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[32, 64, 128, 256, 384])
    parser.add_argument("--negatives", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--how", choices=("principal", "random"), default="principal")
    parser.add_argument("--model", default="amn")
    parser.add_argument("--anchor", action="store_true")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=4096, help="windows per step, whatever the negatives")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--temperature", type=float, default=0.07)
    args = parser.parse_args()
    if any(args.batch_size % block for block in args.negatives):
        parser.error("--batch-size has to be a multiple of all --negatives")
    return args


def reduced(case: Case, how: str, size: int) -> Case:
    """Return the case over a copy of the bank with ``size`` components."""
    bank: BankCopy = copy_documents(case.bank, np.arange(len(case.bank.first_row)))
    vectors = normalise(bank.vectors @ directions(case, bank, how, size))
    small = dataclasses.replace(bank, vectors=vectors)
    return dataclasses.replace(case, bank=small, pool=Pool(small), _cache={})


def directions(case: Case, bank: BankCopy, how: str, size: int) -> np.ndarray:
    """Return orthonormal directions: those that training passages have most of, or random ones; all of them is all."""
    if how == "random":
        return np.linalg.qr(np.random.default_rng(1).standard_normal((bank.dimension, size)))[0].astype(np.float32)
    seen = bank.vectors[np.isin(bank.document_of, case.folds[0].split.train)]
    _, vectors = np.linalg.eigh(seen.T @ seen)
    return np.ascontiguousarray(vectors[:, ::-1][:, :size])


class BlockInfoNce(nn.Module):
    """InfoNCE whose negatives are the other windows of a prediction's block of the batch."""

    def __init__(self, block: int, temperature: float) -> None:
        super().__init__()
        self.block, self.temperature = block, temperature

    def forward(
        self, prediction: Tensor, target: Tensor, groups: Tensor, context_groups: Tensor, **_: object
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean over the blocks."""
        parts = [part.split(self.block) for part in (prediction.float(), target, groups, context_groups)]
        losses = [info_nce(p, t, temperature=self.temperature, groups=g, context_groups=c)
                  for p, t, g, c in zip(*parts, strict=True)]  # fmt: skip
        loss = torch.stack(losses).mean()
        return loss, {"infonce": loss}

    def clamp(self) -> None:
        """There is nothing to keep in range."""


def train(case: Case, args: argparse.Namespace, key: Mapping[str, Any]) -> dict[str, Any]:
    run = begin_short_run(
        case.bank,
        case.folds[0].train,
        model=ModelSettings(name=args.model, anchor=args.anchor),
        loss=LossSettings(),
        training=TrainingSettings(batch_size=args.batch_size, steps=args.steps, seed=key["seed"],
                                  learning_rate=args.learning_rate),
    )  # fmt: skip
    run.optimisation.loss = BlockInfoNce(key["negatives"], args.temperature)  # has no weights to optimise
    run.advance()
    found = scored(case, args, PredictorQuery(run.predictor, run.optimisation.device))
    return found | {"batch": run.batches.batch_size}


CONTROLS = ("copy-last", "oracle")


def control_of(case: Case, args: argparse.Namespace, name: str) -> dict[str, Any]:
    query = copy_last if name == "copy-last" else Oracle(case.bank, validation(case, args))
    return scored(case, args, query)


def scored(case: Case, args: argparse.Namespace, query: Any) -> dict[str, Any]:
    hits = ranks_of_query(case, query, validation(case, args)) <= CUTOFF
    return {"R@5": float(hits.mean()), "hits": hits.astype(int).tolist()}


def validation(case: Case, args: argparse.Namespace) -> Any:
    return case.answerable(case.sample(case.folds[0], "validation", most=args.windows))


def table(case: Case, args: argparse.Namespace, units: Units) -> list[dict[str, Any]]:
    """Average hits over seeds; intervals over groups of documents, and by Student's t over seeds."""
    groups = case.groups_of(validation(case, args))
    found: dict[tuple[int, Any], list[dict[str, Any]]] = defaultdict(list)
    for record in units.done:
        unit = record["unit"]
        found[unit["dimension"], unit.get("control") or unit["negatives"]].append(record)
    rows = []
    for (dimension, what), records in sorted(found.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        hits = np.mean([record["hits"] for record in records], axis=0)
        copied = np.array(found[dimension, "copy-last"][0]["hits"], dtype=np.float64)
        over_seeds = t_interval([record["R@5"] for record in records])
        against = paired(hits, copied, groups).difference
        rows.append({"dimension": dimension, "what": what if isinstance(what, str) else f"{what} windows contrasted",
                     "R@5": ends(bootstrap({"R@5": hits}, groups)["R@5"]), "over seeds": ends(over_seeds),
                     "against copy-last": ends(against), "seeds": len(records)})  # fmt: skip
    return rows


def ends(interval: Any) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


if __name__ == "__main__":
    main()
