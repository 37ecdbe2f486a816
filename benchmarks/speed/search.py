"""One query against the large bank, and many at once: the tuned index beside FAISS IVF-Flat, the original system's.

Queries are off the passages' manifold, as predictions are. The first 1,000 tune our index (recall@50 of 0.99), the last
500 are measured; recall is against an exact search under the ranking rule. The other side searches 64 of 2,048 lists
whatever recall that gives. Our side answers under the ranking rule (one candidate per duplicate group, equal scores in
order of rows), the other with what FAISS returns.

One query at a time is measured on one thread, by the clock and by that thread's processor time: everything is in
memory, so on a machine without other work the two are the same, and the ratio is of the latter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32

from benchmarks.speed.banks import real_bank, rows_wanted, structured_bank
from benchmarks.speed.machine import read_gb_per_second
from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.structured_bank import neighbour_profile, off_manifold_queries
from benchmarks.speed.turns import Prepared, Side, SideResult, take_turns
from segue.bank.bank import PassageBank
from segue.errors import InputError, explain
from segue.files import atomic_path, read_json
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool, exact_scores
from segue.retrieval.index.engine import read_index, training_sample, write_index
from segue.retrieval.index.store import MANIFEST, build_index, index_settings, load_index, record_tuning, save_index
from segue.retrieval.index.tuning import tune
from segue.types import Progress

LISTS, PROBES, K, RECALL = 2048, 64, 50, 0.99
TUNED_ON, MEASURED = 1000, 500
ONE_TARGET, MANY_TARGET = 0.25, 8.0
_COUNTED: Any = faiss.cvar  # its type stubs know a part of it only
_REFERENCE, _QUERIES, _INDEX = "ivf-flat.faiss", "queries.npz", "index"


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the rows ``search-one`` and ``search-many``."""
    bank = structured_bank(settings, progress)
    folder = settings.cache / f"search-{len(bank)}"
    pool = Pool(bank)
    queries = _queries(pool, folder)
    lists = max(8, round(LISTS * len(bank) / rows_wanted(1.0)))
    _reference(pool, folder, lists, progress)
    tuned = _index(pool, folder, queries, progress)
    arguments = {"bank": bank.path, "folder": folder}
    probes = {"probes": max(1, round(PROBES * lists / LISTS))}
    about = {"passages": len(bank), "dimension": bank.dimension, "k": K, "tuned": tuned, "bytes_per_second":
             1e9 * read_gb_per_second(), "lists": lists, **probes}  # fmt: skip
    about["neighbours"] = {"structured": neighbour_profile(bank), "real": neighbour_profile(real_bank(settings))}
    rows = []
    for name, threads in (("search-one", 1), ("search-many", 2)):
        sides = [Side(prepare_ours, {**arguments, "name": name}, threads),
                 Side(prepare_theirs, {**arguments, **probes, "name": name}, threads)]  # fmt: skip
        ours, theirs = take_turns(sides, repeats=settings.repeats, progress=progress)
        rows.append(_row(name, ours, theirs, about, whole=len(bank) == rows_wanted(1.0)))
    return rows


def _row(name: str, ours: SideResult, theirs: SideResult, about: Mapping[str, Any], *, whole: bool) -> Measurement:
    one = name == "search-one"
    ratios = pairwise(ours, theirs, "p95_processor_ms" if one else "seconds", better="lower" if one else "higher")
    limit = {side: taken.facts["bytes_per_query"] / about["bytes_per_second"] * 1e3
             for side, taken in (("ours_ms", ours), ("theirs_ms", theirs))}  # fmt: skip
    return Measurement(
        name, "lower" if one else "higher", ONE_TARGET if one else MANY_TARGET, ratios, ours.to_json(),
        theirs.to_json(), {"what": "bytes read per query over measured bandwidth", **limit}, about, whole,
        holds=ours.facts["recall"] >= RECALL,
    )  # fmt: skip


def prepare_ours(bank: Path, folder: Path, name: str) -> Prepared:
    """Open the tuned index."""
    pool = Pool(PassageBank.open(bank))
    index = load_index(folder / _INDEX, pool)
    queries, answers = _measured(folder)

    def search(some: Float32[np.ndarray, "batch dim"]) -> np.ndarray:
        return index.search(some, K, exclude=np.empty((len(some), 0), dtype=np.int64)).rows

    stats = _COUNTED.hnsw_stats
    stats.reset()
    found = search(queries)
    facts = index.facts()
    step = facts["codes_bytes"] / facts["members"]
    read = stats.ndis / len(queries) * step + index.effort.get("width", 0) * 4 * pool.bank.dimension
    return Prepared(_turn(name, search, queries), {
        "engine": f"segue {facts['kind']}", **facts, "bytes_per_query": round(read), "recall": recall(pool, queries,
        found, answers)})  # fmt: skip


def prepare_theirs(bank: Path, folder: Path, name: str, probes: int) -> Prepared:
    """Open FAISS IVF-Flat."""
    pool = Pool(PassageBank.open(bank))
    index = read_index(folder / _REFERENCE)
    index.nprobe = probes
    queries, answers = _measured(folder)

    def search(some: Float32[np.ndarray, "batch dim"]) -> np.ndarray:
        return index.search(some, K)[1]

    stats = _COUNTED.indexIVF_stats
    stats.reset()
    found = search(queries)
    read = (stats.ndis / len(queries) + index.nlist) * 4 * pool.bank.dimension
    return Prepared(_turn(name, search, queries), {
        "engine": f"faiss IVF{index.nlist},Flat nprobe {probes}", "bytes_per_query": round(read),
        "recall": recall(pool, queries, found, answers)})  # fmt: skip


def _turn(
    name: str, search: Callable[[Float32[np.ndarray, "batch dim"]], np.ndarray], queries: Float32[np.ndarray, "b d"]
) -> Callable[[], Mapping[str, float]]:
    if name == "search-one":
        return lambda: _one_by_one(search, queries)
    return lambda: _at_once(search, queries)


def _one_by_one(search: Callable[[Any], object], queries: Float32[np.ndarray, "batch dim"]) -> dict[str, float]:
    clock, processor = [], []
    for one in range(len(queries)):
        query = queries[one : one + 1]
        began, used = time.perf_counter(), time.thread_time()
        search(query)
        processor.append(1e3 * (time.thread_time() - used))
        clock.append(1e3 * (time.perf_counter() - began))
    return {
        "p50_ms": float(np.percentile(clock, 50)),
        "p95_ms": float(np.percentile(clock, 95)),
        "p50_processor_ms": float(np.percentile(processor, 50)),
        "p95_processor_ms": float(np.percentile(processor, 95)),
    }


def _at_once(search: Callable[[Any], object], queries: Float32[np.ndarray, "batch dim"]) -> dict[str, float]:
    began = time.perf_counter()
    search(queries)
    return {"queries_per_second": len(queries) / (time.perf_counter() - began)}


def recall(
    pool: Pool, queries: Float32[np.ndarray, "batch dim"], found: np.ndarray, worst: Float32[np.ndarray, "batch"]
) -> float:
    """Return which share of the exact best was found: distinct candidates that score no less than the exact k-th."""
    query, place = np.nonzero(found >= 0)
    rows = found[query, place]
    good = exact_scores(queries, pool.bank, query=query, rows=rows) >= worst[query] - 1e-6
    keys = np.unique(query[good] * pool.size + pool.candidates_of(rows[good]))
    return float(np.minimum(np.bincount(keys // pool.size, minlength=len(queries)) / K, 1.0).mean())


def _queries(pool: Pool, folder: Path) -> Float32[np.ndarray, "batch dim"]:
    """Draw the queries and search the measured ones exactly, once; return all."""
    path = folder / _QUERIES
    if not path.exists():
        drawn = off_manifold_queries(pool.bank, min(TUNED_ON + MEASURED, len(pool.bank) // 3), seed=7)
        measured = drawn[-min(MEASURED, len(drawn) // 2) :]
        exact = top_k(measured, pool, K, exclude=np.empty((len(measured), 0), dtype=np.int64))
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, drawn=drawn, measured=measured, worst=exact.scores[:, -1])
    with np.load(path) as kept:
        return kept["drawn"]


def _measured(folder: Path) -> tuple[Float32[np.ndarray, "batch dim"], Float32[np.ndarray, "batch"]]:
    with np.load(folder / _QUERIES) as kept:
        return kept["measured"], kept["worst"]


def _reference(pool: Pool, folder: Path, lists: int, progress: Progress) -> None:
    """Build the other side's index, once."""
    if (folder / _REFERENCE).exists():
        return
    progress(0, None, "building IVF-Flat")
    index = faiss.index_factory(pool.bank.dimension, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(training_sample(pool, seed=0))
    for _, block in pool.bank.blocks(65_536):
        index.add(np.ascontiguousarray(block))
    write_index(index, folder / _REFERENCE)


def _index(pool: Pool, folder: Path, drawn: Float32[np.ndarray, "batch dim"], progress: Progress) -> dict[str, Any]:
    """Build and tune our index, once; return what tuning found."""
    path = folder / _INDEX
    if not (path / MANIFEST).exists():
        save_index(build_index(pool, index_settings("graph"), progress=progress), path)
    if read_json(path / MANIFEST)["tuned"] is None:
        queries = drawn[: -min(MEASURED, len(drawn) // 2)]
        nothing = np.empty((len(queries), 0), dtype=np.int64)
        try:
            tuned = tune(load_index(path, pool), queries, exclude=nothing, target=RECALL, k=K, progress=progress)
        except InputError as error:
            raise InputError(explain("the measured index cannot be tuned", got=str(error))) from error
        record_tuning(path, tuned, source="normalised means of three consecutive rows")
    found: dict[str, Any] = read_json(path / MANIFEST)["tuned"]
    return found
