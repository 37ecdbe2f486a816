"""A disk whose n-th change fails: full, broken, forbidden, or with the end of the process.

``files.disk`` makes every change of Segue; here each of its operations, and each write to a file that it opened, has a
number. What was not synced when the process ends is torn: half of it is there, or its blocks came in another order.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segue import files

ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "forbidden": errno.EACCES}
KINDS = (*ERRORS, "killed", "torn", "reordered")
BLOCK = 512


class Killed(BaseException):
    """The process ends here; what runs afterwards (``finally``) changes nothing more."""


class FaultyDisk(files.Disk):
    """Does what it is asked until operation ``at``, counted from 1, which fails in the way of ``kind``.

    A full disk stays full; a broken or forbidden operation fails once.
    """

    def __init__(self, kind: str = "", at: int = 0) -> None:
        self.kind, self.at, self.count, self.dead = kind, at, 0, False
        self.unsynced: dict[Path, int] = {}  # and the bytes that were there before

    @property
    def failed(self) -> bool:
        return 0 < self.at <= self.count

    def step(self, *, removes: bool = False) -> bool:
        """Count an operation; return whether it is half done (a write), after which ``end`` is called."""
        if self.dead:
            raise Killed
        self.count += 1
        if self.kind in ERRORS:
            again = self.kind == "full" and self.count > self.at > 0 and not removes
            if self.count == self.at or again:
                raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))
        elif self.count == self.at:
            return True
        return False

    def end(self) -> None:
        """End the process, and tear what was not synced."""
        self.dead = True
        for path, before in self.unsynced.items():
            if self.kind != "killed" and path.is_file():
                data = path.read_bytes()
                new = data[before:]
                first, rest = new[:BLOCK], new[BLOCK:]
                new = new[: len(new) // 2] if self.kind == "torn" or not rest else bytes(len(first)) + rest
                path.write_bytes(data[:before] + new)
        raise Killed

    def open(self, path: Path, mode: Any) -> Any:
        if self.step():
            self.end()
        before = path.stat().st_size if mode == "ab+" and path.exists() else 0
        handle = super().open(path, mode)
        self.unsynced[path] = before
        return FaultyFile(handle, self)

    def sync(self, path: Path) -> None:
        if self.step():
            self.end()
        super().sync(path)
        self.unsynced.pop(path, None)

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        if self.step():
            self.end()
        super().make_folder(path)

    def rename(self, path: Path, target: Path) -> None:
        if self.step():
            self.end()
        super().rename(path, target)
        self._moved(path, target)

    def exchange(self, one: Path, other: Path) -> None:
        if self.step():
            self.end()
        super().exchange(one, other)
        between = one.with_name("between")
        for old, new in ((one, between), (other, one), (between, other)):
            self._moved(old, new)

    def link(self, path: Path, target: Path) -> None:
        if self.step():
            self.end()
        super().link(path, target)

    def remove(self, path: Path) -> None:
        if not path.exists() and not path.is_symlink():
            if self.dead:
                raise Killed
            return
        if self.step(removes=True):
            self.end()
        super().remove(path)
        self.unsynced = {one: before for one, before in self.unsynced.items() if not one.is_relative_to(path)}

    def _moved(self, old: Path, new: Path) -> None:
        self.unsynced = {
            new / path.relative_to(old) if path.is_relative_to(old) else path: before
            for path, before in self.unsynced.items()
        }


class FaultyFile(io.BufferedIOBase):
    """A file of a ``FaultyDisk``; each write is an operation."""

    def __init__(self, handle: Any, disk: FaultyDisk) -> None:
        self.handle, self.disk = handle, disk

    def write(self, data: Any) -> int:
        whole = memoryview(data).cast("B")
        if not self.disk.step():
            return int(self.handle.write(whole))
        half = len(whole) // 2
        self.handle.write(whole[:half])
        self.handle.flush()
        self.disk.end()
        return half + int(self.handle.write(whole[half:]))  # where the end is a signal that is handled later

    def read(self, size: int | None = -1) -> bytes:
        return bytes(self.handle.read(-1 if size is None else size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.handle.seek(offset, whence))

    def tell(self) -> int:
        return int(self.handle.tell())

    def truncate(self, size: int | None = None) -> int:
        if self.disk.step():
            self.disk.end()
        return int(self.handle.truncate(size))

    def fileno(self) -> int:
        return int(self.handle.fileno())

    def readable(self) -> bool:
        return bool(self.handle.readable())

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def flush(self) -> None:
        if not self.handle.closed:
            self.handle.flush()

    def close(self) -> None:
        self.handle.close()
        super().close()


@contextmanager
def faulty(kind: str = "", at: int = 0) -> Iterator[FaultyDisk]:
    """Let every change go through a faulty disk; with no fault it only counts."""
    healthy, files.disk.__class__ = files.disk.__class__, FaultyDisk
    try:
        FaultyDisk.__init__(files.disk, kind, at)  # type: ignore[arg-type]
        yield files.disk  # type: ignore[misc]
    finally:
        files.disk.__class__ = healthy
