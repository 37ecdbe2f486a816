"""What reranking will take beside the steps of its first stages, so that the plan sets the time aside."""

from __future__ import annotations

from time import monotonic

from segue.comparison.entries.reranked import Making, cascade_of
from segue.comparison.entries.trained import Baselines, watched
from segue.comparison.halves import spread
from segue.comparison.job import Job
from segue.comparison.options import OWN_MODEL, Option, Reranking
from segue.evaluation.experiment import Fold
from segue.retrieval.rerank.fusion import Fusion
from segue.types import no_progress
from segue.windows.windows import gather_contexts

TIMED = 64
"""Windows whose lists are drawn and read to see what a list costs."""
FITTING = 1.5
"""Fitting trees takes about this many times what drawing and reading their lists took."""
LOOK_LISTS = 2
"""Lists that a window of a look at test documents needs, beside one for each condition: the declared one, timing."""
HALVES = 2


def extra_trainings(job: Job, rates: dict[str, float]) -> dict[str, float]:
    """Return the steps per second of trainings beside the options' own: the halves of cross-fitted first stages."""
    return {
        f"{option.name}, half {half}": rates[option.name]
        for option in job.options
        if _crossfitted(option)
        for half in range(HALVES)
    }


def reranking_seconds(job: Job, baselines: Baselines) -> float:
    """Return what drawing lists, fitting on them and reranking test windows will take, all folds together.

    Options that rerank without training or borrowing a model are done before the plan is made, and are left out.
    """
    planned = [option for option in job.options if _crossfitted(option) or option.borrows]
    if not planned:
        return 0.0
    fold = job.experiment.folds[0]
    drawing, reading = _seconds_per_list(job, fold, baselines)
    scored = (LOOK_LISTS + len(job.evaluation.conditions)) * len(fold.test) + len(watched(job, fold))
    fitted = min(job.rerank.lists, len(fold.train)) + len(watched(job, fold))
    seconds = len(planned) * scored * drawing
    seconds += sum(_crossfitted(option) for option in planned) * (
        scored * reading + (1 + FITTING) * fitted * (drawing + reading)
    )
    return len(job.experiment.folds) * seconds


def _crossfitted(option: Option) -> bool:
    return option.reranking is not None and option.reranking.first == OWN_MODEL


def _seconds_per_list(job: Job, fold: Fold, baselines: Baselines) -> tuple[float, float]:
    """Return what it takes to draw the candidates of a window, and to compute their features."""
    option = Option("copy-last", "rerank", "", "", reranking=Reranking("copy-last", "fitted"))
    making = Making(job, option, fold, baselines, None, 0, no_progress)
    cascade = cascade_of(making, baselines.retriever("copy-last", fold), Fusion())
    reads_text = baselines.features.reads_text or cascade.reads_text
    windows = spread(watched(job, fold), TIMED)
    contexts = gather_contexts(job.experiment.bank, windows, exclude=job.evaluation.exclude, texts=reads_text)
    cascade.candidates(contexts.take(slice(0, 1)))  # the first call pays for more than its work
    began = monotonic()
    candidates = cascade.candidates(contexts).candidates
    drawn = monotonic()
    baselines.features.compute(contexts, candidates)
    return (drawn - began) / len(windows), (monotonic() - drawn) / len(windows)
