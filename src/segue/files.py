"""Files that are written whole: a process killed at any moment leaves the old content or the new, never a part.

A file is written under a temporary name beside its place, flushed, and renamed. A folder counts as done when its
``done.json`` exists, which is written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from segue.errors import InputError, StorageError

JsonObject = dict[str, Any]
"""A JSON object as read from a file."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on failure it is removed.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_file():  # the functions that write folders flush each file
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _unwritable(path: Path, error: OSError) -> StorageError:
    got = error.strerror or f"{error} (is the disk full?)"  # NumPy reports only the number of bytes
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    fix = "choose a folder; a file already has this name" if in_the_way else "free space or choose another place"
    return StorageError(f"cannot write {path}", got=got, fix=fix)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_npy(path: Path, values: np.ndarray) -> None:
    """Write an array as ``.npy``, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, np.ascontiguousarray(values))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as ``.npz``, atomically."""
    named: Any = dict(arrays)  # any: the stubs of NumPy take the names for its own parameters
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **named)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays; pickled objects are refused.

    Raises:
        InputError: the file is missing or broken.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise InputError(f"{path} cannot be read", got=str(error), fix="delete it and run again") from error


def read_json(path: Path) -> JsonObject:
    """Read a JSON file that holds an object.

    Raises:
        InputError: the file is missing, cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", fix="run the step that writes it") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON", got=str(error), fix="delete it and run again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror, fix="check the path") from error
    if not isinstance(value, dict):
        fix = "delete it and run again"
        raise InputError(
            f"{path} does not hold a JSON object", got=type(value).__name__, expected="a JSON object", fix=fix
        )
    return value


def append_text(path: Path, text: str) -> None:
    """Append ``text`` as UTF-8, not atomically; half a character is written as its escape."""
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as handle:
            handle.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def append_jsonl(path: Path, record: Mapping[str, object]) -> None:
    """Append one line to a JSONL file."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as handle:
            # After a kill the last line may lack its end; the new one must start on a line of its own.
            broken = handle.tell() > 0 and (handle.seek(-1, os.SEEK_END), handle.read(1))[1] != b"\n"
            handle.write((("\n" if broken else "") + line).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def read_jsonl(path: Path) -> list[JsonObject]:
    """Read a JSONL file; an incomplete line (of a killed process) is left out, a missing file is empty."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a folder under a temporary name, then rename it to ``path``, replacing what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # left over by a killed process with the same id
        temporary.mkdir(parents=True)
        fill(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
