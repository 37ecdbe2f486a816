"""Are sequence prediction and similarity orthogonal? The same targets read in four orders, and next against previous.

Arms: true order; context permuted; document reversed; passages shuffled within the document. All ask for the same
targets and exclude the same passages. Learners: copying the last passage read, a linear map (ridge), and a trained
predictor (InfoNCE from an anchor; ``--model tokens`` reads the text in the order of its arm). Probe: from one passage,
tell the next from the previous one, to which likeness is blind. The seed draws permutations, shuffles, weights and
batches; documents are split once.

    python -m benchmarks.order_and_similarity --bank runs/manuals/bank --out runs/order.jsonl \
        --json benchmarks/results/order_and_similarity.json
    python -m benchmarks.order_and_similarity --bank runs/manuals/bank --model tokens --seeds 1 --steps 200 \
        --learners copy-last trained --arms "true order" "document reversed" --out runs/order-tokens.jsonl \
        --json benchmarks/results/order_of_tokens.json
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.resumable import Units, open_case, parser_of, write_summary
from segue.checks import Case
from segue.checks.diagnosis.sg213_order_to_learn import PENALTY
from segue.checks.diagnosis.short_runs import CUTOFF, ranks_of_query
from segue.encoders import EncoderSettings, load_encoder
from segue.evaluation.intervals import bootstrap, paired
from segue.evaluation.order import next_from_previous
from segue.models import ModelSettings, reader_of
from segue.retrieval.retrievers.baselines import Ridge, copy_last
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.retrieval.retrievers.vector import QueryFunction
from segue.training.losses.loss import LossSettings, LossTerm
from segue.training.settings import TrainingSettings
from segue.training.train import begin_short_run
from segue.windows.orders import ARMS, Arms, make_arms, neighbours

LEARNERS = ("copy-last", "ridge", "trained")
VECTORS: dict[str, Any] = {"batch_size": 512}
TOKENS: dict[str, Any] = {"batch_size": 48, "learning_rate": 1e-3}
"""Training settings of a model that reads text."""


def main() -> None:
    args = arguments()
    case = open_case(args)
    units = Units(args.out, total=args.seeds * (1 + len(args.learners) * len(args.arms)))
    how = {name: getattr(args, name) for name in ("windows", "context", "train_windows")}
    for seed in range(1, args.seeds + 1):
        learnt, tried = arms_of(case, args, seed)
        units.one({"part": "probe", "seed": seed, **how}, lambda: probe(case, args))
        for learner in args.learners:
            more = {"model": args.model, "anchor": args.anchor, "steps": args.steps} if learner == "trained" else {}
            for arm in args.arms:
                key = {"part": "arm", "learner": learner, "arm": arm, "seed": seed, **how, **more}
                units.one(key, lambda key=key, arms=(learnt, tried): hits_of(case, args, key, arms))
    write_summary(args, case, summary(case, args, units))


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, windows=2000)
    parser.add_argument("--train-windows", type=int, default=30_000)
    parser.add_argument("--model", default="gru")
    parser.add_argument("--no-anchor", dest="anchor", action="store_false")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="the true order is needed")
    return parser.parse_args()


def arms_of(case: Case, args: argparse.Namespace, seed: int) -> tuple[Arms, Arms]:
    fold, generator = case.folds[0], np.random.default_rng(seed)
    learnt = make_arms(case.bank, case.sample(fold, "train", most=args.train_windows), generator)
    return learnt, make_arms(case.bank, validation(case, args), generator)


def validation(case: Case, args: argparse.Namespace) -> Any:
    return case.answerable(case.sample(case.folds[0], "validation", most=args.windows))


def hits_of(case: Case, args: argparse.Namespace, key: dict[str, Any], arms: tuple[Arms, Arms]) -> dict[str, Any]:
    learnt, tried = arms
    query = learn(case, args, key, learnt)
    hits = ranks_of_query(case, query, tried.windows[key["arm"]], exclude=tried.exclude) <= CUTOFF
    return {"R@5": float(hits.mean()), "hits": hits.astype(int).tolist()}


def learn(case: Case, args: argparse.Namespace, key: dict[str, Any], learnt: Arms) -> QueryFunction:
    windows = learnt.windows[key["arm"]]
    if key["learner"] == "copy-last":
        return copy_last
    if key["learner"] == "ridge":
        return Ridge.fit(case.bank, windows, PENALTY)
    reads = args.model == "tokens"
    run = begin_short_run(
        case.bank,
        windows,
        model=ModelSettings(name=args.model, anchor=args.anchor),
        loss=LossSettings(terms=(LossTerm(kind="infonce-bank", temperature=0.05),)) if reads else LossSettings(),
        training=TrainingSettings(**(TOKENS if reads else VECTORS), steps=args.steps, seed=key["seed"]),
        reader=reader_of(load_encoder(EncoderSettings())) if reads else None,
    ).advance()
    return PredictorQuery(run.predictor, run.optimisation.device)


def probe(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """Tell next from previous: a linear classifier, and likeness alone."""
    fold = case.folds[0]
    learnt = neighbours(case.bank, case.sample(fold, "train", most=args.train_windows))
    tried = neighbours(case.bank, validation(case, args))
    right = next_from_previous(case.bank, learnt, tried)
    before, middle, after = (case.bank.gather(tried[:, column]) for column in range(3))
    alike = np.einsum("td,td->t", middle, after - before) > 0
    return {"right": right.tolist(), "alike": alike.astype(float).tolist(), "targets": tried[:, 2].tolist()}


def summary(case: Case, args: argparse.Namespace, units: Units) -> dict[str, Any]:
    """Average hits over seeds window by window; intervals are over groups of documents, seeds stand beside them."""
    groups = case.groups_of(arms_of(case, args, 1)[1].windows[ARMS[0]])
    table = []
    for learner in args.learners:
        found = {arm: [r for r in units.done if (r["unit"].get("learner"), r["unit"].get("arm")) == (learner, arm)]
                 for arm in args.arms}  # fmt: skip
        hits = {arm: np.mean([record["hits"] for record in records], axis=0) for arm, records in found.items()}
        for arm in args.arms:
            gain = paired(hits[ARMS[0]], hits[arm], groups)
            table.append({"learner": learner, "arm": arm, "R@5": ends(bootstrap({"R@5": hits[arm]}, groups)["R@5"]),
                          "R@5 by seed": [record["R@5"] for record in found[arm]],
                          "gain of true order": {**ends(gain.difference), "p": gain.p_value}})  # fmt: skip
    return {
        "arms": table,
        "windows_asked": len(groups),
        "groups": len(np.unique(groups)),
        "probe": probe_row(case, units),
    }


def probe_row(case: Case, units: Units) -> dict[str, Any]:
    record = next(record for record in units.done if record["unit"]["part"] == "probe")
    documents = case.bank.document_of[np.array(record["targets"])].astype(np.int64)
    groups = documents if case.groups is None else case.groups[documents]
    hits = {name: np.array(record[name]) for name in ("right", "alike")}
    return {name: ends(bootstrap({"R@5": values}, groups)["R@5"]) for name, values in hits.items()}


def ends(interval: Any) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


if __name__ == "__main__":
    main()
