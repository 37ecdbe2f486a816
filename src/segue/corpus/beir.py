"""Read a BEIR corpus: ``corpus.jsonl`` with ``_id``, ``title`` and ``text``.

Most BEIR documents are one passage long and give no window; long ones (TREC-NEWS, Robust04, Signal) do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from segue.corpus.intake import SourceFile, TextCorpus, admit, document_from
from segue.corpus.jsonl import read_objects
from segue.corpus.sources import SourcePath
from segue.errors import InputError
from segue.types import Document, Skipped


class BeirCorpus(TextCorpus):
    """Documents of a BEIR data set."""

    kind: Literal["beir"] = "beir"
    path: SourcePath = Field(description="folder of the data set, or its corpus.jsonl (may be .gz, .bz2, .xz, .zst)")

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, in the order of the lines.

        Raises:
            InputError: there is no corpus file, it is damaged, or a line is not a document.
        """
        file = SourceFile(corpus_file(self.path))
        documents = (document_from(record, where, id_key="_id") for record, where in read_objects(file))
        return admit(documents, self, source=file.path, share=lambda _: file.share())


def corpus_file(path: Path) -> Path:
    """Return the corpus file of a BEIR folder, or ``path`` itself when it is not a folder.

    Raises:
        InputError: the folder has no corpus file.
    """
    if not path.is_dir():
        return path
    for end in ("", ".gz", ".bz2", ".xz", ".zst"):
        if (path / f"corpus.jsonl{end}").is_file():
            return path / f"corpus.jsonl{end}"
    fix = "name the folder that holds corpus.jsonl"
    raise InputError(f"{path} is not a BEIR data set", got="no corpus.jsonl", fix=fix)
