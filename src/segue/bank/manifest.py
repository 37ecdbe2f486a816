"""The manifest of a bank: what was asked for, what is in it, its hashes; and the table of its documents.

``build.json`` says what an unfinished build was asked for; ``manifest.json`` is written last and makes a folder a bank.
``documents.parquet`` only ever grows, and the manifest says how much of it counts: so adding documents is one step.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.bank.shards import ShardRecord, Storage
from segue.encoders.space import Space, difference
from segue.errors import InputError
from segue.files import atomic_path, read_json, write_json

FORMAT = 1
"""Raised when banks of an older version can no longer be read."""

MANIFEST = "manifest.json"
DOCUMENTS = "documents.parquet"
TOMBSTONES = "tombstones.json"
BUILD = "build.json"


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a bank.

    Raises:
        InputError: there is none, so the folder is no bank or not a whole one.
    """
    if (path / MANIFEST).is_file():
        manifest: dict[str, Any] = read_json(path / MANIFEST)
        if manifest.get("format") != FORMAT:
            got, fix = f"format {manifest.get('format')}", "build it again, or use the version that wrote it"
            raise InputError(f"{path} is of another version", got=got, expected=f"format {FORMAT}", fix=fix)
        return manifest
    got = "a build that is not finished" if (path / BUILD).exists() else "no manifest.json there"
    if not path.is_dir():
        got = "a file" if path.exists() else "no such folder"
    go_on = "run `segue bank build` with the same recipe; it goes on where it stopped"
    fix = go_on if (path / BUILD).exists() else "name a folder that `segue bank build` wrote"
    raise InputError(f"{path} is no bank", got=got, fix=fix)


def asked_for(source: dict[str, Any], passages: dict[str, Any] | None, storage: Storage, shard: int) -> dict[str, Any]:
    """Return the part of a manifest that says what was asked for."""
    return {"format": FORMAT, "source": source, "passages": passages, "storage": storage, "shard_passages": shard}


def what_is_read(source: dict[str, Any]) -> dict[str, Any]:
    """Return a corpus table without the settings that change how fast it is read, not what is read.

    >>> what_is_read({"kind": "wikipedia-dump", "processes": 2})
    {'kind': 'wikipedia-dump'}
    """
    return {key: value for key, value in source.items() if key != "processes"}


def require_same_build(folder: Path, recorded: dict[str, Any], asked: dict[str, Any], *, finished: bool) -> None:
    """Check that a folder was begun with the settings it is now asked for.

    Raises:
        InputError: names every setting that differs.
    """
    recorded = recorded | {"source": what_is_read(recorded["source"])}
    names = ("format", "source", "passages", "storage", "shard_passages")
    changed = [_change(name, recorded.get(name), asked[name]) for name in names if recorded.get(name) != asked[name]]
    if "space" in asked:
        before, now = Space.from_json(recorded["space"]), Space.from_json(asked["space"])
        other = difference(before, now)
        if other is None and not finished and before.precision != now.precision:
            other = f"precision {before.precision} (now {now.precision})"
        changed += [f"encoder: {other}"] if other else []
    if changed:
        what = "a bank" if finished else "an unfinished build"
        fix = f"choose another folder, restore those settings, or delete {folder}"
        raise InputError(f"{folder} holds {what} of other settings", got="; ".join(changed), fix=fix)


def _change(name: str, before: Any, now: Any) -> str:
    """Say how a setting changed; of a table only the keys that did.

    >>> _change("passages", {"language": "en", "size": 1}, {"language": "de", "size": 1})
    'passages.language en (now de)'
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{name} {before} (now {now})"
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(f"{name}.{key} {before.get(key)} (now {now.get(key)})" for key in keys)


def documents_table(ids: Sequence[str], titles: Sequence[str], num_rows: Sequence[int], *, first_row: int) -> pa.Table:
    """Return the table of documents that lie one after the other from ``first_row`` on."""
    counts = np.asarray(num_rows, dtype=np.int64)
    starts = first_row + np.cumsum(counts) - counts
    columns = {"id": pa.array(ids, pa.string()), "title": pa.array(titles, pa.string())}
    return pa.table({**columns, "first_row": starts.astype(np.int64), "num_rows": counts})


def documents_sha256(documents: pa.Table) -> str:
    """Hash a table of documents, independent of how Parquet encodes it: a JSON line per document."""
    digest = hashlib.sha256()
    for batch in documents.select(["id", "title", "first_row", "num_rows"]).to_batches(max_chunksize=4096):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(json.dumps(values, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def write_bank(
    folder: Path,
    asked: dict[str, Any],
    records: Sequence[ShardRecord],
    documents: pa.Table,
    *,
    skipped: Mapping[str, int],
    has_texts: bool,
) -> None:
    """Write the documents and, last, the manifest: from then on the folder is a bank.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic_path(folder / DOCUMENTS) as temporary:
        pq.write_table(documents, temporary, compression="zstd", write_page_checksum=True)
    manifest = {
        **asked,
        "has_texts": has_texts,
        "counts": {
            "documents": documents.num_rows,
            "passages": sum(record.rows for record in records),
            "characters": sum(record.characters for record in records),
            "skipped": dict(sorted(skipped.items())),
        },
        "shards": [asdict(record) for record in records],
        "documents_sha256": documents_sha256(documents),
        "hash": _contents_sha256(records, documents),
        "versions": _versions(),
    }
    write_json(folder / MANIFEST, manifest)


def rewrite_manifest(
    folder: Path,
    manifest: dict[str, Any],
    added: Sequence[ShardRecord],
    documents: pa.Table,
    *,
    skipped: Mapping[str, int],
) -> None:
    """Write the manifest of a bank that grew by some shards; ``documents`` is the table of all documents."""
    records = [ShardRecord(**shard) for shard in manifest["shards"]] + list(added)
    total = Counter(manifest["counts"]["skipped"]) + Counter(skipped)
    write_bank(folder, manifest, records, documents, skipped=total, has_texts=manifest["has_texts"])


def _contents_sha256(records: Sequence[ShardRecord], documents: pa.Table) -> str:
    """Return one hash for all passages, vectors and documents: equal hashes, equal banks."""
    parts = [part for record in records for part in (record.text_sha256, record.vectors_sha256)]
    return hashlib.sha256("\n".join([*parts, documents_sha256(documents)]).encode()).hexdigest()


def _versions() -> dict[str, str]:
    """Return the versions that shape a bank."""
    packages = ("segue", "numpy", "pyarrow", "sentencex", "torch", "transformers", "sentence-transformers")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
