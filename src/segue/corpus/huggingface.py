"""Read a data set with the Hugging Face library ``datasets`` (extra ``huggingface``), from the hub or a local folder.

Rows are streamed in order. In ``wikimedia/wikipedia`` headings and list entries are lines of their own, which
``prose_only`` leaves out.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from segue.corpus.intake import Placed, RecordCorpus, admit, placed, refuse_lfs_pointer
from segue.corpus.prose import is_prose, tidy
from segue.errors import InputError, MissingExtraError, explain
from segue.types import Document, Skipped


def _no_url(name: object) -> object:
    if isinstance(name, str) and "://" in name:
        raise ValueError(explain("a data set is named by its id", got=f"the URL {name}",
                                 expected='the part after "datasets/", such as "wikimedia/wikipedia"'))  # fmt: skip
    return name


class HuggingFaceCorpus(RecordCorpus):
    """Documents of a Hugging Face data set."""

    kind: Literal["huggingface"] = "huggingface"
    name: Annotated[str, BeforeValidator(_no_url)] = Field(
        description='id on the hub, e.g. "wikimedia/wikipedia", or a local folder'
    )
    config: str | None = Field(None, description='configuration, e.g. "20231101.en"')
    split: str = Field("train", description="split of the data set")
    revision: str | None = Field(None, description="commit on the hub; name one to read the same data next year")
    streaming: bool = Field(True, description="read row by row instead of downloading the whole set first")
    prose_only: bool = Field(
        True, description="leave out lines that do not read like sentences: headings, list entries"
    )
    minimum_characters: int = Field(
        500, ge=0, description="documents with less text are skipped and counted; characters"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of the rows.

        Raises:
            MissingExtraError: the library ``datasets`` is not installed.
            InputError: the data set cannot be loaded or read to its end, or an id comes twice; see ``admit``.
        """
        where = f"data set {self.name}"
        rows = load_rows(self)
        total = _num_rows(rows, self.split)
        share = (lambda num_read: num_read / total) if total else (lambda num_read: None)

        def records() -> Iterator[Placed]:
            numbered = enumerate(_each(rows, self))
            return (placed(self.document, row, f"{where}, row {n}", id_key=self.id_column) for n, row in numbered)

        return admit(records(), self, source=where, share=share, again=records)

    def document(self, record: object, where: str) -> Document:
        """Return the document of one row, without headings and list entries where ``prose_only`` says so."""
        document = super().document(record, where)
        text = record.get(self.text_column) if isinstance(record, Mapping) else None
        if not self.prose_only or not isinstance(text, str):
            return document
        lines = (tidy(line) for line in text.split("\n"))
        return replace(document, paragraphs=tuple(line for line in lines if is_prose(line)))


def load_rows(corpus: HuggingFaceCorpus) -> Iterable[Mapping[str, Any]]:
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
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            corpus.name, corpus.config, split=corpus.split, revision=corpus.revision, streaming=corpus.streaming
        )
    except Exception as error:  # errors of datasets, fsspec, the HTTP client, and ValueError
        raise _not_loaded(corpus, "cannot be loaded", error) from error
    return rows


def _each(rows: Iterable[Mapping[str, Any]], corpus: HuggingFaceCorpus) -> Iterator[Mapping[str, Any]]:
    """Yield the rows; a stream that breaks off is an error, since what would follow is not known."""
    try:
        yield from rows
    except Exception as error:  # as above: files are opened when they are read
        raise _not_loaded(corpus, "cannot be read to its end", error) from error


def _not_loaded(corpus: HuggingFaceCorpus, what: str, error: Exception) -> InputError:
    for path in sorted(Path(corpus.name).rglob("*")) if Path(corpus.name).is_dir() else []:
        if path.is_file():
            refuse_lfs_pointer(path)
    fix = "check name, config and split, and the network, or give a local folder"
    return InputError(f"data set {corpus.name} {what}", got=f"{type(error).__name__}: {error}", fix=fix)


def _num_rows(rows: Iterable[Mapping[str, Any]], split: str) -> int:
    """Return the number of rows: their length, or what a streamed data set states of its split; 0: not known."""
    splits = getattr(getattr(rows, "info", None), "splits", None) or {}
    return operator.length_hint(rows) or getattr(splits.get(split), "num_examples", None) or 0
