"""Files of a bundle, and their hashes.

Input: a folder. Output: ``manifest.json`` (size and sha256 of every other file) and ``manifest.sha256`` (of the
manifest, in the form that ``sha256sum --check`` reads). A bundle's version is the beginning of that hash, so equal
versions are equal bundles, byte for byte.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from segue.errors import InputError, StorageError
from segue.files import JsonObject, file_sha256, read_json, write_json, write_text
from segue.storage import place_of

FORMAT = 1
"""Format of bundles; a higher number means that older bundles cannot be read."""

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
CONTRACT, GATES, GOLDEN, CONFIDENCE, DOCUMENTS, CARD, BANK = (
    "bundle.json",
    "gates.json",
    "golden.json",
    "confidence.json",
    "training_documents.txt",
    "README.md",
    "bank",
)
"""Files of every bundle besides its parts."""
VERSION_DIGITS = 12
LONGEST_NAME = 255
"""Bytes of a path inside a bundle, at most."""

FileFacts = Mapping[str, int | str]
"""``bytes`` and ``sha256`` of a file."""


@dataclass(frozen=True)
class BundleManifest:
    """Version and files of a bundle.

    Attributes:
        version: the beginning of the manifest's sha256.
        files: size and sha256 of each file, by path inside the bundle.
    """

    version: str
    files: Mapping[str, FileFacts]


def seal(folder: Path, *, name: str, created: str, note: str | None = None) -> BundleManifest:
    """Write the manifest of a folder that is otherwise complete; ``note`` is what its reader must know."""
    files = {path: _facts(folder / path) for path in sorted(_files(folder))}
    noted = {} if note is None else {"note": note}
    write_json(folder / MANIFEST, {"format": FORMAT, "name": name, "created": created, **noted, "files": files})
    digest = file_sha256(folder / MANIFEST)
    write_text(folder / SEAL, f"{digest}  {MANIFEST}\n")
    return BundleManifest(digest[:VERSION_DIGITS], files)


def verify(folder: Path) -> BundleManifest:
    """Hash every file of a bundle and compare; no file may be missing, changed or added.

    Raises:
        InputError: the folder holds no bundle, or one of another format.
        StorageError: names the first file that differs.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{place_of(folder)} is not a bundle", got=f"no {MANIFEST} in it",
                         fix="name a folder that `segue bundle build` wrote")  # fmt: skip
    version = _sealed(folder)[:VERSION_DIGITS]
    record = read_json(folder / MANIFEST)
    if record.get("format") != FORMAT:
        raise InputError(f"{folder} was built by another version", got=f"format {record.get('format')}",
                         expected=f"format {FORMAT}",
                         fix="build it again, or use the version that wrote it")  # fmt: skip
    files = _named_files(folder / MANIFEST, record)
    for path in sorted(files.keys() | set(_files(folder))):
        _verify(folder, path, files)
    return BundleManifest(version, files)


def _named_files(path: Path, record: JsonObject) -> Mapping[str, FileFacts]:
    """Return the files that a manifest names.

    Raises:
        InputError: it names none, or one that is not inside the bundle.
    """
    files, kinds = record.get("files"), {"bytes": int, "sha256": str}
    for name, facts in files.items() if isinstance(files, dict) else [("files", None)]:
        if not isinstance(facts, dict) or {key: type(value) for key, value in facts.items()} != kinds:
            raise InputError(f"{path} is not the manifest of a bundle", got=f"{name[:80]!r} without size and sha256",
                             fix="build the bundle again")  # fmt: skip
        encoded = name.encode(errors="replace")
        outside = os.path.isabs(name) or ".." in Path(name).parts or "\0" in name
        if outside or len(encoded) > LONGEST_NAME or encoded.decode() != name:
            raise InputError(f"{path} names a file that is not in the bundle", got=repr(name[:80]),
                             fix="build the bundle again")  # fmt: skip
    return dict(files or {})


def _sealed(folder: Path) -> str:
    """Compare the manifest's sha256 with the file beside it, and return it."""
    try:
        expected = (folder / SEAL).read_bytes().decode("ascii", errors="replace")
    except OSError as error:
        raise _changed(folder / SEAL, error.strerror or str(error), "the manifest's sha256") from error
    digest = file_sha256(folder / MANIFEST)
    if expected != f"{digest}  {MANIFEST}\n":
        got = f"sha256 {digest[:16]}…, while {SEAL} has {expected[:16]!r}"
        raise _changed(folder / MANIFEST, got, f"{MANIFEST} and {SEAL} as they were written together")
    return digest


def _verify(folder: Path, path: str, files: Mapping[str, FileFacts]) -> None:
    """Compare one file with the manifest."""
    if path not in files:
        raise _changed(folder / path, "a file that the manifest does not name", "only files that it names")
    if not (folder / path).is_file():
        raise _changed(folder / path, "no such file", f"{files[path]['bytes']} bytes")
    facts = _facts(folder / path)
    if facts != files[path]:
        got = f"{facts['bytes']} bytes, sha256 {str(facts['sha256'])[:16]}…"
        raise _changed(folder / path, got, f"{files[path]['bytes']} bytes, sha256 {str(files[path]['sha256'])[:16]}…")


def _changed(path: Path, got: str, expected: str) -> StorageError:
    fix = "copy the bundle again from where it was built, or build it again"
    return StorageError(f"{path} has changed since it was written", got=got, expected=expected, fix=fix)


def _facts(path: Path) -> FileFacts:
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _files(folder: Path) -> Iterator[str]:
    """Yield the files of a bundle without the manifest, its hash, and what Git or a hub client keeps there."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and inside not in (MANIFEST, SEAL)
            and not re.match(r"\.(git|cache|gitattributes)(/|$)", inside)
        ):
            yield inside
