"""Evaluation results: the ranks of one retriever on one set of windows, from which every metric follows.

Stored as ``arrays.npz`` (no pickle) and ``evaluation.json``. Metrics are computed once and kept with their intervals;
evaluations of several folds are merged window by window, never by averaging averages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError
from segue.evaluation.intervals import bootstrap, median_rank
from segue.evaluation.latency import latency_metrics, percentiles
from segue.evaluation.metrics import by_document, horizon_per_window, mean, per_window, summarise_macro
from segue.files import hashes_of, read_json, read_npz, require_hashes, write_folder, write_json, write_npz
from segue.types import Exclusion, Intent, Interval

OPTIONAL = ("cosine", "contrastive", "copying", "horizon")
"""Arrays that may be absent; the first three need a query vector."""


@dataclass(frozen=True)
class Evaluation:
    """Result of one retriever on the test windows of one fold, or of several merged.

    Attributes:
        name: the retriever's.
        intent: role of the option in a comparison.
        exclude: which passages left the candidates in ``ranks``.
        pool_size: candidates searched (duplicates count once).
        targets: the row that followed; identifies the windows.
        documents: document number of each window.
        groups: near-duplicate group of each window's document, the unit of resampling.
        ranks: rank of each target among all candidates, from 1.
        horizon: best rank among the next passages of the document (up to three, the target included); None in
            evaluations of earlier versions.
        ranks_by_pool: the same under other conditions: ``in-document`` (only its document), ``context-left-in``,
            ``prefix`` (all passages read so far are excluded), ``fresh`` (only documents unseen in training).
        rankings: the first rows of each ranking as served, best first, -1 where empty.
        cosine: cosine of the query and the true vector; None without query vectors.
        contrastive: contrastive accuracy of each window among the windows of its fold; None likewise.
        copying: copying ratio of each window, NaN where undefined; None likewise.
        timings: milliseconds of each timed query, by stage; empty where not measured.
        fresh_pool_sizes: candidates of the fresh pool, one number for each fold.
        own: values of the metrics of your own, by name; NaN where a window has none.
        limits: smallest and largest value of those that have limits.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        metrics: values with 95 % intervals, by name; what was not computed is absent.

    Raises:
        InputError: a rank is below 1.
    """

    name: str
    intent: Intent
    exclude: Exclusion
    pool_size: int
    targets: Int[np.ndarray, "window"]
    documents: Int[np.ndarray, "window"]
    groups: Int[np.ndarray, "window"]
    ranks: Int[np.ndarray, "window"]
    ranks_by_pool: Mapping[str, Int[np.ndarray, "window"]]
    rankings: Int[np.ndarray, "window depth"]
    cosine: Float[np.ndarray, "window"] | None = None
    contrastive: Float[np.ndarray, "window"] | None = None
    copying: Float[np.ndarray, "window"] | None = None
    horizon: Int[np.ndarray, "window"] | None = None
    timings: Mapping[str, Float[np.ndarray, "query"]] = field(default_factory=dict)
    fresh_pool_sizes: tuple[int, ...] = ()
    own: Mapping[str, Float[np.ndarray, "window"]] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    resamples: int = 10_000
    seed: int = 1
    metrics: Mapping[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.metrics:
            object.__setattr__(self, "metrics", _metrics(self))

    def __len__(self) -> int:
        return len(self.ranks)

    @property
    def num_documents(self) -> int:
        """Documents that have at least one window."""
        return len(np.unique(self.documents))

    @property
    def latency(self) -> dict[str, dict[str, float]] | None:
        """P50, P95 and P99 of each stage in milliseconds; None where not measured."""
        return percentiles(self.timings) if self.timings else None

    @property
    def scalars(self) -> dict[str, Interval]:
        """Latencies in milliseconds with their intervals, named as in tables (``search_p95_ms``)."""
        return latency_metrics(self.timings)

    def values(self) -> dict[str, Float[np.ndarray, "window"]]:
        """Return every metric that is a mean over windows, window by window; NaN where a window has none."""
        own = {"cosine": self.cosine, "contrastive accuracy": self.contrastive, "copying ratio": self.copying}
        horizon = {} if self.horizon is None else horizon_per_window(self.horizon)
        return {
            **per_window(self.ranks),
            **horizon,
            **{name: value for name, value in own.items() if value is not None},
            **self.own,
        }

    def macro(self) -> dict[str, float | None]:
        """Return the averages over documents, each counted once."""
        others = {**self.own, **({} if self.horizon is None else horizon_per_window(self.horizon))}
        found = {name: mean(by_document(values, self.documents)[0]) for name, values in others.items()}
        return summarise_macro(self.ranks, self.documents) | found

    def timed(self, timings: Mapping[str, Float[np.ndarray, "query"]]) -> Evaluation:
        """Return the evaluation with the milliseconds of timed queries, by stage."""
        return replace(self, timings=timings, metrics={**self.metrics, **latency_metrics(timings)})

    def save(self, folder: Path) -> None:
        """Write the evaluation to a folder, whole or not at all.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        write_folder(folder, self._fill)

    def _fill(self, folder: Path) -> None:
        names = ("targets", "documents", "groups", "ranks", "rankings", *OPTIONAL)
        arrays = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        arrays |= {f"ranks_by_pool/{name}": ranks for name, ranks in self.ranks_by_pool.items()}
        arrays |= {f"timings/{name}": samples for name, samples in self.timings.items()}
        arrays |= {f"own/{name}": values for name, values in self.own.items()}
        write_npz(folder / "arrays.npz", arrays, compressed=True)
        plain = ("name", "intent", "exclude", "pool_size", "fresh_pool_sizes", "limits", "resamples", "seed")
        record = {name: getattr(self, name) for name in plain}
        record["metrics"] = {name: asdict(interval) for name, interval in self.metrics.items()}
        files = hashes_of(folder, ["arrays.npz"])
        write_json(folder / "evaluation.json", {"format": 1, **record, "files": files})

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read an evaluation back.

        Raises:
            InputError: a file is missing or broken.
            StorageError: the arrays are not those that were written with the record.
        """
        record = read_json(folder / "evaluation.json")
        require_hashes(folder, record.pop("files", None), fix="delete the folder and evaluate again")
        arrays: dict[str, Any] = {**read_npz(folder / "arrays.npz")}
        if record.pop("format", None) != 1:
            raise InputError(f"{folder} holds an evaluation in another format", expected="format 1",
                             fix="evaluate again")  # fmt: skip
        record["fresh_pool_sizes"] = tuple(record["fresh_pool_sizes"])
        record["limits"] = {name: tuple(ends) for name, ends in record.get("limits", {}).items()}
        record["metrics"] = {name: Interval(**interval) for name, interval in record["metrics"].items()}
        nested: dict[str, Any] = {"ranks_by_pool": {}, "timings": {}, "own": {}}
        for key in [key for key in arrays if "/" in key]:
            group, name = key.split("/", 1)
            nested[group][name] = arrays.pop(key)
        return cls(**record, **arrays, **nested)


def _metrics(evaluation: Evaluation) -> dict[str, Interval]:
    """Summarise with intervals over groups of documents; latencies have intervals over queries."""
    groups, resamples, seed = evaluation.groups, evaluation.resamples, evaluation.seed
    metrics = bootstrap(evaluation.values(), groups, limits=evaluation.limits, resamples=resamples, seed=seed)
    median = median_rank(evaluation.ranks, groups, resamples=resamples, seed=seed)
    if median is not None:
        metrics["median rank"] = median
    return metrics | latency_metrics(evaluation.timings)


def merge(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Join evaluations of one option over folds: their windows one after the other, metrics computed again.

    Raises:
        InputError: there is none, or they are not comparable (name, intent, exclusion, pool size).
    """
    _require_comparable(evaluations)
    first = evaluations[0]
    pools = [name for name in first.ranks_by_pool if all(name in e.ranks_by_pool for e in evaluations)]
    owned = [name for name in first.own if all(name in e.own for e in evaluations)]
    stages = [name for name in first.timings if all(name in e.timings for e in evaluations)]
    joined: dict[str, Any] = {name: np.concatenate([getattr(e, name) for e in evaluations])
              for name in ("targets", "documents", "groups", "ranks", "rankings")}  # fmt: skip
    for name in OPTIONAL:
        parts = [getattr(e, name) for e in evaluations]
        joined[name] = None if any(part is None for part in parts) else np.concatenate(parts)
    return Evaluation(
        first.name,
        first.intent,
        first.exclude,
        first.pool_size,
        **joined,
        ranks_by_pool={name: np.concatenate([e.ranks_by_pool[name] for e in evaluations]) for name in pools},
        timings={name: np.concatenate([e.timings[name] for e in evaluations]) for name in stages},
        fresh_pool_sizes=tuple(size for e in evaluations for size in e.fresh_pool_sizes),
        own={name: np.concatenate([e.own[name] for e in evaluations]) for name in owned},
        limits=first.limits,
        resamples=first.resamples,
        seed=first.seed,
    )


def _require_comparable(evaluations: Sequence[Evaluation]) -> None:
    if not evaluations:
        raise InputError("there is no evaluation to merge", fix="evaluate at least one fold")
    for name in ("name", "intent", "exclude", "pool_size"):
        found = {getattr(evaluation, name) for evaluation in evaluations}
        if len(found) > 1:
            raise InputError(
                f"evaluations differ in {name} and cannot be merged",
                got=json.dumps(sorted(found)),
                expected="the same in every fold",
                fix="evaluate all folds with one bank and one recipe",
            )
