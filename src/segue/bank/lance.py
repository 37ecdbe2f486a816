"""Keep a bank in LanceDB: convert it, convert only what changed since, and convert it back.

Input: a bank, or a database that ``to_lance`` wrote. A database holds four tables: ``passages`` (one row for each live
passage: row, document_id, position, text, duplicate_group, vector), ``removed`` (the same of passages that left),
``documents``, and ``banks``, which grows by one row in each conversion: hash and manifest of the bank (with its space
and fingerprint), and the versions of the other tables. That row is written last, so a killed conversion leaves the
database at the bank before it. The next conversion compares row numbers, and puts right what was left.

Vectors keep their type, and ``duplicate_group`` names the first row with the same text, whether alive or not. Passages
are deleted by their rows, since a replaced document has its id twice.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bank.history import difference_since
from segue.bank.manifest import (
    DOCUMENT_COLUMNS,
    DOCUMENTS,
    MANIFEST,
    SKIPPED,
    TOMBSTONES,
    Manifest,
    documents_sha256,
)
from segue.bank.shards import ShardRecord, ShardRows, passages_path, read_table, write_shard
from segue.errors import InputError, MissingExtraError, SegueError, StorageError
from segue.files import JsonObject, exclusive, file_sha256, write_folder, write_json, write_text
from segue.types import Progress, no_progress

PASSAGES, REMOVED, PAPERS, BANKS = "passages", "removed", "documents", "banks"
ROWS_AT_ONCE = 8192
_RANGES_AT_ONCE = 500  # ranges of rows that one predicate deletes
_BANK = pa.schema([("number", pa.int64()), ("hash", pa.string()), ("manifest", pa.string()), ("files", pa.string()),
                   *((name, pa.int64()) for name in (PASSAGES, REMOVED, PAPERS))])  # fmt: skip
_DOCUMENT = pa.schema([("row", pa.int64()), ("id", pa.string()), ("title", pa.string()),
                       ("first_row", pa.int64()), ("num_rows", pa.int64())])  # fmt: skip

Batches = Callable[[Int[np.ndarray, "rows"]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class LanceChange:
    """What a conversion to LanceDB wrote.

    Attributes:
        hash: hash of the bank.
        added: passages appended to the table.
        removed: passages deleted from it.
        passages: live passages in it now.
        version: version of the table ``passages``.
    """

    hash: str
    added: int
    removed: int
    passages: int
    version: int

    def to_json(self) -> JsonObject:
        """Return a JSON object."""
        return {"hash": self.hash, "passages": self.passages, "added": self.added, "removed": self.removed,
                "version": self.version}  # fmt: skip


def connect(uri: Path | str) -> Any:
    """Return the connection to a database: a folder, or an address that LanceDB knows (``s3://…``).

    Raises:
        MissingExtraError: lancedb is not installed.
        StorageError: it cannot be opened.
    """
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError("LanceDB needs the package lancedb, which is not installed",
                                fix="pip install 'segue[lance]'") from error  # fmt: skip
    with lance_errors(uri):
        return lancedb.connect(str(uri))


@contextlib.contextmanager
def lance_errors(
    uri: Path | str, *, fix: str = "check the place; or convert the bank anew into another one"
) -> Iterator[None]:
    """Turn what LanceDB raises into an error that names the place.

    Raises:
        StorageError: a table is missing, damaged or cannot be written.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        if isinstance(error, SegueError):
            raise
        got = str(error).splitlines()[0]
        raise StorageError(f"LanceDB cannot use {uri}", got=got, fix=fix) from error


def is_lance(uri: Path | str) -> bool:
    """Return whether a place is a database that ``to_lance`` wrote.

    Raises:
        MissingExtraError: it is an address, and lancedb is not installed.
        StorageError: the address cannot be read.
    """
    if "://" not in str(uri):
        return (Path(uri) / f"{BANKS}.lance").is_dir()
    with lance_errors(uri):
        return BANKS in connect(uri).list_tables().tables


def vector_column(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Return vectors [row, dim] as a column of lists of that size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1])


def rows_of(table: Any) -> Int[np.ndarray, "rows"]:
    """Return the row numbers of a table's version, in the order in which it holds them."""
    return table.search().select(["row"]).to_arrow()["row"].to_numpy()


def agree(
    table: Any,
    wanted: Int[np.ndarray, "rows"],
    read: Batches,
    *,
    trusted: int,
    known: Int[np.ndarray, "known"] | None = None,
) -> tuple[int, int]:
    """Append and delete until a table holds exactly some rows.

    Args:
        table: has a column ``row``.
        wanted: ascending row numbers.
        read: yields the batches of row numbers.
        trusted: rows from this number on are written again, since an unfinished change may have left them.
        known: the rows that the table holds; None: it is read.

    Returns:
        Rows deleted, and rows appended.
    """
    held, count = np.unique(rows_of(table) if known is None else known, return_counts=True)
    wrong = ~np.isin(held, wanted) | (count > 1) | (held >= trusted)
    steps = np.flatnonzero(np.diff(held[wrong]) != 1) + 1
    ranges = [f"(row >= {part[0]} AND row <= {part[-1]})" for part in np.split(held[wrong], steps) if len(part)]
    for start in range(0, len(ranges), _RANGES_AT_ONCE):
        table.delete(" OR ".join(ranges[start : start + _RANGES_AT_ONCE]))
    missing = np.setdiff1d(wanted, held[~wrong], assume_unique=True)
    if len(missing):
        table.add(pa.RecordBatchReader.from_batches(table.schema, read(missing)))
    return int(wrong.sum()), len(missing)


def to_lance(bank: PassageBank, uri: Path | str, *, progress: Progress = no_progress) -> LanceChange:
    """Write a bank into a database, or only what changed since the database was written from it.

    Args:
        bank: the bank.
        uri: a folder or an address; a new one, or the database of an earlier state of the same bank.
        progress: called per batch with the rows written.

    Raises:
        InputError: the database holds another bank, or tables that are not Segue's.
        MissingExtraError: lancedb is not installed.
        StorageError: it cannot be written, or another process writes there.
    """
    with contextlib.nullcontext() if "://" in str(uri) else exclusive(Path(uri)):
        database = connect(uri)
        with lance_errors(uri):
            return _convert(bank, database, str(uri), progress)


def _convert(bank: PassageBank, database: Any, uri: str, progress: Progress) -> LanceChange:
    tables = _tables(database, uri, _passage_schema(bank))
    last = _last(tables[BANKS])
    if last is not None and last["hash"] == bank.hash:
        version = int(last[PASSAGES])
        return LanceChange(bank.hash, 0, 0, int(bank.alive.sum()), version)
    if last is not None and difference_since(bank, last["hash"]) is None:
        raise InputError(f"{uri} holds another bank", got=f"hash {last['hash'][:12]}…",
                         expected=f"an earlier state of {bank.path}", fix="choose a new place")  # fmt: skip
    before = _before(bank, last)
    batches = _passages(bank, progress)
    wanted = {REMOVED: np.flatnonzero(~bank.alive), PASSAGES: np.flatnonzero(bank.alive),
              PAPERS: np.arange(len(bank.document_ids))}  # fmt: skip
    count = {}
    for name, rows in wanted.items():
        untouched = last is not None and tables[name].version == last[name] and TOMBSTONES not in last["files"]
        read = batches if name != PAPERS else lambda some: _documents(bank, some)
        trusted = len(before[PAPERS]) if name == PAPERS else len(before[PASSAGES]) + len(before[REMOVED])
        count[name] = agree(tables[name], rows, read, trusted=trusted, known=before[name] if untouched else None)
    deleted, added = count[PASSAGES]
    if tables[PASSAGES].count_rows() != bank.alive.sum():
        raise StorageError(f"{uri} is in use", got="another process is writing there", fix="wait for it, or stop it")
    if last is None:
        from lancedb.index import BTree

        tables[PASSAGES].create_index("row", config=BTree())
    files = {name: (bank.path / name).read_text(encoding="utf-8") for name in (SKIPPED, TOMBSTONES)
             if (bank.path / name).exists()}  # fmt: skip
    entry = {
        "number": tables[BANKS].count_rows(),
        "hash": bank.hash,
        "manifest": json.dumps(bank.manifest.to_json()),
        "files": json.dumps(files),
        **{name: tables[name].version for name in (PASSAGES, REMOVED, PAPERS)},
    }
    tables[BANKS].add(pa.Table.from_pylist([entry], schema=_BANK))
    return LanceChange(bank.hash, added, deleted, int(bank.alive.sum()), entry[PASSAGES])


def _before(bank: PassageBank, last: Mapping[str, Any] | None) -> dict[str, Int[np.ndarray, "rows"]]:
    """Return the rows of each table after the conversion of an earlier state of a bank."""
    if last is None:
        return dict.fromkeys((PASSAGES, REMOVED, PAPERS), np.empty(0, dtype=np.int64))
    known = Manifest.model_validate_json(last["manifest"])
    left_later = [number for step in bank.manifest.changes[len(known.changes) :] for number in step.removed]
    removed = np.zeros(len(bank.document_ids), dtype=bool)
    removed[list(bank.removed.difference(left_later))] = True
    dead = removed[bank.document_of[: known.counts.passages]]
    return {PASSAGES: np.flatnonzero(~dead), REMOVED: np.flatnonzero(dead), PAPERS: np.arange(known.counts.documents)}


def _tables(database: Any, uri: str, passages: pa.Schema) -> dict[str, Any]:
    """Open the four tables, or make them; ``banks`` comes first, and marks the database as Segue's."""
    there = set(database.list_tables().tables)
    if BANKS not in there and (others := there & {PASSAGES, REMOVED, PAPERS}):
        raise InputError(f"{uri} has tables that Segue did not write", got=", ".join(sorted(others)),
                         fix="choose another place")  # fmt: skip
    schemas = {BANKS: _BANK, PASSAGES: passages, REMOVED: passages, PAPERS: _DOCUMENT}
    return {name: database.open_table(name) if name in there else database.create_table(name, schema=schema)
            for name, schema in schemas.items()}  # fmt: skip


def _last(banks: Any, wanted: str | None = None) -> dict[str, Any] | None:
    """Return the newest entry, or the newest of a bank whose hash begins with ``wanted``."""
    last = banks.count_rows() - 1
    if wanted is not None:
        entries = banks.search().select(["number", "hash"]).to_arrow().to_pylist()
        last = max((one["number"] for one in entries if one["hash"].startswith(wanted)), default=-1)
    return banks.take_offsets([last]).to_arrow().to_pylist()[0] if last >= 0 else None


def _passage_schema(bank: PassageBank) -> pa.Schema:
    number = pa.float16() if bank.manifest.storage == "float16" else pa.float32()
    return pa.schema([("row", pa.int64()), ("document_id", pa.string()), ("position", pa.int32()),
                      ("text", pa.string()), ("duplicate_group", pa.int64()),
                      ("vector", pa.list_(number, bank.dimension))])  # fmt: skip


def _passages(bank: PassageBank, progress: Progress) -> Batches:
    """Return the reader of rows; groups are as the shards hold them, which do not change when passages leave."""
    schema, starts = _passage_schema(bank), np.cumsum([0, *(shard.rows for shard in bank.manifest.shards)])

    def read(rows: Int[np.ndarray, "rows"]) -> Iterator[pa.RecordBatch]:
        for number, start in enumerate(starts[:-1]):
            here = rows[(rows >= start) & (rows < starts[number + 1])]
            if not len(here):
                continue
            table = read_table(passages_path(bank.path, number), columns=schema.names[1:-1])
            for first in range(0, len(here), ROWS_AT_ONCE):
                part = here[first : first + ROWS_AT_ONCE]
                columns = table.take(pa.array(part - start)).combine_chunks().columns
                vectors = vector_column(bank.gather(part).astype(bank.manifest.storage, copy=False))
                arrays = [pa.array(part), *(column.combine_chunks() for column in columns), vectors]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            progress(int(np.searchsorted(rows, starts[number + 1])), len(rows), "passages written")

    return read


def _documents(bank: PassageBank, numbers: Int[np.ndarray, "documents"]) -> Iterator[pa.RecordBatch]:
    table = bank.documents.take(pa.array(numbers)).select(DOCUMENT_COLUMNS)
    yield from table.add_column(0, "row", pa.array(numbers)).cast(_DOCUMENT).to_batches()


def from_lance(
    uri: Path | str, out: Path | str, *, at: str | None = None, progress: Progress = no_progress
) -> PassageBank:
    """Write the bank that a database holds, with the hash it had; every shard is compared with its recorded hash.

    Args:
        uri: a database that ``to_lance`` wrote.
        out: folder of the bank.
        at: hash of an earlier state, or its beginning; LanceDB has to hold that version still.
        progress: called per shard with the rows written.

    Raises:
        InputError: there is no such database or state, or ``out`` exists.
        MissingExtraError: lancedb is not installed.
        StorageError: the database was changed by another hand, or the disk is full.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already exists", fix="choose another folder for the bank")
    if not is_lance(uri):
        raise InputError(f"{uri} is not a bank in LanceDB", fix="name a place that `segue bank convert` wrote")
    database = connect(uri)
    with lance_errors(uri):
        entry = _last(database.open_table(BANKS), at)
        if entry is None:
            got = "no finished conversion" if at is None else f"no state {at}"
            raise InputError(f"{uri} holds no such bank", got=got, fix="convert the bank again")
        manifest = Manifest.model_validate_json(entry["manifest"])
        tables = {name: _at_version(database, name, int(entry[name])) for name in (PASSAGES, REMOVED, PAPERS)}

        def fill(folder: Path) -> None:
            shards = _write_shards(folder, manifest, (tables[PASSAGES], tables[REMOVED]), str(uri), progress)
            documents = tables[PAPERS].search().where(f"row < {manifest.counts.documents}").to_arrow().sort_by("row")
            table = documents.select(DOCUMENT_COLUMNS)
            if documents_sha256(table) != manifest.documents_sha256:
                raise _changed(uri, "documents")
            pq.write_table(table, folder / DOCUMENTS, compression="zstd", write_page_checksum=True)
            for name, text in json.loads(entry["files"]).items():
                write_text(folder / name, text)
            files = {"shards": tuple(shards), "documents_file_sha256": file_sha256(folder / DOCUMENTS)}
            write_json(folder / MANIFEST, manifest.model_copy(update=files).to_json())

        write_folder(out, fill)
    return PassageBank.open(out)


def _at_version(database: Any, name: str, version: int) -> Any:
    """Open a table as it was at a version; as it is now where LanceDB has removed that version."""
    table = database.open_table(name)
    try:
        table.checkout(version)
    except (RuntimeError, ValueError):
        return database.open_table(name)  # the rows are compared with their hashes
    return table


def _write_shards(
    folder: Path, manifest: Manifest, tables: Sequence[Any], uri: str, progress: Progress
) -> list[ShardRecord]:
    start, written = 0, []
    for number, shard in enumerate(manifest.shards):
        stop = start + shard.rows
        where = f"row >= {start} AND row < {stop}"
        found = pa.concat_tables([one.search().where(where).to_arrow() for one in tables]).sort_by("row")
        if found["row"].to_pylist() != list(range(start, stop)):
            raise _changed(uri, f"{found.num_rows:,} of {shard.rows:,} passages from row {start:,} on")
        texts = found["text"].to_pylist() if manifest.has_texts else None
        rows = ShardRows(found["document_id"].to_pylist(), found["position"].to_pylist(), texts)
        vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(shard.rows, -1)
        groups = found["duplicate_group"].to_numpy()
        written.append(write_shard(folder, number, rows, vectors, groups=groups))
        if replace(written[-1], passages_sha256=shard.passages_sha256) != shard:  # Parquet may differ in its bytes
            raise _changed(uri, f"other passages or vectors from row {start:,} on")
        progress(stop, manifest.counts.passages, "passages written")
        start = stop
    return written


def _changed(uri: Path | str, got: str) -> StorageError:
    return StorageError(f"{os.fspath(uri)} was changed by another hand", got=got, fix="convert the bank again")
