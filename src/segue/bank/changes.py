"""Change a bank without rewriting it: append documents as new shards, replace or remove documents, copy by hard links.

Row numbers never change: a document that is replaced or removed keeps its rows, which are no longer alive. A process
killed in between leaves the bank as it was: new shards and removals count once the manifest names them, and the next
change removes what an interrupted one left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from segue.bank.bank import PassageBank
from segue.bank.build import EncoderSource, Intake, ShardWriter, describe_skipped, known_groups, loaded_encoder
from segue.bank.encode_on_ray import encode_on_ray
from segue.bank.manifest import documents_table, extend_bank
from segue.bank.shards import ShardRecord, ShardRows, read_rows, remove_shards, write_shard
from segue.cluster import ComputeSettings, connected
from segue.corpus.intake import Reading, share_of
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.words import visible
from segue.encoders import Encoder, EncoderSettings
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.files import JsonObject, copy_file, disk, exclusive, write_folder
from segue.storage import place_of, pull
from segue.types import Document, Progress, Skipped, no_progress

ROWS_AT_ONCE = 4096
KNOWN = "the bank has a document of this id"
"""Reason for which a document is not added."""


@dataclass(frozen=True)
class BankChange:
    """What a change did to a bank, or what it would do.

    Attributes:
        added: ids of documents that the bank did not have.
        changed: ids of documents whose title or text differs from the bank's.
        removed: ids of documents that left the bank.
        gone: ids of documents of the bank that its corpus no longer has, and that stay in the bank.
        unchanged: documents that were compared and are the same.
        skipped: documents that were not read, by reason.
        passages_encoded: passages that the encoder read; a passage of a changed document keeps its vector if its text
            is the same.
        seconds: time that it took.
        dry_run: whether nothing was changed.
        bank: the bank afterwards.
    """

    bank: PassageBank = field(repr=False)
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unchanged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    passages_encoded: int = 0
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def differs(self) -> bool:
        """Whether the bank has other documents than before (with ``dry_run``: would have)."""
        return bool(self.added or self.changed or self.removed)

    def to_json(self) -> JsonObject:
        """Return the counts, and the ids by name, as ``--json`` prints them."""
        ids = {name: list(getattr(self, name)) for name in ("added", "changed", "removed", "gone")}
        return {**{name: len(found) for name, found in ids.items()}, "unchanged": self.unchanged,
                "skipped": dict(self.skipped), "passages_encoded": self.passages_encoded,
                "seconds": round(self.seconds, 2), "dry_run": self.dry_run, "ids": ids}  # fmt: skip


def change(
    bank: PassageBank,
    documents: Iterable[Document | Skipped],
    encoder: EncoderSource,
    *,
    replace: bool,
    remove_gone: bool = False,
    dry_run: bool = False,
    passages: PassageSettings | None = None,
    compute: ComputeSettings | None = None,
    progress: Progress = no_progress,
) -> BankChange:
    """Take documents into a bank in one step; only texts that are new to their document are encoded.

    New documents come after the last row. A passage with a text of the bank joins the duplicate group of that text.

    Args:
        bank: changed on disk; this object still describes it as it was.
        documents: what is read; the whole corpus of the bank with ``replace``.
        encoder: encoder of the bank's space, loaded for the first text.
        replace: compare documents that the bank has by their title and passages, and replace those that differ; without
            it they are skipped and counted.
        remove_gone: remove the documents of the bank that are not among ``documents``.
        dry_run: change nothing.
        passages: how documents are cut; default: like the bank's.
        compute: the [compute] table: with ``executor="ray"``, a Ray cluster encodes; None: this process does.
        progress: called per batch.

    Raises:
        InputError: an id comes twice, every document of the bank would be removed, or the cluster does not answer.
        SpaceError: the encoder has another space.
        StorageError: the disk is full, another process is writing there, or workers of the cluster are lost again and
            again.
    """
    began, settings = monotonic(), passages or bank.manifest.passages or PassageSettings()
    cluster = compute if compute is not None and compute.executor == "ray" and not dry_run else None
    with (
        connected(cluster) if cluster else contextlib.nullcontext(),
        contextlib.nullcontext() if dry_run else exclusive(bank.path),
    ):
        bank = PassageBank.open(bank.path)
        plan = _Plan(bank, settings, replace=replace)
        if dry_run:
            for _ in plan.news(documents):
                pass
            skipped: Mapping[str, int] = plan.skipped
        else:
            remove_shards(bank.path, beyond=len(bank.manifest.shards))
            texts = _NewTexts(bank, encoder, plan.known)
            elsewhere = functools.partial(texts.encode_on, cluster) if cluster else None
            writer = ShardWriter(bank.path, texts, bank.manifest, after=bank, elsewhere=elsewhere, progress=progress)
            intake = Intake(writer)
            intake.read(Reading(plan.news(documents), share_of(documents)), settings)
            skipped = intake.skipped
        live = bank.live_documents
        here = plan.read | plan.unreadable
        gone = tuple(name for name in live if name not in here) if replace else ()
        removed = gone if remove_gone else ()
        if removed and (unknown := plan.unreadable - live.keys()):
            got, fix = f"{len(unknown):,} that cannot be read", "correct them, or keep documents that are gone"
            raise InputError("which documents are gone cannot be known", got=got, fix=fix)
        if len(removed) == len(live) and not plan.added:
            raise InputError(f"every document of {bank.path} would be removed", fix="check the corpus")
        shards = [] if dry_run else intake.finish()
        done = BankChange(bank, tuple(plan.added), tuple(plan.changed), removed, () if remove_gone else gone,
                          plan.unchanged, skipped, plan.passages, dry_run=dry_run)  # fmt: skip
        if done.differs and not dry_run:
            table = pa.concat_tables([bank.documents, intake.documents(len(bank))])
            before = Counter() if replace else Counter(bank.manifest.counts.skipped)
            intake.list_skipped(after=not replace)
            extend_bank(bank.path, bank.manifest, shards, table, skipped=before + Counter(skipped),
                        removed=_leaving(bank, [*plan.changed, *removed]), markup=intake.markup)  # fmt: skip
    return dataclasses.replace(done, bank=PassageBank.open(bank.path), seconds=monotonic() - began)


def _leaving(bank: PassageBank, names: Iterable[str]) -> set[int]:
    """Return the numbers of documents that leave a bank; those of version 0.1's tombstones leave with the first."""
    legacy = () if bank.manifest.changes else bank.removed
    return {*legacy, *(bank.live_documents[name] for name in names)}


class _Plan:
    """Compares documents with those of a bank as they are read.

    Attributes:
        added, changed: ids of the documents to encode.
        unchanged: documents that are the same.
        read: ids of all that were read and have passages.
        skipped: documents left out, by reason.
        unreadable: ids of those that cannot be read, or where they stand.
        known: texts of the former versions of changed documents, and their rows.
        passages: passages whose text is new to their document.
    """

    def __init__(self, bank: PassageBank, settings: PassageSettings, *, replace: bool) -> None:
        self.added: list[str] = []
        self.changed: list[str] = []
        self.unchanged = self.passages = 0
        self.read: set[str] = set()
        self.skipped: Counter[str] = Counter()
        self.unreadable: set[str] = set()
        self.known: dict[str, int] = {}
        self._bank, self._settings, self._replace = bank, settings, replace
        self._digests = _digests(bank) if replace else {}
        self._ids = {visible(name): name for name in bank.live_documents}

    def news(self, documents: Iterable[Document | Skipped]) -> Iterator[Document | Skipped]:
        """Yield the documents that are new or changed, and those that are skipped."""
        seen: set[str] = set()
        for given in documents:
            item = found = self._named_as_in_bank(given)
            if isinstance(item, Document):
                if item.id in seen:
                    raise InputError(f"two documents have the id {item.id!r}", fix="give every document a unique id")
                seen.add(item.id)
                if not self._is_news(item):
                    if self._replace and item.id in self.read:
                        continue
                    known = item.id in self._bank.live_documents and not self._replace
                    found = Skipped(item.id, KNOWN if known else "no passages")
            if isinstance(found, Skipped):
                self.skipped[found.reason] += 1
                self.unreadable |= {found.id} if found.unreadable else set()
            yield found

    def _named_as_in_bank(self, item: Document | Skipped) -> Document | Skipped:
        """Return a document under the bank's spelling of its id, where the two look the same."""
        return dataclasses.replace(item, id=self._ids.get(visible(item.id), item.id))

    def _is_news(self, document: Document) -> bool:
        """Return whether a document is to be encoded, and count it."""
        number = self._bank.live_documents.get(document.id)
        if number is not None and not self._replace:
            return False
        texts = [passage.text for passage in cut(document, self._settings)]
        if not texts:
            return False
        self.read.add(document.id)
        if number is None:
            self.added.append(document.id)
            self.passages += len(texts)
            return True
        if self._digests[document.id] == _digest(document.title, texts):
            self.unchanged += 1
            return False
        rows = np.arange(self._bank.num_rows[number]) + self._bank.first_row[number]
        before = dict(zip(self._bank.texts(rows), rows.tolist(), strict=True))
        self.changed.append(document.id)
        self.passages += sum(text not in before for text in texts)
        self.known |= before
        return True


def _digest(title: str, texts: Iterable[str]) -> bytes:
    """Hash what a document is to a bank: its title and the texts of its passages."""
    return hashlib.sha256(json.dumps([title, *texts]).encode()).digest()


def _digests(bank: PassageBank) -> dict[str, bytes]:
    """Return the hash of every live document, by id; texts are read in order, a block at a time."""
    starts = range(0, len(bank), ROWS_AT_ONCE)
    blocks = (bank.texts(np.arange(start, min(start + ROWS_AT_ONCE, len(bank)))) for start in starts)
    texts = chain.from_iterable(blocks)
    found = {}
    for number, (name, title, count) in enumerate(
        zip(bank.document_ids, bank.document_titles, bank.num_rows.tolist(), strict=True)
    ):
        own = list(islice(texts, count))
        if number not in bank.removed:
            found[name] = _digest(title, own)
    return found


class _NewTexts:
    """Encoder of a bank's space that is loaded when the first new text is encoded; known texts keep their vectors."""

    def __init__(self, bank: PassageBank, source: EncoderSource, known: Mapping[str, int]) -> None:
        self.space = bank.space
        self._bank, self._source, self._known = bank, source, known

    @functools.cached_property
    def _encoder(self) -> Encoder:
        loaded = loaded_encoder(self._source)
        require_same(self._bank.space, loaded.space, "the bank and the encoder of the added documents")
        return loaded

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return the vectors of texts."""
        rows = self._rows(texts)
        new = [texts[number] for number in map(int, np.flatnonzero(rows < 0))]
        return self._filled(rows, self._encoder.encode(new, progress=progress) if new else None)

    def encode_on(self, cluster: ComputeSettings, shards: Sequence[int]) -> Iterator[Float[np.ndarray, "rows dim"]]:
        """Yield the vectors of shards whose passages are written; the cluster encodes the new texts."""
        folder, source = self._bank.path, self._source
        rows = {number: self._rows(read_rows(folder, number).texts or []) for number in shards}
        chosen = {number: new for number, known in rows.items() if len(new := np.flatnonzero(known < 0))}
        settings = source if isinstance(source, EncoderSettings) else None
        encoded = encode_on_ray(list(chosen), folder=folder, load=functools.partial(loaded_encoder, source),
                                settings=settings, space=self.space, compute=cluster, chosen=chosen)  # fmt: skip
        for number in shards:
            yield self._filled(rows[number], next(encoded) if number in chosen else None)
        assert next(encoded, None) is None, "every chosen shard was yielded, and the cluster is done"

    def _rows(self, texts: Sequence[str]) -> Int[np.ndarray, "text"]:
        """Return the row of each text that is known, -1 for the others."""
        return np.array([self._known.get(text, -1) for text in texts], dtype=np.int64)

    def _filled(
        self, rows: Int[np.ndarray, "text"], new: Float[np.ndarray, "new dim"] | None
    ) -> Float[np.ndarray, "text dim"]:
        """Return the bank's vectors of known rows, and the new ones in the other places."""
        vectors = np.empty((len(rows), self._bank.dimension), dtype=np.float32)
        vectors[rows >= 0] = self._bank.gather(rows[rows >= 0])
        if new is not None:
            vectors[rows < 0] = new
        return vectors


def append(
    bank: PassageBank,
    documents: Iterable[Document | Skipped],
    encoder: EncoderSource,
    *,
    passages: PassageSettings | None = None,
    progress: Progress = no_progress,
) -> PassageBank:
    """Add documents whose ids the bank does not have; the others are skipped and counted. See ``change``.

    Raises:
        InputError: an id comes twice, or there is nothing to add.
        SpaceError: the encoder has another space.
        StorageError: the disk is full, or another process is writing there.
    """
    done = change(bank, documents, encoder, replace=False, passages=passages, progress=progress)
    if not done.added:
        got = describe_skipped(Counter(done.skipped))
        raise InputError("nothing to add to the bank", got=got, fix="check the corpus of new documents")
    return done.bank


def append_bank(bank: PassageBank, other: PassageBank, *, progress: Progress = no_progress) -> PassageBank:
    """Add the documents of another bank of the same space after the last row; nothing is encoded.

    Deleted documents, and those whose id the bank has, are skipped and counted. Texts are left out where the bank has
    none.

    Args:
        bank: changed on disk; this object still describes it as it was.
        other: the bank of the documents to add.
        progress: called per shard with the number of passages.

    Returns:
        The bank with the new documents.

    Raises:
        InputError: there is nothing to add, or the other bank lacks the texts that this one has.
        SpaceError: the other bank is in another space.
        StorageError: the disk is full, or another process is writing there.
    """
    require_same(bank.space, other.space, "the bank and the added vectors")
    if bank.has_texts and not other.has_texts:
        raise InputError("the added vectors have no texts", expected="texts, as in the bank",
                         fix="add a column `text` to their table")  # fmt: skip
    with exclusive(bank.path):
        bank = PassageBank.open(bank.path)
        remove_shards(bank.path, beyond=len(bank.manifest.shards))
        known, skipped = bank.live_documents, Counter[str]()
        chosen: list[int] = []
        for number, (name, first) in enumerate(zip(other.document_ids, other.first_row, strict=True)):
            reason = KNOWN if name in known else None if other.alive[first] else "deleted"
            if reason is None:
                chosen.append(number)
            else:
                skipped[reason] += 1
        if not chosen:
            raise InputError("nothing to add to the bank", got=describe_skipped(skipped),
                             fix="name a corpus of other documents")  # fmt: skip
        counts = other.num_rows[chosen].tolist()
        rows = np.concatenate([np.arange(other.num_rows[one]) + other.first_row[one] for one in chosen])
        shards = _copy_rows(bank, other, rows, progress)
        ids, titles = ([names[one] for one in chosen] for names in (other.document_ids, other.document_titles))
        table = pa.concat_tables([bank.documents, documents_table(ids, titles, counts, first_row=len(bank))])
        total = Counter(bank.manifest.counts.skipped) + skipped
        extend_bank(bank.path, bank.manifest, shards, table, skipped=total, removed=_leaving(bank, ()))
    return PassageBank.open(bank.path)


def _copy_rows(
    bank: PassageBank, other: PassageBank, rows: Int[np.ndarray, "rows"], progress: Progress
) -> list[ShardRecord]:
    """Write rows of another bank as further shards."""
    groups = known_groups(bank.path, len(bank.manifest.shards))
    shards: list[ShardRecord] = []
    size = bank.manifest.shard_passages
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ids = [other.document_ids[number] for number in other.document_of[part]]
        texts = other.texts(part) if bank.has_texts else None
        added = ShardRows(ids, other.position[part].tolist(), texts)
        number = len(bank.manifest.shards) + len(shards)
        vectors = other.gather(part).astype(bank.manifest.storage, copy=False)
        duplicates = groups.add(added.hashes(), len(bank) + start)
        shards.append(write_shard(bank.path, number, added, vectors, groups=duplicates))
        progress(start + len(part), len(rows), "passages added")
    return shards


def remove(bank: PassageBank, document_ids: Iterable[str], *, dry_run: bool = False) -> BankChange:
    """Remove documents: their rows and files stay, but are no longer alive. Those removed before are left out.

    Raises:
        InputError: the bank never had an id, or every document would be removed.
    """
    began, ids = monotonic(), set(document_ids)
    with contextlib.nullcontext() if dry_run else exclusive(bank.path):
        bank = PassageBank.open(bank.path)
        unknown = sorted(ids - set(bank.document_ids))
        if unknown:
            got = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
            raise InputError(f"{bank.path} does not have these documents", got=got, fix="check the ids")
        removed = tuple(name for name in bank.live_documents if name in ids)
        if len(removed) == len(bank.live_documents):
            raise InputError(f"every document of {bank.path} would be removed", fix="delete the folder instead")
        if removed and not dry_run:
            extend_bank(bank.path, bank.manifest, [], bank.documents, skipped=bank.manifest.counts.skipped,
                        removed=_leaving(bank, removed))  # fmt: skip
    return BankChange(PassageBank.open(bank.path), removed=removed, seconds=monotonic() - began, dry_run=dry_run)


def copy_bank(bank: PassageBank | Path | str, out: Path | str) -> PassageBank:
    """Copy a bank, by hard links where the file system has them: files of a bank are replaced, never changed.

    Raises:
        InputError: there is no bank, or ``out`` already exists.
        StorageError: it cannot be written.
    """
    source = bank if isinstance(bank, PassageBank) else PassageBank.open(bank)
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} already exists", fix="choose another folder for the copy")

    def fill(folder: Path) -> None:
        for path in pull(place_of(source.path)).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                target = folder / path.relative_to(source.path)
                disk.make_folder(target.parent)
                _link(path, target)

    write_folder(out, fill)
    return PassageBank.open(out)


def _link(source: Path, target: Path) -> None:
    try:
        disk.link(source, target)
    except OSError:  # another file system
        copy_file(source, target)
