"""Read JSON Lines: one document per line, plain, ``.gz`` or ``.bz2``.

Each line holds ``id``, ``title`` (may be missing) and ``text`` or ``paragraphs``; see ``records.py``. Lines are read
one by one, so a file may be larger than memory. Blank lines are allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from segue.corpus.intake import DAMAGED, TextSettings, admit, damaged, decode, open_compressed
from segue.corpus.records import document_from
from segue.errors import InputError
from segue.types import Document, Skipped


class JsonlSettings(TextSettings):
    """Documents in a JSON Lines file."""

    kind: Literal["jsonl"] = "jsonl"
    path: Path = Field(
        description="file of one JSON object per line with id, title, and text or paragraphs; may be .gz"
    )


class JsonlReader:
    """Read the documents of a JSON Lines file, in the order of its lines."""

    def __init__(self, settings: JsonlSettings) -> None:
        self.settings = settings

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents.

        Raises:
            InputError: the file is missing, damaged or not UTF-8, a line is not a document, or an id comes twice.
        """
        path = self.settings.path
        return admit((document_from(*pair) for pair in read_objects(path)), self.settings, source=path)


def read_objects(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield each line's JSON value with its place, ``file:line``.

    Raises:
        InputError: the file is missing, damaged or not UTF-8, or a line is not JSON.
    """
    offset = 0
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        text = decode(line, where, offset=offset)
        offset += len(line)
        if text.strip():
            yield _parse(text, where), where


def _lines(path: Path) -> Iterator[bytes]:
    with open_compressed(path) as handle:
        try:
            yield from handle
        except DAMAGED as error:
            raise damaged(path, error) from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not JSON", got=str(error), expected="one JSON object per line", fix="correct the line"
        ) from error
