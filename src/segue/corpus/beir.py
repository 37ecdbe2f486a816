"""Read a BEIR corpus: ``corpus.jsonl`` with ``_id``, ``title`` and ``text``.

Most BEIR documents are one passage long and give no window; long ones (TREC-NEWS, Robust04, Signal) do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from segue.corpus.intake import Placed, SourceFile, TextCorpus, admit, document_from, placed
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
            InputError: there is no corpus file, or an id comes twice; see ``admit``.
        """
        file = SourceFile(corpus_file(self.path))

        def records() -> Iterator[Placed]:
            make = partial(document_from, id_key="_id")
            return (placed(make, *pair, id_key="_id") for pair in read_objects(file))

        return admit(records(), self, source=file.path, share=lambda _: file.share(), again=records)


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
