"""Passages with the same text are one candidate: the group of a row is the first row with its normalised text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt64


class DuplicateGroups:
    """The first row of every normalised text, in 16 bytes per text: a sorted array of the hashes' first 64 bits.

    Two different texts among n share those bits with probability n² / 2⁶⁵ (a million texts: 3e-8).
    """

    def __init__(self) -> None:
        self._keys: UInt64[np.ndarray, "text"] = np.empty(0, dtype=np.uint64)
        self._rows: Int[np.ndarray, "text"] = np.empty(0, dtype=np.int64)

    def add(self, hashes: Sequence[str | None], first_row: int) -> Int[np.ndarray, "rows"]:
        """Return the duplicate group of each row: the first row with the same text; rows without text are alone.

        Args:
            hashes: sha256 of the normalised texts, in hexadecimal; None for a row without text.
            first_row: number of the first of these rows.

        >>> DuplicateGroups().add(["aa" * 32, "bb" * 32, "aa" * 32, None], first_row=10)
        array([10, 11, 10, 13])
        """
        groups = np.arange(first_row, first_row + len(hashes), dtype=np.int64)
        known = np.flatnonzero([value is not None for value in hashes])
        if len(known):
            keys = np.array([int(value[:16], 16) for value in hashes if value is not None], dtype=np.uint64)
            groups[known] = self._first_rows(keys, groups[known])
        return groups

    def _first_rows(self, keys: UInt64[np.ndarray, "rows"], rows: Int[np.ndarray, "rows"]) -> Int[np.ndarray, "rows"]:
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        place = np.searchsorted(self._keys, distinct)
        found = np.zeros(len(distinct), dtype=bool)
        inside = place < len(self._keys)
        found[inside] = self._keys[place[inside]] == distinct[inside]
        result = rows[first]
        result[found] = self._rows[place[found]]
        self._rows = np.insert(self._rows, place[~found], result[~found])
        self._keys = np.insert(self._keys, place[~found], distinct[~found])
        return result[inverse]
