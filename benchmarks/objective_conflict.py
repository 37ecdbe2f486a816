"""Do InfoNCE and AR oppose each other? Gradient cosines along training, and the front over their weights.

For AMN and GRU, with and without an anchor: the projected mixture (0.7 + 0.3), the raw one (0.85 + 0.15) and pure
InfoNCE are trained; at the start and at ever rarer steps the gradients of the InfoNCE term and of the AR term on the
predictor's weights are compared on held-out batches. For pure InfoNCE the AR term is only measured, so that the cosine
says whether an objective that is not optimised is served or hurt on the way. Beside each cosine stands that of the
whole loss on two halves of a batch. Then, without an anchor, the share of AR is varied from 0 to 1 at equal steps.

    python -m benchmarks.objective_conflict --bank runs/manuals/bank --part gradients --out runs/conflict.jsonl \
        --json benchmarks/results/objective_conflict.json

Intervals over batches are of one training; those over seeds are by Student's t over the seeds' means.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np

from benchmarks.resumable import Units, open_case, parser_of, write_summary
from segue.checks import Case
from segue.checks.diagnosis.sg204_loss_terms_agree import SHARES
from segue.checks.diagnosis.short_runs import hits_of_run
from segue.evaluation.intervals import bootstrap, paired, t_interval
from segue.models import ModelSettings
from segue.training.gradients import held_out_batches, measure, moments, term_values
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm, build_loss, with_share
from segue.training.settings import TrainingSettings
from segue.training.train import ShortRun, begin_short_run

TRAINED = {"projected": "infonce-projected", "raw": "infonce-ar", "pure": "infonce"}
BOTH = LossSettings(terms=(LossTerm(kind="infonce"), LossTerm(kind="ar-cosine")))
PAIR = ("infonce", "ar-cosine")


def main() -> None:
    args = arguments()
    case = open_case(args)
    todo = units_of(args)
    units = Units(args.out, total=len(todo))
    for key in todo:
        work = gradients_of if key["part"] == "gradients" else point_of
        units.one(key, lambda key=key, work=work: work(case, args, key))
    write_summary(args, case, {"gradients": gradients_table(units), "front": front_table(case, args, units),
                                "units": [without_hits(record) for record in units.done]})  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, windows=1500)
    parser.add_argument("--part", choices=("gradients", "front", "all"), default="all")
    parser.add_argument("--models", nargs="+", default=["amn", "gru"])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=8, help="held-out batches")
    return parser.parse_args()


def units_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """List the units, whole seeds first, so that a run that was cut short is complete for fewer seeds."""
    how = {"steps": args.steps, "batch_size": args.batch_size, "batches": args.batches, "windows": args.windows,
           "context": args.context}  # fmt: skip
    found = []
    for seed in range(1, args.seeds + 1):
        if args.part != "front":
            found += [{"part": "gradients", "model": model, "anchor": anchor, "loss": loss, "seed": seed, **how}
                      for model, anchor, loss in product(args.models, (False, True), TRAINED)]  # fmt: skip
        if args.part != "gradients":
            found += [{"part": "front", "model": model, "loss": loss, "share": share, "seed": seed, **how}
                      for model, loss, share in product(args.models, ("projected", "raw"), SHARES)]  # fmt: skip
    return found


def begin(case: Case, key: dict[str, Any], loss: LossSettings) -> ShortRun:
    model = ModelSettings(name=key["model"], anchor=key.get("anchor", False))
    training = TrainingSettings(batch_size=key["batch_size"], steps=key["steps"], seed=key["seed"])
    return begin_short_run(case.bank, case.folds[0].train, model=model, loss=loss, training=training)


def gradients_of(case: Case, args: argparse.Namespace, key: dict[str, Any]) -> dict[str, Any]:
    """Train one loss, and compare the two terms along the way."""
    run = begin(case, key, LOSSES[TRAINED[key["loss"]]])
    own = run.optimisation.loss
    probe = own if len(own.names) > 1 else build_loss(BOTH, case.bank.dimension).to(run.optimisation.device)
    batches = held_out(case, args)
    found: dict[str, list[Any]] = defaultdict(list)
    for step in moments(key["steps"]):
        run.advance(step)
        measured = [measure(run.predictor, probe, batch) for batch in batches]
        values = [term_values(run.predictor, probe, batch) for batch in batches]
        found["steps"].append(step)
        found["cosine"].append([one.cosine[PAIR] for one in measured])
        found["norm_ratio"].append([one.norm_ratio[PAIR] for one in measured])
        found["control"].append([one.control for one in measured])
        found["losses"].append({name: float(np.mean([value[name] for value in values])) for name in probe.names})
    return dict(found)


def held_out(case: Case, args: argparse.Namespace) -> list[Any]:
    windows = case.folds[0].validation
    size = min(args.batch_size, len(windows) // args.batches)
    return list(held_out_batches(case.bank, windows, size=size, most=args.batches))


def point_of(case: Case, args: argparse.Namespace, key: dict[str, Any]) -> dict[str, Any]:
    """Train one share of AR, and score it."""
    run = begin(case, key, with_share(LOSSES[TRAINED[key["loss"]]], key["share"])).advance()
    values = [term_values(run.predictor, run.optimisation.loss, batch) for batch in held_out(case, args)]
    hits = hits_of_run(case, run, validation(case, args))
    losses = {name: float(np.mean([value[name] for value in values])) for name in run.optimisation.loss.names}
    return {"losses": losses, "R@5": float(hits.mean()), "hits": hits.astype(int).tolist()}


def validation(case: Case, args: argparse.Namespace) -> Any:
    return case.answerable(case.sample(case.folds[0], "validation", most=args.windows))


def gradients_table(units: Units) -> list[dict[str, Any]]:
    """Join the seeds: means over batches, and an interval over the seeds' means."""
    by_setting: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for record in units.done:
        if record["unit"]["part"] == "gradients":
            by_setting[tuple(record["unit"][name] for name in ("model", "anchor", "loss"))].append(record)
    table = []
    for (model, anchor, loss), records in by_setting.items():
        steps = records[0]["steps"]
        early = sum(step <= steps[-1] / 2 for step in steps)
        row = {"model": model, "anchor": anchor, "loss": loss, "seeds": len(records), "steps": steps}
        for name in ("cosine", "norm_ratio", "control"):
            values = np.array([record[name] for record in records])  # [seed, moment, batch]
            row[name] = [ends([float(one) for one in at]) for at in values.mean(axis=2).T]
            row[f"early {name}"] = ends([float(one) for one in values[:, :early].mean(axis=(1, 2))])
            row[f"early {name} over batches"] = [ends(one.tolist()) for one in values[:, :early].mean(axis=1)]
        table.append(row)
    return table


def ends(values: list[float], *, cosines: bool = True) -> dict[str, float | None]:
    interval = t_interval(values, bounded=cosines)
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def front_table(case: Case, args: argparse.Namespace, units: Units) -> list[dict[str, Any]]:
    """Join the seeds' points: R@5 with its interval over documents, and its difference to the share 0."""
    groups = case.groups_of(validation(case, args))
    points: dict[tuple[str, str, float], list[dict[str, Any]]] = defaultdict(list)
    for record in units.done:
        if record["unit"]["part"] == "front":
            points[tuple(record["unit"][name] for name in ("model", "loss", "share"))].append(record)
    table = []
    for (model, loss, share), records in points.items():
        hits = np.mean([record["hits"] for record in records], axis=0)
        without = np.mean([record["hits"] for record in points[model, loss, SHARES[0]]], axis=0)
        found = bootstrap({"R@5": hits}, groups)["R@5"]
        against = paired(hits, without, groups).difference
        losses = {
            name: ends([record["losses"][name] for record in records], cosines=False) for name in records[0]["losses"]
        }
        table.append({"model": model, "loss": loss, "share of AR": share, "losses": losses,
                      "R@5": {"value": found.value, "low": found.low, "high": found.high},
                      "against share 0": {"value": against.value, "low": against.low, "high": against.high},
                      "R@5 by seed": [record["R@5"] for record in records]})  # fmt: skip
    return table


def without_hits(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "hits"}


if __name__ == "__main__":
    main()
