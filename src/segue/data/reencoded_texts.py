"""A bank whose passages' texts are encoded by another encoder, kept on disk.

Enters: a bank with texts, and an encoder. Leaves: a bank of the same rows in the encoder's space. Encoding takes
minutes, so each block of passages is a file of its own as soon as it is encoded, and a killed run goes on behind the
last; whole, they become one file that is mapped, named after the bank's hash and everything that shapes the vectors. A
bank without a hash (a copy that a check made) is encoded in memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from segue.data.encoders import Encoder
from segue.data.reencoded import ReencodedBank
from segue.errors import InputError, explain
from segue.run_folder import atomic_path
from segue.types import Bank, Progress, no_progress

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
        raise InputError(explain("the bank has no texts to encode", mend="give the texts beside the vectors"))
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
