"""An engine of your own: it finds members of a pool; their scores are computed here, with their own vectors.

An engine of your own is a class. It is made with the vectors of all members, float32 [member, dim], and the options of
the index. ``search(queries, count, **effort)`` returns the numbers of near members, best first in its own judgement,
-1 where it found fewer: integers [query, count]. It may have

- ``efforts()``: keyword arguments of ``search`` that tuning may choose from, from the least to the greatest;
- ``save(folder)`` and the class method ``load(folder, vectors)``. Without them it is made again when the index is
  opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int
from pydantic import Field

from segue.errors import InputError
from segue.parts import load_part, require_own_part
from segue.ranking.pool import Pool
from segue.retrieval.index.engine import VECTORS, Effort, flat_vectors, member_scores, read_index, write_index
from segue.retrieval.index.members import first_ones
from segue.settings import Settings
from segue.types import Progress, no_progress


class OwnSettings(Settings):
    """Settings of an engine of your own."""

    kind: str = Field(description="import path of its class, or the name of an installed one")
    options: Mapping[str, Any] = Field(default_factory=dict, description="keyword arguments for the class")


class OwnEngine:
    """An engine of your own, and the vectors of the members."""

    def __init__(self, settings: OwnSettings, engine: Any, vectors: faiss.IndexFlat) -> None:
        self.settings = settings
        self._engine = engine
        self._vectors: Any = vectors  # any: the library's type stubs know a part of it only

    @classmethod
    def build(cls, pool: Pool, settings: OwnSettings, *, progress: Progress = no_progress) -> OwnEngine:
        """Make the engine over a pool's members."""
        vectors = flat_vectors(pool)
        return cls(settings, _make(settings, vectors), vectors)

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Return the members that it finds, by the inner products with their vectors.

        Raises:
            InputError: the engine fails, or returns other than members.
        """
        try:
            found = np.asarray(self._engine.search(queries.copy(), count, **effort))
        except Exception as error:  # it is the user's code
            raise self._wrong(f"{type(error).__name__}: {error}") from error
        if found.shape != (len(queries), count) or found.dtype.kind not in "iu":
            raise self._wrong(f"{found.dtype} {list(found.shape)}", f"integers {[len(queries), count]}")
        if found.min(initial=0) < -1 or found.max(initial=-1) >= self._vectors.ntotal:
            raise self._wrong(f"members {found.min()} to {found.max()}", f"-1, or 0 to {self._vectors.ntotal - 1}")
        members = first_ones(np.ascontiguousarray(found, dtype=np.int64))
        scores = member_scores(self._vectors, queries, members)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(members, order, axis=1)

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        return self._vectors.reconstruct_batch(members)

    def efforts(self) -> Sequence[Effort]:
        """Return the engine's efforts; one of no keywords where it has none."""
        efforts = getattr(self._engine, "efforts", None)
        return list(efforts()) if callable(efforts) else [{}]

    def facts(self) -> Mapping[str, object]:
        """Return settings and the bytes of the vectors."""
        return {**self.settings.model_dump(), "vectors_bytes": int(self._vectors.ntotal * self._vectors.code_size)}

    def save(self, folder: Path) -> None:
        """Write the vectors, and what the engine saves."""
        if callable(getattr(self._engine, "load", None)):
            self._engine.save(folder)
        write_index(self._vectors, folder / VECTORS)

    @classmethod
    def load(cls, folder: Path, settings: OwnSettings, _members: Int[np.ndarray, "members"]) -> OwnEngine:
        """Read what ``save`` wrote; an engine that saves nothing is made again.

        Raises:
            SettingsError: its class cannot be imported.
            StorageError: a file is missing or damaged.
        """
        vectors = read_index(folder / VECTORS, mapped=True)
        return cls(settings, _make(settings, vectors, folder), vectors)

    def _wrong(self, got: str, expected: str = "the numbers of members") -> InputError:
        what = f"search() of the engine {self.settings.kind} fails"
        return InputError(what, got=got, expected=expected, fix="correct it")


def _make(settings: OwnSettings, vectors: Any, folder: Path | None = None) -> Any:
    """Make an engine from vectors, or load it from the folder that it was saved in."""
    if folder is not None:
        require_own_part("index", settings.kind, folder)
    kind = load_part("index", settings.kind)
    # Checked before it is called: the name may come from someone else's bundle.
    if not (isinstance(kind, type) and callable(getattr(kind, "search", None))):
        raise InputError(f"{settings.kind} is no engine", got=repr(kind), expected="a class with a method search()")
    saves = [name for name in ("save", "load") if callable(getattr(kind, name, None))]
    if len(saves) == 1:
        raise InputError(f"the engine {settings.kind} cannot be kept", got=f"{saves[0]}() alone",
                         expected="save() and load(), or neither", fix="add the other")  # fmt: skip
    rows = vectors.reconstruct_n(0, vectors.ntotal)
    try:
        loads = folder is not None and callable(getattr(kind, "load", None))
        return kind.load(folder, rows) if loads else kind(rows, **settings.options)  # type: ignore[attr-defined]
    except Exception as error:  # it is the user's code
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"the engine {settings.kind} cannot be made", got=got, fix="check its options") from error
