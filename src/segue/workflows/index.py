"""``segue index``: build an approximate index over a bank, and tune it on a model's own queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.bank.bank import PassageBank
from segue.checks import Case
from segue.checks.case import CaseEntry
from segue.errors import InputError
from segue.hardware import limit_threads
from segue.parts import hand_in
from segue.progress import Stages, quiet
from segue.ranking.pool import Pool
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.store import (
    build_index,
    index_settings,
    load_index,
    record_tuning,
    save_index,
    update_index,
)
from segue.retrieval.index.tuning import Tuned
from segue.retrieval.index.tuning import tune as tune_index
from segue.runs.bank import is_bank_of
from segue.storage import on_storage, pull
from segue.workflows.audit import case_of

MAXIMUM_QUERIES = 1000
"""Queries used at most."""


@dataclass(frozen=True)
class TuningQueries:
    """The queries that an index is tuned on.

    Attributes:
        queries: unit vectors.
        exclude: rows that each query leaves out, padded with -1.
        source: where they come from, in words.
    """

    queries: Float[np.ndarray, "batch dim"]
    exclude: Int[np.ndarray, "batch excluded"]
    source: str


@on_storage("out")
def build(
    bank: Path | str, out: Path | str, *, kind: Any = "graph", stages: Stages = quiet, **settings: Any
) -> ApproximateIndex:
    """Build an index over all live passages of a bank; until it is tuned, it searches with its greatest effort.

    Args:
        bank: a bank folder.
        out: the index's folder.
        kind: ``graph``, ``inverted-lists``, ``lance``, or an engine of your own: its class, import path or installed
            name, or an engine, which is made again with its arguments over this bank.
        stages: shows progress.
        settings: settings of that kind; options of an engine of your own.

    Raises:
        InputError: there is no such kind, a setting is impossible, or the bank or an engine of your own cannot be used.
        MissingExtraError: the kind needs a package that is not installed.
        StorageError: the bank cannot be read, or the index cannot be written.
    """
    limit_threads()
    name, options = hand_in("index", kind)
    chosen = index_settings(name, **{**options, **settings})
    pool = Pool(PassageBank.open(bank))
    with stages(f"Building the index ({name})") as progress:
        index = build_index(pool, chosen, progress=progress)
    save_index(index, Path(out))
    return index


@on_storage("index")
def update(index: Path | str, bank: Path | str, *, stages: Stages = quiet) -> ApproximateIndex:
    """Bring an index of the kind ``lance`` to what its bank is now: rows that left are deleted, new ones appended.

    Args:
        index: a folder that ``build`` wrote.
        bank: the bank that it was built over, as it is now.
        stages: shows progress.

    Raises:
        InputError: the index is of another kind, or of another bank.
        MissingExtraError: LanceDB, or the client of object storage, is not installed.
        StorageError: another process is writing there.
    """
    limit_threads()
    with stages("Updating the index") as progress:
        return update_index(Path(index), Pool(PassageBank.open(Path(bank))), progress=progress)


@on_storage("index", "run")
def tune(
    index: Path | str,
    bank: Path | str,
    *,
    run: Path | str | None = None,
    option: str | None = None,
    queries: Path | str | None = None,
    target: float = 0.99,
    k: int = 50,
    stages: Stages = quiet,
) -> Tuned:
    """Choose the least effort that reaches a recall, on queries like those it will serve, and record it in the index.

    Args:
        index: a folder that ``build`` wrote.
        bank: the bank it was built over.
        run: a run folder, whose model's queries on validation windows are used.
        option: an option of the run; default: what is chosen on validation among the trained candidates.
        queries: instead of a run: a ``.npy`` matrix of query vectors.
        target: recall of the exact top ``k`` to reach.
        k: number of results compared.
        stages: shows progress.

    Raises:
        InputError: no effort reaches the target; or run, queries, bank and index do not fit each other.
        StorageError: another process is writing there, or a file is damaged.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    opened = load_index(Path(index), Pool(PassageBank.open(bank)))
    pool = opened.pool
    chosen = _queries_of_file(pull(queries)) if queries is not None else _queries_of_run(run, option, pool)
    with stages("Tuning") as progress:
        tuned = tune_index(opened, chosen.queries, exclude=chosen.exclude, target=target, k=k, progress=progress)
    record_tuning(Path(index), tuned, source=chosen.source)
    return tuned


def _queries_of_file(path: Path) -> TuningQueries:
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the queries {path}", got=str(error), expected="a .npy file") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        got = f"{vectors.dtype} {vectors.shape}"
        raise InputError(f"{path} holds no queries", got=got, expected="float32 [queries, dimension]")
    vectors = vectors[:MAXIMUM_QUERIES].astype(np.float32)
    return TuningQueries(vectors, np.empty((len(vectors), 0), dtype=np.int64), path.name)


def _queries_of_run(run: Path | str | None, option: str | None, pool: Pool) -> TuningQueries:
    """Return the queries of a run's model on validation windows of its first fold."""
    if run is None:
        raise InputError("there are no queries to tune the index on", expected="a run folder or a file of queries",
                         fix="name the run of the model that will be served: --run RUN")  # fmt: skip
    bank = pool.bank if isinstance(pool.bank, PassageBank) and is_bank_of(Path(run), pool.bank) else None
    case = case_of(Path(run), bank=bank, subject=option)
    if case.bank.hash != pool.bank.hash:
        raise InputError(f"{run} was made on another bank", fix="name the bank of the run")
    name = option or case.subject
    entries = case.entries_named(name) if name else ()
    if not entries:
        names = ", ".join(dict.fromkeys(entry.name for entry in case.entries))
        raise InputError(f"{run} has no finished option of this name", got=name, expected=names)
    return _queries_of(case, entries[0])


def _queries_of(case: Case, entry: CaseEntry) -> TuningQueries:
    windows = case.sample(case.fold_of(entry), "validation", most=MAXIMUM_QUERIES)
    contexts = case.contexts(entry, windows)
    scores = entry.retriever.score(contexts)
    if scores.queries is None:
        raise InputError(f"{entry.name} does not search with a query vector", fix="name an option that predicts one")
    return TuningQueries(scores.queries, contexts.exclude, f"{entry.name}, {len(windows)} validation windows")
