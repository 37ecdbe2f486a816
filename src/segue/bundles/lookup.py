"""Lookup of passages by id, text or vector.

What was read may not be answered, so passages given as texts or vectors are looked up in the bank. Texts are compared
in normalised form; vectors by their projections on a few random directions, which leave few rows, and then by cosine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from segue.corpus.passages import normalise_text
from segue.errors import InputError
from segue.types import Bank

ROWS_AT_ONCE = 8192
SAME_VECTOR = 1e-6
"""Greatest 1 − cosine of two vectors of one passage; the rounding of a float16 bank is smaller."""
REACH = float(np.sqrt(2 * SAME_VECTOR))
"""Greatest distance of two such vectors, and so of their projections: |a − b| = √(2 (1 − cosine))."""
DIRECTIONS = 8


class Lookup:
    """Finds passages of a bank; keeps all texts in memory as an Arrow array."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._documents = {name: number for number, name in enumerate(bank.document_ids)}
        directions = np.random.default_rng(0).standard_normal((bank.dimension, DIRECTIONS))
        self._directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
        self._places = np.concatenate([_unit(block) @ self._directions for _, block in bank.blocks(ROWS_AT_ONCE)])
        self._by_place = np.argsort(self._places[:, 0], kind="stable")
        self._first_places = self._places[self._by_place, 0]
        self._read_texts()

    def _read_texts(self) -> None:
        """Read all texts, and sort the first bytes of their hashes."""
        self._texts: pa.Array | None = None
        if not self._bank.has_texts:
            return
        chunks, hashes = [], []
        for start in range(0, len(self._bank), ROWS_AT_ONCE):
            texts = self._bank.texts(np.arange(start, min(start + ROWS_AT_ONCE, len(self._bank))))
            chunks.append(pa.array(texts, type=pa.large_string()))
            hashes.append(_hashes(texts))
        self._texts = pa.concat_arrays(chunks)  # in one piece: taking from several would join them every time
        every = np.concatenate(hashes)
        self._by_hash = np.argsort(every, kind="stable")  # the first row of a text comes first
        self._hashes = every[self._by_hash]

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str | None]:
        """Return the texts of rows; None where the bank has none."""
        if self._texts is None:
            return [None] * len(rows)
        return [self._texts[row].as_py() for row in rows.tolist()]  # up to ten, ``take`` would cost more

    def row(self, name: str) -> int:
        """Return the row of a passage id, ``document#position``.

        Raises:
            InputError: there is no such passage, or it was deleted.
        """
        document, _, position = name.rpartition("#")
        number = self._documents.get(document)
        if number is not None and position.isdecimal() and position.isascii() and len(position) < 10:
            first = int(self._bank.first_row[number])
            inside = self._bank.position[first : first + int(self._bank.num_rows[number])]
            place = int(np.searchsorted(inside, int(position)))
            if place < len(inside) and inside[place] == int(position) and self._bank.alive[first + place]:
                return first + place
        raise InputError("the bundle has no such passage", got=repr(name[:80]),
                         expected="document#position, as in its answers")  # fmt: skip

    def document(self, name: str) -> int:
        """Return the number of a document.

        Raises:
            InputError: there is none of this id, or it was deleted.
        """
        number = self._documents.get(name)
        if number is not None:
            first, count = int(self._bank.first_row[number]), int(self._bank.num_rows[number])
            if self._bank.alive[first : first + count].any():
                return number
        raise InputError("the bundle has no such document", got=repr(name[:80]),
                         expected="a document's id, as in its answers")  # fmt: skip

    def rows_of_texts(self, texts: Sequence[str]) -> list[int]:
        """Return the first row that has each text in its normalised form, -1 where none does."""
        if self._texts is None or not texts:
            return [-1] * len(texts)
        places = np.searchsorted(self._hashes, _hashes(texts))
        rows = self._by_hash[np.minimum(places, len(self._by_hash) - 1)]
        found = self.texts(rows)
        pairs = zip(rows.tolist(), found, texts, strict=True)
        return [row if normalise_text(str(there)) == normalise_text(text) else -1 for row, there, text in pairs]

    def rows_of_vectors(self, vectors: Float[np.ndarray, "some dim"]) -> list[int]:
        """Return the row that has each unit vector, -1 where none does."""
        vectors = _unit(vectors)
        places = vectors @ self._directions
        low, high = np.searchsorted(self._first_places, [places[:, 0] - REACH, places[:, 0] + REACH])
        near = [self._by_place[begin:end] for begin, end in zip(low, high, strict=True)]
        return [self._row_of_vector(*one) for one in zip(vectors, places, near, strict=True)]

    def _row_of_vector(
        self, vector: Float[np.ndarray, "dim"], place: Float[np.ndarray, "direction"], near: Int[np.ndarray, "row"]
    ) -> int:
        """Return the row among those near on the first direction that has the vector, -1 where none does."""
        near = np.sort(near[(np.abs(self._places[near] - place) <= REACH).all(axis=1)])
        if len(near) == 0:
            return -1
        cosines = _unit(self._bank.gather(near)) @ vector
        best = int(np.argmax(cosines))
        return int(near[best]) if cosines[best] >= 1 - SAME_VECTOR else -1


def _unit(vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, "some dim"]:
    """Return vectors at length 1: half precision leaves them a little longer or shorter."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _hashes(texts: Sequence[str]) -> Int[np.ndarray, "text"]:
    """Return the first eight bytes of the sha256 of each normalised text."""
    digests = b"".join(hashlib.sha256(normalise_text(text).encode()).digest()[:8] for text in texts)
    return np.frombuffer(digests, dtype=np.int64)
