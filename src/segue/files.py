"""What one run leaves on disk, written so that a kill at any moment leaves either the old or the new, never a half.

Every file appears under its name only when it is whole: it is written beside its place, flushed, and renamed.
A folder counts as done when its ``done.json`` exists, which is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segue.errors import InputError, StorageError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes its name, on failure it is removed.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _unwritable(path: Path, error: OSError) -> StorageError:
    what = error.strerror or f"{error} (is the disk full?)"  # NumPy only counts the bytes
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    fix = "name a folder, there is a file of that name" if in_the_way else "free space or choose another place"
    return StorageError(f"cannot write {path}", got=what, fix=fix)


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on disk (folders are written by functions that use this one)."""
    if path.is_file():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that holds an object, as all of ours do.

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
        got = type(value).__name__
        raise InputError(f"{path} is not what it should be", got=got, expected="a JSON object",
                                 fix="delete it and run again")  # fmt: skip
    return value


def append_jsonl(path: Path, record: dict[str, Any]) -> None:
    """Append one line to a JSONL file."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as handle:
            # A kill may have cut the last line short; the new one must not be glued to it.
            broken = handle.tell() > 0 and (handle.seek(-1, os.SEEK_END), handle.read(1))[1] != b"\n"
            handle.write((("\n" if broken else "") + line).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file; a line cut short by a kill is left out, a missing file is empty."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a new folder beside ``path``, then put it in its place whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # a killed process of the same number may have left it
        temporary.mkdir(parents=True)
        fill(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
