"""Files that are written whole: a process killed at any moment leaves the old content or the new, never a part.

A file is written under a temporary name beside its place, flushed, and renamed. A folder counts as done when its
``done.json`` exists, which is written last.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import hashlib
import json
import logging
import os
import platform
import shutil
import tokenize
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal
from zipfile import BadZipFile

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from segue.errors import InputError, StorageError

AT_CWD, EXCHANGE = -100, 2
"""Arguments of Linux's renameat2."""
HERE = f"{zlib.crc32(platform.node().encode()):08x}"
"""This machine, in the names of incomplete files: a process number says nothing about other machines."""
JsonObject = dict[str, Any]
"""A JSON object as read from a file."""
log = logging.getLogger("segue.files")
RECORD_SHA256 = "sha256"
"""Key of a record that holds the hash of its other keys."""
SHA256_DIGITS = 64
END_OF_ZIP = 22
"""Bytes of the record that ends a ZIP archive; it states the number of its members."""
UNREADABLE_ARRAY = (
    OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, OverflowError, MemoryError, RecursionError,
    BadZipFile, zlib.error, NotImplementedError, tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises for a damaged ``.npy`` or ``.npz``; its header is a Python literal."""


class Disk:
    """Every change that Segue makes on a disk; tests let its operations fail."""

    def open(self, path: Path, mode: Literal["wb", "ab+"]) -> BinaryIO:
        """Open a file to write or to append to."""
        return path.open(mode)

    def sync(self, path: Path) -> None:
        """Wait until the contents of a file are on the disk."""
        with path.open("rb") as handle:
            os.fsync(handle.fileno())

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, where they are missing."""
        path.mkdir(parents=True, exist_ok=True)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file or folder another name; a file of that name is replaced."""
        path.replace(target)

    def exchange(self, one: Path, other: Path) -> None:
        """Let two folders change names in one step, or in three where the system has no such step."""
        call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if call is None or call(AT_CWD, os.fsencode(one), AT_CWD, os.fsencode(other), EXCHANGE):
            between = one.with_name(f"{one.name}.old")
            other.replace(between)
            one.replace(other)
            between.replace(one)

    def link(self, path: Path, target: Path) -> None:
        """Give a file a second name."""
        os.link(path, target)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with what is in it; one that is missing is no error."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


disk = Disk()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on failure it is removed.

    It is for libraries that open files themselves; others write with ``atomic_file``.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{HERE}-{os.getpid()}.part")
    try:
        _remove_leftovers(path)
        disk.make_folder(path.parent)
        yield temporary
        disk.sync(temporary)
        disk.rename(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            disk.remove(temporary)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to, which appears as ``path`` when the block ends, and not at all where it fails.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, disk.open(temporary, "wb") as handle:
        yield handle


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine left of ``path``; other machines may be writing it."""
    if path.parent.is_dir():
        for old in path.parent.glob(f".{glob.escape(path.name)}.{HERE}-*.part"):
            writer = int(old.name.split("-")[-1].removesuffix(".part"))
            if writer != os.getpid() and not psutil.pid_exists(writer):
                disk.remove(old)


def _unwritable(path: Path, error: OSError) -> StorageError:
    got = error.strerror or f"{error} (is the disk full?)"  # NumPy reports only the number of bytes
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    fix = "choose a folder; a file already has this name" if in_the_way else "free space or choose another place"
    return StorageError(f"cannot write {path}", got=got, fix=fix)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: object, *, sealed: bool = True) -> None:
    """Write ``value`` as JSON, atomically; NaN and infinities are refused.

    A record that Segue reads back is *sealed*: its last key, ``sha256``, holds the hash of the others.
    """
    if sealed and isinstance(value, dict):
        value = {**value, RECORD_SHA256: _seal_of(value)}
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _seal_of(record: JsonObject) -> str:
    """Return the hash of a record, however it is spaced in its file."""
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of files of a folder that are there, by name; a record keeps them beside what it says."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def require_hashes(folder: Path, known: object, *, fix: str = "copy the folder again, or make it again") -> None:
    """Compare files of a folder with the hashes that a record keeps; None is a record of an older version.

    Raises:
        StorageError: names the first file that is missing, has changed, or is another folder's.
    """
    for name, digest in known.items() if isinstance(known, dict) else ():
        path = folder / name
        found = file_sha256(path) if path.is_file() else None
        if found != digest:
            raise StorageError(f"{path} is not the file that was written with the rest of {folder}",
                               got="no such file" if found is None else f"sha256 {found[:16]}…",
                               expected=f"{digest[:16]}…", fix=fix)  # fmt: skip


def write_npy(path: Path, values: np.ndarray) -> None:
    """Write an array as ``.npy``, atomically."""
    with atomic_file(path) as handle:
        np.save(handle, np.ascontiguousarray(values))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write named arrays as ``.npz``, atomically."""
    named: Any = dict(arrays)  # any: the stubs of NumPy take the names for its own parameters
    with atomic_file(path) as handle:
        (np.savez_compressed if compressed else np.savez)(handle, **named)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_file(path) as handle:
        pq.write_table(table, handle, compression="zstd", write_page_checksum=True)


def require_memory(path: Path, size_bytes: int) -> None:
    """Refuse to unpack what does not fit into the free memory: a small file may unpack to any size.

    Raises:
        InputError: fewer bytes are free.
    """
    free = psutil.virtual_memory().available
    if size_bytes > free:
        got, expected = f"{size_bytes:,} bytes when it is unpacked", f"at most {free:,}, which are free"
        raise InputError(f"{path} does not fit into memory", got=got, expected=expected, fix="replace the file")


def unpacked_bytes(table: pq.FileMetaData, columns: Iterable[str]) -> int:
    """Return how many bytes columns of a Parquet file take unpacked, as the file states it."""
    wanted = set(columns)
    groups = (table.row_group(number) for number in range(table.num_row_groups))
    parts = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in wanted)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays; pickled objects are refused.

    Raises:
        InputError: the file is missing or broken, or unpacks to more than the free memory.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            require_memory(path, sum(member.file_size for member in stored.zip.infolist()))
            arrays = {name: stored[name] for name in stored.files}
            handle.seek(-END_OF_ZIP, os.SEEK_END)
            end = handle.read()
            whole = end.startswith(b"PK\5\6") and int.from_bytes(end[10:12], "little") == len(arrays) > 0
            if not whole or not all(name and isinstance(array, np.ndarray) for name, array in arrays.items()):
                raise ValueError("it does not end as it was written, or lacks arrays")
            return arrays
    except InputError:
        raise
    except UNREADABLE_ARRAY as error:
        raise InputError(f"{path} cannot be read", got=str(error), fix="delete it and run again") from error


def read_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read an array, or map its file into memory, read-only; pickled objects and bytes after its end are refused.

    Raises:
        InputError: the file is missing or broken.
    """
    fix = "write it again with np.save"
    try:
        header = _header_bytes(path)  # another kind of file ends here: NumPy would leave a damaged archive open
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        size, expected = path.stat().st_size, header + array.nbytes
    except UNREADABLE_ARRAY as error:
        got = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path} cannot be read as .npy", got=got, fix=fix) from error
    if size != expected:
        raise InputError(f"{path} does not end where its header says", got=f"{size:,} bytes",
                         expected=f"{expected:,} for {array.dtype} {array.shape}", fix=fix)  # fmt: skip
    return array


def _header_bytes(path: Path) -> int:
    """Return where the numbers of a ``.npy`` file begin."""
    with path.open("rb") as handle:
        version = np.lib.format.read_magic(handle)
        width = 2 if version == (1, 0) else 4
        return handle.tell() + width + int.from_bytes(handle.read(width), "little")


def read_json(path: Path) -> JsonObject:
    """Read a JSON file that holds an object.

    Raises:
        InputError: the file is missing, cannot be read, holds something else, or has changed since it was written.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", fix="run the step that writes it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON", got=str(error), fix="delete it and run again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror, fix="check the path") from error
    if not isinstance(value, dict):
        fix = "delete it and run again"
        raise InputError(
            f"{path} does not hold a JSON object", got=type(value).__name__, expected="a JSON object", fix=fix
        )
    return _unsealed(path, value)


def _unsealed(path: Path, record: JsonObject) -> JsonObject:
    """Return a record without its seal; one of an older version, or of a user, has none.

    Raises:
        InputError: the record or its seal was damaged or edited.
    """
    last = next(reversed(record), "")
    if len(last) != len(RECORD_SHA256) or not isinstance(record[last], str) or len(record[last]) != SHA256_DIGITS:
        return record
    rest = {key: value for key, value in record.items() if key != last}
    if (last, record[last]) != (RECORD_SHA256, _seal_of(rest)):
        raise InputError(f"{path} has changed since it was written", got="contents that its key sha256 does not fit",
                         fix="restore it, or delete it and run again; where you edited it yourself, "
                             "remove its key sha256")  # fmt: skip
    return rest


def append_text(path: Path, text: str) -> None:
    """Append ``text`` as UTF-8, not atomically; half a character is written as its escape."""
    try:
        with disk.open(path, "ab+") as handle:
            handle.write(text.encode(errors="backslashreplace"))
    except OSError as error:
        raise _unwritable(path, error) from error


def append_jsonl(path: Path, record: Mapping[str, object]) -> None:
    """Append one line to a JSONL file, on the disk when this returns; a line that a kill cut short is removed."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        disk.make_folder(path.parent)
        with disk.open(path, "ab+") as handle:
            handle.seek(0)
            before = handle.read()
            whole = before.rfind(b"\n") + 1
            if whole < len(before):
                handle.truncate(whole)
            handle.write(line.encode())
        disk.sync(path)
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
    """Let ``fill`` write a folder under a temporary name, then rename it to ``path``, replacing what was there.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{HERE}-{os.getpid()}.part")
    try:
        _remove_leftovers(path)
        disk.remove(temporary)  # left over by a killed process with the same id
        disk.make_folder(temporary)
        fill(temporary)
        for file in sorted(temporary.rglob("*")):
            if file.is_file():  # a library may have written it
                disk.sync(file)
        (disk.exchange if path.exists() else disk.rename)(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            disk.remove(temporary)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, atomically; folders are made."""
    with source.open("rb") as original, atomic_file(target) as handle:
        shutil.copyfileobj(original, handle)


def copy_folder(source: Path, target: Path, *, without: Sequence[str] = ()) -> None:
    """Copy the files of a folder, each atomically, over those that are there; patterns of names are left out."""
    names = sorted(path.name for path in source.iterdir())
    ignored = shutil.ignore_patterns(*without)(str(source), names)
    disk.make_folder(target)
    for name in names:
        if name in ignored:
            continue
        if (source / name).is_dir():
            copy_folder(source / name, target / name, without=without)
        else:
            copy_file(source / name, target / name)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder for one writer, and remove incomplete files of earlier ones; a kill releases the lock.

    Raises:
        StorageError: another process is writing there, or the folder cannot be made.
    """
    with locked(folder / ".lock", name=str(folder)):
        try:
            for leftover in folder.glob(".*.part"):
                disk.remove(leftover)
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield


@contextlib.contextmanager
def locked(lock: Path, *, name: str) -> Iterator[None]:
    """Hold a lock's file; on a file system without locks a warning is logged, and nothing is refused.

    Args:
        lock: the file; its folder is made if it is missing.
        name: what is locked, for messages.

    Raises:
        StorageError: another process holds it, or it cannot be made.
    """
    try:
        disk.make_folder(lock.parent)
        handle = disk.open(lock, "wb")
    except OSError as error:
        raise StorageError(f"cannot write in {name}", got=error.strerror, fix="choose another place") from error
    with handle:
        if not _take(handle, lock):
            got = "another process is writing there"
            raise StorageError(f"{name} is in use", got=got, fix="wait for it, or stop it")
        yield


def is_locked(lock: Path) -> bool:
    """Return whether a process of this machine holds a lock's file."""
    with contextlib.suppress(FileNotFoundError), lock.open("rb") as handle:
        return not _take(handle, lock)
    return False


def _take(handle: BinaryIO, lock: Path) -> bool:
    """Lock an open file until it is closed; return False where another process has locked it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks: ENOLCK, ENOSYS, EOPNOTSUPP
        log.warning("%s cannot be locked (%s); let only one process write there", lock, error.strerror)
    return True


def run_sha256(path: Path) -> str:
    """Return the hash of the split of the run folder that a file lies in; "" where it lies in none.

    What is derived from a run's windows and holds no hash of them keeps this one.
    """
    splits = (folder / "split.json" for folder in list(path.absolute().parents)[:5])
    return next((file_sha256(split) for split in splits if split.is_file()), "")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
