"""Build a bank from texts: read and cut all of them, then encode, shard by shard. An interrupted build is continued.

The passages of all shards are written while the corpus is read, once. So an id that comes twice, or a corpus of which
too much cannot be read, ends the build before anything is encoded, and the number of passages is known by then.

To continue, the corpus is read and cut again (cheap). Each shard that is whole already is compared with what was read
by the hash of its texts instead of being encoded again (expensive), so a source that changed in between is noticed.
Which texts are encoded together depends on the shard alone, so the result equals that of an uninterrupted build on the
same device, byte for byte. Memory: one shard, the documents' ids and titles, 16 bytes per distinct text.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.duplicates import DuplicateGroups
from segue.bank.encode_on_ray import encode_on_ray
from segue.bank.manifest import (
    BUILD,
    MANIFEST,
    REMNANTS,
    SKIPPED,
    SOURCE_PATHS,
    BuildPlan,
    TextFacts,
    documents_table,
    read_plan,
    require_same_plan,
    what_is_read,
    write_bank,
)
from segue.bank.shards import (
    ShardRecord,
    ShardRows,
    check_vectors,
    complete_shard,
    complete_shards,
    read_hashes,
    read_rows,
    remove_shards,
    require_bank_folder,
    write_passages,
)
from segue.bank.text_statistics import EvenSample, text_statistics_of
from segue.cluster import ComputeSettings, connected
from segue.corpus import CorpusReader
from segue.corpus.intake import read_most, share_of
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.prose import remnants
from segue.encoders import Encoder, EncoderSettings, load_encoder
from segue.encoders.endpoint import EndpointSettings
from segue.errors import InputError
from segue.files import append_text, atomic_file, disk, exclusive, write_json
from segue.settings import Settings
from segue.storage import place_of, publish
from segue.types import Document, Passage, Progress, Skipped, no_progress

DOCUMENTS_BETWEEN_REPORTS = 500
"""Documents that are read between two reports of progress."""
EncoderSource = Encoder | EncoderSettings | Callable[[], Encoder]
"""An encoder, its settings, or a function that loads it. With settings a finished bank opens without loading it."""


def build_bank(
    reader: CorpusReader,
    encoder: EncoderSource,
    out: Path | str,
    *,
    passages: PassageSettings | None = None,
    settings: BankSettings | None = None,
    compute: ComputeSettings | None = None,
    progress: Progress = no_progress,
) -> PassageBank:
    """Build a bank in ``out``, continue an unfinished build, or open a finished one of the same settings.

    Args:
        reader: where documents come from; read from its start each time.
        encoder: turns text into vectors.
        out: folder of the bank.
        passages: settings of cutting documents.
        settings: storage of the bank; its ``path`` is not used.
        compute: the [compute] table: with ``executor="ray"``, a Ray cluster encodes; None: this process does.
        progress: called per batch with the number of encoded passages, and how many there will be; while the corpus is
            read, with 0, None and how much was read.

    Raises:
        InputError: the corpus yields no passages or repeats an id, too much of it cannot be read, the source changed
            since the build began, or the folder holds other files or a bank of another source, encoder or settings; or
            the cluster does not answer.
        StorageError: the disk is full, another process is writing there, or workers of the cluster are lost again and
            again.
    """
    folder, settings, passages = Path(out), settings or BankSettings(), passages or PassageSettings()
    table = reader.model_dump(mode="json") if isinstance(reader, Settings) else {"kind": type(reader).__name__}
    plan = BuildPlan(
        source=what_is_read(table),
        passages=passages,
        storage=settings.storage,
        shard_passages=settings.shard_passages,
        encoder=encoder if isinstance(encoder, EncoderSettings) else None,
        folder=place_of(folder.resolve()) if any(key in table for key in SOURCE_PATHS) else None,
    )
    if (folder / MANIFEST).exists():
        return _reuse(folder, plan, encoder)
    cluster = compute if compute is not None and compute.executor == "ray" else None
    with connected(cluster) if cluster else contextlib.nullcontext(), exclusive(folder):  # before the corpus is read
        begun = read_plan(folder)
        require_bank_folder(folder, begun=begun is not None)
        if begun is not None and begun.encoder is not None and isinstance(encoder, EncoderSettings):
            # Which texts share a batch decides the last bits of their vectors.
            encoder = encoder.model_copy(update={"batch_size": begun.encoder.batch_size})
        loaded = loaded_encoder(encoder)
        plan = plan.model_copy(update={"space": loaded.space})
        if begun is not None:
            require_same_plan(folder, begun, plan, finished=False)
            plan = begun  # its fingerprint may differ in the last digits
        elsewhere = None
        if cluster:
            elsewhere = partial(encode_on_ray, folder=folder, load=partial(loaded_encoder, encoder),
                                settings=plan.encoder, space=loaded.space, compute=cluster)  # fmt: skip
        intake = Intake(writer := ShardWriter(folder, loaded, plan, elsewhere=elsewhere, progress=progress))
        try:
            intake.read(read_most(reader), passages)
        except InputError:
            if begun is None:  # nothing is encoded: the folder is as it was
                remove_shards(folder, beyond=0)
                disk.remove(folder / BUILD)
            raise
        shards = intake.finish()
        if not shards:
            got, fix = describe_skipped(intake.skipped), "check [corpus]: path, format, minimum_characters"
            expected = "at least one document with text"
            raise InputError("the corpus yields no passages", got=got, expected=expected, fix=fix)
        statistics = text_statistics_of(loaded, writer.sample.texts)
        intake.list_skipped()
        texts = TextFacts(True, intake.skipped, statistics, intake.markup)
        write_bank(folder, plan, shards, intake.documents(0), texts)
    return PassageBank.open(folder)


def _reuse(folder: Path, plan: BuildPlan, encoder: EncoderSource) -> PassageBank:
    """Open a finished bank of the same plan; the encoder is loaded only if its settings differ from the recorded."""
    bank = PassageBank.open(folder)
    recorded = bank.manifest.encoder
    if plan.encoder is None or recorded is None or _shaping(plan.encoder) != _shaping(recorded):
        plan = plan.model_copy(update={"space": loaded_encoder(encoder).space})
    require_same_plan(folder, bank.manifest, plan, finished=True)
    return bank


def _shaping(settings: EncoderSettings) -> EncoderSettings:
    """Return an encoder's settings with default values for those that change only its speed."""
    at = settings.endpoint
    endpoint = EndpointSettings(base_url=at.base_url, dimensions=at.dimensions)
    return settings.model_copy(update={"batch_size": None, "device": "auto", "endpoint": endpoint})


def loaded_encoder(encoder: EncoderSource) -> Encoder:
    """Return an encoder that is given in any of the three ways."""
    if isinstance(encoder, EncoderSettings):
        return load_encoder(encoder)
    return encoder if hasattr(encoder, "encode") else encoder()  # type: ignore[return-value, operator]


class ShardWriter:
    """Collects passages, writes those of a shard whenever one is full, and encodes all of them at the end.

    Shards that exist already are compared instead.

    Args:
        folder: the bank's folder.
        encoder: turns text into vectors.
        plan: written as ``build.json`` before the first shard of a new bank.
        after: the bank that the new shards are appended to; None for a new bank.
        elsewhere: yields the vectors of shards by number, in order, in place of the encoder.
        progress: called per batch with the number of passages done, and of all that there will be.

    Attributes:
        sample: some of the passages.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        plan: BuildPlan,
        *,
        after: PassageBank | None = None,
        elsewhere: Callable[[Sequence[int]], Iterator[Float[np.ndarray, "rows dim"]]] | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.folder = folder
        self._elsewhere = elsewhere
        self.first_shard = 0 if after is None else len(after.manifest.shards)
        self.progress = progress
        self._shards = 0  # whose passages were read
        self._rows = self._first_row = 0 if after is None else len(after)
        self._encoder = encoder
        self._plan = plan
        self._existing = complete_shards(folder)[self.first_shard :]
        self._groups = known_groups(folder, self.first_shard)
        self._pending: list[Passage] = []
        self.sample = EvenSample()

    def add(self, passages: list[Passage]) -> None:
        """Take the passages of one document."""
        size = self._plan.shard_passages
        self._pending += passages
        while len(self._pending) >= size:
            self._write(self._pending[:size])
            del self._pending[:size]

    def finish(self) -> list[ShardRecord]:
        """Write the remaining passages, encode all; return the records of all shards of this writer."""
        if self._pending:
            self._write(self._pending)
            self._pending = []
        if len(self._existing) > self._shards:
            raise self._changed("fewer passages than before")
        remove_shards(self.folder, beyond=self.first_shard + self._shards)  # of a reading that was interrupted
        publish(self.folder)
        self._done = self._first_row
        for record in self._existing:
            self._done += record.rows
            self.progress(self._done, self._rows, "passages found encoded")
        missing = range(self.first_shard + len(self._existing), self.first_shard + self._shards)
        vectors = (self._elsewhere or self._encode)(missing)
        return self._existing + [self._complete(*one) for one in zip(missing, vectors, strict=True)]

    def _write(self, passages: list[Passage]) -> None:
        """Write the passages of the next shard, or compare them with those that exist."""
        rows = ShardRows([p.document_id for p in passages], [p.position for p in passages], [p.text for p in passages])
        groups = self._groups.add(rows.hashes(), self._rows)
        self.sample.add(rows.texts or ())
        place = self._shards
        if place < len(self._existing):
            if rows.text_sha256() != self._existing[place].text_sha256:
                raise self._changed(f"different passages in shard {place}")
        else:
            if place == 0 and self.first_shard == 0:
                write_json(self.folder / BUILD, self._plan.to_json())
            write_passages(self.folder, self.first_shard + place, rows, groups=groups)
        self._shards += 1
        self._rows += len(rows)

    def _encode(self, shards: Sequence[int]) -> Iterator[Float[np.ndarray, "rows dim"]]:
        """Yield the vectors of shards whose passages are written."""

        def report(encoded: int, total: int | None, note: str) -> None:
            self.progress(self._done + encoded, self._rows, note)

        for number in shards:
            yield self._encoder.encode(read_rows(self.folder, number).texts or [], progress=report)

    def _complete(self, number: int, vectors: Float[np.ndarray, "rows dim"]) -> ShardRecord:
        """Check and write the vectors of a shard, and its record."""
        check_vectors(vectors, f"encoder {self._encoder.space.encoder}")
        rows = read_rows(self.folder, number)
        record = complete_shard(self.folder, number, rows, vectors.astype(self._plan.storage))
        publish(self.folder)
        self._done += record.rows
        if self._elsewhere:
            self.progress(self._done, self._rows, "passages encoded")
        return record

    def _changed(self, got: str) -> InputError:
        fix = f"restore the source, or delete {self.folder} and build again"
        return InputError(f"the corpus changed since the build in {self.folder} began", got=got, fix=fix)


def known_groups(folder: Path, shards: int) -> DuplicateGroups:
    """Return the duplicate groups of the first shards of a bank, for those that are added."""
    groups, row = DuplicateGroups(), 0
    for number in range(shards):
        hashes = read_hashes(folder, number)
        groups.add(hashes, row)
        row += len(hashes)
    return groups


class Intake:
    """Cuts documents into passages for a ``ShardWriter``; lists those left out, and counts them and rests of markup."""

    def __init__(self, writer: ShardWriter) -> None:
        self.skipped: Counter[str] = Counter()
        self.markup: Counter[str] = Counter()
        self.finish = writer.finish
        self._writer = writer
        self._taken: set[str] = set()
        self._ids: list[str] = []
        self._titles: list[str] = []
        self._num_rows: list[int] = []
        self._listed = writer.folder / f".{SKIPPED}.part"
        self._lines: list[str] = []

    def read(self, documents: Iterable[Document | Skipped], settings: PassageSettings) -> None:
        """Read all documents.

        Raises:
            InputError: an id comes twice.
        """
        share = share_of(documents)
        for number, item in enumerate(documents):
            if number % DOCUMENTS_BETWEEN_REPORTS == DOCUMENTS_BETWEEN_REPORTS - 1:
                part = share()
                known = "" if part is None else f", {100 * part:.0f} %"
                self._writer.progress(0, None, f"{number + 1:,} documents read{known}")
            if isinstance(item, Skipped):
                self._skip(item)
                continue
            if item.id in self._taken:
                fix = "give every document a unique id"
                raise InputError(f"two documents have the id {item.id!r}", fix=fix)
            self._taken.add(item.id)
            passages = cut(item, settings)
            if not passages:
                self._skip(Skipped(item.id, "no passages"))
                continue
            self.markup[REMNANTS] += sum(remnants(passage.text) for passage in passages)
            self.markup.update(item.dropped)
            self._ids.append(item.id)
            self._titles.append(item.title)
            self._num_rows.append(len(passages))
            self._writer.add(passages)

    def _skip(self, item: Skipped) -> None:
        self.skipped[item.reason] += 1
        self._lines.append(json.dumps(asdict(item), ensure_ascii=False) + "\n")
        if len(self._lines) == DOCUMENTS_BETWEEN_REPORTS:
            self._flush()

    def _flush(self) -> None:
        append_text(self._listed, "".join(self._lines))
        self._lines = []

    def list_skipped(self, *, after: bool = False) -> None:
        """Put the list of what was left out in its place, behind the list that is there or instead of it."""
        path = self._writer.folder / SKIPPED
        before = [path] if after and path.exists() else []
        if not self.skipped:
            if not before:
                disk.remove(path)
            return
        self._flush()
        with atomic_file(path) as out:  # a bank's files are replaced, never changed
            for part in (*before, self._listed):
                out.write(part.read_bytes())
        disk.remove(self._listed)

    def documents(self, first_row: int) -> pa.Table:
        """Return the table of the documents that were read, with rows counted from ``first_row``."""
        return documents_table(self._ids, self._titles, self._num_rows, first_row=first_row)


def describe_skipped(skipped: Counter[str]) -> str:
    """Describe how many documents were skipped and why.

    >>> describe_skipped(Counter({"redirect": 2, "empty": 1}))
    '3 documents skipped (2 redirect, 1 empty)'
    """
    if not skipped:
        return "no documents"
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    return f"{skipped.total()} documents skipped ({reasons})"
