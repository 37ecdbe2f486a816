"""The manifest of a bank (its settings, contents and hashes) and the table of its documents.

``build.json`` holds the plan of an unfinished build; ``manifest.json`` is written last and makes a folder a bank.
``documents.parquet`` only grows, and the manifest states how many of its documents count and which were removed, so a
bank changes in one step: when its manifest is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError
from pydantic_core import to_jsonable_python

from segue.bank.shards import ShardRecord, Storage, damaged
from segue.bank.text_statistics import TextStatistics
from segue.corpus import corpus_kinds
from segue.corpus.passages import PassageSettings
from segue.encoders import EncoderSettings
from segue.encoders.space import Space, difference
from segue.errors import InputError
from segue.files import JsonObject, file_sha256, read_json, write_json, write_table
from segue.storage import place_of, publish
from segue.types import BankCounts

FORMAT, FORMAT_CHANGED = 1, 2
"""Versions of a bank's files: as it was built, and since it was changed (version 0.1 would answer what was removed)."""

MANIFEST = "manifest.json"
DOCUMENTS = "documents.parquet"
DOCUMENT_COLUMNS = ["id", "title", "first_row", "num_rows"]
TOMBSTONES = "tombstones.json"
SKIPPED = "skipped.jsonl"
"""What was left out, one JSON object a line: ``id`` (or file and line), ``reason`` and whether it is ``unreadable``."""
BUILD = "build.json"
REMNANTS = "remnants"
MOST_DROPPED = 30
"""Names of markup without known text that a manifest keeps."""


JsonSpace = Annotated[
    Space,
    PlainValidator(lambda value: value if isinstance(value, Space) else Space.from_json(value)),
    PlainSerializer(Space.to_json),
]


class BuildPlan(BaseModel):
    """Settings and source of a bank; the contents of ``build.json``.

    Attributes:
        source: the table ``[corpus]``, without settings that change only how fast it is read; for imported vectors with
            the hashes of the files.
        passages: settings of cutting documents; None where vectors are imported.
        storage: type of the numbers on disk.
        shard_passages: passages per shard.
        encoder: settings of the encoder; None where it was given as an object or vectors are imported.
        space: embedding space; None while the encoder is not loaded.
        folder: absolute path of the folder in which it was built, where the source has a path; None in a bundle. So a
            corpus and its bank that were moved together are still the same.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    format: int = FORMAT
    source: Mapping[str, Any]
    passages: PassageSettings | None
    storage: Storage
    shard_passages: int
    encoder: EncoderSettings | None = None
    space: JsonSpace | None = None
    folder: str | None = None

    def to_json(self) -> JsonObject:
        """Return the contents of the file."""
        return self.model_dump(mode="json")


class BankStep(BaseModel):
    """One change of a bank: what it was before, and which documents left it.

    Attributes:
        hash: hash of the bank before.
        documents: number of documents in its table before.
        removed: numbers of the documents that were removed or replaced.
    """

    model_config = ConfigDict(frozen=True)

    hash: str
    documents: int
    removed: tuple[int, ...]


class Manifest(BuildPlan):
    """Plan, size and hashes of a bank; the contents of ``manifest.json``.

    Attributes:
        has_texts: whether passages have texts, or vectors only.
        counts: numbers of documents, passages and characters, deleted ones included.
        markup: what still looks like markup in the texts (``"remnants"``), and the commonest markup whose text is not
            known (``"{{altitude}}"``) inside sentences, deleted documents included; None where it was not counted.
        shards: records of the shards, in order.
        documents_sha256: hash of the table of documents.
        documents_file_sha256: hash of its file; None in older banks.
        hash: hash of all passages, vectors and documents, and of which were removed; equal hashes mean equal banks.
        changes: every change since it was built, oldest first.
        text_statistics: what the encoder read of the passages when it was built; None for vectors and in banks of
            version 0.1.
        versions: versions of the packages that shape a bank.
    """

    has_texts: bool
    counts: BankCounts
    shards: tuple[ShardRecord, ...]
    documents_sha256: str
    documents_file_sha256: str | None = None
    hash: str
    versions: Mapping[str, str]
    changes: tuple[BankStep, ...] = ()
    text_statistics: TextStatistics | None = None
    markup: Mapping[str, int] | None = None


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bank.

    Raises:
        InputError: there is none, so the folder holds no bank or an unfinished one.
        StorageError: it is damaged.
    """
    if (folder / MANIFEST).is_file():
        values = _read_format(folder / MANIFEST)
        try:
            return Manifest.model_validate(values)
        except ValidationError as error:
            raise damaged(folder / MANIFEST, str(error)) from error
    begun = (folder / BUILD).exists()
    got = "a build that is not finished" if begun else "no manifest.json in it"
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
    fix = "run `segue bank build` with the same recipe; it resumes where it stopped"
    raise InputError(
        f"{place_of(folder)} is not a bank",
        got=got,
        fix=fix if begun else "name a folder that `segue bank build` wrote",
    )


def read_plan(folder: Path) -> BuildPlan | None:
    """Read the plan of a build that began in ``folder``; None where none did."""
    return BuildPlan.model_validate(_read_format(folder / BUILD)) if (folder / BUILD).exists() else None


def _read_format(path: Path) -> JsonObject:
    values = read_json(path)
    if values.get("format") not in (FORMAT, FORMAT_CHANGED):
        got, fix = f"format {values.get('format')}", "build it again, or use the version that wrote it"
        expected = f"format {FORMAT} or {FORMAT_CHANGED}"
        raise InputError(f"{path.parent} was written by another version", got=got, expected=expected, fix=fix)
    return values


def what_is_read(source: Mapping[str, object]) -> dict[str, object]:
    """Return a corpus table without the settings that change how fast it is read, not what is read.

    >>> what_is_read({"kind": "wikipedia-dump", "processes": 2})
    {'kind': 'wikipedia-dump'}
    """
    return {key: value for key, value in source.items() if key != "processes"}


SOURCE_PATHS = ("path", "vectors", "table")
"""Keys of a source that hold a path."""


def same_source(before: Mapping[str, object], now: Mapping[str, object], *, moved: tuple[str, str] | None) -> bool:
    """Return whether two tables read the same corpus.

    Args:
        before: the recorded table.
        now: the present one.
        moved: the folder of the bank then and now; what stands at the same place beside it is the same.
    """
    if "vectors_sha256" in before and "vectors_sha256" in now:  # their hashes are compared
        before, now = ({key: value for key, value in one.items() if key not in SOURCE_PATHS} for one in (before, now))
    before, now = (with_defaults(what_is_read(one)) for one in (before, now))
    if before.keys() != now.keys():
        return False
    return all(
        old == now[key] or (key in SOURCE_PATHS and _same_places(old, now[key], moved)) for key, old in before.items()
    )


def with_defaults(source: Mapping[str, object]) -> dict[str, object]:
    """Return a corpus table with the defaults of the keys that an older version did not know."""
    model = corpus_kinds().get(str(source.get("kind")))
    fields = model.model_fields.items() if model else ()
    defaults = {name: field.get_default(call_default_factory=True, validated_data={}) for name, field in fields
                if not field.is_required()}  # fmt: skip
    return {name: to_jsonable_python(default) for name, default in defaults.items()} | dict(source)


def _same_places(before: object, now: object, moved: tuple[str, str] | None) -> bool:
    """Return whether two paths, or two lists of them, name the same places."""
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same_place, before, now, [moved] * len(now)))
    return isinstance(before, str) and isinstance(now, str) and _same_place(before, now, moved)


def _same_place(before: str, now: str, moved: tuple[str, str] | None) -> bool:
    """Return whether two paths name one place; a version that recorded relative paths did not record of what.

    >>> _same_place("my-docs", "/home/me/my-docs", None)
    True
    >>> _same_place("/old/my-docs", "/new/my-docs", ("/old/bank", "/new/bank"))
    True
    >>> _same_place("/old/my-docs", "/new/my-docs", ("/old/bank", "/old/bank"))
    False
    """
    if not os.path.isabs(before):
        parts = Path(os.path.normpath(before)).parts
        known = tuple(part for part in parts if part not in ("..", "."))
        return Path(now).parts[-len(known) :] == known if known else True
    before, now = os.path.realpath(before), os.path.realpath(now)
    return before == now or (moved is not None and os.path.relpath(before, moved[0]) == os.path.relpath(now, moved[1]))


def without_places(manifest: Manifest) -> Manifest:
    """Return the manifest as it is published: of each path the last part, and no folder."""
    named = {key: _last_parts(manifest.source[key]) for key in SOURCE_PATHS if manifest.source.get(key)}
    return manifest.model_copy(update={"folder": None, "source": {**manifest.source, **named}})


def _last_parts(paths: str | list[str]) -> str | list[str]:
    return Path(paths).name if isinstance(paths, str) else [Path(path).name for path in paths]


def require_same_plan(folder: Path, recorded: BuildPlan, plan: BuildPlan, *, finished: bool) -> None:
    """Check that ``folder`` was begun with the plan it is to be built with now.

    Raises:
        InputError: names every setting that differs.
    """
    before, now = recorded.to_json(), plan.to_json()
    before["source"] = what_is_read(before["source"])
    moved = (recorded.folder, place_of(folder.resolve())) if recorded.folder is not None else None
    if same_source(before["source"], now["source"], moved=moved):
        before["source"] = now["source"]
    names = ("source", "passages", "storage", "shard_passages")
    changed = [_change(name, before[name], now[name]) for name in names if before[name] != now[name]]
    if recorded.space is not None and plan.space is not None:
        other = difference(recorded.space, plan.space)
        if other is None and not finished and recorded.space.precision != plan.space.precision:
            other = f"precision {recorded.space.precision} (now {plan.space.precision})"
        if other is None and not finished and _runtime(recorded) != _runtime(plan):
            other = f"runtime {_runtime(recorded)} (now {_runtime(plan)})"
        changed += [f"encoder: {other}"] if other else []
    if changed:
        what = "a bank" if finished else "an unfinished build"
        fix = f"choose another folder, restore those settings, or delete {folder}"
        raise InputError(f"{folder} holds {what} with other settings", got="; ".join(changed), fix=fix)


def _runtime(plan: BuildPlan) -> str:
    """Return what runs the encoder; the last bits of its vectors depend on it."""
    return "torch" if plan.encoder is None else plan.encoder.runtime


def _change(name: str, before: object, now: object) -> str:
    """Describe how a setting changed; of a table only the keys that did.

    >>> _change("passages", {"language": "en", "size": 1}, {"language": "de", "size": 1})
    'passages.language en (now de)'
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{name} {before} (now {now})"
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(f"{name}.{key} {before.get(key)} (now {now.get(key)})" for key in keys)


def documents_table(ids: Sequence[str], titles: Sequence[str], num_rows: Sequence[int], *, first_row: int) -> pa.Table:
    """Return the table of consecutive documents, whose rows are counted from ``first_row``."""
    counts = np.asarray(num_rows, dtype=np.int64)
    starts = first_row + np.cumsum(counts) - counts
    columns = {"id": pa.array(ids, pa.string()), "title": pa.array(titles, pa.string())}
    return pa.table({**columns, "first_row": starts.astype(np.int64), "num_rows": counts})


def documents_sha256(documents: pa.Table) -> str:
    """Hash a table of documents as one JSON line per document, independent of how Parquet encodes it."""
    digest = hashlib.sha256()
    for batch in documents.select(DOCUMENT_COLUMNS).to_batches(max_chunksize=4096):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(json.dumps(values, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class TextFacts:
    """What is recorded of a bank's texts in addition to the texts.

    Attributes:
        known: whether the bank has texts.
        skipped: documents left out, by reason.
        statistics: what the encoder reads of them; None: not measured.
        markup: remnants of markup in them, by kind; None: not counted.
    """

    known: bool
    skipped: Mapping[str, int] = field(default_factory=dict)
    statistics: TextStatistics | None = None
    markup: Counter[str] | None = None


def write_bank(
    folder: Path,
    plan: BuildPlan,
    shards: Sequence[ShardRecord],
    documents: pa.Table,
    texts: TextFacts,
    *,
    changes: Sequence[BankStep] = (),
) -> None:
    """Write the documents and then the manifest, which makes the folder a bank.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_table(folder / DOCUMENTS, documents)
    counts = BankCounts(
        documents=documents.num_rows,
        passages=sum(shard.rows for shard in shards),
        characters=sum(shard.characters for shard in shards),
        skipped=dict(sorted(texts.skipped.items())),
    )
    of_documents = documents_sha256(documents)
    parts = [part for shard in shards for part in (shard.text_sha256, shard.vectors_sha256)]
    parts += [f"without {number}" for step in changes for number in step.removed]
    contents = hashlib.sha256("\n".join([*parts, of_documents]).encode()).hexdigest()
    markup = texts.markup
    packages = ["segue", "numpy", "pyarrow", "sentencex", "torch", "transformers", "sentence-transformers"]
    packages += ["openvino"] if _runtime(plan) == "openvino" else []
    manifest = Manifest(
        **{name: getattr(plan, name) for name in BuildPlan.model_fields if name != "format"},
        format=FORMAT_CHANGED if changes else FORMAT,
        has_texts=texts.known,
        counts=counts,
        shards=tuple(shards),
        documents_sha256=of_documents,
        documents_file_sha256=file_sha256(folder / DOCUMENTS),
        hash=contents,
        versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
        changes=tuple(changes),
        text_statistics=texts.statistics,
        markup=None if markup is None else {REMNANTS: markup[REMNANTS], **dict(markup.most_common(MOST_DROPPED))},
    )
    write_json(folder / MANIFEST, manifest.to_json())
    publish(folder)


def extend_bank(
    folder: Path,
    manifest: Manifest,
    added: Sequence[ShardRecord],
    documents: pa.Table,
    *,
    skipped: Mapping[str, int],
    removed: Iterable[int] = (),
    markup: Counter[str] | None = None,
) -> None:
    """Write the manifest of a bank that has changed.

    Args:
        folder: folder of the bank.
        manifest: the bank as it was.
        added: records of the new shards.
        documents: table of all documents, old and new.
        skipped: documents left out, by reason.
        removed: numbers of the documents that are removed or replaced.
        markup: remnants of the added documents.
    """
    total = None if manifest.markup is None else Counter(manifest.markup) + (markup or Counter())
    step = BankStep(hash=manifest.hash, documents=manifest.counts.documents, removed=tuple(sorted(removed)))
    texts = TextFacts(manifest.has_texts, skipped, manifest.text_statistics, total)
    write_bank(folder, manifest, [*manifest.shards, *added], documents, texts, changes=[*manifest.changes, step])
