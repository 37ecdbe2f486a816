"""Banks with the passages of another bank and other vectors, made by a document tower or another encoder.

Input: a bank, and a function from its vectors (or from its texts) to unit vectors. Output: a bank of the same rows,
documents and duplicate groups in a space of its own. Windows, exclusions and pools of the original bank are valid here
too (``Pool.on``). The space has another name and fingerprint, so a mixture of the two is refused where spaces are
compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.encoders import Encoder
from segue.encoders.space import LENGTH_TOLERANCE, Space
from segue.errors import InputError
from segue.files import disk, write_npy
from segue.types import Bank, Progress, no_progress

Reencode = Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, "rows out"]]
"""Function from float32 unit vectors to float32 unit vectors of another space, row by row."""

ROWS_AT_ONCE = 8192
ROWS_PER_FILE = 2048
"""Passages encoded between two saves; an interrupted run loses the last of them."""


class ReencodedBank:
    """The passages of a bank with other vectors; see ``segue.types.Bank`` for its members.

    Args:
        source: the bank of the passages.
        vectors: one unit vector per row, in memory or mapped from a file (``np.load(path, mmap_mode="r")``).
        space: space of the vectors.

    Raises:
        InputError: the number of vectors is not that of the rows, or their dimension not that of the space.
    """

    def __init__(self, source: Bank, vectors: Float[np.ndarray, "bank out"], space: Space) -> None:
        if vectors.shape != (len(source), space.dimension):
            raise InputError(
                "the vectors do not fit the bank and the space",
                got=f"{vectors.shape[0]} × {vectors.shape[1]}",
                expected=f"{len(source)} rows × {space.dimension} dimensions",
                fix="encode this bank again",
            )
        self.source = source
        self.vectors = vectors
        self.space: Any = space
        self.dimension = space.dimension
        self.hash = f"{source.hash} in {space.encoder}"
        self.counts, self.language = source.counts, source.language
        self.document_ids, self.document_titles = source.document_ids, source.document_titles
        self.document_of, self.position = source.document_of, source.position
        self.duplicate_group, self.alive = source.duplicate_group, source.alive
        self.first_row, self.num_rows = source.first_row, source.num_rows
        self.has_texts = source.has_texts

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, rows: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows dim"]:
        """Return the re-encoded vectors of ``rows`` (all ≥ 0), in that order."""
        return np.asarray(self.vectors[np.asarray(rows)], dtype=np.float32)

    def blocks(self, rows_per_block: int = ROWS_AT_ONCE) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"]]]:
        """Yield (first row, re-encoded vectors) of contiguous blocks in order."""
        for start in range(0, len(self), rows_per_block):
            yield start, np.asarray(self.vectors[start : start + rows_per_block], dtype=np.float32)

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the texts of ``rows``."""
        return self.source.texts(rows)

    def passage_ids(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the names of ``rows`` in run and qrels files."""
        return self.source.passage_ids(rows)


def reencode(bank: Bank, encode: Reencode, *, name: str) -> ReencodedBank:
    """Transform every vector of a bank with ``encode``, block by block; the vectors stay in memory.

    Args:
        bank: the bank to re-encode.
        encode: for instance a trained document tower.
        name: unique name of this function, for instance a hash of its weights.

    Raises:
        InputError: a live passage gets a vector that is not finite or not of length 1.
    """
    space = derived_space(bank.space, encode, name=name)
    vectors = np.empty((len(bank), space.dimension), dtype=np.float32)
    for start, block in bank.blocks(ROWS_AT_ONCE):
        made = encode(np.ascontiguousarray(block, dtype=np.float32))
        _require_unit(made[bank.alive[start : start + len(block)]])
        vectors[start : start + len(block)] = made
    return ReencodedBank(bank, vectors, space)


def derived_space(base: Space, encode: Reencode, *, name: str) -> Space:
    """Return the space of the vectors that ``encode`` makes of vectors of ``base``.

    The fingerprint is ``encode`` applied to that of the base, so that towers differ by what they compute; where the
    base has none, only the names differ.
    """
    probes = base.fingerprint
    made = encode(np.eye(1, base.dimension, dtype=np.float32) if probes is None else probes)
    return replace(
        base,
        encoder=f"{base.encoder} + {name}",
        dimension=made.shape[1],
        normalised=True,
        fingerprint=None if probes is None else made,
    )


def _require_unit(vectors: Float[np.ndarray, "rows out"]) -> None:
    """Raise an InputError for vectors that are not of length 1."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = ~(np.abs(length - 1.0) <= LENGTH_TOLERANCE)  # NaN is wrong too
    if wrong.any():
        raise InputError(
            "re-encoded passages are not unit vectors",
            got=f"{int(wrong.sum())} of {len(wrong)} in one block, one of length {length[wrong][0]:.3g}",
            expected="finite vectors of length 1",
            fix="normalise the output of the document tower, or train it again with a lower learning rate",
        )


def reencode_texts(bank: Bank, encoder: Encoder, *, folder: Path, progress: Progress = no_progress) -> ReencodedBank:
    """Encode the texts of a bank with another encoder, or read the vectors back where that was done.

    Args:
        bank: a bank with texts.
        encoder: the other encoder.
        folder: folder of the vectors of any number of encoders.
        progress: called per block with the number of encoded passages.

    Raises:
        InputError: the bank has no texts.
        StorageError: the folder cannot be written.
    """
    if not bank.has_texts:
        raise InputError("the bank has no texts to encode", fix="give the texts along with the vectors")
    if bank.hash is None:
        return ReencodedBank(bank, np.concatenate(list(_encode(bank, encoder, None, progress))), encoder.space)
    path = folder / f"{_name(bank, encoder)}.npy"
    if not path.exists():
        parts = path.with_suffix("")
        write_npy(path, np.concatenate(list(_encode(bank, encoder, parts, progress))))
        disk.remove(parts)
    return ReencodedBank(bank, np.load(path, mmap_mode="r"), encoder.space)


def _encode(
    bank: Bank, encoder: Encoder, folder: Path | None, progress: Progress
) -> Iterator[Float[np.ndarray, "rows dim"]]:
    """Yield the vectors of consecutive parts of a bank; parts that exist in ``folder`` are read, others saved there."""
    for first in range(0, len(bank), ROWS_PER_FILE):
        progress(first, len(bank), "passages encoded")
        rows = np.arange(first, min(first + ROWS_PER_FILE, len(bank)))
        if folder is None:
            yield encoder.encode(bank.texts(rows))
            continue
        part = folder / f"{first:09d}.npy"
        if not part.exists():
            write_npy(part, encoder.encode(bank.texts(rows)))
        yield np.load(part, mmap_mode="r")
    progress(len(bank), len(bank), "passages encoded")


def _name(bank: Bank, encoder: Encoder) -> str:
    """Name the vectors after the bank and the space, without its fingerprint, whose last bits may vary."""
    stated = {key: value for key, value in encoder.space.to_json().items() if key != "fingerprint"}
    text = json.dumps([bank.hash, len(bank), stated], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
