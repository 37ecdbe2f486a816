"""A reader of the user's own, named by its import path.

The class is called with the table ``options`` as keyword arguments and needs one method, ``read()``, that yields
``Document`` and ``Skipped``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from segue.corpus.intake import TextSettings, admit
from segue.errors import InputError
from segue.types import Document, Skipped


class CustomSettings(TextSettings):
    """Documents from a class of your own."""

    kind: Literal["custom"] = "custom"
    reader: str = Field(pattern=r"^[\w.]+:\w+$", description="import path of the reader, package.module:Class")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments for the class")


class CustomReader:
    """Wrap the user's reader, so that its documents pass the same checks as all others."""

    def __init__(self, settings: CustomSettings) -> None:
        self.settings = settings
        self.reader = load(settings.reader, settings.options)

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents of the user's reader.

        Raises:
            InputError: an id comes twice, or something else than a document was yielded.
        """
        return admit(self._documents(), self.settings, source=self.settings.reader)

    def _documents(self) -> Iterator[Document | Skipped]:
        for item in self.reader.read():
            if not isinstance(item, Document | Skipped):
                raise InputError(
                    f"reader {self.settings.reader} yielded a wrong object",
                    got=type(item).__name__,
                    expected="segue.types.Document or Skipped",
                    fix="correct its read()",
                )
            yield item


def load(path: str, options: dict[str, Any]) -> Any:
    """Import ``package.module:Class`` and call it with ``options``.

    Raises:
        InputError: it cannot be imported, does not take the options, or has no ``read``.
    """
    module, name = path.split(":")
    try:
        reader = getattr(importlib.import_module(module), name)(**options)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"cannot make the reader {path}", got=str(error), fix="check its import path and [corpus.options]"
        ) from error
    if not callable(getattr(reader, "read", None)):
        raise InputError(f"{path} is no corpus reader", got="no method read()", fix="give it a read()")
    return reader
