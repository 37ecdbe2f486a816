"""Evaluation of a retriever: the rank of the passage that really followed, among the whole bank.

Input: a retriever, the bank and the windows of unseen documents. Output: an ``Evaluation``. Windows are ranked in
batches; a batch is scored once and ranked under every condition: the declared exclusion, and those of ``[evaluation]
conditions``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, field_validator

from segue.errors import InputError
from segue.evaluation.latency import measure_latency
from segue.evaluation.metrics import KNOWN_METRICS, best_ranks, contrastive_accuracy, copying_ratio
from segue.evaluation.own_metrics import own_metrics
from segue.evaluation.result import Evaluation, merge
from segue.parts import PartName
from segue.ranking.exact import target_cosines
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.settings import Settings
from segue.types import Bank, Exclusion, Progress, Windows, no_progress
from segue.windows.windows import excluded_rows, following_rows, gather_contexts

__all__ = ["Evaluation", "EvaluationSettings", "evaluate", "merge"]


Condition = Literal["context-left-in", "prefix", "in-document", "fresh"]
"""Conditions in addition to the declared one: the context stays among the candidates; all passages read so far are
excluded; only the target's document is searched; only documents unseen in training are searched."""


class EvaluationSettings(Settings):
    """The [evaluation] table."""

    exclude: Literal["context", "prefix"] = Field(
        "context", description='passages that may not be answered: "context" or "prefix" (all read so far)'
    )
    conditions: tuple[Condition, ...] = Field(
        get_args(Condition),
        description="other conditions that ranks are reported under; each costs a reranker as much as the first",
    )
    batch_size: int = Field(default=1024, ge=1, le=1_000_000, description="windows handled at a time")
    latency_queries: int = Field(default=200, ge=0, le=1_000_000, description="queries timed one by one; 0 times none")
    run_depth: int = Field(default=100, ge=1, le=100_000, description="places of each ranking kept for the run file")
    context_tokens: int | None = Field(
        None, ge=8, le=1_000_000, description="tokens of the context's end that encoder-context reads (null: its limit)"
    )
    metrics: dict[str, PartName] = Field(
        default_factory=dict, description="metrics of your own: a name, and the import path of a function of ranks"
    )
    resamples: int = Field(default=10_000, ge=100, le=10_000_000, description="draws of the bootstrap")
    seed: int = Field(default=1, ge=0, description="seed of the bootstrap and of the choice of timed queries")

    @field_validator("metrics")
    @classmethod
    def _are_new(cls, metrics: dict[str, str]) -> dict[str, str]:
        if taken := [name for name in metrics if name in KNOWN_METRICS or not name.strip()]:
            raise ValueError(f"{taken[0]!r} is the name of another metric; choose a new one")
        return metrics


OTHER_EXCLUSIONS: Mapping[Condition, Exclusion] = {"context-left-in": "none", "prefix": "prefix"}
"""The conditions that are another exclusion."""


@dataclass(frozen=True)
class _BatchResult:
    """Results of a batch; ``queries`` and ``copying`` are None without query vectors."""

    ranks: Int[np.ndarray, "batch"]
    horizon: Int[np.ndarray, "batch"]
    by_pool: dict[str, Int[np.ndarray, "batch"]]
    rankings: Int[np.ndarray, "batch depth"]
    queries: Float[np.ndarray, "batch dim"] | None
    copying: Float[np.ndarray, "batch"] | None


def evaluate(
    retriever: Retriever,
    bank: Bank,
    windows: Windows,
    *,
    groups: Int[np.ndarray, "document"],
    settings: EvaluationSettings | None = None,
    fresh_documents: Int[np.ndarray, "fresh"] | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Rank every target and summarise.

    Args:
        retriever: evaluated over its own pool.
        bank: the bank of that pool.
        windows: windows of documents that it was not fitted on.
        groups: near-duplicate group of every document of the bank, the unit of resampling.
        settings: the [evaluation] table.
        fresh_documents: document numbers unseen in training; their passages alone make the ``fresh`` pool.
        progress: called after every batch.

    Raises:
        InputError: there is no window.
    """
    settings = settings or EvaluationSettings()
    if len(windows) == 0:
        raise InputError("there is no window to evaluate", fix="add documents longer than the context")
    fresh = None if fresh_documents is None or "fresh" not in settings.conditions else Pool(bank, fresh_documents)
    parts = []
    for batch in windows.batches(min(settings.batch_size, retriever.batch_limit or len(windows))):
        parts.append(_rank_batch(retriever, bank, batch, settings=settings, fresh=fresh))
        progress(sum(len(part.ranks) for part in parts), len(windows), retriever.name)
    queries = _join([part.queries for part in parts])
    documents = bank.document_of[windows.target].astype(np.int64)
    ranks, own = np.concatenate([part.ranks for part in parts]), own_metrics(settings.metrics)
    return Evaluation(
        retriever.name,
        retriever.intent,
        settings.exclude,
        retriever.pool.size,
        targets=windows.target,
        documents=documents,
        groups=groups[documents],
        ranks=ranks,
        horizon=np.concatenate([part.horizon for part in parts]),
        ranks_by_pool={name: np.concatenate([part.by_pool[name] for part in parts]) for name in parts[0].by_pool},
        rankings=np.concatenate([part.rankings for part in parts]),
        cosine=None if queries is None else target_cosines(queries, bank, windows.target).astype(np.float64),
        contrastive=None if queries is None else _contrastive(queries, bank, windows),
        copying=_join([part.copying for part in parts]),
        timings=measure_latency(retriever, bank, windows, queries=settings.latency_queries, exclude=settings.exclude,
                                seed=settings.seed),
        fresh_pool_sizes=() if fresh is None else (fresh.size,),
        own={name: metric.values(ranks, name=name) for name, metric in own.items()},
        limits={name: metric.limits for name, metric in own.items() if metric.limits},
        resamples=settings.resamples,
        seed=settings.seed,
    )  # fmt: skip


def _rank_batch(
    retriever: Retriever, bank: Bank, batch: Windows, *, settings: EvaluationSettings, fresh: Pool | None
) -> _BatchResult:
    """Score a batch once and rank its targets under every condition."""
    contexts = gather_contexts(bank, batch, exclude=settings.exclude, texts=retriever.reads_text)
    scores, pool = retriever.score(contexts), retriever.pool
    others = {name: rule for name, rule in OTHER_EXCLUSIONS.items() if name in settings.conditions}
    excludes = {name: excluded_rows(bank, batch, exclude) for name, exclude in others.items()}
    following = following_rows(bank, batch, exclude=settings.exclude)
    own, *under = scores.ranks_under(pool, following, excludes=[contexts.exclude, *excludes.values()])
    by_pool: dict[str, Int[np.ndarray, "batch"]] = {
        name: ranks[:, 0] for name, ranks in zip(excludes, under, strict=True)
    }
    if "in-document" in settings.conditions:
        by_pool["in-document"] = scores.ranks_in_document(bank, batch.target, exclude=contexts.exclude)
    if fresh is not None:
        by_pool["fresh"] = scores.ranks(fresh, batch.target, exclude=contexts.exclude)
    rankings = scores.top(pool, settings.run_depth, exclude=contexts.exclude)
    copying = None
    if scores.queries is not None:
        copying = copying_ratio(scores.queries, bank.gather(batch.target), contexts.vectors, contexts.mask)
    return _BatchResult(own[:, 0], best_ranks(own), by_pool, rankings.rows, scores.queries, copying)


def _join(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join the batches' arrays; None where the retriever has none."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _contrastive(queries: Float[np.ndarray, "window dim"], bank: Bank, windows: Windows) -> Float[np.ndarray, "window"]:
    """Return contrastive accuracy; what was read and the passage after the target are not compared."""
    after = np.minimum(windows.target + 1, len(bank) - 1)
    follows = (bank.document_of[after] == bank.document_of[windows.target]) & (after > windows.target)
    neighbours = np.column_stack([windows.context, np.where(follows, after, -1)])
    return contrastive_accuracy(queries, bank.gather(windows.target), windows.target, neighbours=neighbours)
