"""What one run leaves on disk, written so that a kill at any moment leaves either the old or the new, never a half.

Every file appears under its name only when it is whole: it is written beside its place, flushed, and renamed.
A folder counts as done when its ``done.json`` exists, which is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segue.errors import InputError, StorageError, explain


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes its name, on failure it is removed.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            explain(f"cannot write {path}", got=error.strerror or str(error), mend="free space or choose another place")
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


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
    """Read a JSON file.

    Raises:
        InputError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(explain(f"{path} does not exist", mend="run the step that writes it")) from error
    except ValueError as error:
        raise InputError(explain(f"{path} is not JSON", got=str(error), mend="delete it and run again")) from error


def append_jsonl(path: Path, record: dict[str, Any]) -> None:
    """Append one line to a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file; a last line cut short by a kill is left out, a missing file is empty."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a new folder beside ``path``, then put it in its place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        fill(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            explain(f"cannot write {path}", got=error.strerror or str(error), mend="free space or choose another place")
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
