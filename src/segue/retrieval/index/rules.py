"""Rules of engines of your own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

MEMBERS, DIMENSION, QUERIES, COUNT = 600, 24, 40, 20
ENOUGH = 0.95
"""Recall of the nearest ``COUNT`` that the greatest effort has to reach."""


@dataclass(frozen=True)
class EngineUnderTest:
    """An engine over vectors of 60 directions with noise, and queries between them.

    Attributes:
        kind: makes an engine from vectors.
        engine: one that was made.
        vectors: of the members.
        queries: unit vectors, not among the members.
    """

    kind: Any
    engine: Any
    vectors: Float32[np.ndarray, "member dim"]
    queries: Float32[np.ndarray, "query dim"]

    @property
    def efforts(self) -> list[dict[str, Any]]:
        """Efforts from the least to the greatest."""
        return list(self.engine.efforts()) if hasattr(self.engine, "efforts") else [{}]

    def found(self, queries: np.ndarray | None = None, engine: Any = None, effort: int = -1) -> np.ndarray:
        """Return the members that the engine finds with one of its efforts."""
        given = self.queries if queries is None else queries
        return np.asarray((engine or self.engine).search(given.copy(), COUNT, **self.efforts[effort]))

    def recall(self, effort: int) -> float:
        """Return the share of the nearest members that an effort finds."""
        found, nearest = self.found(effort=effort), np.argsort(-(self.queries @ self.vectors.T), axis=1)[:, :COUNT]
        return float(np.mean([len(np.intersect1d(*pair)) / COUNT for pair in zip(found, nearest, strict=True)]))


def subject(make: Callable[..., Any]) -> EngineUnderTest:
    """Return an engine over example vectors; ``make`` is its class, or a function of the vectors."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((60, DIMENSION))
    vectors = _unit(
        centres[generator.integers(60, size=MEMBERS)] + 0.6 * generator.standard_normal((MEMBERS, DIMENSION))
    )
    queries = _unit(
        centres[generator.integers(60, size=QUERIES)] + 0.6 * generator.standard_normal((QUERIES, DIMENSION))
    )
    return EngineUnderTest(make, make(vectors.copy()), vectors, queries)


def _unit(vectors: np.ndarray) -> Float32[np.ndarray, "row dim"]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def check_members_or_minus_one(tested: EngineUnderTest) -> None:
    """Check that it returns ``count`` members of each query, numbered as its vectors are, -1 for places left empty."""
    for effort in range(len(tested.efforts)):
        found = tested.found(effort=effort)
        assert found.dtype.kind in "iu", f"{found.dtype}, expected integers"
        assert found.shape == (QUERIES, COUNT), f"shape {found.shape}, expected {(QUERIES, COUNT)}"
        in_range = (found >= -1).all() and (found < MEMBERS).all()
        assert in_range, f"members {found.min()} to {found.max()}, expected -1 to {MEMBERS - 1}"


def check_no_member_twice(tested: EngineUnderTest) -> None:
    """Check that no member comes twice for one query; its place could have held another."""
    for row in tested.found():
        there = row[row >= 0]
        assert len(np.unique(there)) == len(there), "a member comes twice"


def check_the_greatest_effort_finds_the_nearest(tested: EngineUnderTest) -> None:
    """Check that the last effort finds nearly all of the nearest members; tuning could reach no recall otherwise."""
    reached = tested.recall(-1)
    assert reached >= ENOUGH, f"recall {reached:.3f} of the nearest {COUNT}, expected {ENOUGH} or more"


def check_efforts_rise(tested: EngineUnderTest) -> None:
    """Check that the first effort finds no more than the last; until it is tuned, an index searches with the last."""
    first, last = tested.recall(0), tested.recall(-1)
    assert first <= last + 0.01, f"recall {first:.3f} with the first effort, {last:.3f} with the last"


def check_same_members_alone_and_in_a_batch(tested: EngineUnderTest) -> None:
    """Check that a query's members depend on that query alone, since a server searches for several queries at once."""
    alone = np.concatenate([tested.found(tested.queries[n : n + 1]) for n in range(QUERIES)])
    assert np.array_equal(alone, tested.found()), "other members for queries one by one"


def check_same_members_again(tested: EngineUnderTest) -> None:
    """Check that another engine of the same vectors finds the same; without ``save``, it is made again when opened."""
    again = tested.found(engine=tested.kind(tested.vectors.copy()))
    assert np.array_equal(again, tested.found()), "another engine of the same vectors finds other members"


def check_queries_are_kept(tested: EngineUnderTest) -> None:
    """Check that it does not change the queries."""
    queries = tested.queries.copy()
    tested.engine.search(queries, COUNT, **tested.efforts[-1])
    assert np.array_equal(queries, tested.queries), "the queries are changed"


def check_saved_and_loaded_it_finds_the_same(tested: EngineUnderTest) -> None:
    """Check that an engine that saves itself finds the same after loading; it has ``save`` and ``load``, or none."""
    saves, loads = (callable(getattr(tested.engine, name, None)) for name in ("save", "load"))
    assert saves == loads, "one of save(folder) and load(folder, vectors) is missing"
    if not saves:
        return
    with tempfile.TemporaryDirectory() as folder:
        tested.engine.save(Path(folder))
        loaded = type(tested.engine).load(Path(folder), tested.vectors.copy())
        assert np.array_equal(tested.found(engine=loaded), tested.found()), "the loaded engine finds other members"


def check_all_members_can_be_requested(tested: EngineUnderTest) -> None:
    """Check that it returns as many places as there are members: behind many duplicates a search goes that deep."""
    found = np.asarray(tested.engine.search(tested.queries[:2].copy(), MEMBERS, **tested.efforts[-1]))
    assert found.shape == (2, MEMBERS), f"shape {found.shape}, expected {(2, MEMBERS)}"


RULES: tuple[Callable[[EngineUnderTest], None], ...] = (
    check_members_or_minus_one,
    check_no_member_twice,
    check_the_greatest_effort_finds_the_nearest,
    check_efforts_rise,
    check_same_members_alone_and_in_a_batch,
    check_same_members_again,
    check_queries_are_kept,
    check_saved_and_loaded_it_finds_the_same,
    check_all_members_can_be_requested,
)
