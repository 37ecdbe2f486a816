"""Sources of documents: one file per kind of corpus, with its settings and its reader.

Input: a table ``[corpus]`` of a recipe. Output: an iterator over the documents in a fixed order, with every document
that was left out and why. All kinds stream: none holds its corpus in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from segue.corpus.beir import BeirCorpus
from segue.corpus.custom import CustomCorpus
from segue.corpus.folder import FolderCorpus
from segue.corpus.huggingface import HuggingFaceCorpus
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.parquet import ParquetCorpus
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.errors import InputError
from segue.settings import Settings
from segue.types import Document, Skipped


@runtime_checkable
class CorpusReader(Protocol):
    """A source of documents that can be read again and again, with the same result."""

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents in a fixed order, and a ``Skipped`` for each one left out."""


class VectorsCorpus(Settings):
    """Embeddings of your own: a matrix of vectors, and a table that names the passage of each row."""

    kind: Literal["vectors"] = "vectors"
    vectors: Path = Field(description=".npy file of floats, one unit vector per row [passage, dim]")
    table: Path = Field(description="Parquet file with document_id, position and, where known, text; row i = vector i")
    name: str = Field(
        "unknown", min_length=1, description="name of the encoder that made the vectors, as you declare it"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Raise an error: ``segue.bank.import_vectors`` imports vectors.

        Raises:
            InputError: always.
        """
        raise InputError("a corpus of vectors has no text to read", fix="import it as a bank")


class BankCorpus(Settings):
    """A bank that exists: nothing is read or encoded."""

    kind: Literal["bank"] = "bank"
    path: Path = Field(description="folder of the bank")

    def read(self) -> Iterator[Document | Skipped]:
        """Raise an error: a bank is opened, not read again.

        Raises:
            InputError: always.
        """
        raise InputError("a bank is no source of documents", fix="name the corpus that the bank was made of")


Corpus = Annotated[
    WikipediaDumpCorpus
    | FolderCorpus
    | JsonlCorpus
    | ParquetCorpus
    | VectorsCorpus
    | BankCorpus
    | HuggingFaceCorpus
    | BeirCorpus
    | CustomCorpus,
    Field(discriminator="kind"),
]
"""The table ``[corpus]``; its ``kind`` selects the class."""
