"""Choice: the winner of a comparison is the cheapest candidate that is not clearly worse than the best on validation.

Input: a job and the results of its options. Output: the winner, and why. Only validation documents are read. "Clearly
worse" means that the interval of the paired difference in MRR, over groups of documents, lies below 0. Cost is compared
without a clock, so that a comparison ends with the same winner on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from segue.comparison.entries.trained import model_settings
from segue.comparison.job import FINISHED, Job, Results
from segue.comparison.options import Option
from segue.comparison.record import ChoiceRecord, PairedDifference
from segue.evaluation.experiment import Fold
from segue.evaluation.intervals import bootstrap

NO_RANKS = "the run holds no ranks of single validation windows"
NO_INTERVAL = "so few validation documents give no interval"


class Cost(NamedTuple):
    """What an option costs, the most important first: options are compared field by field.

    Attributes:
        trained: whether it needs a model trained by gradient descent, its own or another option's.
        parts: parts that a query goes through: first stage, further sources of candidates, rerankers; and a document
            tower, through which the bank goes.
        encodes: whether an encoder reads text at each query.
        weights: number of learnt weights.
    """

    trained: bool
    parts: int
    encodes: bool
    weights: float

    def saved(self, other: Cost) -> str:
        """Return what this costs less than the other, in words, by the first field in which they differ.

        >>> Cost(False, 1, False, 0).saved(Cost(False, 4, False, 0))
        'with 1 part instead of 4'
        """
        if self.trained != other.trained:
            return "without a trained model"
        if self.parts != other.parts:
            return f"with {self.parts} part{'' if self.parts == 1 else 's'} instead of {other.parts}"
        return "without an encoder at each query" if self.encodes != other.encodes else "with fewer learnt weights"


@dataclass(frozen=True)
class Candidate:
    """An option that may win.

    Attributes:
        score: mean validation MRR of its folds.
        reciprocal: 1 / rank of each validation window of all folds; None where a fold has no ranks.
    """

    name: str
    cost: Cost
    score: float
    reciprocal: Float[np.ndarray, "window"] | None


def choose(job: Job, results: Results, *, among: Iterable[Option] | None = None) -> ChoiceRecord | None:
    """Choose the winner among the candidates that finished every fold; None where there is none.

    Args:
        job: the comparison.
        results: the results of its options.
        among: the options to choose from; None: all.
    """
    return _choose(job, results, job.options if among is None else among, job.experiment.folds)


def chosen_by_fold(job: Job, results: Results) -> list[str]:
    """Return what the same rule chooses on each fold's validation documents; empty when no candidate finished."""
    found = [_choose(job, results, job.options, [fold]) for fold in job.experiment.folds]
    return [choice.winner for choice in found if choice is not None]


def _choose(job: Job, results: Results, options: Iterable[Option], folds: Sequence[Fold]) -> ChoiceRecord | None:
    bank, windows = job.experiment.bank, [job.validation_windows(fold) for fold in folds]
    groups = np.concatenate([job.experiment.groups[bank.document_of[part.target]] for part in windows])
    candidates = []
    for option in options:
        if option.intent != "candidate" or any(found.status not in FINISHED for found in results[option.name]):
            continue
        found = [results[option.name][fold.number] for fold in folds]
        ranks = [one.validation_ranks for one in found if one.validation_ranks is not None]
        known = [len(part) for part in ranks] == [len(part) for part in windows]  # as many as the recipe draws now
        score = float(np.mean([one.validation["MRR"] for one in found if one.validation is not None]))
        reciprocal = 1.0 / np.concatenate(ranks) if known else None
        candidates.append(Candidate(option.name, cost_of(job, option, results), score, reciprocal))
    settings = job.recipe.evaluation
    return simplest(candidates, groups, resamples=settings.resamples, seed=settings.seed)


def simplest(
    candidates: Sequence[Candidate], groups: Int[np.ndarray, "window"], *, resamples: int = 10_000, seed: int = 1
) -> ChoiceRecord | None:
    """Return the cheapest candidate that is not clearly worse than the best; of equally cheap ones the better.

    Without ranks of single windows, or without an interval, it is the one with the best validation MRR.

    Args:
        candidates: at most one is chosen.
        groups: group of near-duplicate documents of each validation window.
        resamples: draws of groups.
        seed: seed of the draws.
    """
    if not candidates:
        return None
    best = max(candidates, key=lambda one: one.score)
    for one in sorted(candidates, key=lambda one: (one.cost, -one.score)):
        if one is best:
            break
        if one.reciprocal is None or best.reciprocal is None:
            return ChoiceRecord(winner=best.name, best=best.name, fallback=NO_RANKS)
        values, limits = {"MRR": one.reciprocal - best.reciprocal}, {"MRR": (-1.0, 1.0)}
        difference = bootstrap(values, groups, limits=limits, resamples=resamples, seed=seed)["MRR"]
        if difference.high is None or difference.low is None:
            return ChoiceRecord(winner=best.name, best=best.name, fallback=NO_INTERVAL)
        if difference.high >= 0:
            found = PairedDifference(value=difference.value, low=difference.low, high=difference.high)
            return ChoiceRecord(winner=one.name, best=best.name, difference=found, saved=one.cost.saved(best.cost))
    return ChoiceRecord(winner=best.name, best=best.name)


def cost_of(job: Job, option: Option, results: Results) -> Cost:
    """Return what an option costs: facts of its settings and weights, nothing that was timed."""
    reranking, experiment = option.reranks, job.experiment
    parts = 2 if option.text is not None else 1  # a reader behind a reranker, or a bank that is encoded again
    if reranking is not None:
        parts += len(job.sources(reranking)) + (len(job.recipe.rerank.kinds) if reranking.order == "fitted" else 1)
    elif option.trained and model_settings(job, option).documents != "identity":
        parts += 1
    ridge = (experiment.context * experiment.bank.dimension + 1) * experiment.bank.dimension
    training = results[option.name][0].training
    learnt = (ridge if option.name == "ridge" else 0) if training is None else training["parameters"]
    return Cost(
        trained=option.trained or option.text is not None or option.reuses_model,
        parts=parts,
        encodes=option.text is not None or option.name == "encoder-context",
        weights=math.inf if learnt is None else learnt,
    )
