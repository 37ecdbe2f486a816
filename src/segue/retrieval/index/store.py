"""Building, saving and loading of approximate indexes.

The folder holds codes, vectors and ``index.json``, which identifies the pool; an index of another bank, or of a bank
that has changed, is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import faiss
import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from segue.bank.bank import PassageBank
from segue.bank.history import changed_since, difference_since
from segue.errors import InputError, StorageError
from segue.files import JsonObject, exclusive, hashes_of, read_json, require_hashes, write_folder, write_json
from segue.parts import is_own
from segue.ranking.pool import Pool
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.engine import Engine
from segue.retrieval.index.graph import GraphEngine, GraphSettings
from segue.retrieval.index.inverted_lists import InvertedListsEngine, InvertedListsSettings
from segue.retrieval.index.lance import LanceEngine, LanceSettings
from segue.retrieval.index.own import OwnEngine, OwnSettings
from segue.retrieval.index.tuning import Tuned
from segue.types import Progress, no_progress

FORMAT = 1
MANIFEST = "index.json"
UNVERIFIED = (MANIFEST, ".lock", "latest_version_hint.json")
"""Files without a recorded hash; an update of Lance that was killed has replaced its hint."""

IndexSettings = Annotated[GraphSettings | InvertedListsSettings | LanceSettings, Field(discriminator="kind")]
"""Settings of the engines that come with Segue."""

AnySettings = GraphSettings | InvertedListsSettings | LanceSettings | OwnSettings
_SETTINGS: TypeAdapter[GraphSettings | InvertedListsSettings | LanceSettings] = TypeAdapter(IndexSettings)
_ENGINES: dict[str, type[GraphEngine | InvertedListsEngine | LanceEngine | OwnEngine]] = {
    "graph": GraphEngine,
    "inverted-lists": InvertedListsEngine,
    "lance": LanceEngine,
}
KINDS = tuple(_ENGINES)
MINIMUM_MEMBERS = 64
"""Minimum number of members of an index."""
_PROBES = 16  # stored vectors that are compared with the bank's


def index_settings(kind: str, **given: object) -> AnySettings:
    """Return the settings of a kind; those of an engine of your own are its options.

    Raises:
        InputError: there is no such kind, or a setting is out of range.
    """
    if kind not in KINDS and is_own("index", kind):
        return OwnSettings(kind=kind, options=given)
    try:
        return _SETTINGS.validate_python({"kind": kind, **given})
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{first['msg']} ({'.'.join(map(str, first['loc']))})"
        raise InputError(
            "unknown index settings", got=got, expected=f"a kind of {', '.join(KINDS)}, or an import path"
        ) from error


def build_index(pool: Pool, settings: AnySettings, *, progress: Progress = no_progress) -> ApproximateIndex:
    """Build an index over a pool; it searches with its greatest effort until it is tuned.

    Raises:
        InputError: the pool is too small, or its dimension does not fit the settings.
    """
    if len(pool.members) < MINIMUM_MEMBERS:
        raise InputError("too few passages for an approximate index", got=len(pool.members),
                         expected=f"{MINIMUM_MEMBERS} or more", fix="search exactly; it is faster")  # fmt: skip
    kind = _ENGINES.get(settings.kind, OwnEngine)
    engine: Engine = kind.build(pool, settings, progress=progress)  # type: ignore[arg-type]
    return ApproximateIndex(pool, engine, engine.efforts()[-1])


def save_index(index: ApproximateIndex, folder: Path) -> None:
    """Write an index; an older one in the folder is replaced.

    Raises:
        InputError: the folder holds something else.
        StorageError: the disk is full or the folder cannot be written.
    """
    if folder.exists() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and not an index", fix="choose an empty or a new folder")

    def fill(new: Path) -> None:
        index.engine.save(new)
        write_json(new / MANIFEST, {
            "format": FORMAT, "settings": index.engine.settings.model_dump(), "effort": dict(index.effort),
            "pool": pool_identity(index.pool), "tuned": None, "versions": {"faiss": faiss.__version__},
            "files": _hashes(new),
        })  # fmt: skip

    write_folder(folder, fill)


def record_tuning(folder: Path, tuned: Tuned, *, source: str) -> None:
    """Write the chosen effort into an index's folder; ``source`` names the queries that chose it.

    Raises:
        StorageError: another process is writing there, or the folder cannot be written.
    """
    chosen = {"effort": dict(tuned.chosen.effort), "tuned": {"source": source, **tuned.to_json()},
              "changed_since_tuned": 0}  # fmt: skip
    with exclusive(folder):
        write_json(folder / MANIFEST, read_json(folder / MANIFEST) | chosen)


def load_index(folder: Path, pool: Pool) -> ApproximateIndex:
    """Open an index over the pool that it was built from.

    Raises:
        InputError: there is none, or it was built from other passages or other vectors.
        StorageError: a file is damaged.
    """
    record, fix = _record(folder), "build the index again over the present bank"
    here = pool_identity(pool)
    changed = [name for name, value in here.items() if record["pool"].get(name) != value]
    if changed:
        got = ", ".join(f"{name} {record['pool'].get(name)} (now {here[name]})" for name in changed)
        known = str(record["pool"].get("bank"))
        if isinstance(pool.bank, PassageBank) and difference_since(pool.bank, known) is not None and "bank" in changed:
            got = f"{pool.bank.path} has changed since: {changed_since(pool.bank, known)}"
            if record["settings"]["kind"] == "lance":
                fix = f"run `segue index update {folder} {pool.bank.path}`"
        raise InputError(f"{folder} was built over other passages", got=got, fix=fix)
    require_hashes(folder, record.get("files"), fix=fix)
    kind = record["settings"]["kind"]
    settings = (_SETTINGS if kind in KINDS else TypeAdapter(OwnSettings)).validate_python(record["settings"])
    engine: Engine = _ENGINES.get(kind, OwnEngine).load(folder, settings, pool.members)  # type: ignore[arg-type]
    _require_same_vectors(folder, engine, pool)
    return ApproximateIndex(pool, engine, record["effort"])


def _hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of the engine's files."""
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return hashes_of(folder, (name for name in files if not name.endswith(UNVERIFIED)))


def _record(folder: Path) -> JsonObject:
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is not an index", got=f"no {MANIFEST} in it",
                         fix="name a folder that `segue index build` wrote")  # fmt: skip
    record = read_json(folder / MANIFEST)
    if record.get("format") != FORMAT:
        raise InputError(f"{folder} was built by another version", got=f"format {record.get('format')}",
                         expected=FORMAT, fix="build the index again over the present bank")  # fmt: skip
    return record


def update_index(folder: Path, pool: Pool, *, progress: Progress = no_progress) -> ApproximateIndex:
    """Bring a saved index of the kind ``lance`` to what its bank is now; its effort stays.

    Raises:
        InputError: it is of another kind, or the bank is no later state of the one it was built over.
        StorageError: a file is damaged, or another process is writing there.
    """
    record = _record(folder)
    if record["settings"]["kind"] != "lance":
        raise InputError(f"{folder} cannot be updated", got=f"kind {record['settings']['kind']}", expected="kind lance",
                         fix="build it again over the present bank")  # fmt: skip
    if not isinstance(pool.bank, PassageBank) or difference_since(pool.bank, record["pool"]["bank"]) is None:
        raise InputError(f"{folder} was built over another bank", fix="build an index over this one")
    with exclusive(folder):
        engine, changed = LanceEngine.update(folder, LanceSettings(**record["settings"]), pool, progress=progress)
        changed += record.get("changed_since_tuned", 0)
        record |= {
            "settings": engine.settings.model_dump(),
            "pool": pool_identity(pool),
            "changed_since_tuned": changed,
        }
        write_json(folder / MANIFEST, {**record, "files": None})  # a kill here leaves an index that is not verified
        engine.forget()
        write_json(folder / MANIFEST, {**record, "files": _hashes(folder)})
    return ApproximateIndex(pool, engine, record["effort"])


def index_facts(folder: Path) -> Mapping[str, object]:
    """Return the kind of a folder's index, the effort of a search, and the recall that tuning confirmed."""
    record = read_json(folder / MANIFEST)
    tuned = record["tuned"] or {}
    return {"kind": record["settings"]["kind"], "effort": record["effort"],
            "recall": tuned.get("confirmed_recall")}  # fmt: skip


def pool_identity(pool: Pool) -> Mapping[str, object]:
    """Return what identifies a pool: bank, members, and how they form candidates."""
    numbering = hashlib.sha256(pool.members.tobytes() + pool.count.tobytes()).hexdigest()
    return {"bank": pool.bank.hash, "dimension": pool.bank.dimension, "members": len(pool.members),
            "numbering": numbering}  # fmt: skip


def _require_same_vectors(folder: Path, engine: Engine, pool: Pool) -> None:
    """Compare some stored vectors with the bank's, since a bank may have been encoded again under its name."""
    places = np.unique(np.linspace(0, len(pool.members) - 1, _PROBES).astype(np.int64))
    stored = engine.vectors_of(places)
    if stored.shape[1] != pool.bank.dimension or not np.array_equal(stored, pool.bank.gather(pool.members[places])):
        raise StorageError(f"{folder} holds other vectors than the bank", fix="build the index again")
