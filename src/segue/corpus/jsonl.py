"""Read JSON Lines: one document per line, plain, ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.

Each line holds ``id``, ``title`` (may be missing) and ``text`` or ``paragraphs``; see ``intake.document_from``. Lines
are read one by one, so a file may be larger than memory. Blank lines are allowed. An object with a key twice is
refused: which of the two values was meant cannot be known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from segue.corpus import intake
from segue.corpus.intake import Placed, RecordCorpus, SourceFile, admit, decode, placed, too_long
from segue.corpus.sources import PACKED, SourceFiles, SourcePaths, described
from segue.errors import InputError
from segue.types import Document, Skipped

NAMES = rf"\.(jsonl|ndjson|jsonlines){PACKED}$"
"""Names of files of JSON Lines."""
BYTES_AT_ONCE = 2**22
"""Bytes that are read at most before the ends of lines are looked for: a file may have no LF at all."""


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
            InputError: a file is missing, or an id comes twice; see ``admit``.
        """
        files = SourceFiles(self.path, NAMES)

        def records() -> Iterator[Placed]:
            pairs = (pair for file in files for pair in read_objects(file))
            return (placed(self.document, *pair, id_key=self.id_column) for pair in pairs)

        source = described(self.path)
        return admit(records(), self, source=source, share=lambda _: files.share(), again=records)


def read_objects(file: SourceFile) -> Iterator[tuple[object, str]]:
    """Yield each line's JSON value with its place, ``file:line``; an ``InputError`` for a line or file without one.

    Raises:
        InputError: the file is missing.
    """
    first = True
    try:
        for number, (offset, line) in enumerate(_lines(file), start=1):
            where = f"{file.path}:{number}"
            try:
                if len(line) > intake.LONGEST_RECORD:
                    _refuse_whole("[" if first and line.startswith(b"[") else "", file.path)
                    raise too_long(where)
                text = decode(line, where, offset=offset)
                if first and text.strip():
                    first = False
                    _refuse_whole(text.strip(), file.path)
                if text.strip():
                    yield parse(text, where), where
            except _NotLines as error:
                yield error, str(file.path)
                return
            except InputError as error:
                yield error, where
    except InputError as error:
        yield error, str(file.path)


def parse(text: str, where: str) -> object:
    """Return the value of one line of JSON.

    Raises:
        InputError: it is not JSON, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, where))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        fix = "correct the line"
        raise InputError(f"{where} is not JSON", got=error, expected="one JSON object per line", fix=fix) from error


def _object(pairs: list[tuple[str, object]], where: str) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        got, fix = f"two values of {next(key for key in times if times[key] > 1)!r}", "keep the one that is meant"
        raise InputError(f"{where} has a key twice", got=got, expected="each key once", fix=fix)
    return found


class _NotLines(InputError):
    """A file is JSON, and not one value a line."""


def _refuse_whole(text: str, path: Path) -> None:
    """Check that the first line of a file is not the beginning of one JSON value for the whole file."""
    if text.startswith("["):
        fix = "turn it into lines: `jq -c '.[]' FILE > FILE.jsonl`"
        raise _NotLines(f"{path} is a JSON array", expected="one JSON object per line", fix=fix)
    if text == "{":
        fix = "write each object on one line: `jq -c . FILE > FILE.jsonl`"
        raise _NotLines(f"{path} has a JSON object on several lines", expected="one JSON object per line", fix=fix)


def _lines(file: SourceFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their offsets and ends: of Unix, of Windows, or the CR alone of old Macs and some exports.

    Of a line that is longer than ``LONGEST_RECORD`` its beginning is yielded, which is longer too.
    """
    with file.open() as handle:
        start, rest, skipping = 0, b"", False
        while part := handle.readline(BYTES_AT_ONCE):
            lines = (rest + part).splitlines(keepends=True)
            rest = b"" if part.endswith(b"\n") else lines.pop()
            for line in lines:
                if not skipping:
                    yield start, line
                start, skipping = start + len(line), False
            if not skipping and len(rest) > intake.LONGEST_RECORD:
                skipping = True
                yield start, rest
            if skipping:  # its last byte may be a CR that ends it
                start, rest = start + max(0, len(rest) - 1), rest[-1:]
        if rest and not skipping:
            yield start, rest
