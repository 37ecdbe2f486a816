"""A bank, an experiment or a run becomes a ``Case``.

Nothing is loaded before a check asks for it: a run's predictors and retrievers are read back from its folder one by
one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from segue.checks.case import Case, CaseEntry, Trained
from segue.comparison.comparison import choose_winner
from segue.comparison.entries.reranked import Making, cascade_entrant
from segue.comparison.entries.text import read_text_entrant
from segue.comparison.entries.trained import Baselines, as_retriever, entrant_training
from segue.comparison.job import FINISHED, FoldResult, Job, Results
from segue.comparison.options import Option
from segue.comparison.tuning.search import tuned
from segue.comparison.tuning.space import loss_settings
from segue.encoders import Encoder
from segue.evaluation.experiment import Experiment, Fold
from segue.files import read_json
from segue.models import load_predictor
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, no_progress


def case_of_bank(bank: Bank, *, encoder: Callable[[], Encoder] | None = None) -> Case:
    """Return a case without windows."""
    return Case(bank, Pool(bank), encoder=encoder)


def case_of_experiment(experiment: Experiment, *, encoder: Callable[[], Encoder] | None = None, **more: Any) -> Case:
    """Return a case without rows."""
    return Case(
        experiment.bank,
        experiment.pool,
        experiment.folds,
        experiment.groups,
        experiment.context,
        encoder=encoder,
        **more,
    )


def case_of_job(job: Job, results: Results, *, subject: str | None = None, baselines: Baselines | None = None) -> Case:
    """Return a case with a row for each option and fold that is finished, or at least trained.

    Args:
        job: the comparison.
        results: what it came to; empty for a run that only trained.
        subject: what diagnosis is about; None: the trained candidate that did best on validation.
        baselines: the job's, where they are at hand.
    """
    baselines = baselines or Baselines(job)
    rows = [
        row
        for option in job.options
        for fold in job.experiment.folds
        if (row := _row(job, option, fold, results, baselines)) is not None
    ]
    return case_of_experiment(
        job.experiment,
        encoder=None if job.experiment.bank.space.declared else job.load_encoder,
        exclude=job.evaluation.exclude,
        entries=tuple(rows),
        gates=job.gates,
        subject=subject or _best_trained(job, results) or _any_trained(rows),
        seed=job.evaluation.seed,
    )


def _row(job: Job, option: Option, fold: Fold, results: Results, baselines: Baselines) -> CaseEntry | None:
    """Return the row of an option on a fold; None where there is nothing to look at."""
    result = results[option.name][fold.number] if option.name in results else FoldResult("aborted")
    folder = job.folder(option, fold)
    trained = None
    if option.trained:
        if not (folder / "training.json").exists():
            return None
        trained = _trained(job, option, fold)
        load = functools.partial(_load_trained, job, option, trained, baselines)
    elif result.status not in FINISHED:
        return None
    elif option.text is not None:
        load = functools.partial(read_text_entrant, job, option, fold, baselines)
    else:
        load = functools.partial(baselines.retriever, option.name, fold)
    if option.reranking is not None:
        load = functools.partial(_load_cascade, job, option, fold, baselines)
    declares = {"bank statistics": counted} if (counted := _counted(job, option)) else {}
    return CaseEntry(
        option.name,
        option.intent,
        fold.number,
        option.family,
        load,
        evaluation=result.evaluation,
        validation=result.validation,
        trained=trained,
        declares=declares,
    )


def _counted(job: Job, option: Option) -> str:
    """Say which statistics of the whole bank an option uses."""
    if option.name.startswith("bm25"):
        return "word counts over the whole bank"
    if option.reranking is None:
        return ""
    density = option.reranking.order == "fitted" and "density" in job.rerank.features
    return f"word counts{' and neighbours' if density else ''} over the whole bank"


def _load_cascade(job: Job, option: Option, fold: Fold, baselines: Baselines) -> Retriever:
    """Read a cascade back; nothing is trained, since all its parts are in the option's folder."""
    return cascade_entrant(Making(job, option, fold, baselines, None, 0, no_progress))[0]


def _trained(job: Job, option: Option, fold: Fold) -> Trained:
    folder = job.folder(option, fold)
    record = read_json(folder / "training.json")
    name = record["loss_name"]
    job = tuned(job, option, fold, loss=name)
    return Trained(folder, loss_settings(job, name), entrant_training(job, option, fold, steps=record["planned_steps"]))


def _load_trained(job: Job, option: Option, trained: Trained, baselines: Baselines) -> Retriever:
    predictor, _ = load_predictor(trained.folder / "checkpoint")  # its own copy: it may move to another device
    return as_retriever(job, option, predictor, baselines)


def _best_trained(job: Job, results: Results) -> str | None:
    """Return the trained candidate with the best mean validation MRR."""
    return choose_winner([option for option in job.options if option.trained and option.name in results], results)


def _any_trained(rows: list[CaseEntry]) -> str | None:
    """Return the first trained candidate, or a trained row that cannot win where there is no other."""
    trained = sorted((row for row in rows if row.trained is not None), key=lambda row: row.intent != "candidate")
    return trained[0].name if trained else None
