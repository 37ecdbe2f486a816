"""A bank with the same passages and other vectors: what a document tower or another encoder makes of each passage.

Enters: a bank, and a function from its vectors (or from their texts) to unit vectors. Leaves: a bank of the same rows,
documents and duplicate groups in a space of its own. Row numbers keep their meaning, so windows, exclusions and pools
of the original bank hold here too (``Pool.on``); vectors do not, so the space has another name, another fingerprint
where one can be made, and everything that compares spaces refuses a mixture.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.encoders import Encoder
from segue.encoders.space import LENGTH_TOLERANCE, Space
from segue.errors import InputError
from segue.files import atomic_path
from segue.types import Bank, Progress, no_progress

Reencode = Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, "rows out"]]
"""Turns unit vectors into unit vectors of another space, row by row, float32."""

ROWS_AT_ONCE = 8192


class ReencodedBank:
    """The passages of a bank under other vectors; see ``segue.types.Bank`` for its members.

    Args:
        source: the bank whose passages they are.
        vectors: a unit vector for each row, in memory or mapped from a file (``np.load(path, mmap_mode="r")``).
        space: of the vectors; not the source's.

    Raises:
        InputError: the vectors are not one for each row, or not of the dimension that the space states.
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
        self.manifest: dict[str, Any] = {**source.manifest, "hash": f"{source.manifest['hash']} in {space.encoder}"}
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


def reencode(bank: Bank, encode: Reencode, *, name: str, path: Path | None = None) -> ReencodedBank:
    """Send every vector of a bank through ``encode``, block by block.

    Args:
        bank: what is re-encoded.
        encode: such as a trained document tower.
        name: what tells this function from every other, such as a hash of its weights.
        path: an ``.npy`` file to write the vectors to and to map them from, for banks larger than memory; None keeps
            them in memory.

    Raises:
        InputError: a live passage gets a vector that is not finite or not of length 1.
    """
    space = derived_space(bank.space, encode, name=name)
    if path is None:
        vectors = np.empty((len(bank), space.dimension), dtype=np.float32)
        _fill(vectors, bank, encode)
        return ReencodedBank(bank, vectors, space)
    with atomic_path(path) as temporary:
        shape = (len(bank), space.dimension)
        mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)  # type: ignore[no-untyped-call]
        _fill(mapped, bank, encode)
        mapped.flush()
        del mapped
    return ReencodedBank(bank, np.load(path, mmap_mode="r"), space)


def derived_space(base: Space, encode: Reencode, *, name: str) -> Space:
    """Return the space of what ``encode`` makes of vectors of ``base``.

    Its fingerprint is what ``encode`` makes of the base's, so that two towers are told apart by what they compute;
    where the base has none, the names are all there is.
    """
    probes = base.fingerprint
    made = encode(_probe(base.dimension) if probes is None else probes)
    return replace(
        base,
        encoder=f"{base.encoder} + {name}",
        dimension=made.shape[1],
        normalised=True,
        fingerprint=None if probes is None else made,
    )


def _probe(dimension: int) -> Float[np.ndarray, "1 dim"]:
    """Return one unit vector, to see how many components come out."""
    return np.eye(1, dimension, dtype=np.float32)


def _fill(vectors: Float[np.ndarray, "bank out"], bank: Bank, encode: Reencode) -> None:
    for start, block in bank.blocks(ROWS_AT_ONCE):
        made = encode(np.ascontiguousarray(block, dtype=np.float32))
        _require_unit(made[bank.alive[start : start + len(block)]])
        vectors[start : start + len(block)] = made


def _require_unit(vectors: Float[np.ndarray, "rows out"]) -> None:
    """Refuse vectors that an index of inner products would rank wrongly."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = ~(np.abs(length - 1.0) <= LENGTH_TOLERANCE)  # also where it is not a number
    if wrong.any():
        raise InputError(
            "re-encoded passages are no unit vectors",
            got=f"{int(wrong.sum())} of {len(wrong)} in one block, one of length {length[wrong][0]:.3g}",
            expected="finite vectors of length 1",
            fix="normalise what the document tower answers, or train it again with a lower learning rate",
        )


ROWS_PER_FILE = 2048


def reencode_texts(bank: Bank, encoder: Encoder, *, folder: Path, progress: Progress = no_progress) -> ReencodedBank:
    """Encode every passage of a bank, or read the vectors back where that was done.

    Args:
        bank: with texts.
        encoder: another than the bank's.
        folder: where the vectors are kept, for any number of encoders.
        progress: told of each block.

    Raises:
        InputError: the bank has no texts.
        StorageError: the folder cannot be written.
    """
    if not bank.has_texts:
        raise InputError("the bank has no texts to encode", fix="give the texts beside the vectors")
    if bank.manifest["hash"] is None:
        return ReencodedBank(bank, np.concatenate(list(_blocks(bank, encoder, progress))), encoder.space)
    path = folder / f"{_name(bank, encoder)}.npy"
    if not path.exists():
        _encode(bank, encoder, path, progress)
    return ReencodedBank(bank, np.load(path, mmap_mode="r"), encoder.space)


def _encode(bank: Bank, encoder: Encoder, path: Path, progress: Progress) -> None:
    blocks = path.with_suffix("")
    for first in range(0, len(bank), ROWS_PER_FILE):
        progress(first, len(bank), "passages encoded")
        place = blocks / f"{first:09d}.npy"
        if not place.exists():
            rows = np.arange(first, min(first + ROWS_PER_FILE, len(bank)))
            _save(place, encoder.encode(bank.texts(rows)))
    _save(path, np.concatenate([np.load(place, mmap_mode="r") for place in sorted(blocks.glob("[0-9]*.npy"))]))
    shutil.rmtree(blocks)
    progress(len(bank), len(bank), "passages encoded")


def _blocks(bank: Bank, encoder: Encoder, progress: Progress) -> Iterator[Float[np.ndarray, "rows dim"]]:
    for first in range(0, len(bank), ROWS_PER_FILE):
        progress(first, len(bank), "passages encoded")
        yield encoder.encode(bank.texts(np.arange(first, min(first + ROWS_PER_FILE, len(bank)))))


def _save(path: Path, vectors: Float[np.ndarray, "rows dim"]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, vectors)


def _name(bank: Bank, encoder: Encoder) -> str:
    """Name the vectors after the bank and what the encoder says of itself; its fingerprint may vary in the last bit."""
    said = {key: value for key, value in encoder.space.to_json().items() if key != "fingerprint"}
    text = json.dumps([bank.manifest["hash"], len(bank), said], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
