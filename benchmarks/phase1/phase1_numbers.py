"""The tables of the original report from form (a) of the replay, each number beside the control it lacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from benchmarks.phase1.phase1_questions import CUTOFF, REPORTED, AsDone
from benchmarks.phase1.stored_questions import rows_of_keys
from segue.checks import Case
from segue.evaluation.compatibility import project
from segue.evaluation.evaluate import evaluate
from segue.evaluation.intervals import paired
from segue.retrieval.retrievers import Retriever


def numbers(what: AsDone, case: Case, retrievers: Mapping[str, Retriever]) -> dict[str, Any]:
    """Return the tables of the original report with the controls it lacked."""
    index, asked, kept = what.index, what.stored, what.reader.questions
    return {
        "documents": {
            "indexed": len(index.document_ids),
            "asked": len(set(kept.document_ids)),
            "asked_and_indexed": len(set(kept.document_ids) & set(index.document_ids)),
        },
        "questions": {"stored": len(asked), "dropped": len(asked) - len(kept), "asked": len(kept)},
        "chance": {CUTOFF: min(1.0, 5 / what.job.experiment.pool.size)},
        "keys": _keys(what),
        "rows": {row.name: _row(what, case, row.name, retrievers[row.name]) for row in case.entries},
        "compatibility": _compatibility(what, case, retrievers[REPORTED[1]]),
    }


def _keys(what: AsDone) -> dict[str, Any]:
    """Compare each stored target, before the repair, with the row at its key and with the row at another key."""
    kept = what.stored.take(rows_of_keys(what.index, what.stored.keys) >= 0)
    return matched_and_random(kept.targets, what.reader.questions.targets, kept.groups)


def matched_and_random(
    first: Float[np.ndarray, "window dim"],
    second: Float[np.ndarray, "window dim"],
    groups: Int[np.ndarray, "window"],
) -> dict[str, Any]:
    """Return the mean cosine of pairs, that with the second halves of all other groups, and the difference.

    The difference has its interval over groups.

    >>> vectors = np.repeat(np.eye(3), 2, axis=0)
    >>> found = matched_and_random(vectors, vectors, np.array([0, 0, 1, 1, 2, 2]))
    >>> found["matched"], found["random"], found["difference"]["value"]
    (1.0, 0.0, 1.0)
    """
    matched = np.einsum("wd,wd->w", first, second, dtype=np.float64)
    random = np.einsum("wd,wd->w", first, _mean_of_others(second, groups))
    return {
        "matched": float(matched.mean()),
        "random": float(random.mean()),
        "difference": asdict(paired(matched, random, groups).difference),
    }


def _mean_of_others(
    vectors: Float[np.ndarray, "window dim"], groups: Int[np.ndarray, "window"]
) -> Float[np.ndarray, "window dim"]:
    """Return for each window the mean vector of the windows of all other groups."""
    own = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((own.max() + 1, vectors.shape[1]))
    np.add.at(sums, own, vectors)
    count = np.bincount(own)
    return ((sums.sum(axis=0) - sums) / np.maximum(1, len(own) - count)[:, None])[own]


def _row(what: AsDone, case: Case, name: str, retriever: Retriever) -> dict[str, Any]:
    (row,) = case.entries_named(name)
    assert row.evaluation is not None
    metrics = {key: asdict(row.evaluation.metrics[key]) for key in ("R@1", CUTOFF, "R@10", "Contain@50", "MRR")}
    pairs = matched_and_random(_queries(what, retriever), what.reader.questions.targets, what.reader.questions.groups)
    trained = {} if row.trained is None else {
        "last_step": _last_step(row.trained.record), "fixed": _fixed(what, retriever)
    }  # fmt: skip
    return {"metrics": metrics, "cosine": pairs, "validation": dict(row.validation or {}), **trained}


def _fixed(what: AsDone, retriever: Retriever) -> dict[str, Any]:
    """Ask the same weights about the same documents, now indexed, with the passages that are really next as truth."""
    bank = what.clean.bank
    settings = what.job.evaluation.model_copy(update={"latency_queries": 0})
    found = evaluate(retriever.over(bank), bank, what.asked, groups=what.clean.groups, settings=settings)
    return {name: asdict(found.metrics[name]) for name in (CUTOFF, "cosine")}


def _queries(what: AsDone, retriever: Retriever) -> Float[np.ndarray, "window dim"]:
    queries = retriever.score(what.reader.gather(what.index, what.reader.windows, exclude="none")).queries
    assert queries is not None, "every row of this form has query vectors"
    return queries


def _last_step(record: dict[str, Any]) -> dict[str, float]:
    """Return what a training's terms came to at its end, and ln of the batch: InfoNCE at chance."""
    last = record["curve"][-1]
    terms = {name.removeprefix("loss/"): value for name, value in last.items() if name.startswith("loss/")}
    return terms | {"InfoNCE at chance": math.log(record["batch_size"])}


def _compatibility(what: AsDone, case: Case, retriever: Retriever) -> dict[str, Any]:
    """Return the report's compatibility test on the stored questions, and the same on pairs that belong together."""
    (row,) = case.entries_named(REPORTED[1])
    assert row.trained is not None
    loss, asked = row.trained.loss, what.reader.questions
    queries = _queries(what, retriever)
    return {
        "stored questions": {
            "raw": matched_and_random(queries, asked.targets, asked.groups),
            "projected": matched_and_random(project(loss, queries), project(loss, asked.targets), asked.groups),
        },
        "validation windows": {name: row.trained.record["compatibility"][name] for name in ("raw", "projected")},
    }
