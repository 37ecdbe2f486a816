"""Vectors of the pieces of a bank's passages: of sentences (``sentences.py``) or of tokens (``tokens.py``).

Input: the texts of a bank and its encoder. Output: a few vectors per row, in reading order, stored compactly and mapped
from disk.

``build_pieces`` encodes block by block; an interrupted build continues where it stopped. A block is the vectors of
some rows and their counts, in files named after what was encoded and the encoder, so it is reused after a kill and
after documents were appended to the bank. The record (``sentences.json``) is written last and lists the bank's blocks
in order.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from segue.bank.bank import PassageBank
from segue.encoders import Encoder
from segue.encoders.space import Space, require_same
from segue.errors import InputError, StorageError
from segue.files import JsonObject, disk, exclusive, read_json, write_json, write_npy
from segue.types import Bank, Progress, no_progress

TEXTS_AT_ONCE = 4096
ROWS_PER_BLOCK = 2048
"""Passages that are encoded together; an interrupted build loses one block."""

Packed = tuple[np.ndarray, UInt8[np.ndarray, "text"]]
"""Stored pieces of some texts, one text after the other, and the number of pieces of each text."""


@runtime_checkable
class Cutting(Protocol):
    """How passages are cut into pieces, and how a piece is stored."""

    @property
    def name(self) -> str:
        """Plural of what the pieces are: name of the folder, of the record, and in messages."""

    @property
    def most(self) -> int:
        """Maximum number of pieces of a passage, at most 255."""

    @property
    def settings(self) -> JsonObject:
        """Return everything but the bank and the encoder that decides what is stored."""

    def stored_as(self, dimension: int) -> np.dtype[Any]:
        """Return the type of one stored piece, for an encoder of ``dimension`` components."""

    def prepare(self, bank: Bank, encoder: Encoder, folder: Path) -> None:
        """Write what has to be fitted to the bank before its first text is encoded, unless it is there."""

    def cut(self, texts: Sequence[str], language: str) -> list[Any]:
        """Return what is encoded of each text, as JSON."""

    def encode(self, cut: Sequence[Any], encoder: Encoder, progress: Progress) -> Packed:
        """Encode what ``cut`` returned."""


class PieceVectors:
    """Stored pieces of a bank's passages; open them with ``build_pieces``.

    Args:
        bank: the passages, with texts.
        cutting: how they were cut.
        blocks: the pieces, row by row; a block holds whole rows.
        counts: number of pieces of each row.
        load_encoder: returns the bank's encoder; called for the first text that the bank does not hold.
    """

    def __init__(
        self,
        bank: Bank,
        cutting: Cutting,
        blocks: Sequence[np.ndarray],
        counts: UInt8[np.ndarray, "bank"],
        load_encoder: Callable[[], Encoder],
    ) -> None:
        sizes = np.array([len(block) for block in blocks], dtype=np.int64)
        assert len(counts) == len(bank), "a count for each row"
        assert sizes.sum() == counts.sum(dtype=np.int64), "a vector for each piece"
        self.bank, self.cutting = bank, cutting
        self._blocks = list(blocks)
        self._block_starts = np.cumsum(sizes) - sizes
        self._counts, self._starts = counts, np.cumsum(counts, dtype=np.int64) - counts
        self._load_encoder = load_encoder

    def packed(
        self,
        rows: Int[np.ndarray, "rows"],
        new_texts: Mapping[int, str] | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
    ) -> Packed:
        """Return the pieces of ``rows``, in order, as they are stored.

        Args:
            rows: rows of the bank; -1 has no piece.
            new_texts: texts that the bank does not hold, by their place in ``rows``, where ``rows`` holds -1.
            first: only the first pieces of each row, at most so many.
            last: only the last ones.
        """
        rows = np.asarray(rows)
        whole = np.where(rows >= 0, self._counts[rows], 0).astype(np.uint8)
        skipped, counts = _kept(whole, first, last)
        pieces = self._take(self._starts[rows] + skipped, counts)
        if not new_texts:
            return pieces, counts
        more, whole = self.encode(list(new_texts.values()))
        skipped, kept = _kept(whole, first, last)
        place = np.arange(len(more)) - np.repeat(np.cumsum(whole, dtype=np.int64) - whole + skipped, whole)
        counts[list(new_texts)] = kept
        is_new = np.isin(np.arange(len(rows)), list(new_texts)).repeat(counts)
        joined = np.empty(len(is_new), dtype=self._dtype)
        joined[is_new], joined[~is_new] = more[(place >= 0) & (place < np.repeat(kept, whole))], pieces
        return joined, counts

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.cutting.stored_as(self.bank.dimension)

    def _take(self, starts: Int[np.ndarray, "text"], counts: UInt8[np.ndarray, "text"]) -> np.ndarray:
        """Return ``counts`` pieces each, from their numbers in the bank on; slices are faster than single pieces."""
        pieces = np.empty(int(counts.sum(dtype=np.int64)), dtype=self._dtype)
        block_of = np.searchsorted(self._block_starts, starts, side="right") - 1
        place = 0
        first = (starts - self._block_starts[block_of]).tolist() if len(self._blocks) else []
        for block, start, count in zip(block_of.tolist(), first, counts.tolist(), strict=True):
            pieces[place : place + count] = self._blocks[block][start : start + count]
            place += count
        return pieces

    def encode(self, texts: Sequence[str]) -> Packed:
        """Encode texts; the result has the form of ``packed``.

        Raises:
            SpaceError: the encoder is not the bank's.
        """
        encoder = _encoder_of(self.bank, self._load_encoder, self.cutting)
        return self.cutting.encode(self.cutting.cut(texts, self.bank.language), encoder, no_progress)

    def over(self, bank: Bank) -> PieceVectors:
        """Return the pieces of another bank's passages; only texts that are new here are encoded.

        Raises:
            InputError: the bank has no texts.
            SpaceError: it has another space.
        """
        _require_texts(bank, self.cutting)
        require_same(self.bank.space, bank.space, f"the stored {self.cutting.name} and the other bank")
        blocks, counts = [], []
        for start in range(0, len(bank), TEXTS_AT_ONCE):
            texts = bank.texts(np.arange(start, min(start + TEXTS_AT_ONCE, len(bank))))
            rows = np.array([self._row_of.get(text, -1) for text in texts], dtype=np.int64)
            pieces, count = self.packed(rows, {place: texts[place] for place in np.flatnonzero(rows < 0).tolist()})
            blocks.append(pieces)
            counts.append(count)
        return PieceVectors(bank, self.cutting, blocks, np.concatenate(counts), self._load_encoder)

    @functools.cached_property
    def _row_of(self) -> dict[str, int]:
        """The row of each text."""
        found: dict[str, int] = {}
        for start in range(0, len(self.bank), TEXTS_AT_ONCE):
            rows = np.arange(start, min(start + TEXTS_AT_ONCE, len(self.bank)))
            found.update(zip(self.bank.texts(rows), rows.tolist(), strict=True))
        return found


def _kept(
    counts: UInt8[np.ndarray, "text"], first: int | None, last: int | None
) -> tuple[Int[np.ndarray, "text"], UInt8[np.ndarray, "text"]]:
    """Return how many pieces at the beginning of each text are skipped, and how many behind them are kept."""
    kept = np.minimum(counts, 255 if first is None else first).astype(np.uint8)
    if last is None:
        return np.zeros(len(counts), dtype=np.int64), kept
    kept = np.minimum(kept, last).astype(np.uint8)
    return counts.astype(np.int64) - kept, kept


def _encoder_of(bank: Bank, load_encoder: Callable[[], Encoder], cutting: Cutting) -> Encoder:
    """Load an encoder and check that it has the bank's space.

    Raises:
        SpaceError: it has another space.
    """
    encoder = load_encoder()
    require_same(bank.space, encoder.space, f"the bank and the encoder of its {cutting.name}")
    return encoder


def _require_texts(bank: Bank, cutting: Cutting) -> None:
    """Check that a bank has texts.

    Raises:
        InputError: it holds vectors only.
    """
    if not bank.has_texts:
        fix = f"give the texts along with the vectors, or leave the feature group '{cutting.name}' out"
        raise InputError(f"a bank without texts has no {cutting.name}", got="vectors only", fix=fix)


def build_pieces(
    cutting: Cutting,
    bank: Bank,
    load_encoder: Callable[[], Encoder],
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> PieceVectors:
    """Encode the pieces of every passage, or open them where that was done.

    Args:
        cutting: how passages are cut.
        bank: a bank with texts.
        load_encoder: returns the bank's encoder; not called where all blocks exist.
        folder: folder of the pieces, for this bank alone.
        progress: called per batch with the number of encoded passages.

    Raises:
        InputError: the bank has no texts.
        SpaceError: the encoder, or the one of the pieces in ``folder``, has another space than the bank.
        StorageError: the folder cannot be written, is in use, or holds damaged files.
    """
    _require_texts(bank, cutting)
    blocks = _recorded(cutting, bank, folder)
    if blocks is None:
        with exclusive(folder):
            blocks = _encode(cutting, bank, _encoder_of(bank, load_encoder, cutting), folder, progress)
    packed = [_read(cutting, folder, name, bank.dimension) for name in blocks]
    counts = [count for _, count in packed] or [np.zeros(0, dtype=np.uint8)]
    return PieceVectors(bank, cutting, [pieces for pieces, _ in packed], np.concatenate(counts), load_encoder)


def pieces_folder(bank: Bank, name: str, otherwise: Path) -> Path:
    """Return the folder of a bank's pieces: in the bank's folder, or in ``otherwise`` for a bank in memory."""
    return (bank.path if isinstance(bank, PassageBank) else otherwise) / name


def _record(cutting: Cutting, folder: Path) -> Path:
    return folder / f"{cutting.name}.json"


def _recorded(cutting: Cutting, bank: Bank, folder: Path) -> list[str] | None:
    """Return the blocks of a finished build for this bank, None where there is none."""
    if not _record(cutting, folder).exists():
        return None
    record = read_json(_record(cutting, folder))
    require_same(bank.space, Space.from_json(record["space"]), f"the bank and the {cutting.name} in {folder}")
    blocks: list[str] = record["blocks"]
    settings = _settings(cutting, bank)
    return blocks if {key: record.get(key) for key in settings} == settings else None


def _settings(cutting: Cutting, bank: Bank) -> JsonObject:
    """Return everything but the encoder that decides the stored pieces."""
    return {**cutting.settings, "bank": bank.hash, "rows": len(bank), "language": bank.language}


def _encode(cutting: Cutting, bank: Bank, encoder: Encoder, folder: Path, progress: Progress) -> list[str]:
    """Write the missing blocks, then the record; remove blocks that no longer belong to the bank."""
    cutting.prepare(bank, encoder, folder)
    blocks = []
    for first in range(0, len(bank), ROWS_PER_BLOCK):
        rows = np.arange(first, min(first + ROWS_PER_BLOCK, len(bank)))
        cut = cutting.cut(bank.texts(rows), bank.language)
        blocks.append(_name(cut, encoder.space))
        if not _vectors_path(folder, blocks[-1]).exists():
            pieces, counts = cutting.encode(cut, encoder, _in_passages(cutting, progress, rows, len(bank)))
            write_npy(_counts_path(folder, blocks[-1]), counts)
            write_npy(_vectors_path(folder, blocks[-1]), pieces)  # last: where the vectors exist, the counts do too
        progress(int(rows[-1]) + 1, len(bank), f"passages' {cutting.name} encoded")
    record = {**_settings(cutting, bank), "space": encoder.space.to_json(), "blocks": blocks}
    write_json(_record(cutting, folder), record)
    kept = {path(folder, name) for name in blocks for path in (_vectors_path, _counts_path)}
    for path in {*folder.glob("vectors-*.npy"), *folder.glob("counts-*.npy")} - kept:
        disk.remove(path)
    return blocks


def _in_passages(cutting: Cutting, progress: Progress, rows: np.ndarray, total: int) -> Progress:
    """Convert the progress over the pieces of one block to progress over the passages of the bank."""

    def report(done: int, of: int | None, note: str) -> None:
        progress(int(rows[0]) + len(rows) * done // max(of or 1, 1), total, f"passages' {cutting.name} encoded")

    return report


def _name(cut: list[Any], space: Space) -> str:
    """Name a block after what is encoded and the space, without its fingerprint, whose last bits may vary."""
    return hash_of([stated(space), cut])


def stated(space: Space) -> JsonObject:
    """Return a space without its fingerprint."""
    return {key: value for key, value in space.to_json().items() if key != "fingerprint"}


def hash_of(value: object) -> str:
    """Return 24 hexadecimal digits that name a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _vectors_path(folder: Path, name: str) -> Path:
    return folder / f"vectors-{name}.npy"


def _counts_path(folder: Path, name: str) -> Path:
    return folder / f"counts-{name}.npy"


def _read(cutting: Cutting, folder: Path, name: str, dimension: int) -> Packed:
    """Map the pieces of one block, as a plain view, and read their counts.

    Raises:
        StorageError: a file is missing or damaged.
    """
    try:
        pieces = np.asarray(np.load(_vectors_path(folder, name), mmap_mode="r"))
        counts = np.load(_counts_path(folder, name))
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(cutting, folder, str(error)) from error
    expected = np.empty(int(counts.sum()), dtype=cutting.stored_as(dimension))
    if (pieces.shape, pieces.dtype) != (expected.shape, expected.dtype):
        raise _damaged(cutting, folder, f"vectors of shape {pieces.shape} for {len(expected)} {cutting.name}")
    return pieces, counts


def _damaged(cutting: Cutting, folder: Path, got: str) -> StorageError:
    fix = "delete that folder and run again"
    return StorageError(f"the {cutting.name} in {folder} are damaged", got=got, fix=fix)
