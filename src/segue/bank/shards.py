"""Shards: the pieces in which a bank is written, each whole or absent.

Input: the passages of one shard and their vectors. Output: ``passages-00000.parquet``, ``vectors-00000.npy`` and,
last, ``shard-00000.json`` with their hashes; a shard without that record does not exist. Also: the check of vectors,
and the lock that keeps a second writer out of a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from segue.corpus.words import normalise_text
from segue.errors import InputError, StorageError
from segue.files import (
    disk,
    file_sha256,
    read_json,
    require_memory,
    unpacked_bytes,
    write_json,
    write_npy,
    write_table,
)
from segue.storage import fetch

Storage = Literal["float32", "float16"]

LENGTH_TOLERANCE = 1e-3
"""Largest distance of a vector's length from 1; float16 storage stays within it."""

ROWS = pa.schema(
    [
        ("passage_id", pa.string()),
        ("document_id", pa.string()),
        ("position", pa.int32()),
        ("text", pa.string()),
        ("text_sha256", pa.string()),
        ("duplicate_group", pa.int64()),
    ],
    metadata={"normalised": "visible"},
)
"""Columns of a shard's table; ``text_sha256`` is the hash of the *normalised* text.

Tables without that metadata hold hashes of texts with their invisible characters.
"""


@dataclass(frozen=True)
class ShardRows:
    """The passages of one shard; ``texts`` is None where only vectors are known."""

    document_ids: Sequence[str]
    positions: Sequence[int]
    texts: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.document_ids)

    def text_sha256(self) -> str:
        """Hash the passages as one JSON line per passage, independent of machine and library."""
        digest = hashlib.sha256()
        for row, (document, position) in enumerate(zip(self.document_ids, self.positions, strict=True)):
            text = None if self.texts is None else self.texts[row]
            digest.update(json.dumps([document, int(position), text], ensure_ascii=False).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def hashes(self) -> list[str | None]:
        """Return the sha256 of each normalised text; None for an empty text, which is unknown."""
        if self.texts is None:
            return [None] * len(self)
        normalised = map(normalise_text, self.texts)
        return [hashlib.sha256(text.encode()).hexdigest() if text else None for text in normalised]


@dataclass(frozen=True)
class ShardRecord:
    """Size and hashes of a complete shard; ``passages_sha256`` is that of the file, None in older banks."""

    rows: int
    characters: int
    text_sha256: str
    vectors_sha256: str
    passages_sha256: str | None = None


def vectors_path(folder: Path, number: int) -> Path:
    """Return the file of a shard's vectors."""
    return folder / f"vectors-{number:05d}.npy"


def passages_path(folder: Path, number: int) -> Path:
    """Return the file of a shard's passages."""
    return folder / f"passages-{number:05d}.parquet"


def record_path(folder: Path, number: int) -> Path:
    """Return the file of a shard's record, which is written last."""
    return folder / f"shard-{number:05d}.json"


def write_shard(
    folder: Path,
    number: int,
    rows: ShardRows,
    vectors: Float[np.ndarray, "rows dim"],
    *,
    groups: Int[np.ndarray, "rows"],
) -> ShardRecord:
    """Write one shard; if the process is killed before the end, the shard does not exist.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_passages(folder, number, rows, groups=groups)
    return complete_shard(folder, number, rows, vectors)


def write_passages(folder: Path, number: int, rows: ShardRows, *, groups: Int[np.ndarray, "rows"]) -> None:
    """Write the passages of a shard whose vectors are not known yet.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_table(passages_path(folder, number), _table(rows, groups))


def complete_shard(folder: Path, number: int, rows: ShardRows, vectors: Float[np.ndarray, "rows dim"]) -> ShardRecord:
    """Write the vectors of a shard whose passages are written, and its record.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_npy(vectors_path(folder, number), vectors)
    record = ShardRecord(
        rows=len(rows),
        characters=0 if rows.texts is None else sum(map(len, rows.texts)),
        text_sha256=rows.text_sha256(),
        vectors_sha256=file_sha256(vectors_path(folder, number)),
        passages_sha256=file_sha256(passages_path(folder, number)),
    )
    write_json(record_path(folder, number), asdict(record))
    return record


def complete_shards(folder: Path) -> list[ShardRecord]:
    """Return the records of the complete shards, up to the first gap."""
    records: list[ShardRecord] = []
    while all(path(folder, len(records)).is_file() for path in (record_path, vectors_path, passages_path)):
        records.append(ShardRecord(**read_json(record_path(folder, len(records)))))
    return records


def remove_shards(folder: Path, *, beyond: int) -> None:
    """Remove the shards numbered ``beyond`` and up, their records first."""
    for pattern in ("shard-*.json", "vectors-*.npy", "passages-*.parquet"):
        for path in folder.glob(pattern):
            if int(path.stem.rpartition("-")[2]) >= beyond:
                disk.remove(path)


def read_rows(folder: Path, number: int) -> ShardRows:
    """Read the passages of a shard.

    Raises:
        StorageError: the file is missing or damaged.
    """
    table = read_table(passages_path(folder, number), columns=["document_id", "position", "text"])
    texts = table["text"].to_pylist()
    known = None if texts and texts[0] is None else texts
    return ShardRows(table["document_id"].to_pylist(), table["position"].to_pylist(), known)


def read_hashes(folder: Path, number: int) -> list[str | None]:
    """Read the hashes of a shard's normalised texts; where an older version normalised them, they are hashed again.

    Raises:
        StorageError: the file is missing or damaged.
    """
    table = read_table(passages_path(folder, number), columns=["text_sha256"])
    if table.schema.metadata != ROWS.metadata:
        return read_rows(folder, number).hashes()
    return table["text_sha256"].to_pylist()


def read_table(path: Path, *, columns: list[str]) -> pa.Table:
    """Read columns of a Parquet file that Segue wrote.

    Raises:
        InputError: it unpacks to more than the free memory.
        StorageError: the file is missing or damaged.
    """
    fetch(path)
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        require_memory(path, unpacked_bytes(file.metadata, columns))
        return file.read(columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, str(error)) from error


def require_sha256(path: Path, expected: str | None) -> None:
    """Compare a file of a bank with the hash that its manifest states; None: it states none.

    Raises:
        StorageError: the file is missing or has changed.
    """
    try:
        if expected is not None and file_sha256(path) != expected:
            raise damaged(path, "a sha256 that differs from the manifest")
    except OSError as error:
        raise error if isinstance(error, StorageError) else damaged(path, str(error)) from error


def damaged(path: Path, got: str) -> StorageError:
    """Return the error for a missing, changed or unreadable file of a bank."""
    return StorageError(
        f"{path} has changed since it was written", got=got, fix="delete the bank's folder and build it again"
    )


def check_vectors(vectors: Float[np.ndarray, "rows dim"], where: str) -> None:
    """Check that vectors are finite and of length 1.

    Raises:
        InputError: names the first wrong row, or the range of the lengths.
    """
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        got = f"NaN or infinity in row {row} ({int((~finite).sum())} rows in this block)"
        raise InputError(f"{where}: vectors must be numbers", got=got, fix="encode those passages again")
    lengths = np.linalg.norm(vectors.astype(np.float32, copy=False), axis=1)
    if len(lengths) and not np.abs(lengths - 1).max() <= LENGTH_TOLERANCE:
        zeros = int((lengths == 0).sum())
        got = f"lengths from {lengths.min():.4g} to {lengths.max():.4g}" + (f", {zeros} of them zero" if zeros else "")
        fix = "drop the zero vectors and normalise the others" if zeros else "divide every vector by its length"
        raise InputError(f"{where}: vectors must have length 1", got=got, expected="1 ± 0.001", fix=fix)


def require_bank_folder(folder: Path, *, begun: bool) -> None:
    """Check that a folder is empty or, if ``begun``, holds a build.

    Raises:
        InputError: the folder holds other files.
    """
    others = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
    if others and not begun:
        fix = "choose an empty or a new folder"
        raise InputError(f"{folder} is not empty and not a bank", got=", ".join(others[:3]), fix=fix)


def _table(rows: ShardRows, groups: Int[np.ndarray, "rows"]) -> pa.Table:
    ids = [f"{document}#{position}" for document, position in zip(rows.document_ids, rows.positions, strict=True)]
    texts = [None] * len(rows) if rows.texts is None else list(rows.texts)
    columns = [ids, list(rows.document_ids), list(map(int, rows.positions)), texts, rows.hashes(), groups]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, ROWS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ROWS)
