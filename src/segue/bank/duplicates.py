"""Passages with the same text are one candidate: the group of a row is the first row with its normalised text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt64


class DuplicateGroups:
    """The first row of every normalised text, in 16 bytes per text: sorted runs of the hashes' first 64 bits.

    A run is at least twice as long as the next, so a text is looked up in few runs and moved few times (the logarithm
    of their number). Two different texts among n share those bits with probability n² / 2⁶⁵ (a million texts: 3e-8).
    """

    def __init__(self) -> None:
        self._runs: list[tuple[UInt64[np.ndarray, "text"], Int[np.ndarray, "text"]]] = []  # keys, their rows

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
        result, new = rows[first], np.ones(len(distinct), dtype=bool)
        for known, their_rows in self._runs:
            place = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
            found = known[place] == distinct
            result[found], new[found] = their_rows[place[found]], False
        if new.any():
            self._append(distinct[new], result[new])
        return result[inverse]

    def _append(self, keys: UInt64[np.ndarray, "text"], rows: Int[np.ndarray, "text"]) -> None:
        """Add a run, joined with those before it that are less than twice as long."""
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            others = self._runs.pop()
            keys, rows = np.concatenate([others[0], keys]), np.concatenate([others[1], rows])
            order = np.argsort(keys, kind="stable")  # merges two sorted runs
            keys, rows = keys[order], rows[order]
        self._runs.append((keys, rows))
