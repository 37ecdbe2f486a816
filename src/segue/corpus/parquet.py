"""Read Parquet tables: one document per row, in row order, with ``id``, ``title`` and ``text`` or ``paragraphs``.

Only the needed columns are read, a row at a time, so a table may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow
import pyarrow.parquet
from pydantic import Field

from segue.corpus import intake
from segue.corpus.intake import Placed, RecordCorpus, admit, placed, refuse_lfs_pointer, require_file, too_long
from segue.corpus.sources import SourcePaths, described, files_of
from segue.errors import InputError
from segue.types import Document, Skipped

NAMES = r"\.(parquet|pq)$"
"""Names of Parquet files."""


class ParquetCorpus(RecordCorpus):
    """Documents in Parquet tables."""

    kind: Literal["parquet"] = "parquet"
    path: SourcePaths = Field(
        description="Parquet file with the columns id, title, and text or paragraphs; or a folder of such files, "
        "a pattern, or a list"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of files and rows.

        Raises:
            InputError: a file or a column is missing, or an id comes twice; see ``admit``.
        """
        files = cache(lambda: files_of(self.path, NAMES))
        num_rows = cache(lambda: max(1, sum(map(_num_rows, files()))))

        def records() -> Iterator[Placed]:
            pairs = (pair for path in files() for pair in self._rows(path))
            return (placed(self.document, *pair, id_key=self.id_column) for pair in pairs)

        source = described(self.path)
        return admit(records(), self, source=source, share=lambda read: min(1, read / num_rows()), again=records)

    def _rows(self, path: Path) -> Iterator[tuple[object, str]]:
        extra = {"paragraphs"} if self.text_column == "text" else set()
        try:
            names = columns_of(path)
        except InputError as error:
            yield error, str(path)
            return
        if self.id_column not in names or not {self.text_column, *extra} & set(names):
            got = ", ".join(names) or "no column"
            expected = " or ".join([f"{self.id_column}, and {self.text_column}", *extra])
            fix = "name the columns: id_column, title_column, text_column in [corpus]"
            raise InputError(f"{path} lacks a column", got=got, expected=expected, fix=fix)
        wanted = (self.id_column, self.title_column, self.text_column, *extra, "source")
        yield from read_rows(path, [name for name in wanted if name in names])


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as Parquet does.

    Raises:
        InputError: there is no such file.
    """
    try:
        with require_file(path).open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:  # reported where it is read
        return False


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        InputError: the file is no Parquet, or has a column twice.
    """
    with _readable(path), pyarrow.parquet.ParquetFile(path) as table:
        names = list(table.schema_arrow.names)
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        got, fix = f"two columns {twice[0]!r}", "keep the one that is meant"
        raise InputError(f"{path} has a column twice", got=got, expected="each column once", fix=fix)
    return names


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[object, str]]:
    """Yield each row with its place, and an ``InputError`` where the file cannot be read on; rows count from 0."""
    try:
        columns_of(path)
        with _readable(path), pyarrow.parquet.ParquetFile(path) as table:
            for number, batch in enumerate(table.iter_batches(1, columns=columns)):  # each row may be large
                where = f"{path}, row {number}"
                yield too_long(where) if batch.nbytes > intake.LONGEST_RECORD else batch.to_pylist()[0], where
    except InputError as error:
        yield error, str(path)


def _num_rows(path: Path) -> int:
    """Return the number of rows that a table states; 1 for one that cannot be read, which counts as one item."""
    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except (pyarrow.ArrowException, OSError):
        return 1


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    refuse_lfs_pointer(require_file(path))
    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # strings are decoded by Python
        raise InputError(f"{path} cannot be read as Parquet", got=str(error), fix="write the table again") from error
