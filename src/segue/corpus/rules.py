"""Rules of corpus readers of your own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from segue.corpus.custom import as_document
from segue.types import Document, Skipped

Read = Callable[[], Iterator[Any]]
"""Reads a corpus from its beginning."""


def subject(make: Callable[[], Any]) -> Read:
    """Return what reads the corpus: the reader's method read(), or the function itself."""
    reader = make()
    read: Read = getattr(reader, "read", reader)
    return read


def documents_of(read: Read) -> list[Document]:
    """Return the documents without what the reader left out."""
    return [item for item in map(_as_item, read()) if isinstance(item, Document)]


def _as_item(item: Any) -> Document | Skipped:
    return as_document(item, "the reader")


def check_documents(read: Read) -> None:
    """Check that it yields documents, and at least one with text: nothing else can be cut into passages."""
    found = documents_of(read)
    assert any(text.strip() for document in found for text in document.paragraphs), "no document with text"


def check_ids_are_unique(read: Read) -> None:
    """Check that every document has an id of its own; splits, runs and reports name documents by it."""
    ids = [document.id for document in documents_of(read)]
    assert all(isinstance(name, str) and name.strip() for name in ids), "an id is empty or no string"
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    assert not twice, f"two documents have the id {twice[0]!r}" if twice else ""


def check_same_documents_again(read: Read) -> None:
    """Check that the same documents come in the same order every time; a resumed build reads the corpus again."""
    first, again = list(map(_as_item, read())), list(map(_as_item, read()))
    assert first == again, f"{len(first)} items, then {len(again)} others or in another order"


def check_readings_are_independent(read: Read) -> None:
    """Check that a reading that was broken off does not change the next: a build may be killed at any time."""
    whole, broken = list(map(_as_item, read())), iter(read())
    next(broken, None)
    assert list(map(_as_item, read())) == whole, "other documents after a reading that was broken off"


def check_text_can_be_stored(read: Read) -> None:
    """Check that ids, titles and texts are strings that UTF-8 can hold; banks are Parquet files."""
    for document in documents_of(read):
        for text in (document.id, document.title, *document.paragraphs):
            assert isinstance(text, str), f"{document.id!r} holds {type(text).__name__}, expected str"
            try:
                text.encode()
            except UnicodeEncodeError:
                raise AssertionError(f"{document.id!r} holds half a character (a lone surrogate)") from None


RULES: tuple[Callable[[Read], None], ...] = (
    check_documents,
    check_ids_are_unique,
    check_same_documents_again,
    check_readings_are_independent,
    check_text_can_be_stored,
)
