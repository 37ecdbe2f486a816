"""Where documents come from: one file per kind of corpus, each with its settings and its reader.

What enters: a table ``[corpus]`` of a recipe. What leaves: an iterator of documents in a fixed order, with every
document that was left out and why. Readers stream: none holds its corpus in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field

from segue.corpus.beir import BeirReader, BeirSettings
from segue.corpus.custom import CustomReader, CustomSettings
from segue.corpus.folder import FolderReader, FolderSettings
from segue.corpus.huggingface import HuggingFaceReader, HuggingFaceSettings
from segue.corpus.jsonl import JsonlReader, JsonlSettings
from segue.corpus.parquet import ParquetReader, ParquetSettings
from segue.corpus.vectors import VectorsSettings
from segue.corpus.wikipedia_dump import WikipediaDumpReader, WikipediaDumpSettings
from segue.errors import InputError
from segue.types import Document, Skipped

CorpusSettings = Annotated[
    WikipediaDumpSettings
    | FolderSettings
    | JsonlSettings
    | ParquetSettings
    | VectorsSettings
    | HuggingFaceSettings
    | BeirSettings
    | CustomSettings,
    Field(discriminator="kind"),
]
"""The table ``[corpus]``; its ``kind`` says which settings it holds."""


@runtime_checkable
class CorpusReader(Protocol):
    """What every reader is: something that can be read, again and again, with the same result."""

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents in a fixed order, and a ``Skipped`` for each one left out."""
        ...


def open_corpus(settings: CorpusSettings) -> CorpusReader:  # noqa: PLR0911 - one line per kind
    """Return the reader for a table ``[corpus]``; nothing is read yet.

    Raises:
        InputError: the corpus is one of vectors (the bank imports those), or a custom reader cannot be made.
    """
    match settings:
        case WikipediaDumpSettings():
            return WikipediaDumpReader(settings)
        case FolderSettings():
            return FolderReader(settings)
        case JsonlSettings():
            return JsonlReader(settings)
        case ParquetSettings():
            return ParquetReader(settings)
        case HuggingFaceSettings():
            return HuggingFaceReader(settings)
        case BeirSettings():
            return BeirReader(settings)
        case CustomSettings():
            return CustomReader(settings)
        case VectorsSettings():
            raise InputError("a corpus of vectors has no text to read", fix="import it as a bank")
