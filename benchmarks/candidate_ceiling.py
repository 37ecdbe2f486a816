"""How many candidates hold the target? The ceiling of everything that only puts candidates in order.

Reads the run of a triage that held `rerank`. For validation windows, each source's best are drawn (the served
first stage, copying the last passage, BM25 with the last passage and with the whole context), and the table shows how
often the target is among the first so many of one source, or of several together. The test part is not used.

    python -m benchmarks.candidate_ceiling runs/best --json benchmarks/results/candidate_ceiling.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.surroundings import surroundings
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.evaluation.intervals import bootstrap
from segue.files import write_json
from segue.hardware import limit_threads
from segue.runs.bank import bank_of_run
from segue.types import Windows
from segue.windows.windows import gather_contexts
from segue.workflows.prepare import make_job, options_of_run, recorded_recipe

OPTION = "rerank"
SOURCES = ("model", "copy-last", "bm25", "bm25-context")
BATCH = 256
DRAWS: tuple[dict[str, int], ...] = (
    *({source: count} for source in SOURCES for count in (5, 20, 50, 100, 200, 400)),
    {"copy-last": 80, "bm25": 40, "bm25-context": 40},
    {"model": 40, "bm25": 20, "bm25-context": 20},
    {"model": 80, "bm25": 40, "bm25-context": 40},
    {"model": 80, "copy-last": 80, "bm25": 40, "bm25-context": 40},
    {"model": 150, "bm25": 100, "bm25-context": 100},
    {"model": 300, "bm25": 200, "bm25-context": 200},
    {"model": 400, "copy-last": 400, "bm25": 400, "bm25-context": 400},
)
"""How many are drawn from which source."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="where the table goes")
    parser.add_argument("--windows", type=int, default=2000, help="most validation windows to evaluate")
    args = parser.parse_args()
    limit_threads()
    recipe = recorded_recipe(args.run)
    job = make_job(recipe, bank_of_run(args.run), options_of_run(args.run), args.run)
    fold, baselines = job.experiment.folds[0], Baselines(job)
    option = next(option for option in job.options if option.name == OPTION)
    unit = OptionOnFold(job, option, fold, baselines, option.loss)
    retrievers = {"model": CascadeBuilder(unit).first_stage(fold, unit.folder)[0]}
    retrievers |= {name: baselines.retriever(name, fold) for name in SOURCES[1:]}
    count = min(args.windows, len(fold.validation))
    windows = fold.validation.take(np.linspace(0, len(fold.validation) - 1, count).round().astype(np.int64))
    drawn = {name: best_of(job, retriever, windows) for name, retriever in retrievers.items()}
    target = job.experiment.pool.candidates_of(windows.target)
    groups = job.experiment.groups[job.experiment.bank.document_of[windows.target]]
    rows = [ceiling(draw, drawn, target, groups) for draw in DRAWS]
    write_json(args.json, {"environment": surroundings(), "windows": count, "candidates": job.experiment.pool.size,
                            "table": rows})  # fmt: skip
    for row in rows:
        print(f"{row['draw']}: {row['candidates']:.0f} candidates, {100 * row['holds']['value']:.1f} %")


def best_of(job: Any, retriever: Any, windows: Windows) -> np.ndarray:
    """Return the best candidates of a source for each window, [window, most]; -1 where there are fewer."""
    most, pool, bank = max(max(draw.values()) for draw in DRAWS), job.experiment.pool, job.experiment.bank
    found = []
    for start in range(0, len(windows), BATCH):
        part = windows.take(slice(start, start + BATCH))
        contexts = gather_contexts(bank, part, exclude=job.recipe.evaluation.exclude, texts=retriever.reads_text)
        rows = retriever.score(contexts).top(pool, most, exclude=contexts.exclude).rows
        found.append(np.where(rows >= 0, pool.candidates_of(np.maximum(rows, 0)), -1))
    return np.concatenate(found)


def ceiling(draw: dict[str, int], drawn: dict[str, np.ndarray], target: np.ndarray, groups: np.ndarray) -> Any:
    """Tell how often a draw holds the target, and how many distinct candidates it has."""
    together = np.concatenate([drawn[source][:, :count] for source, count in draw.items()], axis=1)
    holds = (together == target[:, None]).any(axis=1).astype(float)
    distinct = [len(set(one.tolist()) - {-1}) for one in together]
    whole = bootstrap({"holds": holds}, groups, ratios={})["holds"]
    return {"draw": draw, "candidates": float(np.mean(distinct)),
            "holds": {"value": whole.value, "low": whole.low, "high": whole.high}}  # fmt: skip


if __name__ == "__main__":
    main()
