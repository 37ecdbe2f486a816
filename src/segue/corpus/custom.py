"""Read a corpus with a class of your own, named by its import path.

The class is called with the table ``options`` as keyword arguments. Its method ``read()`` yields ``Document`` and
``Skipped``. It may have ``__len__``, their number: progress shows the time left then.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from segue.corpus.intake import TextCorpus, admit
from segue.errors import InputError
from segue.parts import IMPORT_PATH, make_part
from segue.types import Document, Skipped


class CustomCorpus(TextCorpus):
    """Documents from a class of your own."""

    kind: Literal["custom"] = "custom"
    reader: str = Field(pattern=IMPORT_PATH, description="import path of the reader, package.module:Class")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for the class")

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents of your reader, with the checks that all documents pass.

        Raises:
            InputError: the reader cannot be made, yields other objects than documents, or yields an id twice.
        """
        reader = self._load()
        total = operator.length_hint(reader)
        share = (lambda num_read: min(1.0, num_read / total)) if total else (lambda num_read: None)
        return admit(self._documents(reader), self, source=self.reader, share=share)

    def _load(self) -> Any:
        reader = make_part("corpus", self.reader, self.options)
        if not callable(getattr(reader, "read", None)):
            raise InputError(f"{self.reader} is not a corpus reader", got="no method read()", fix="add a method read()")
        return reader

    def _documents(self, reader: Any) -> Iterator[Document | Skipped]:
        for item in reader.read():
            if not isinstance(item, Document | Skipped):
                got, expected = type(item).__name__, "segue.types.Document or Skipped"
                what = f"reader {self.reader} yielded a wrong object"
                raise InputError(what, got=got, expected=expected, fix="correct its read()")
            yield item
