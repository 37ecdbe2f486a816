"""Parts of all corpora of texts: settings, checks of documents, documents from records, files read as UTF-8.

Input: documents as a corpus yields them. Output: the same documents, in the same order, with a reason for each one
that was left out. Nothing is dropped silently, and two documents never share an id: splits, runs and reports name
documents by their ids.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from segue.corpus.prose import split_paragraphs, tidy
from segue.errors import InputError
from segue.settings import Settings
from segue.types import Document, Skipped

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, OSError)
"""Errors of the standard library for a compressed file that is cut short or damaged."""


class TextCorpus(Settings):
    """Settings of every corpus of texts."""

    minimum_characters: int = Field(
        1, ge=0, description="documents with less text are skipped and counted; characters of all paragraphs together"
    )
    maximum_documents: int | None = Field(
        None, ge=1, description="stop after that many documents (skipped ones do not count); null: read all"
    )


def admit(
    items: Iterable[Document | Skipped], settings: TextCorpus, *, source: Path | str
) -> Iterator[Document | Skipped]:
    """Pass documents on in order; skip empty and short ones with a reason; stop at ``maximum_documents``.

    Raises:
        InputError: two documents have one id, an id is empty, or a text cannot be stored as UTF-8.
    """
    seen: set[str] = set()
    admitted = 0
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        _check(item, seen, source)
        seen.add(item.id)
        characters = sum(map(len, item.paragraphs))
        if characters < max(1, settings.minimum_characters):
            yield Skipped(item.id, f"shorter than {settings.minimum_characters} characters" if characters else "empty")
            continue
        yield item
        admitted += 1
        if admitted == settings.maximum_documents:
            return


def _check(document: Document, seen: set[str], source: Path | str) -> None:
    fix = "give every document a unique id"
    if not document.id.strip():
        raise InputError(f"{source}: a document has an empty id", fix=fix)
    if document.id in seen:
        raise InputError(f"{source}: two documents have the id {document.id!r}", fix=fix)
    try:
        "".join((document.id, document.title, *document.paragraphs)).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{source}: document {document.id!r} contains half a character",
            got=f"U+{ord(error.object[error.start]):04X} (a lone surrogate)",
            expected="text that can be written as UTF-8",
            fix="remove the broken character, or decode the source with its true encoding",
        ) from error


def document_from(
    record: object, where: str, *, id_key: str = "id", title_key: str = "title", text_key: str = "text"
) -> Document:
    """Return the document of one record (a JSON object, a table row).

    A record has an id and either ``text``, whose paragraphs are separated by blank lines, or ``paragraphs``, a list in
    reading order. The title may be missing; other keys are ignored.

    Args:
        record: the record.
        where: file and line, for messages.
        id_key: key of the id, a string or a whole number.
        title_key: key of the title.
        text_key: key of the text.

    >>> document_from({"id": 7, "text": "One.\\n\\nTwo."}, "a.jsonl:1").paragraphs
    ('One.', 'Two.')

    Raises:
        InputError: a key is missing or its value has the wrong type.
    """
    if not isinstance(record, Mapping):
        raise _wrong(where, type(record).__name__, "one JSON object per line")
    title = record.get(title_key)
    if title is not None and not isinstance(title, str):
        raise _wrong(where, f"{type(title).__name__} in {title_key!r}", "a string")
    return Document(
        id=_id(record, where, id_key),
        title=tidy(title or ""),
        paragraphs=_paragraphs(record, where, text_key),
        source=str(record["source"]) if isinstance(record.get("source"), str) else "",
    )


def _id(record: Mapping[str, object], where: str, key: str) -> str:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(where, _found(record, key), f"{key!r}: a string or a whole number")
    return str(value)


def _paragraphs(record: Mapping[str, object], where: str, text_key: str) -> tuple[str, ...]:
    paragraphs = record.get("paragraphs")
    if paragraphs is None:
        text = record.get(text_key)
        if not isinstance(text, str):
            raise _wrong(where, _found(record, text_key), f"{text_key!r}: a string, or 'paragraphs'")
        return split_paragraphs(text)
    if not isinstance(paragraphs, list) or not all(isinstance(paragraph, str) for paragraph in paragraphs):
        raise _wrong(where, _found(record, "paragraphs"), "'paragraphs': a list of strings")
    return tuple(tidied for paragraph in paragraphs if (tidied := tidy(paragraph)))


def _found(record: Mapping[str, object], key: str) -> str:
    if key in record:
        return f"{type(record[key]).__name__} in {key!r}"
    return f"no {key!r} among the keys {', '.join(sorted(map(str, record))) or '(none)'}"


def _wrong(where: str, got: str, expected: str) -> InputError:
    return InputError(where, got=got, expected=expected, fix="correct or remove this record")


def require_file(path: Path) -> Path:
    """Return ``path`` when it is a file.

    Raises:
        InputError: it does not exist or is a folder.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"cannot read {path}", got=got, expected="a file", fix="check the path in [corpus]")
    return path


def open_compressed(path: Path) -> io.BufferedIOBase:
    """Open a plain, gzip or bzip2 file for reading; its first bytes decide, not its name.

    Raises:
        InputError: there is no such file.
    """
    with require_file(path).open("rb") as handle:
        magic = handle.read(3)
    if magic == b"BZh":
        return bz2.open(path, "rb")
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")
    return path.open("rb")


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a file that ends too early or cannot be decompressed."""
    return InputError(
        f"{path} is incomplete",
        got=str(error) or type(error).__name__,
        expected="a complete file",
        fix="download or copy it again",
    )


def decode(data: bytes, where: Path | str, *, offset: int = 0) -> str:
    """Decode UTF-8, with or without a byte order mark; ``offset`` is where ``data`` begins in its file, in bytes.

    >>> decode(b"caf\\xc3\\xa9", "a.txt")
    'café'

    Raises:
        InputError: the bytes are not UTF-8; the message names the place and the first wrong byte's offset.
    """
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[mark:].decode("utf-8")
    except UnicodeDecodeError as error:
        start = mark + error.start
        raise InputError(
            f"{where} is not UTF-8",
            got=f"byte 0x{data[start]:02x} at offset {offset + start}",
            expected="UTF-8 text",
            fix="save the file as UTF-8",
        ) from error
