"""Engines of approximate indexes: near members of a pool by compressed vectors, scored again with the vectors.

Engines know vectors only; ``approximate.py`` handles candidates, duplicates, exclusions and the order of equal scores.
The compressed FAISS index is small and quick. The vectors are in a file that is mapped into memory (or in memory, for
an index that is not saved), and only those of the members found are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float, Float32, Int

from segue.errors import StorageError
from segue.files import atomic_file
from segue.ranking.pool import Pool
from segue.settings import Settings

Effort = Mapping[str, int]
"""Settings of one search, in the engine's terms: ``{"width": 128, "refined": 4}``; greater ones find more."""


@runtime_checkable
class Engine(Protocol):
    """Searches the members of one pool, numbered as in ``pool.members``."""

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Return scores and members, best first; -1 where fewer were found.

        Scores are inner products with the stored float32 vectors, off by no more than ``pool.rounding_bound``.
        """
        ...

    @property
    def settings(self) -> Any:
        """Settings that it was built with (a pydantic model)."""
        ...

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        ...

    def efforts(self) -> Sequence[Effort]:
        """Return the efforts that tuning may choose from, from the least to the greatest."""
        ...

    def facts(self) -> Mapping[str, object]:
        """Return the settings it was built with and the bytes it takes."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``load`` reads."""
        ...


CODES, VECTORS = "codes.faiss", "vectors.faiss"
ROWS_AT_ONCE = 16_384
_TRAINED_ON = 100_000


class Refined:
    """A compressed FAISS index and the vectors it was made from.

    Attributes:
        codes: the compressed index, members numbered as in the pool.
        vectors: the flat index of the same members.
    """

    def __init__(self, codes: faiss.Index, vectors: faiss.IndexFlat) -> None:
        self.codes: Any = codes  # any: the library's type stubs know a part of it only
        self.vectors: Any = vectors

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, fetched: int, parameters: Any
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Return the ``count`` best of ``fetched`` members that the codes find, -1 where there are fewer."""
        _, members = self.codes.search(queries, min(max(fetched, count), self.codes.ntotal), params=parameters)
        scores = member_scores(self.vectors, queries, members)
        order = np.argsort(-scores, axis=1)[:, :count]
        here = np.arange(len(queries))[:, None]
        return scores[here, order], members[here, order]

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        return self.vectors.reconstruct_batch(members)

    def size_bytes(self) -> dict[str, int]:
        """Return the bytes of codes and vectors."""
        return {
            "codes_bytes": len(faiss.serialize_index(self.codes)),
            "vectors_bytes": int(self.vectors.ntotal * self.vectors.code_size),
        }

    def save(self, folder: Path) -> None:
        """Write both; vectors that are there already are kept."""
        write_index(self.codes, folder / CODES)
        if not (folder / VECTORS).exists():
            write_index(self.vectors, folder / VECTORS)

    @classmethod
    def load(cls, folder: Path) -> Refined:
        """Read the codes, and map the vectors.

        Raises:
            StorageError: a file is missing or damaged.
        """
        return cls(read_index(folder / CODES), read_index(folder / VECTORS, mapped=True))


def member_scores(
    vectors: Any, queries: Float32[np.ndarray, "batch dim"], members: Int[np.ndarray, "batch fetched"]
) -> Float32[np.ndarray, "batch fetched"]:
    """Return the inner products of queries and the members of a flat index, -inf for -1."""
    scores = np.empty(members.shape, dtype=np.float32)
    query, score, member = (faiss.swig_ptr(array) for array in (queries, scores, members))
    vectors.compute_distance_subset(len(members), query, members.shape[1], score, member)
    scores[members < 0] = -np.inf
    return scores


class RefinedEngine:
    """Base class of engines over such an index; a subclass builds and searches it."""

    def __init__(self, settings: Settings, refined: Refined) -> None:
        self.settings = settings
        self._refined = refined

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        return self._refined.vectors_of(members)

    def facts(self) -> Mapping[str, object]:
        """Return settings and sizes."""
        return {**self.settings.model_dump(), **self._refined.size_bytes()}

    def save(self, folder: Path) -> None:
        """Write codes and vectors."""
        self._refined.save(folder)


def flat_vectors(pool: Pool) -> faiss.IndexFlatIP:
    """Return the vectors of a pool's members in memory."""
    flat = faiss.IndexFlatIP(pool.bank.dimension)
    for block in member_blocks(pool):
        flat.add(block)
    return flat


def member_blocks(pool: Pool) -> Iterator[Float[np.ndarray, "rows dim"]]:
    """Yield the float32 vectors of a pool's members, in their order."""
    for begin in range(0, len(pool.members), ROWS_AT_ONCE):
        yield np.ascontiguousarray(pool.bank.gather(pool.members[begin : begin + ROWS_AT_ONCE]))


def training_sample(pool: Pool, seed: int) -> Float[np.ndarray, "rows dim"]:
    """Return the vectors that codes are trained on: all members, or a sample of them."""
    count = len(pool.members)
    chosen = np.arange(count)
    if count > _TRAINED_ON:
        chosen = np.sort(np.random.default_rng(seed).choice(count, _TRAINED_ON, replace=False))
    return np.ascontiguousarray(pool.bank.gather(pool.members[chosen]))


def write_index(index: faiss.Index, path: Path) -> None:
    """Write a FAISS index, atomically."""
    with atomic_file(path) as handle:
        faiss.write_index(index, faiss.PyCallbackIOWriter(handle.write))  # type: ignore[attr-defined]


def read_index(path: Path, *, mapped: bool = False) -> Any:
    """Read a FAISS index, or map its large arrays into memory.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except RuntimeError as error:
        got = str(error).splitlines()[0]
        raise StorageError(f"cannot read {path}", got=got, fix="build the index again") from error
