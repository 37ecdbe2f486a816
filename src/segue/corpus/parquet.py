"""Read Parquet tables: one document per row, in row order, with ``id``, ``title`` and ``text`` or ``paragraphs``.

Only the needed columns are read, a batch of rows at a time, so a table may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow
import pyarrow.parquet
from pydantic import Field

from segue.corpus.intake import RecordCorpus, admit, require_file
from segue.corpus.sources import SourcePaths, described, files_of
from segue.errors import InputError
from segue.types import Document, Skipped

NAMES = r"\.(parquet|pq)$"
"""Names of Parquet files."""

_ROWS_AT_ONCE = 256


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
            InputError: a file is missing or damaged, a column is missing, or a row is not a document.
        """
        files = cache(lambda: files_of(self.path, NAMES))
        num_rows = cache(lambda: sum(pyarrow.parquet.read_metadata(path).num_rows for path in files()))
        return admit(self._documents(files), self, source=described(self.path), share=lambda read: read / num_rows())

    def _documents(self, files: Callable[[], Sequence[Path]]) -> Iterator[Document]:
        extra = {"paragraphs"} if self.text_column == "text" else set()
        for path in files():
            names = columns_of(path)
            if self.id_column not in names or not {self.text_column, *extra} & set(names):
                got = ", ".join(names) or "no column"
                expected = " or ".join([f"{self.id_column}, and {self.text_column}", *extra])
                fix = "name the columns: id_column, title_column, text_column in [corpus]"
                raise InputError(f"{path} lacks a column", got=got, expected=expected, fix=fix)
            wanted = (self.id_column, self.title_column, self.text_column, *extra, "source")
            for row, where in read_rows(path, [name for name in wanted if name in names]):
                yield self.document(row, where)


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as Parquet does.

    Raises:
        InputError: there is no such file.
    """
    with require_file(path).open("rb") as file:
        return file.read(4) == b"PAR1"


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        InputError: the file is no Parquet.
    """
    with _readable(path), pyarrow.parquet.ParquetFile(path) as table:
        return list(table.schema_arrow.names)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[dict[str, object], str]]:
    """Yield each row with its place; rows are counted from 0.

    Raises:
        InputError: the file is missing or damaged.
    """
    number = 0
    with _readable(path), pyarrow.parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns):
            for row in batch.to_pylist():
                yield row, f"{path}, row {number}"
                number += 1


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet", got=str(error), fix="write the table again") from error
