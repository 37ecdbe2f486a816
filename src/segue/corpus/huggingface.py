"""Read a data set with the Hugging Face library ``datasets`` (extra ``huggingface``), from the hub or a local folder.

Rows are streamed in their order. Articles of ``wikimedia/wikipedia`` come with headings and list entries as lines of
their own; ``prose_only`` leaves those lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from segue.corpus.intake import TextSettings, admit
from segue.corpus.prose import is_prose, tidy
from segue.corpus.records import document_from
from segue.errors import InputError, MissingExtraError
from segue.types import Document, Skipped


class HuggingFaceSettings(TextSettings):
    """Documents of a Hugging Face data set."""

    kind: Literal["huggingface"] = "huggingface"
    name: str = Field(description='id on the hub, e.g. "wikimedia/wikipedia", or a local folder')
    config: str | None = Field(None, description='configuration, e.g. "20231101.en"')
    split: str = Field("train", description="split of the data set")
    revision: str | None = Field(None, description="commit on the hub; name one to read the same data next year")
    streaming: bool = Field(True, description="read row by row instead of downloading the whole set first")
    id_column: str = Field("id", description="column with the document's id: strings or whole numbers")
    title_column: str = Field("title", description="column with the title; may be missing in the data")
    text_column: str = Field("text", description="column with the text")
    prose_only: bool = Field(
        True, description="leave out lines that do not read like sentences: headings, list entries"
    )
    minimum_characters: int = Field(
        500, ge=0, description="documents with less text are skipped and counted; characters"
    )


class HuggingFaceReader:
    """Read the rows of a data set, in their order."""

    def __init__(self, settings: HuggingFaceSettings) -> None:
        self.settings = settings

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents.

        Raises:
            MissingExtraError: the library ``datasets`` is not installed.
            InputError: the data set cannot be loaded, or a row is not a document.
        """
        rows = load_rows(self.settings)
        where = f"data set {self.settings.name}"
        documents = (_document(row, f"{where}, row {number}", self.settings) for number, row in enumerate(rows))
        return admit(documents, self.settings, source=where)


def load_rows(settings: HuggingFaceSettings) -> Iterator[Mapping[str, Any]]:
    """Open the data set.

    Raises:
        MissingExtraError: the library ``datasets`` is not installed.
        InputError: the data set cannot be loaded (unknown name, no network, no such split).
    """
    try:
        import datasets
    except ImportError as error:
        fix = "pip install 'segue[huggingface]'"
        raise MissingExtraError("reading Hugging Face data sets needs the package datasets", fix=fix) from error
    try:
        rows = datasets.load_dataset(
            settings.name,
            settings.config,
            split=settings.split,
            revision=settings.revision,
            streaming=settings.streaming,
        )
    except Exception as error:  # the library raises its own kinds, those of fsspec, of its HTTP client, and ValueError
        fix = "check name, config and split, and the network, or give a local folder"
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"data set {settings.name} cannot be loaded", got=got, fix=fix) from error
    return iter(rows)


def _document(row: Mapping[str, Any], where: str, settings: HuggingFaceSettings) -> Document:
    columns = {"id_key": settings.id_column, "title_key": settings.title_column, "text_key": settings.text_column}
    document = document_from(row, where, **columns)
    text = row.get(settings.text_column)
    if not settings.prose_only or not isinstance(text, str):
        return document
    lines = (tidy(line) for line in text.split("\n"))
    return Document(document.id, document.title, tuple(line for line in lines if is_prose(line)), document.source)
