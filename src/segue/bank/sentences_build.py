"""Encode the sentences of a bank's passages, block by block; killed at any point, the next build goes on.

A block is some rows' vectors and their counts, in files named after the sentences in it and the encoder. So a block
that is there need not be encoded again: not after a kill, and not for the rows before the documents that joined a bank.
``sentences.json`` is written last and says which blocks, in order, are the bank's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segue.bank.bank import PassageBank
from segue.bank.sentences import (
    BEGINNING,
    END,
    LONGEST,
    MOST,
    SHORTEST,
    Packed,
    SentenceVectors,
    encode_sentences,
    encoder_of_sentences,
    language_of,
    require_texts,
    split_sentences,
)
from segue.bank.shards import exclusive
from segue.encoders import Encoder
from segue.encoders.space import Space, require_same
from segue.errors import StorageError
from segue.files import atomic_path, read_json, write_json
from segue.types import Bank, Progress, no_progress

FORMAT = 1
"""Raised when sentences are cut or stored in another way."""
RECORD = "sentences.json"
ROWS_PER_BLOCK = 2048
"""Passages whose sentences are encoded together; a killed build loses one block."""


def build_sentences(
    bank: Bank, load_encoder: Callable[[], Encoder], folder: Path, *, progress: Progress = no_progress
) -> SentenceVectors:
    """Encode the sentences of every passage, or open them where that was done.

    Args:
        bank: with texts.
        load_encoder: gives the bank's encoder; not called where all is done.
        folder: of the vectors, for this bank alone.
        progress: called per batch with the passages done.

    Raises:
        InputError: the bank has no texts.
        SpaceError: the encoder, or what made the vectors in ``folder``, is not the bank's.
        StorageError: the folder cannot be written, is in use, or holds damaged files.
    """
    require_texts(bank)
    blocks = _recorded(bank, folder / RECORD)
    if blocks is None:
        with exclusive(folder):
            blocks = _encode(bank, encoder_of_sentences(bank, load_encoder), folder, progress)
    packed = [_read(folder, name, bank.dimension) for name in blocks]
    counts = [count for _, count in packed] or [np.zeros(0, dtype=np.uint8)]
    return SentenceVectors(bank, [vectors for vectors, _ in packed], np.concatenate(counts), load_encoder)


def sentences_folder(bank: Bank, otherwise: Path) -> Path:
    """Return where a bank's sentences are kept: in its own folder, or in ``otherwise`` where it has none."""
    return (bank.path if isinstance(bank, PassageBank) else otherwise) / "sentences"


def _recorded(bank: Bank, path: Path) -> list[str] | None:
    """Return the blocks of a build that is whole and of this bank's passages."""
    if not path.exists():
        return None
    record = read_json(path)
    require_same(bank.space, Space.from_json(record["space"]), f"the bank and the sentences in {path.parent}")
    blocks: list[str] = record["blocks"]
    return blocks if {key: record[key] for key in _asked(bank)} == _asked(bank) else None


def _asked(bank: Bank) -> dict[str, Any]:
    """Return what decides the vectors, but for the encoder."""
    cut = {"most": MOST, "beginning": BEGINNING, "end": END, "shortest": SHORTEST, "longest": LONGEST}
    return {"format": FORMAT, "bank": bank.manifest["hash"], "rows": len(bank), "language": language_of(bank)} | cut


def _encode(bank: Bank, encoder: Encoder, folder: Path, progress: Progress) -> list[str]:
    """Write the blocks that are not there, then the record; what an earlier bank had and this one lacks is removed."""
    blocks = []
    for first in range(0, len(bank), ROWS_PER_BLOCK):
        rows = np.arange(first, min(first + ROWS_PER_BLOCK, len(bank)))
        pieces = [split_sentences(text, language_of(bank)) for text in bank.texts(rows)]
        blocks.append(_name(pieces, encoder.space))
        if not _vectors_path(folder, blocks[-1]).exists():
            _write(folder, blocks[-1], encode_sentences(pieces, encoder, _in_passages(progress, rows, len(bank))))
        progress(int(rows[-1]) + 1, len(bank), "passages' sentences encoded")
    write_json(folder / RECORD, _asked(bank) | {"space": encoder.space.to_json(), "blocks": blocks})
    kept = {path(folder, name) for name in blocks for path in (_vectors_path, _counts_path)}
    for path in set(folder.glob("*.npy")) - kept:
        path.unlink()
    return blocks


def _in_passages(progress: Progress, rows: np.ndarray, total: int) -> Progress:
    """Tell of sentences encoded in one block as of passages of the whole bank."""

    def told(done: int, of: int | None, note: str) -> None:
        progress(int(rows[0]) + len(rows) * done // max(of or 1, 1), total, "passages' sentences encoded")

    return told


def _name(pieces: list[list[str]], space: Space) -> str:
    """Name a block after its sentences and what the encoder says of itself: fingerprints vary in the last bit."""
    said = {key: value for key, value in space.to_json().items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps([said, pieces], sort_keys=True).encode()).hexdigest()[:24]


def _vectors_path(folder: Path, name: str) -> Path:
    return folder / f"vectors-{name}.npy"


def _counts_path(folder: Path, name: str) -> Path:
    return folder / f"counts-{name}.npy"


def _write(folder: Path, name: str, packed: Packed) -> None:
    """Write one block; the vectors come last, so their presence means that the counts are there."""
    vectors, counts = packed
    for path, values in ((_counts_path, counts), (_vectors_path, vectors)):
        with atomic_path(path(folder, name)) as temporary, temporary.open("wb") as handle:
            np.save(handle, values)


def _read(folder: Path, name: str, dimension: int) -> Packed:
    """Map the vectors of one block, as a plain view, and read its counts.

    Raises:
        StorageError: a file is missing or not as it was written.
    """
    try:
        vectors = np.asarray(np.load(_vectors_path(folder, name), mmap_mode="r"))
        counts = np.load(_counts_path(folder, name))
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(folder, str(error)) from error
    if vectors.shape != (int(counts.sum()), dimension):
        raise _damaged(folder, f"vectors of shape {vectors.shape} for {int(counts.sum())} sentences")
    return vectors, counts


def _damaged(folder: Path, got: str) -> StorageError:
    what = f"the sentences in {folder} are not as they were written"
    return StorageError(what, got=got, fix="delete that folder and run again")
