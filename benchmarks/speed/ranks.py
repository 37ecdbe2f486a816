"""Exact ranks of many queries: ours beside FAISS Flat with post-processing, and beside the bare product.

Ours follow the whole ranking rule: the five rows before the target leave with their duplicates, ties count against, one
candidate per duplicate group. FAISS Flat returns the top 1,000, from which the same exclusion and ranks within the
1,000 are made; beyond them it knows nothing. The bare product multiplies the same shapes in blocks of the same size and
throws the scores away. Ranks of our side are compared with those of float64 on some of the queries. A scale below 1
takes fewer queries against as many candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int

from benchmarks.speed.banks import rows_wanted, structured_bank
from benchmarks.speed.growth import growth
from benchmarks.speed.machine import matmul_gflops
from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.structured_bank import middle_rows
from benchmarks.speed.turns import Prepared, Side, SideResult, take_turns
from segue.arithmetic import choices
from segue.bank.bank import PassageBank
from segue.ranking.blocks import QUERIES_PER_BLOCK, ROWS_PER_BLOCK
from segue.ranking.exact import target_ranks
from segue.ranking.pool import TIE, Pool
from segue.types import Progress

QUERIES, CANDIDATES, DEPTH, CHECKED = 4000, 300_000, 1000, 40
FLAT_TARGET, PRODUCT_TARGET = 3.0, 1.25
_CONTEXT = 5


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the rows ``exact-ranks`` (beside FAISS) and ``exact-ranks-product`` (beside the bare product)."""
    bank = structured_bank(settings.model_copy(update={"scale": 1.0}), progress)
    queries = max(100, round(QUERIES * settings.scale))
    arguments: dict[str, Any] = {"bank": bank.path, "candidates": min(CANDIDATES, len(bank)), "queries": queries}
    sides = [Side(prepare, arguments), Side(prepare_flat, arguments), Side(prepare_product, arguments)]
    ours, flat, product = take_turns(sides, repeats=settings.repeats, progress=progress)
    whole = settings.scale == 1 and len(bank) == rows_wanted(1.0)
    some = {**arguments, "queries": max(100, queries // 10)}
    grown = growth(prepare, some, size_name="candidates", repeats=settings.repeats) | {"queries": some["queries"]}
    return _rows(ours, flat, product, {**arguments, "bank": bank.path.name, "growth": grown}, whole=whole)


def _rows(
    ours: SideResult, flat: SideResult, product: SideResult, about: Mapping[str, Any], *, whole: bool
) -> list[Measurement]:
    gflop = 2e-9 * about["queries"] * about["candidates"] * ours.facts["dimension"]
    peaks = matmul_gflops()
    kind = choices()["ranks"]
    limit = {"what": f"operations over the measured {kind} peak", "gflops": peaks}
    if kind in peaks:
        limit["seconds"] = gflop / peaks[kind]
    holds = ours.facts["differs_from_float64"] == 0
    beside_flat = pairwise(ours, flat, "seconds", better="higher")
    beside_product = pairwise(ours, product, "seconds", better="lower")
    return [
        Measurement(
            "exact-ranks",
            "higher",
            FLAT_TARGET,
            beside_flat,
            ours.to_json(),
            flat.to_json(),
            limit,
            about,
            whole,
            holds,
        ),
        Measurement(
            "exact-ranks-product",
            "lower",
            PRODUCT_TARGET,
            beside_product,
            ours.to_json(),
            product.to_json(),
            limit,
            about,
            whole,
            holds,
        ),
    ]


def prepare(bank: Path, candidates: int, queries: int) -> Prepared:
    """Make the ranks once and compare some with float64."""
    part = FirstRows(PassageBank.open(bank), candidates)
    pool = Pool(part)
    vectors, targets, exclude = queries_and_targets(part, queries)
    some = slice(0, CHECKED)
    found = target_ranks(vectors, pool, targets, exclude=exclude)[some]
    wrong = found != float64_ranks(vectors[some], pool, targets[some], exclude[some])
    facts = {
        "dimension": part.dimension,
        "arithmetic": choices()["ranks"],
        "differs_from_float64": int(wrong.sum()),
        "compared": len(found),
        "median_rank": float(np.median(found)),
    }

    def turn() -> dict[str, float]:
        target_ranks(vectors, pool, targets, exclude=exclude)
        return {}

    return Prepared(turn, facts)


def prepare_flat(bank: Path, candidates: int, queries: int) -> Prepared:
    """Search FAISS Flat and find each target among what came back."""
    part = FirstRows(PassageBank.open(bank), candidates)
    vectors, targets, exclude = queries_and_targets(part, queries)
    flat = faiss.IndexFlatIP(part.dimension)
    for _, block in part.blocks():
        flat.add(np.ascontiguousarray(block))

    def turn() -> dict[str, float]:
        scores, rows = flat.search(vectors, min(DEPTH, flat.ntotal))
        kept = ~(rows[:, :, None] == exclude[:, None, :]).any(axis=2)
        own = np.einsum("qd,qd->q", vectors, part.gather(targets))
        (kept & (rows != targets[:, None]) & (scores > own[:, None] - TIE)).sum(axis=1)
        return {}

    return Prepared(turn, {"engine": f"faiss Flat, top {DEPTH}, exclusion and ranks in NumPy"})


def prepare_product(bank: Path, candidates: int, queries: int) -> Prepared:
    """Multiply only, in the arithmetic that is quickest on this machine, both sides prepared beforehand."""
    chosen = choices()
    kind = chosen["scores"] if chosen["ranks"] == "float32" else chosen["ranks"]
    part = FirstRows(PassageBank.open(bank), candidates)
    vectors = queries_and_targets(part, queries)[0]
    blocks = [np.array(block) for _, block in part.blocks(ROWS_PER_BLOCK)]
    starts = range(0, len(vectors), QUERIES_PER_BLOCK)
    if kind == "numpy":
        products = [partial(np.matmul, vectors[begin : begin + QUERIES_PER_BLOCK]) for begin in starts]
        turned = [block.T for block in blocks]
    else:
        multiply = torch._int_mm if kind == "int8" else torch.mm
        made = _as(kind, vectors)
        products = [partial(multiply, made[begin : begin + QUERIES_PER_BLOCK]) for begin in starts]
        turned = [_as(kind, block).T for block in blocks]

    def turn() -> dict[str, float]:
        for block in turned:
            for multiply in products:
                multiply(block)
        return {}

    return Prepared(turn, {"engine": f"products alone, {kind}"})


def _as(kind: str, vectors: Float32[np.ndarray, "rows dim"]) -> torch.Tensor:
    """Return vectors in an arithmetic; in int8 components of up to a quarter fill the range."""
    scaled = torch.from_numpy(vectors)
    return (scaled * 508).round().clamp(-127, 127).to(torch.int8) if kind == "int8" else scaled.to(getattr(torch, kind))


class FirstRows:
    """The first rows of a bank, as a bank."""

    def __init__(self, bank: PassageBank, rows: int) -> None:
        self._bank, self._rows = bank, rows
        for name in ("document_of", "position", "duplicate_group", "alive"):
            setattr(self, name, getattr(bank, name)[:rows])
        self.num_rows = np.bincount(self.document_of)
        self.first_row = np.cumsum(self.num_rows) - self.num_rows

    def __len__(self) -> int:
        return self._rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def blocks(self, rows_per_block: int = 8192) -> Any:
        """Yield the blocks of the first rows."""
        for start, vectors in self._bank.blocks(rows_per_block):
            if start >= self._rows:
                return
            yield start, vectors[: self._rows - start]


def queries_and_targets(
    bank: Any, count: int
) -> tuple[Float32[np.ndarray, "batch dim"], Int[np.ndarray, "batch"], Int[np.ndarray, "batch context"]]:
    """Return queries (means of three consecutive rows), their targets (the row after) and the rows that leave."""
    rows = middle_rows(bank)
    chosen = np.sort(np.random.default_rng(5).choice(rows, min(count, len(rows)), replace=False))
    before = np.maximum(chosen[:, None] - np.arange(_CONTEXT), bank.first_row[bank.document_of[chosen]][:, None])
    queries = sum(bank.gather(before[:, step]) for step in range(3))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries.astype(np.float32), chosen + 1, before


def float64_ranks(
    queries: Float32[np.ndarray, "batch dim"],
    pool: Pool,
    targets: Int[np.ndarray, "batch"],
    exclude: Int[np.ndarray, "batch excluded"],
) -> Int[np.ndarray, "batch"]:
    """Return ranks by the plain definition: all scores in float64, one query after the other."""
    ranks = np.empty(len(queries), dtype=np.int64)
    scores = np.concatenate(
        [block.astype(np.float64) @ queries.T.astype(np.float64) for _, block in pool.bank.blocks()]
    )
    for number, target in enumerate(targets):
        best = np.full(pool.size, -np.inf)
        np.maximum.at(best, np.repeat(np.arange(pool.size), pool.count), scores[pool.members, number])
        own = int(pool.candidates_of(targets[number : number + 1])[0])
        line = best[own] - TIE
        gone = pool.candidates_of(exclude[number])
        best[gone[gone >= 0]] = -np.inf
        best[own] = -np.inf
        ranks[number] = 1 + int((best > line).sum())
        assert target >= 0
    return ranks
