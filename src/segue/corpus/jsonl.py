"""Read JSON Lines: one document per line, plain, ``.gz`` or ``.bz2``.

Each line holds ``id``, ``title`` (may be missing) and ``text`` or ``paragraphs``; see ``intake.document_from``. Lines
are read one by one, so a file may be larger than memory. Blank lines are allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from segue.corpus.intake import DAMAGED, SourceFile, TextCorpus, admit, damaged, decode, document_from
from segue.errors import InputError
from segue.types import Document, Skipped


class JsonlCorpus(TextCorpus):
    """Documents in a JSON Lines file."""

    kind: Literal["jsonl"] = "jsonl"
    path: Path = Field(
        description="file of one JSON object per line with id, title, and text or paragraphs; may be .gz"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of the lines.

        Raises:
            InputError: the file is missing, damaged or not UTF-8, a line is not a document, or an id comes twice.
        """
        file = SourceFile(self.path)
        documents = (document_from(*pair) for pair in read_objects(file))
        return admit(documents, self, source=self.path, share=lambda _: file.share())


def read_objects(file: SourceFile) -> Iterator[tuple[object, str]]:
    """Yield each line's JSON value with its place, ``file:line``.

    Raises:
        InputError: the file is missing, damaged or not UTF-8, or a line is not JSON.
    """
    offset = 0
    for number, line in enumerate(_lines(file), start=1):
        where = f"{file.path}:{number}"
        text = decode(line, where, offset=offset)
        offset += len(line)
        if not text.strip():
            continue
        try:
            yield json.loads(text), where
        except (ValueError, RecursionError) as error:
            expected, fix = "one JSON object per line", "correct the line"
            raise InputError(f"{where} is not JSON", got=str(error), expected=expected, fix=fix) from error


def _lines(file: SourceFile) -> Iterator[bytes]:
    with file.open() as handle:
        try:
            yield from handle
        except DAMAGED as error:
            raise damaged(file.path, error) from error
