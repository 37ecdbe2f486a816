"""Scores of a retriever or a predictor on some windows: plain means, by which trainings choose."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from segue.errors import InputError
from segue.evaluation.experiment import Experiment
from segue.evaluation.metrics import summarise
from segue.models import Predictor
from segue.retrieval.retrievers import Retriever
from segue.retrieval.retrievers.predictor import predictor_retriever
from segue.training.ranks import ALONE, ProcessGroup
from segue.types import Bank, Exclusion, Windows
from segue.windows.windows import gather_contexts

SCORED = ("R@1", "R@5", "R@10", "Contain@50", "MRR")
"""Metrics recorded on validation windows, besides the cosine."""


def score(
    predictor: Predictor, experiment: Experiment, windows: Windows, *, exclude: Exclusion = "context"
) -> dict[str, float]:
    """Return what a predictor scores on some windows, among all passages of the experiment's bank.

    Give validation windows while you train. Test windows are for ``segue.evaluate``, once.

    Args:
        predictor: on any device, in any mode; it stays as it is.
        experiment: holds the candidates.
        windows: at least one.
        exclude: passages that leave the candidates, as [evaluation] exclude.

    Returns:
        R@1, R@5, R@10, Contain@50, MRR and the cosine to the target, each a mean over the windows.

    Raises:
        InputError: there is no window.
    """
    if len(windows) == 0:
        raise InputError("there is no window to score", fix="add documents longer than the context")
    device = next(predictor.parameters()).device
    retriever = predictor_retriever("predictor", "candidate", predictor, pool=experiment.pool, device=device)
    return score_retriever(retriever, experiment.bank, windows, exclude=exclude, batch_size=1024)[0]


def score_retriever(
    retriever: Retriever,
    bank: Bank,
    windows: Windows,
    *,
    exclude: Exclusion,
    batch_size: int,
    shared: ProcessGroup = ALONE,
) -> tuple[dict[str, float], Int[np.ndarray, "window"]]:
    """Return R@1, R@5, R@10, Contain@50, MRR and, where there is one, the cosine to the target; and the ranks.

    Processes that are ``shared`` score a part of the windows each, and all of them get the whole result.
    """
    if len(windows) < shared.size:
        shared = ALONE
    found, cosines = [], []
    for batch in windows.take(shared.share(len(windows))).batches(min(batch_size, retriever.batch_limit or batch_size)):
        contexts = gather_contexts(bank, batch, exclude=exclude, texts=retriever.reads_text)
        scores = retriever.score(contexts)
        found.append(scores.ranks(retriever.pool, batch.target, exclude=contexts.exclude))
        if scores.queries is not None:
            cosines.append(np.einsum("bd,bd->b", scores.queries, bank.gather(batch.target)))
    ranks = _joined(found, len(windows), shared)
    summary = summarise(ranks)
    means = {name: float(value) for name in SCORED if (value := summary[name]) is not None}
    return means | ({"cosine": float(_joined(cosines, len(windows), shared).mean())} if cosines else {}), ranks


def _joined(parts: list[np.ndarray], count: int, shared: ProcessGroup) -> np.ndarray:
    """Return the values of all windows, of which each process has its part."""
    own = np.concatenate(parts)
    every = np.zeros(count, dtype=own.dtype)
    every[shared.share(count)] = own
    return shared.sum(torch.from_numpy(every)).numpy()
