"""Build a ``Case`` from a bank, an experiment or a run.

Nothing is loaded before a check needs it: a run's predictors and retrievers are read back from its folder one by
one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal

from segue.checks.case import Case, CaseEntry
from segue.comparison.choice import choose
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import FINISHED, FoldResult, Job, Results
from segue.comparison.options import Option
from segue.comparison.trained_files import trained_files
from segue.encoders import Encoder
from segue.evaluation.experiment import Experiment, Fold
from segue.ranking.pool import Pool
from segue.retrieval.own import OwnPart, RerankerSettings, RetrieverSettings
from segue.types import Bank


def case_of_bank(bank: Bank, *, encoder: Callable[[], Encoder] | None = None) -> Case:
    """Return a case without windows."""
    return Case(bank, Pool(bank), encoder=encoder)


def case_of_experiment(experiment: Experiment, **more: Any) -> Case:
    """Return a case without entries; ``more`` are other fields of it."""
    return Case(experiment.bank, experiment.pool, experiment.folds, experiment.groups, experiment.context, **more)


def case_of_job(job: Job, results: Results, *, subject: str | None = None, baselines: Baselines | None = None) -> Case:
    """Return a case with an entry for each option and fold that is finished, or at least trained.

    Args:
        job: the comparison.
        results: its results; empty for a run that only trained.
        subject: what diagnosis is about; None: what is chosen on validation among the trained candidates.
        baselines: the baselines of the job; None builds them.
    """
    baselines = baselines or Baselines(job)
    units = itertools.product(job.options, job.experiment.folds)
    rows = [row for unit in units if (row := _row(job, *unit, results, baselines)) is not None]
    trained = [option for option in job.options if option.trained and option.name in results]
    # without results the first trained candidate, or a trained entry that cannot win where there is no other
    chosen = choose(job, results, among=trained)
    weights = sorted((row for row in rows if row.trained is not None), key=lambda row: row.intent != "candidate")
    return case_of_experiment(
        job.experiment,
        encoder=None if job.experiment.bank.space.declared else job.load_encoder,
        exclude=job.recipe.evaluation.exclude,
        entries=tuple(rows),
        gates=job.recipe.gate_family(),
        subject=subject or (chosen.winner if chosen else None) or next((row.name for row in weights), None),
        seed=job.recipe.evaluation.seed,
    )


def _row(job: Job, option: Option, fold: Fold, results: Results, baselines: Baselines) -> CaseEntry | None:
    """Return the entry of an option on a fold; None if it was neither evaluated nor trained."""
    result = results[option.name][fold.number] if option.name in results else FoldResult("aborted")
    was_trained = option.trained and (job.folder(option, fold) / "training.json").exists()
    if not (was_trained if option.trained else result.status in FINISHED):
        return None
    declares = {"bank statistics": counted} if (counted := _counted(job, option)) else {}
    return CaseEntry(
        option.name,
        option.intent,
        fold.number,
        option.family,
        functools.partial(load_retriever, job, option, fold, baselines),
        evaluation=result.evaluation,
        validation=result.validation,
        trained=trained_files(job, option, fold) if was_trained else None,
        declares=declares,
    )


def _counted(job: Job, option: Option) -> str:
    """Name the statistics of the whole bank that an option uses."""
    if option.name.startswith("bm25"):
        return "word counts over the whole bank"
    own: RetrieverSettings | RerankerSettings | None
    own = job.recipe.retrievers.get(option.name) or job.recipe.rerankers.get(option.name)
    if own is not None:
        kind: Literal["retriever", "reranker"] = "retriever" if option.reranking is None else "reranker"
        counts = OwnPart.make(kind, option.name, own).declares("counts_bank")
        return "statistics of the whole bank, as its class states" if counts else ""
    if option.reranks is None:
        return ""
    density = option.reranks.order == "fitted" and "density" in job.recipe.rerank.features
    return f"word counts{' and neighbours' if density else ''} over the whole bank"
