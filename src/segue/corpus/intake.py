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
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pyarrow
from pydantic import Field

from segue.corpus.prose import letters, split_paragraphs, tidy
from segue.corpus.words import visible
from segue.errors import InputError
from segue.settings import Settings
from segue.types import Document, Skipped

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError)
"""Errors of the libraries for a compressed file that is cut short or damaged."""


class TextCorpus(Settings):
    """Settings of every corpus of texts."""

    minimum_characters: int = Field(
        1, ge=0, description="documents with less text are skipped and counted; characters of all paragraphs together"
    )
    maximum_documents: int | None = Field(
        None, ge=1, description="stop after that many documents (skipped ones do not count); null: read all"
    )


class RecordCorpus(TextCorpus):
    """Settings of every corpus of records: the names of its columns (of a table) or keys (of JSON)."""

    id_column: str = Field("id", description="column with the document's id: strings or whole numbers")
    title_column: str = Field("title", description="column with the title; may be missing in the data")
    text_column: str = Field("text", description="column with the text, or with a list of paragraphs")

    def document(self, record: object, where: str) -> Document:
        """Return the document of one record; see ``document_from``."""
        return document_from(
            record, where, id_key=self.id_column, title_key=self.title_column, text_key=self.text_column
        )


Share = Callable[[], float | None]
"""Function that returns the share of a source that was read so far, from 0 to 1; None where it is not known."""


class Reading:
    """Documents as they are read, and the share of their source that was read so far.

    Args:
        items: the documents, in order.
        share: returns that share.
    """

    def __init__(self, items: Iterable[Document | Skipped], share: Share) -> None:
        self._items = iter(items)
        self.share = share

    def __iter__(self) -> Reading:
        """Return itself."""
        return self

    def __next__(self) -> Document | Skipped:
        """Return the next document."""
        return next(self._items)


def share_of(documents: Iterable[Document | Skipped]) -> Share:
    """Return the function that knows which share of the documents was read; it returns None for plain iterators."""
    return documents.share if isinstance(documents, Reading) else lambda: None


def admit(
    items: Iterable[Document | Skipped],
    settings: TextCorpus,
    *,
    source: Path | str,
    share: Callable[[int], float | None] = lambda num_read: None,
) -> Reading:
    """Pass documents on in order; skip empty and short ones with a reason; stop at ``maximum_documents``.

    Args:
        items: the documents.
        settings: which of them are wanted.
        source: where they are from, for messages.
        share: takes the number of items read so far, at least 1, and returns the share of the source.

    Raises:
        InputError: two documents have one id, an id is empty, or a text cannot be stored as UTF-8.
    """
    count: Counter[str] = Counter()

    def share_read() -> float | None:
        of_source = share(count["read"]) if count["read"] else None
        wanted = settings.maximum_documents
        known = [found for found in (of_source, wanted and count["admitted"] / wanted) if found is not None]
        return max(known, default=None)

    return Reading(_admit(items, settings, source, count), share_read)


def _admit(
    items: Iterable[Document | Skipped], settings: TextCorpus, source: Path | str, count: Counter[str]
) -> Iterator[Document | Skipped]:
    seen: dict[str, str] = {}
    for item in items:
        count["read"] += 1
        if isinstance(item, Skipped):
            yield item
            continue
        _check(item, seen, source)
        seen[visible(item.id)] = item.id
        characters = sum(map(letters, item.paragraphs))
        if characters < max(1, settings.minimum_characters):
            yield Skipped(item.id, f"shorter than {settings.minimum_characters} characters" if characters else "empty")
            continue
        count["admitted"] += 1
        yield item
        if count["admitted"] == settings.maximum_documents:
            return


def _check(document: Document, seen: Mapping[str, str], source: Path | str) -> None:
    fix = "give every document a unique id; one record holds a whole document"
    if not visible(document.id).strip():
        raise InputError(f"{source}: a document has an empty id", fix=fix)
    other = seen.get(visible(document.id))
    if other == document.id:
        raise InputError(f"{source}: two documents have the id {document.id!r}", fix=fix)
    if other is not None:
        what = f"{source}: two documents have ids that look the same, {other!a} and {document.id!a}"
        raise InputError(what, got="a difference only in invisible characters or in composed letters", fix=fix)
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

    A record has an id and either ``text``, a string whose paragraphs are separated by blank lines or a list of
    paragraphs, or ``paragraphs``, such a list. The title may be missing; other keys are ignored.

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
    key = "paragraphs" if text_key == "text" and record.get("paragraphs") is not None else text_key
    value = record.get(key)
    if isinstance(value, str) and key == text_key:
        return split_paragraphs(value)
    if not isinstance(value, list | tuple) or not all(isinstance(paragraph, str) for paragraph in value):
        either = "" if key == "paragraphs" else "a string, or "
        more = ", or 'paragraphs'" if key == "text" else ""
        raise _wrong(where, _found(record, key), f"{key!r}: {either}a list of strings{more}")
    return tuple(tidied for paragraph in value if (tidied := tidy(paragraph)))


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


class SourceFile:
    """A plain, gzip, bzip2, xz or zstd file, and how much of it was read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: io.BufferedReader | None = None

    @contextmanager
    def open(self) -> Iterator[io.BufferedIOBase]:
        """Open it for reading; its first bytes decide how, not its name.

        Raises:
            InputError: there is no such file.
        """
        with require_file(self.path).open("rb") as raw:
            self._raw = raw
            with _unpacked(raw) as unpacked:
                yield unpacked

    def size(self) -> int:
        """Return the file's size, bytes."""
        return self.path.stat().st_size

    def bytes_read(self) -> int:
        """Return how many of the file's bytes were read, compressed ones where it is compressed."""
        if self._raw is None:
            return 0
        return self.size() if self._raw.closed else self._raw.tell()

    def share(self) -> float | None:
        """Return the share of the file's bytes that was read; None before it was opened."""
        return None if self._raw is None else self.bytes_read() / max(1, self.size())


def _unpacked(raw: io.BufferedReader) -> AbstractContextManager[io.BufferedIOBase]:
    magic = raw.peek(6)
    if magic.startswith(b"BZh"):
        return bz2.open(raw)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(raw)
    if magic.startswith(b"\xfd7zXZ\0"):
        return lzma.open(raw)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return io.BufferedReader(pyarrow.CompressedInputStream(raw, "zstd"))
    return nullcontext(raw)


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a file that ends too early or cannot be decompressed."""
    return InputError(
        f"{path} is incomplete",
        got=str(error) or type(error).__name__,
        expected="a complete file",
        fix="download or copy it again",
    )


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def decode_text(data: bytes) -> str:
    """Decode a whole file: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    >>> decode_text("café".encode("utf-16")), decode_text("café".encode("utf-8-sig"))
    ('café', 'café')

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    return data.decode(next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8-sig"))


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
