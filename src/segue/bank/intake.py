"""Documents become shards: passages are collected, recognised or encoded, and written a shard at a time.

What enters: documents, an encoder, a folder that may hold whole shards of an earlier attempt. What leaves: the records
of all shards, the table of the documents, and how much was left out, by reason. Memory: one shard, the documents' ids
and titles, 16 bytes per distinct text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segue.bank.bank import PassageBank
from segue.bank.duplicates import DuplicateGroups
from segue.bank.manifest import BUILD, documents_table
from segue.bank.shards import (
    ShardRecord,
    ShardRows,
    check_vectors,
    complete_shards,
    passages_path,
    read_table,
    write_shard,
)
from segue.corpus.passages import PassageSettings, cut
from segue.encoders import Encoder
from segue.errors import InputError
from segue.files import write_json
from segue.types import Document, Passage, Progress, Skipped, no_progress


class ShardWriter:
    """Collects passages and writes a shard whenever one is full; shards that are whole already are only compared."""

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        asked: dict[str, Any],
        *,
        after: PassageBank | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.folder = folder
        self.records: list[ShardRecord] = []
        self.first_shard = 0 if after is None else len(after.manifest["shards"])
        self.rows = 0 if after is None else len(after)
        self._encoder = encoder
        self._asked = asked
        self._whole = complete_shards(folder)[self.first_shard :]
        self._groups = DuplicateGroups() if after is None else _groups_of(after)
        self._pending: list[Passage] = []
        self._progress = progress

    def add(self, passages: list[Passage]) -> None:
        """Take the passages of one document."""
        size = self._asked["shard_passages"]
        self._pending += passages
        while len(self._pending) >= size:
            self._write(self._pending[:size])
            del self._pending[:size]

    def finish(self) -> list[ShardRecord]:
        """Write what is left; return the records of all shards this writer saw."""
        if self._pending:
            self._write(self._pending)
            self._pending = []
        if len(self._whole) > len(self.records):
            raise self._changed("fewer passages than before")
        return self.records

    def _write(self, passages: list[Passage]) -> None:
        """Make the next shard from ``passages``, or recognise it."""
        rows = ShardRows([p.document_id for p in passages], [p.position for p in passages], [p.text for p in passages])
        groups = self._groups.add(rows.hashes(), self.rows)
        place = len(self.records)
        if place < len(self._whole):
            if rows.text_sha256() != self._whole[place].text_sha256:
                raise self._changed(f"other passages in shard {place}")
            record = self._whole[place]
            self._progress(self.rows + len(rows), None, "passages found encoded")
        else:
            if place == 0 and self.first_shard == 0:
                write_json(self.folder / BUILD, self._asked)
            vectors = self._encode(rows)
            record = write_shard(self.folder, self.first_shard + place, rows, vectors, groups=groups)
        self.records.append(record)
        self.rows += len(rows)

    def _encode(self, rows: ShardRows) -> np.ndarray:
        def report(done: int, total: int | None, note: str) -> None:
            self._progress(self.rows + done, None, note)

        vectors = self._encoder.encode(rows.texts or [], progress=report)
        check_vectors(vectors, f"encoder {self._encoder.space.encoder}")
        return vectors.astype(self._asked["storage"])

    def _changed(self, got: str) -> InputError:
        fix = f"restore the source, or delete {self.folder} and build again"
        return InputError(f"the corpus changed since the build in {self.folder} began", got=got, fix=fix)


class Intake:
    """Takes documents in: cuts them, hands the passages on, counts everything that was left out."""

    def __init__(self, writer: ShardWriter, taken: Iterable[str] = ()) -> None:
        self.skipped: Counter[str] = Counter()
        self._writer = writer
        self._taken = set(taken)
        self._ids: list[str] = []
        self._titles: list[str] = []
        self._num_rows: list[int] = []

    def read(self, documents: Iterable[Document | Skipped], settings: PassageSettings) -> None:
        """Read all documents.

        Raises:
            InputError: an id comes twice.
        """
        for item in documents:
            if isinstance(item, Skipped):
                self.skipped[item.reason] += 1
                continue
            self._require_new(item.id)
            passages = cut(item, settings)
            if not passages:
                self.skipped["no passages"] += 1
                continue
            self._ids.append(item.id)
            self._titles.append(item.title)
            self._num_rows.append(len(passages))
            self._writer.add(passages)

    def records(self) -> list[ShardRecord]:
        """Write what is left; return the records of all shards."""
        return self._writer.finish()

    def documents(self, first_row: int) -> pa.Table:
        """Return the table of the documents taken in, rows counting from ``first_row``."""
        return documents_table(self._ids, self._titles, self._num_rows, first_row=first_row)

    def _require_new(self, name: str) -> None:
        if name in self._taken:
            fix = "give every document an id of its own"
            raise InputError(f"two documents have the id {name!r}", fix=fix)
        self._taken.add(name)


def describe_skipped(skipped: Counter[str]) -> str:
    """Say how much was skipped and why.

    >>> describe_skipped(Counter({"redirect": 2, "empty": 1}))
    '3 documents skipped (2 redirect, 1 empty)'
    """
    if not skipped:
        return "no documents"
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    return f"{skipped.total()} documents skipped ({reasons})"


def _groups_of(bank: PassageBank) -> DuplicateGroups:
    """Learn the duplicate groups of an existing bank."""
    groups, row = DuplicateGroups(), 0
    for number in range(len(bank.manifest["shards"])):
        hashes = read_table(passages_path(bank.path, number), columns=["text_sha256"])["text_sha256"].to_pylist()
        groups.add(hashes, row)
        row += len(hashes)
    return groups
