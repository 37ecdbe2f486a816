"""Import vectors that were computed elsewhere: a table that names the passage of each row, and its vectors.

Input: Parquet (``document_id`` and, where known, ``position`` and ``text``) with a column of lists of floats, or with
``.npy`` beside it (one unit vector per row); row i of one is row i of the other. Each may be several shards, which are
read one after the other, so a document may span two of them. Output: a bank of a *declared* space, with documents in
the order of their first appearance and passages by position. Memory: the table; vectors are read in blocks.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from segue.bank.arrays import FLOATS, ROWS_CHECKED, write_arrays
from segue.bank.bank import BankSettings, PassageBank
from segue.bank.manifest import BuildPlan
from segue.corpus import VectorsCorpus
from segue.corpus.intake import refuse_lfs_pointer
from segue.corpus.parquet import NAMES, columns_of
from segue.corpus.sources import described, files_of
from segue.encoders.space import declared_space
from segue.errors import InputError, StorageError
from segue.files import UNREADABLE_ARRAY, file_sha256, require_memory, unpacked_bytes
from segue.types import Progress, no_progress


def import_vectors(
    settings: VectorsCorpus, out: Path | str, *, bank: BankSettings | None = None, progress: Progress = no_progress
) -> PassageBank:
    """Import vectors into a bank in ``out``, or open the bank that was made of the same files.

    Args:
        settings: the files, their columns, and the declared name of the encoder.
        out: folder of the bank.
        bank: size of the shards; vectors keep the type of their numbers, float64 becomes float32.
        progress: called per shard with the number of imported passages.

    Raises:
        InputError: the files do not match, vectors are not finite or not of length 1, or positions have gaps.
        StorageError: the disk is full, or another process is writing there.
    """
    folder, shard_passages = Path(out), (bank or BankSettings()).shard_passages
    tables = files_of(settings.table, NAMES)
    matrices = tables if settings.vectors is None else files_of(settings.vectors, r"\.npy$")
    table = pa.concat_tables([_read_table(path, settings) for path in tables])
    _require_one_kind_of_id(tables, settings)
    vectors = _vectors_of(matrices, settings, folder)
    where = (described(settings.vectors or settings.table), described(settings.table))
    if len(vectors) != table.num_rows:
        got = f"{len(vectors)} vectors in {where[0]} and {table.num_rows} rows in {where[1]}"
        raise InputError("vectors and table do not match", got=got, expected="one row per vector")
    if not len(vectors):
        raise InputError(f"{where[0]} holds no vectors", fix="check the path")
    hashes = {"vectors_sha256": _sha256(matrices), "table_sha256": _sha256(tables)}
    plan = BuildPlan(
        source=settings.model_dump(mode="json") | hashes,
        passages=None,
        storage="float16" if vectors.dtype == np.float16 else "float32",
        shard_passages=shard_passages,
        space=declared_space(settings.name, vectors.shape[1]),
    )
    write_arrays(folder, vectors, _with_positions(table), plan, where=where, progress=progress)
    return PassageBank.open(folder)


def _sha256(files: Sequence[Path]) -> str:
    """Return the hash of a file, or of the hashes of several."""
    hashes = [file_sha256(path) for path in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _vectors_of(files: Sequence[Path], settings: VectorsCorpus, folder: Path) -> np.ndarray:
    """Return all vectors [row, dim], mapped into memory.

    Raises:
        InputError: a file is missing, or holds no vectors of the first one's dimension.
        StorageError: the disk of the bank has no room to join shards.
    """
    if settings.vectors is None:
        return _joined((block for path in files for block in _column(path, settings.vector_column)), folder)
    matrices = [_read_vectors(path) for path in files]
    return matrices[0] if len(matrices) == 1 else _joined(_blocks(matrices, files), folder)


def _blocks(matrices: Sequence[np.ndarray], files: Sequence[Path]) -> Iterator[tuple[np.ndarray, str]]:
    for matrix, path in zip(matrices, files, strict=True):
        for start in range(0, len(matrix), ROWS_CHECKED):
            yield matrix[start : start + ROWS_CHECKED], str(path)


def _joined(blocks: Iterable[tuple[np.ndarray, str]], folder: Path) -> np.ndarray:
    """Return blocks of rows as one matrix, in a file without a name that goes with the matrix."""
    shape, dtype = (0, 0), np.dtype(np.float32)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            for block, where in blocks:
                if not shape[0]:
                    shape, dtype = (0, block.shape[1]), block.dtype
                if (block.shape[1], block.dtype) != (shape[1], dtype):
                    got = f"{block.dtype} of dimension {block.shape[1]}"
                    raise InputError(f"{where} does not fit the shards before it", got=got,
                                     expected=f"{dtype} of dimension {shape[1]}")  # fmt: skip
                file.write(np.ascontiguousarray(block).data)
                shape = (shape[0] + len(block), shape[1])
            file.flush()
            return np.asarray(np.memmap(file, dtype, mode="r", shape=shape)) if shape[0] else np.empty(shape, dtype)
    except OSError as error:
        fix = "free as much space as the vectors take; they are joined beside the bank"
        raise StorageError(f"cannot join vectors in {folder.parent}", got=error.strerror, fix=fix) from error


def _column(path: Path, name: str) -> Iterator[tuple[Float[np.ndarray, "rows dim"], str]]:
    """Yield the vectors of a table's column in blocks, float64 as float32.

    Raises:
        InputError: there is no such column, or a cell is not a list of as many floats as the first.
    """
    where, row = f"{path}, column {name}", 0
    with pq.ParquetFile(path) as table:
        if name not in table.schema_arrow.names:
            known, fix = ", ".join(table.schema_arrow.names), "set vector_column, or name a .npy file: vectors"
            raise InputError(f"{path} lacks the column of the vectors", got=known, expected=name, fix=fix)
        kind = table.schema_arrow.field(name).type
        if not hasattr(kind, "value_type") or not pa.types.is_floating(kind.value_type):
            raise InputError(f"{where}: not a column of vectors", got=kind, expected="lists of floats")
        dtype = np.float16 if pa.types.is_float16(kind.value_type) else np.float32
        dimension = None
        for batch in table.iter_batches(ROWS_CHECKED, columns=[name]):
            lengths = pc.list_value_length(batch.column(0)).fill_null(0).to_numpy()
            dimension = dimension or int(lengths[0])
            wrong = np.flatnonzero(lengths != dimension)
            if len(wrong) or not dimension:
                at = int(wrong[0]) if len(wrong) else 0
                got = f"{lengths[at]} numbers in row {row + at}"
                raise InputError(f"{where}: vectors differ in dimension", got=got, expected=dimension or "some")
            values = batch.column(0).flatten().to_numpy(zero_copy_only=False).astype(dtype, copy=False)
            yield values.reshape(len(batch), dimension), str(path)
            row += len(batch)


def _read_vectors(path: Path) -> np.ndarray:
    """Map the matrix into memory.

    Raises:
        InputError: no such file, not a matrix of floats, or pickled objects.
    """
    try:
        refuse_lfs_pointer(path)
        with path.open("rb") as file:
            if file.read(2) == b"PK" and not zipfile.is_zipfile(path):  # NumPy would leave it open
                raise ValueError("a damaged .npz archive")
        vectors = np.load(path, mmap_mode="r")
        _require_size(path, vectors)
    except InputError:
        raise
    except UNREADABLE_ARRAY as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"cannot read the vectors {path}", got=got, expected="a .npy file") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype not in FLOATS:
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        fix = "save it with np.save(path, matrix.astype('float32'))"
        expected = "float16, float32 or float64 [n, dim]"
        raise InputError(f"{path} is not a matrix of vectors", got=got, expected=expected, fix=fix)
    return np.asarray(vectors)


def _require_size(path: Path, vectors: np.ndarray) -> None:
    """Check that a .npy file ends with its last number; one that is too short cannot be mapped at all.

    Raises:
        InputError: bytes follow, as where two files were joined or the header was written for fewer rows.
    """
    if isinstance(vectors, np.memmap):
        size, expected = path.stat().st_size, vectors.offset + vectors.nbytes
        if size != expected:
            got, fix = f"{size:,} bytes", "write it again with np.save"
            wanted = f"{expected:,} for {vectors.dtype} {vectors.shape}, as its header says"
            raise InputError(f"{path} does not end where its header says", got=got, expected=wanted, fix=fix)


def _read_table(path: Path, settings: VectorsCorpus) -> pa.Table:
    """Read document_id (as text) and, where there are such columns, position (as integer) and text.

    A text that is null is an empty one: it is not known.

    Raises:
        InputError: no Parquet, a column is missing, is there twice, or has empty cells; or it does not fit into memory.
    """
    own = {name: getattr(settings, f"{name}_column") for name in ("document_id", "position", "text")}
    needed = {own["document_id"], *(own[name] for name in own if f"{name}_column" in settings.model_fields_set)}
    try:
        known = columns_of(path)
        with pq.ParquetFile(path) as file:
            columns = {name: column for name, column in own.items() if column in known}
            require_memory(path, unpacked_bytes(file.metadata, columns.values()))
            table = file.read(columns=list(columns.values()))
    except (OSError, pa.ArrowException) as error:
        got = str(error).splitlines()[0]
        raise InputError(f"cannot read the table {path}", got=got, expected="a Parquet file") from error
    if missing := needed - set(known):
        got, fix = ", ".join(known) or "no columns", "name yours in [corpus]: document_id_column, …"
        raise InputError(f"{path} lacks columns", got=got, expected=", ".join(sorted(missing)), fix=fix)
    types = {"document_id": pa.string(), "position": pa.int64(), "text": pa.string()}
    table = pa.table({name: _cast(table[own[name]], types[name], f"{path}, column {own[name]}") for name in columns})
    if empty := [own[name] for name in columns if name != "text" and table[name].null_count]:
        raise InputError(f"{path} has empty cells", got=f"in {', '.join(empty)}", fix="fill them")
    return table


def _require_one_kind_of_id(paths: Sequence[Path], settings: VectorsCorpus) -> None:
    """Check that no document is named by a number in one table and by a text in another.

    Raises:
        InputError: names the id and both tables.
    """
    seen: dict[str, tuple[Path, bool]] = {}
    numbers = [pa.types.is_integer(pq.read_schema(path).field(settings.document_id_column).type) for path in paths]
    for path, number in zip(paths, numbers, strict=True) if len(set(numbers)) > 1 else ():
        column = pq.read_table(path, columns=[settings.document_id_column])[settings.document_id_column]
        for name in column.unique().cast(pa.string()).to_pylist():
            before, other = seen.setdefault(name, (path, number))
            if other != number:
                kinds = " and ".join("a number" if one else "a text" for one in (other, number))
                fix = "give every document a unique id, and write all ids as texts"
                raise InputError(f"two documents have the id {name!r}, {kinds}", got=f"{before} and {path}", fix=fix)


def _with_positions(table: pa.Table) -> pa.Table:
    """Return the table with positions: without such a column, the rows of a document are in reading order."""
    if "position" in table.column_names:
        return table
    number = table["document_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    position: Int[np.ndarray, "row"] = np.empty(len(number), dtype=np.int64)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number)
    position[order] = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    return table.append_column("position", pa.array(position))


def _cast(column: pa.ChunkedArray, wanted: pa.DataType, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(wanted)
    except pa.ArrowException as error:
        got = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{where}: wrong type", got=got, expected=wanted, fix="convert the column") from error
