"""How long reranking takes: candidates of one context at a time, on vectors that are at hand, one thread.

Reads the run of a triage that held `rerank`: its fitted rerankers, and its lists of validation windows, each
cut at the first `--candidates`. Every window is args about once, in a random order, so that no answer is warm; kinds
take turns window by window. What is timed is the whole of reranking: features (words and sentences of the passages read
included), trees, attention.

    python -m benchmarks.rerank_latency runs/best --json benchmarks/results/rerank_latency.json
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.reranked import load_fitted
from segue.files import write_json
from segue.hardware import limit_threads, threads
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.fusion import Mixture
from segue.retrieval.rerank.lists import TrainingLists
from segue.retrieval.rerank.words import _cut
from segue.runs.bank import bank_of_run
from segue.windows.windows import gather_contexts
from segue.workflows.prepare import make_job, options_of_run, recorded_recipe

OPTION = "rerank"
WARM_UP = 20
BLOCKS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    limit_threads()
    rerankers, lists, exclude = opened(args.run, args.candidates)
    order = np.random.default_rng(1).permutation(len(lists))[: args.windows + WARM_UP]
    with threads(1):
        taken = {name: [] for name in rerankers}
        for place, number in enumerate(order):
            one = lists.take(slice(number, number + 1))
            for name in np.roll(list(rerankers), place):  # who comes first reads vectors that are not in the cache
                taken[name].append(timed(rerankers[name], one, exclude))
    rows = {name: summary(np.array(values[WARM_UP:])) for name, values in taken.items()}
    result = {"environment": surroundings(), "candidates": args.candidates, "threads": 1, "kinds": rows}
    for name, row in rows.items():
        print(name, row)
    if args.json:
        write_json(args.json, result)


def opened(run: Path, candidates: int) -> tuple[dict[str, Reranker], TrainingLists, Any]:
    """Return the run's rerankers, alone and together, the validation lists that are long enough, and what leaves."""
    recipe = recorded_recipe(run)
    job = make_job(recipe, bank_of_run(run), options_of_run(run), run)
    folder = job.folder(next(option for option in job.options if option.name == OPTION), job.experiment.folds[0])
    features = Baselines(job).features
    members = {kind: load_fitted(kind, folder / "reranker", features) for kind in job.recipe.rerank.kinds}
    together = {"both": Mixture(tuple(members.values()))} if len(members) > 1 else {}
    lists = TrainingLists.load(folder / "lists-validation.npz")
    long = lists.take(np.flatnonzero(lists.candidates.there.sum(axis=1) >= candidates))
    found = long.candidates
    cut = replace(found, rows=found.rows[:, :candidates], first=found.first[:, :candidates], sources=None)
    return members | together, replace(long, candidates=cut), job.recipe.evaluation.exclude


def timed(reranker: Reranker, one: TrainingLists, exclude: Any) -> tuple[float, float]:
    """Return milliseconds by the clock and of processor time; what was computed for another kind is forgotten."""
    bank = reranker.features.bank if hasattr(reranker, "features") else reranker.members[0].features.bank
    contexts = gather_contexts(bank, one.windows, exclude=exclude, texts=reranker.reads_text)
    _cut.cache_clear()
    began, worked = perf_counter(), process_time()
    reranker.scores(contexts, one.candidates)
    return 1000 * (perf_counter() - began), 1000 * (process_time() - worked)


def summary(taken: np.ndarray) -> dict[str, Any]:
    """Return the percentiles over all windows, and the spread of each over five blocks of them."""
    found: dict[str, Any] = {"windows": len(taken)}
    for column, clock in enumerate(("wall", "processor")):
        for percent in (50, 95, 99):
            blocks = [float(np.percentile(block[:, column], percent)) for block in np.array_split(taken, BLOCKS)]
            value = float(np.percentile(taken[:, column], percent))
            found[f"{clock}_p{percent}_ms"] = {"value": value, "low": min(blocks), "high": max(blocks)}
    return found


if __name__ == "__main__":
    main()
