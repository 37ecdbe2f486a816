"""Sources of documents: one file per kind of corpus, with its settings and its reader.

Input: a table ``[corpus]`` of a recipe. Output: an iterator over the documents in a fixed order, with every document
that was left out and why. All kinds stream: none holds its corpus in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, get_args, runtime_checkable

from pydantic import BeforeValidator, Field

from segue.corpus.beir import BeirCorpus
from segue.corpus.custom import CustomCorpus
from segue.corpus.dialogue import DialogueCorpus
from segue.corpus.folder import FolderCorpus
from segue.corpus.huggingface import HuggingFaceCorpus
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.parquet import ParquetCorpus
from segue.corpus.sources import WRITTEN, SourcePath, SourcePaths, readable
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
    """Embeddings of your own: a table that names the passage of each row, and its vectors, in it or in a matrix."""

    kind: Literal["vectors"] = "vectors"
    vectors: Annotated[Path | tuple[Path, ...] | None, BeforeValidator(readable), WRITTEN] = Field(
        None,
        description=".npy file of floats, one unit vector per row [passage, dim], or several; null: vector_column",
    )
    table: SourcePaths = Field(
        description="Parquet file with document_id, position and, where known, text; row i = vector i; or a folder of "
        "shards, a pattern, or a list"
    )
    document_id_column: str = Field("document_id", description="column with the document's id")
    position_column: str = Field("position", description="column with the passage's place in its document, from 0")
    text_column: str = Field("text", description="column with the text; may be missing in the data")
    vector_column: str = Field(
        "vector", description="column with the vectors, lists of floats, where `vectors` is null"
    )
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
    path: SourcePath = Field(description="folder of the bank")

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
    | DialogueCorpus
    | CustomCorpus,
    Field(discriminator="kind"),
]
"""The table ``[corpus]``; its ``kind`` selects the class."""


def corpus_kinds() -> dict[str, type[Settings]]:
    """Return the settings class of each kind."""
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(Corpus)[0])}
