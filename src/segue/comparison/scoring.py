"""Score a retriever: on validation windows, on which every choice is made, or on test windows, which is logged."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from jaxtyping import Float, Int

from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.experiment import Fold
from segue.evaluation.latency import measure_latency
from segue.evaluation.score import score_retriever
from segue.files import append_jsonl
from segue.retrieval.retrievers import Retriever
from segue.training.ranks import ALONE, ProcessGroup


def score_on_validation(retriever: Retriever, job: Job, fold: Fold, ranks: ProcessGroup = ALONE) -> dict[str, float]:
    """Return R@1, R@5, R@10, Contain@50, MRR over the whole pool, and the cosine to the target where there is one.

    Where processes (``ranks``) train together, each scores its part of the windows.
    """
    return rank_on_validation(retriever, job, fold, ranks)[0]


def rank_on_validation(
    retriever: Retriever, job: Job, fold: Fold, ranks: ProcessGroup = ALONE
) -> tuple[dict[str, float], Int[np.ndarray, "window"]]:
    """Return the same, and the rank of each window."""
    settings = job.recipe.evaluation
    return score_retriever(retriever, job.experiment.bank, job.validation_windows(fold), exclude=settings.exclude,
                           batch_size=settings.batch_size, shared=ranks)  # fmt: skip


def evaluate_on_test(job: Job, option: Option, fold: Fold, retriever: Retriever) -> Evaluation:
    """Evaluate a retriever on the fold's test windows, and add a line to ``looks.jsonl``.

    Answers are not timed here, since other tasks may run beside it; ``time_answers`` does that.
    """
    log_test_evaluation(job, option.name, fold)
    return evaluate(
        retriever,
        job.experiment.bank,
        fold.test,
        settings=job.recipe.evaluation.model_copy(update={"latency_queries": 0}),
        groups=job.experiment.groups,
        fresh_documents=fold.split.test,
    )


def time_answers(job: Job, fold: Fold, retriever: Retriever) -> dict[str, Float[np.ndarray, "query"]]:
    """Return the milliseconds of a fold's share of the timed queries, at least twenty, by stage."""
    settings = job.recipe.evaluation
    queries = max(20, settings.latency_queries // len(job.experiment.folds)) if settings.latency_queries else 0
    return measure_latency(retriever, job.experiment.bank, fold.test, queries=queries, exclude=settings.exclude,
                           seed=settings.seed)  # fmt: skip


def log_test_evaluation(job: Job, option: str, fold: Fold, **more: str) -> None:
    """Log in the run folder that an option was scored on a fold's test windows."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_jsonl(job.out / "looks.jsonl", {"time": now, "option": option, "fold": fold.number, **more})
