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
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
from pydantic import Field

from segue.corpus.prose import letters, split_paragraphs, tidy
from segue.corpus.words import visible
from segue.errors import InputError
from segue.settings import Settings
from segue.types import Document, Skipped

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError)
"""Errors of the libraries for a compressed file that is cut short or damaged."""

LONGEST_RECORD = 2**26
"""Bytes of a line, a row, or the XML of a page that are read at most: a small file may unpack to more than memory."""

ARCHIVES = {
    b"PK\x03\x04": ("a zip archive", "`unzip` it"),
    b"PK\x05\x06": ("an empty zip archive", "zip it again"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it with `7z x`"),
    b"Rar!\x1a\x07": ("a rar archive", "unpack it with `unrar x`"),
    b"\x04\x22\x4d\x18": ("an lz4 file", "unpack it with `lz4 -d`"),
    b"\x1f\x9d": ("a file of compress", "unpack it with `uncompress`"),
    b"PAR1": ("a Parquet file", 'set kind = "parquet" in [corpus]'),
}
"""First bytes of files that are not read as text: what they are, and what to do."""


class TextCorpus(Settings):
    """Settings of every corpus of texts."""

    minimum_characters: int = Field(
        1, ge=0, description="documents with less text are skipped and counted; characters of all paragraphs together"
    )
    maximum_documents: int | None = Field(
        None, ge=1, description="stop after that many documents (skipped ones do not count); null: read all"
    )
    strict: bool = Field(
        False, description="end with an error at the first document that cannot be read; false: skip, list and count it"
    )
    maximum_unreadable: float = Field(
        0.2, ge=0, le=1, description="a build ends before it encodes when a greater share of the corpus cannot be read"
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


@dataclass(frozen=True)
class Placed:
    """What a record gave: its document, or the error that makes it unreadable, and where it stands.

    Attributes:
        item: the document or the error.
        where: file and line (or row).
        key: the id as the record holds it, a number or a text.
    """

    item: Document | InputError
    where: str
    key: object = None


def placed(make: Callable[[Any, str], Document], record: object, where: str, *, id_key: str) -> Placed:
    """Return what ``make`` makes of a record; a record that is an error stands for what could not be parsed."""
    if isinstance(record, InputError):
        return Placed(_kept(record), where)
    pair = record if isinstance(record, tuple) else (None,)
    try:
        return Placed(make(record, where), where, record.get(id_key) if isinstance(record, Mapping) else pair[0])
    except InputError as error:
        return Placed(_kept(error), where)


def _kept(error: InputError) -> InputError:
    """Return an error without the frames that it came from, which would keep a file open as long as the error lives."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


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
    items: Iterable[Document | Skipped | Placed],
    settings: TextCorpus,
    *,
    source: Path | str,
    share: Callable[[int], float | None] = lambda num_read: None,
    again: Callable[[], Iterable[Placed | Skipped]] = lambda: (),
) -> Reading:
    """Pass documents on in order; skip empty and short ones with a reason; stop at ``maximum_documents``.

    Args:
        items: the documents.
        settings: which of them are wanted.
        source: where they are from, for messages.
        share: takes the number of items read so far, at least 1, and returns the share of the source.
        again: reads the items once more, to find the first document of an id that comes twice.

    Raises:
        InputError: two documents have one id; with ``strict`` also where a document cannot be read.
    """
    count: Counter[str] = Counter()

    def share_read() -> float | None:
        of_source = share(count["read"]) if count["read"] else None
        wanted = settings.maximum_documents
        known = [found for found in (of_source, wanted and count["admitted"] / wanted) if found is not None]
        return max(known, default=None)

    return Reading(_admit(items, settings, source, count, again), share_read)


def _admit(
    items: Iterable[Document | Skipped | Placed],
    settings: TextCorpus,
    source: Path | str,
    count: Counter[str],
    again: Callable[[], Iterable[Placed | Skipped]],
) -> Iterator[Document | Skipped]:
    seen: dict[str, str] = {}
    with closing(items) if isinstance(items, Generator) else nullcontext():  # also its files, where it is left early
        for given in items:
            count["read"] += 1
            where, key = (given.where, given.key) if isinstance(given, Placed) else (str(source), None)
            item = given.item if isinstance(given, Placed) else given
            item = (isinstance(item, Document) and _unusable(item, where)) or item
            if settings.strict and isinstance(item, InputError):
                raise item
            if isinstance(item, InputError):
                item = Skipped(where, _reason(item, where), unreadable=True)
            if isinstance(item, Skipped):
                if item.unreadable and settings.strict:
                    fix = "correct or remove it, or set strict = false in [corpus]"
                    raise InputError(f"{source}: {item.id} cannot be read", got=item.reason, fix=fix)
                yield item
                continue
            if (other := seen.get(visible(item.id))) is not None:
                raise _twice(item.id, other, where, key, again)
            seen[visible(item.id)] = item.id
            characters = sum(map(letters, item.paragraphs))
            if characters < max(1, settings.minimum_characters):
                yield Skipped(
                    item.id, f"shorter than {settings.minimum_characters} characters" if characters else "empty"
                )
                continue
            count["admitted"] += 1
            yield item
            if count["admitted"] == settings.maximum_documents:
                return


def _reason(error: InputError, where: str) -> str:
    """Return what is wrong without the place, and the fix: a reason that can be counted."""
    what = error.what.removeprefix(where).lstrip(": ") or f"got {error.got}"
    return f"{what}; {error.fix}" if error.fix else what


def read_most(reader: Any) -> Reading:
    """Read a corpus to its end, and refuse it there when more of it cannot be read than its settings allow.

    Raises:
        InputError: at the end, with the reasons, the most frequent first, and up to five places of each.
    """
    documents = reader.read()
    return Reading(_most(documents, getattr(reader, "maximum_unreadable", _DEFAULT)), share_of(documents))


_DEFAULT: float = TextCorpus.model_fields["maximum_unreadable"].default


def _most(documents: Iterable[Document | Skipped], maximum: float) -> Iterator[Document | Skipped]:
    read, reasons, places = 0, Counter[str](), defaultdict[str, list[str]](list)
    for item in documents:
        read += 1
        if isinstance(item, Skipped) and item.unreadable:
            reasons[item.reason] += 1
            places[item.reason] += [item.id] if len(places[item.reason]) < PLACES_SHOWN else []
        yield item
    bad = reasons.total()
    if bad > maximum * read:
        each = (f"{count:,} × {reason} ({', '.join(places[reason])}{', …' if count > PLACES_SHOWN else ''})"
                for reason, count in reasons.most_common())  # fmt: skip
        raise InputError(
            "too much of the corpus cannot be read",
            got=f"{bad:,} of {read:,} documents, files and records: {'; '.join(each)}",
            expected=f"at most {100 * maximum:g} %",
            fix="correct or remove them, or raise maximum_unreadable in [corpus]",
        )


def _twice(
    name: str, other: str, where: str, key: object, again: Callable[[], Iterable[Placed | Skipped]]
) -> InputError:
    """Return the error for an id that comes twice; it names both places, and what makes two ids one."""
    found = (one for one in again() if isinstance(one, Placed))
    first = next((one for one in found if isinstance(one.item, Document) and one.item.id == other), None)
    places = where if first is None else f"{first.where} and {where}"
    fix = "give every document a unique id; one record holds a whole document"
    if other != name:
        what = f"{places}: two documents have ids that look the same, {other!a} and {name!a}"
        return InputError(what, got="a difference only in invisible characters or in composed letters", fix=fix)
    if first is None:
        return InputError(f"{where}: two documents have the id {name!r}", fix=fix)
    if isinstance(first.key, int) == isinstance(key, int):
        return InputError(f"two documents have the id {name!r}", got=places, fix=fix)
    kinds = " and ".join("a number" if isinstance(one, int) else "a text" for one in (first.key, key))
    fix = "give every document a unique id, and write all ids as texts"
    return InputError(f"two documents have the id {name!r}, {kinds}", got=places, fix=fix)


def _unusable(document: Document, where: str) -> InputError | None:
    if not visible(document.id).strip():
        return InputError(f"{where}: a document has an empty id", fix="give every document a unique id")
    try:
        "".join((document.id, document.title, *document.paragraphs)).encode()
    except UnicodeEncodeError as error:
        return InputError(
            f"{where} contains half a character",
            got=f"U+{ord(error.object[error.start]):04X} (a lone surrogate) in document {document.id!r}",
            expected="text that can be written as UTF-8",
            fix="remove the broken character, or decode the source with its true encoding",
        )
    return None


def document_from(
    record: object, where: str, *, id_key: str = "id", title_key: str = "title", text_key: str = "text"
) -> Document:
    """Return the document of one record (a JSON object, a table row).

    A record has an id and either ``text``, a string whose paragraphs are separated by blank lines or a list of
    paragraphs, or ``paragraphs``, such a list. A text that is null is empty. The title may be missing; other keys are
    ignored.

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


def is_null(value: object) -> bool:
    """Return whether a value stands for nothing: None, or NaN, as pandas writes it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _paragraphs(record: Mapping[str, object], where: str, text_key: str) -> tuple[str, ...]:
    keys = [key for key in (["paragraphs"] if text_key == "text" else []) + [text_key] if key in record]
    key = next((key for key in keys if not is_null(record[key])), text_key)
    value = record.get(key)
    if keys and is_null(value):
        return ()
    if isinstance(value, str) and key == text_key:
        return split_paragraphs(value)
    value = [paragraph for paragraph in value if not is_null(paragraph)] if isinstance(value, list | tuple) else value
    if not isinstance(value, list) or not all(isinstance(paragraph, str) for paragraph in value):
        either = "" if key == "paragraphs" else "a string, or "
        more = ", or 'paragraphs'" if key == "text" else ""
        raise _wrong(where, _found(record, key), f"{key!r}: {either}a list of strings{more}")
    return tuple(tidied for paragraph in value if (tidied := tidy(paragraph)))


def too_long(where: str) -> InputError:
    """Return the error for a line, a row or a page of more bytes than are read."""
    return InputError(f"{where} is too long", expected=f"at most {LONGEST_RECORD:,} bytes",
                      fix="divide it into several documents, or remove it")  # fmt: skip


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


PLACES_SHOWN = 5
"""Places that are shown for each reason."""
HEAD = 512
"""Bytes at the start of a file that tell what it is."""


def is_lfs_pointer(first_bytes: bytes) -> bool:
    """Return whether a file that begins so is a pointer of git-LFS, which stands for contents that are elsewhere."""
    return first_bytes.startswith(
        (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
    )


def refuse_lfs_pointer(path: Path) -> None:
    """Check that a file holds its contents.

    Raises:
        InputError: it is a git-LFS pointer, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            pointer = is_lfs_pointer(file.read(HEAD))
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror, fix="check the path and its permissions") from error
    if pointer:
        raise InputError(f"{path} is a git-LFS pointer, not the file itself", fix="run `git lfs pull`")


def refuse_other(head: bytes, path: Path) -> None:
    """Check that a file that begins with ``head`` is no archive and no git-LFS pointer.

    Raises:
        InputError: names what it is, and the command that unpacks it.
    """
    if is_lfs_pointer(head):
        raise InputError(f"{path} is a git-LFS pointer, not the file itself", fix="run `git lfs pull`")
    tar = [("a tar archive", "unpack it with `tar xf`")] if head[257:262] == b"ustar" else []
    for what, fix in tar + [named for magic, named in ARCHIVES.items() if head.startswith(magic)]:
        raise InputError(f"{path} is {what}", expected="text, plain or as .gz, .bz2, .xz, .zst", fix=fix)


class SourceFile:
    """A plain, gzip, bzip2, xz or zstd file, and how much of it was read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: io.BufferedReader | None = None

    @contextmanager
    def open(self) -> Iterator[io.BufferedIOBase]:
        """Open it for reading; its first bytes decide how, not its name.

        Raises:
            InputError: there is no such file, or it is cut short, damaged, an archive or a git-LFS pointer.
        """
        try:
            with require_file(self.path).open("rb") as raw:
                self._raw = raw
                refuse_other(raw.peek(HEAD), self.path)
                with _unpacked(raw) as unpacked:
                    refuse_other(unpacked.peek(HEAD), self.path)  # type: ignore[attr-defined]  # all four have it
                    yield unpacked
        except DAMAGED as error:
            raise damaged(self.path, error) from error

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
    """Return the error for a file that ends too early, or cannot be decompressed or opened."""
    if isinstance(error, OSError) and error.errno:  # of the system, not of a library for compressed files
        return InputError(f"{path} cannot be read", got=error.strerror, fix="check its permissions and the disk")
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
