"""Change a bank without rewriting it: append documents as new shards, delete by tombstones, copy by hard links.

Row numbers never change. A process killed in between leaves the bank as it was: new shards count once the manifest
names them, and the next addition removes what an interrupted one left.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bank.build import Intake, ShardWriter, describe_skipped, known_groups
from segue.bank.manifest import TOMBSTONES, documents_table, extend_bank
from segue.bank.shards import ShardRecord, ShardRows, exclusive, remove_shards, write_shard
from segue.corpus.passages import PassageSettings
from segue.encoders import Encoder
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.files import read_json, write_folder, write_json
from segue.types import Document, Progress, Skipped, no_progress

KNOWN = "the bank has a document of this id"
"""Reason for which a document is not added."""


def append(
    bank: PassageBank,
    documents: Iterable[Document | Skipped],
    encoder: Encoder,
    *,
    passages: PassageSettings | None = None,
    progress: Progress = no_progress,
) -> PassageBank:
    """Add documents after the last row; a passage with a text of the bank joins the duplicate group of that text.

    Args:
        bank: changed on disk; this object still describes it as it was.
        documents: documents with ids that the bank never had, not even for a deleted document.
        encoder: encoder of the bank's space.
        passages: how they are cut; default: like the bank's documents.
        progress: called per batch.

    Returns:
        The bank with the new documents.

    Raises:
        InputError: an id is taken, or there is nothing to add.
        SpaceError: the encoder has another space.
        StorageError: the disk is full, or another process is writing there.
    """
    require_same(bank.space, encoder.space, "the bank and the encoder of the added documents")
    settings = passages or bank.manifest.passages or PassageSettings()
    with exclusive(bank.path):
        bank = PassageBank.open(bank.path)
        remove_shards(bank.path, beyond=len(bank.manifest.shards))
        writer = ShardWriter(bank.path, encoder, bank.manifest, after=bank, progress=progress)
        intake = Intake(writer, bank.document_ids)
        intake.read(documents, settings)
        shards = intake.finish()
        if not shards:
            got = describe_skipped(intake.skipped)
            raise InputError("nothing to add to the bank", got=got, fix="check the corpus of new documents")
        table = pa.concat_tables([bank.documents, intake.documents(len(bank))])
        extend_bank(bank.path, bank.manifest, shards, table, skipped=intake.skipped)
    return PassageBank.open(bank.path)


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
        known, skipped = set(bank.document_ids), Counter[str]()
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
        extend_bank(bank.path, bank.manifest, shards, table, skipped=skipped)
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


def delete(bank: PassageBank, document_ids: Iterable[str]) -> PassageBank:
    """Mark documents as deleted: their rows stay, but are no longer alive.

    Raises:
        InputError: an id is not in the bank.
    """
    ids = set(document_ids)
    unknown = sorted(ids - set(bank.document_ids))
    if unknown:
        got = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise InputError(f"{bank.path} does not have these documents", got=got, fix="check the ids")
    with exclusive(bank.path):
        path = bank.path / TOMBSTONES
        before = set(read_json(path)["documents"]) if path.exists() else set()
        write_json(path, {"documents": sorted(before | ids)})
    return PassageBank.open(bank.path)


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
        for path in source.path.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                target = folder / path.relative_to(source.path)
                target.parent.mkdir(exist_ok=True)
                _link(path, target)

    write_folder(out, fill)
    return PassageBank.open(out)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
