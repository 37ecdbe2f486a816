"""Import vectors that were computed elsewhere: a matrix, and a table that names the passage of each row.

Input: ``.npy`` (one unit vector per row) and Parquet (``document_id, position`` and, where known, ``text``); row i of
one is row i of the other. Output: a bank of a *declared* space, with documents in the order of their first appearance
and passages by position. Memory: the table; vectors are read in blocks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.bank.arrays import FLOATS, write_arrays
from segue.bank.bank import BankSettings, PassageBank
from segue.bank.manifest import BuildPlan
from segue.corpus import VectorsCorpus
from segue.encoders.space import declared_space
from segue.errors import InputError
from segue.files import file_sha256
from segue.types import Progress, no_progress


def import_vectors(
    settings: VectorsCorpus, out: Path | str, *, bank: BankSettings | None = None, progress: Progress = no_progress
) -> PassageBank:
    """Import vectors into a bank in ``out``, or open the bank that was made of the same files.

    Args:
        settings: the two files, and the declared name of the encoder.
        out: folder of the bank.
        bank: size of the shards; vectors keep the type of their numbers, float64 becomes float32.
        progress: called per shard with the number of imported passages.

    Raises:
        InputError: the files do not match, vectors are not finite or not of length 1, or positions have gaps.
        StorageError: the disk is full, or another process is writing there.
    """
    folder, shard_passages = Path(out), (bank or BankSettings()).shard_passages
    vectors, table = _read_vectors(settings.vectors), _read_table(settings.table)
    if len(vectors) != table.num_rows:
        got = f"{len(vectors)} vectors in {settings.vectors} and {table.num_rows} rows in {settings.table}"
        raise InputError("vectors and table do not match", got=got, expected="one row per vector")
    if not len(vectors):
        raise InputError(f"{settings.vectors} holds no vectors", fix="check the path")
    hashes = {"vectors_sha256": file_sha256(settings.vectors), "table_sha256": file_sha256(settings.table)}
    plan = BuildPlan(
        source=settings.model_dump(mode="json") | hashes,
        passages=None,
        storage="float16" if vectors.dtype == np.float16 else "float32",
        shard_passages=shard_passages,
        space=declared_space(settings.name, vectors.shape[1]),
    )
    write_arrays(folder, vectors, table, plan, where=(str(settings.vectors), str(settings.table)), progress=progress)
    return PassageBank.open(folder)


def _read_vectors(path: Path) -> np.ndarray:
    """Map the matrix into memory.

    Raises:
        InputError: no such file, not a matrix of floats, or pickled objects.
    """
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"cannot read the vectors {path}", got=got, expected="a .npy file") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype not in FLOATS:
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        fix = "save it with np.save(path, matrix.astype('float32'))"
        expected = "float16, float32 or float64 [n, dim]"
        raise InputError(f"{path} is not a matrix of vectors", got=got, expected=expected, fix=fix)
    return np.asarray(vectors)


def _read_table(path: Path) -> pa.Table:
    """Read the columns document_id (as text), position (as integer) and, where there is one, text.

    Raises:
        InputError: no such file, not Parquet, a column is missing or has empty cells.
    """
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise InputError(f"cannot read the table {path}", got=got, expected="a Parquet file") from error
    wanted = {"document_id": pa.string(), "position": pa.int64(), "text": pa.string()}
    names = [name for name in wanted if name in table.column_names]
    if names[:2] != ["document_id", "position"]:
        got = f"columns {', '.join(table.column_names)}" if table.column_names else "no columns"
        expected = "document_id, position and, where known, text"
        raise InputError(f"{path} lacks columns", got=got, expected=expected)
    table = pa.table({name: _cast(table[name], wanted[name], f"{path}, column {name}") for name in names})
    empty = [name for name in names if table[name].null_count]
    if empty:
        fix = "fill them, or remove the column `text`"
        raise InputError(f"{path} has empty cells", got=f"in {', '.join(empty)}", fix=fix)
    return table


def _cast(column: pa.ChunkedArray, wanted: pa.DataType, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(wanted)
    except pa.ArrowException as error:
        got = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{where}: wrong type", got=got, expected=wanted, fix="convert the column") from error
