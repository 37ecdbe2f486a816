"""Read Parquet tables: one document per row, in row order, with ``id``, ``title`` and ``text`` or ``paragraphs``.

Only the needed columns are read, a batch of rows at a time, so a table may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow
import pyarrow.parquet
from pydantic import Field

from segue.corpus.intake import TextCorpus, admit, document_from, require_file
from segue.errors import InputError
from segue.types import Document, Skipped

_COLUMNS = ("id", "title", "text", "paragraphs", "source")
_ROWS_AT_ONCE = 256


class ParquetCorpus(TextCorpus):
    """Documents in a Parquet table."""

    kind: Literal["parquet"] = "parquet"
    path: Path = Field(description="Parquet file with the columns id, title, and text or paragraphs")

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of the rows.

        Raises:
            InputError: the file is missing or damaged, a column is missing, or a row is not a document.
        """
        path = require_file(self.path)
        num_rows = cache(lambda: pyarrow.parquet.read_metadata(path).num_rows)  # after the first row, so it is whole
        documents = (document_from(*pair) for pair in _rows(path))
        return admit(documents, self, source=path, share=lambda num_read: num_read / num_rows())


def _rows(path: Path) -> Iterator[tuple[object, str]]:
    """Yield each row with its place; rows are counted from 0."""
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if "id" not in names or not {"text", "paragraphs"} & set(names):
                got, expected = ", ".join(names) or "no column", "id, and text or paragraphs"
                raise InputError(f"{path} lacks a column", got=got, expected=expected, fix="rename the columns")
            columns = [name for name in _COLUMNS if name in names]
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    yield row, f"{path}, row {number}"
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet", got=str(error), fix="write the table again") from error
