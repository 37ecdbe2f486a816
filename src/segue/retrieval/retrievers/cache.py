"""Cache of query vectors that are expensive to make (encoding text).

A window is identified by its context rows. On disk the cache is one ``.npz`` without pickle, rewritten after every
batch of new queries, so that a killed evaluation resumes; ``key`` ties it to one bank and one encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int

from segue.files import atomic_path
from segue.types import Contexts


class QueryCache:
    """Caches query vectors by context rows.

    Args:
        path: an ``.npz`` file; None keeps the queries in memory only.
        key: identifies what the queries depend on besides the rows; a file with another key is not read.
    """

    def __init__(self, path: Path | None = None, *, key: str = "") -> None:
        self._path = path
        self._key = key
        self._known: dict[bytes, Float[np.ndarray, "dim"]] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._known)

    def queries(
        self, query: Callable[[Contexts], Float[np.ndarray, "batch dim"]], contexts: Contexts
    ) -> Float[np.ndarray, "batch dim"]:
        """Return the queries of ``contexts``, calling ``query`` only for windows not in the cache.

        Contexts with a passage that the bank does not hold are not cached.
        """
        names = [_name(rows) for rows in contexts.rows]
        nameable = ~((contexts.rows < 0) & contexts.mask).any(axis=1)
        known = np.array([name in self._known for name in names], dtype=bool) & nameable
        fresh = query(contexts.take(~known)) if not known.all() else None
        if fresh is None:
            return np.stack([self._known[name] for name in names])
        answers = np.empty((len(names), fresh.shape[1]), dtype=np.float32)
        answers[~known] = fresh
        for place in np.flatnonzero(known):
            answers[place] = self._known[names[place]]
        self._add({names[place]: answers[place] for place in np.flatnonzero(~known & nameable)})
        return answers

    def _add(self, fresh: dict[bytes, Float[np.ndarray, "dim"]]) -> None:
        self._known.update(fresh)
        if self._path is not None and fresh:
            rows = _pad([np.frombuffer(name, dtype=np.int64) for name in self._known])
            with atomic_path(self._path) as temporary, temporary.open("wb") as handle:
                np.savez(handle, rows=rows, vectors=np.stack(list(self._known.values())), key=np.array(self._key))

    def _read(self) -> None:
        """Read the file; a missing, foreign or broken one counts as empty."""
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                if str(stored["key"]) == self._key:
                    rows, vectors = stored["rows"], stored["vectors"]
                    self._known = {_name(row): vector for row, vector in zip(rows, vectors, strict=True)}
        except (ValueError, KeyError, BadZipFile, EOFError):
            self._known = {}


def _name(rows: Int[np.ndarray, "context"]) -> bytes:
    return rows[rows >= 0].astype(np.int64).tobytes()


def _pad(contexts: list[Int[np.ndarray, "_"]]) -> Int[np.ndarray, "window context"]:
    """Stack contexts of any length, padded at the front."""
    rows = np.full((len(contexts), max(map(len, contexts))), -1, dtype=np.int64)
    for place, context in enumerate(contexts):
        rows[place, rows.shape[1] - len(context) :] = context
    return rows
