"""Read a corpus with a reader of your own, or documents given from Python.

A reader is a class, made with the table ``options``, an object with ``read()``, or a function, called with the options.
It yields documents: ``Document``, a mapping with ``id`` and ``text`` or ``paragraphs``, or a pair (id, text); and
``Skipped`` for what it leaves out. It may have ``__len__``, their number: progress shows the time left then.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from segue.corpus.intake import Placed, TextCorpus, admit, document_from, placed
from segue.errors import InputError, SegueError
from segue.parts import make_part, part_table
from segue.types import Document, Skipped


class DocumentList:
    """A reader of documents that were given from Python; its name holds the hash of their texts.

    Another process, which reads no corpus, gets it without them.
    """

    def __init__(self, documents: Iterable[Any] = ()) -> None:
        self.documents = tuple(as_document(item, f"document {number}") for number, item in enumerate(documents))

    @property
    def own_name(self) -> str:
        """Name in records."""
        known = hashlib.sha256(repr(self.documents).encode("utf-8", "backslashreplace")).hexdigest()
        return f"documents_{known[:12]}"

    def __len__(self) -> int:
        return len(self.documents)

    def __reduce__(self) -> tuple[type[DocumentList], tuple[()]]:
        """Return how another process makes it."""
        return DocumentList, ()

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents."""
        return iter(self.documents)


class CustomCorpus(TextCorpus):
    """Documents from a reader of your own."""

    kind: Literal["custom"] = "custom"
    reader: str = Field(min_length=1, description='reader of your own: "package.module:Class" or an installed one')
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for the reader")

    @model_validator(mode="before")
    @classmethod
    def _given(cls, table: Any) -> Any:
        """Put names for a reader, or for documents, that are given from Python."""
        if not isinstance(table, Mapping) or isinstance(table.get("reader"), str | type(None)):
            return table
        reader = table["reader"]
        if not callable(reader) and not hasattr(reader, "read") and isinstance(reader, Iterable):
            table = {**table, "reader": DocumentList(reader)}
        return part_table("corpus", table, key="reader")

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents of your reader, with the checks that all documents pass.

        Raises:
            InputError: the reader cannot be made, fails, or yields an id twice; see ``admit``.
            SettingsError: it cannot be imported.
        """
        reader = make_part("corpus", self.reader, self.options)
        read = getattr(reader, "read", reader)
        if not callable(read):
            raise InputError(f"{self.reader} is not a corpus reader", got="no method read()", fix="add a method read()")
        total = operator.length_hint(reader)
        share = (lambda num_read: min(1.0, num_read / total)) if total else (lambda num_read: None)

        def records() -> Iterator[Placed | Skipped]:
            for number, item in enumerate(self._items(read)):
                where = f"reader {self.reader}, document {number}"
                yield item if isinstance(item, Skipped) else placed(_document, item, where, id_key="id")

        return admit(records(), self, source=self.reader, share=share, again=records)

    def _items(self, read: Any) -> Iterator[Any]:
        try:
            yield from read()
        except SegueError:
            raise
        except Exception as error:  # it is the user's code
            got = f"{type(error).__name__}: {error}"
            raise InputError(f"reader {self.reader} fails", got=got, fix="correct its read()") from error


def _document(item: Any, where: str) -> Document:
    found = as_document(item, where)
    assert isinstance(found, Document), "those that are skipped are passed on before"
    return found


def as_document(item: Any, where: str) -> Document | Skipped:
    """Return what a reader yielded as a document.

    >>> as_document(("a", "One.\\n\\nTwo."), "here") == as_document({"id": "a", "paragraphs": ["One.", "Two."]}, "here")
    True

    Raises:
        InputError: it is none.
    """
    if isinstance(item, Document | Skipped):
        return item
    if isinstance(item, tuple) and len(item) == 2:
        item = {"id": item[0], "text" if isinstance(item[1], str) else "paragraphs": item[1]}
    if isinstance(item, Mapping):
        return document_from(item, where)
    got, expected = type(item).__name__, "a Document, a mapping with id and text or paragraphs, a pair (id, text)"
    raise InputError(f"{where} yielded a wrong object", got=got, expected=expected, fix="correct its read()")
