"""Read JSON Lines: one document per line, plain, ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.

Each line holds ``id``, ``title`` (may be missing) and ``text`` or ``paragraphs``; see ``intake.document_from``. Lines
are read one by one, so a file may be larger than memory. Blank lines are allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from segue.corpus.intake import DAMAGED, RecordCorpus, SourceFile, admit, damaged, decode
from segue.corpus.sources import PACKED, SourceFiles, SourcePaths, described
from segue.errors import InputError
from segue.types import Document, Skipped

NAMES = rf"\.(jsonl|ndjson|jsonlines){PACKED}$"
"""Names of files of JSON Lines."""


class JsonlCorpus(RecordCorpus):
    """Documents in JSON Lines files."""

    kind: Literal["jsonl"] = "jsonl"
    path: SourcePaths = Field(
        description="file of one JSON object per line with id, title, and text or paragraphs; may be .gz, .bz2, .xz or "
        ".zst; or a folder of such files, a pattern, or a list"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of files and lines.

        Raises:
            InputError: a file is missing, damaged or not UTF-8, a line is not a document, or an id comes twice.
        """
        files = SourceFiles(self.path, NAMES)
        documents = (self.document(*pair) for file in files for pair in read_objects(file))
        return admit(documents, self, source=described(self.path), share=lambda _: files.share())


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
