"""Which weights an encoder has: the hash of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def folder_revision(folder: Path) -> str:
    """Return one sha256 for all weights in a folder: that of the file where there is one, else of the list of all.

    GTR-T5 keeps its dense layer in a file of its own, so one file's hash would not name the model.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"} and path.is_file())
    if len(files) == 1:
        return sha256_of(files[0])
    lines = [f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if files else ""
