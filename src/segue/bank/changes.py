"""Change a bank without rewriting it: append documents as new shards, delete by tombstones, copy by hard links.

Row numbers never change. A process killed in between leaves the bank as it was: new shards count once the manifest
names them, and the next addition removes what an interrupted one left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from segue.bank.bank import PassageBank
from segue.bank.build import Intake, ShardWriter, describe_skipped
from segue.bank.manifest import TOMBSTONES, extend_bank
from segue.bank.shards import exclusive, remove_shards
from segue.corpus.passages import PassageSettings
from segue.encoders import Encoder
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.files import read_json, write_folder, write_json
from segue.types import Document, Progress, Skipped, no_progress


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
