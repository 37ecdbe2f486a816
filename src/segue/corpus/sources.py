"""Files that a recipe names: one file, several, a folder of shards, or a pattern, here or in object storage.

Input: what stands under ``path``. Output: files in natural order, in which ``part-2`` comes before ``part-10``.
Hidden files, and those whose name begins with ``_`` as Spark's markers do, are no shards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from segue.corpus.intake import SourceFile, require_file
from segue.errors import InputError, explain
from segue.storage import is_known, place_of, url_of

_PATTERN = re.compile(r"[*?\[]")

PACKED = r"(\.(gz|bz2|xz|zst))?"
"""End of a compressed file's name, as part of a pattern."""


def readable(path: object) -> object:
    """Return what stands where a path, a URL of object storage or a list of them is expected; None is let through.

    Raises:
        ValueError: it is another type, or another URL; then the message says how to get a file.
    """
    for one in path if isinstance(path, list | tuple) else [path]:
        if not isinstance(one, str | Path | None):
            raise ValueError(explain("not a path", got=repr(one), expected="a path, or a list of paths"))
        if one is not None and (url := url_of(one)) and not is_known(url):
            fix = 'download it (curl -LO …) and name the file; for a data set of the hub, kind = "huggingface"'
            raise ValueError(explain("only files and object storage are read", got=f"the URL {url}", fix=fix))
    return path


def _as_text(paths: Path | str | tuple[Path, ...] | None) -> str | list[str] | None:
    if paths is None or isinstance(paths, tuple):
        return None if paths is None else [place_of(path) for path in paths]
    return place_of(paths)


WRITTEN = PlainSerializer(_as_text, when_used="json")
"""How paths are recorded: a URL as the URL."""
SourcePath = Annotated[Path, BeforeValidator(readable), WRITTEN]
"""A path, or a URL of object storage."""
SourcePaths = Annotated[Path | tuple[Path, ...], BeforeValidator(readable), WRITTEN]
"""One path or several, each of a file, a folder or a pattern."""


def described(paths: Path | Sequence[Path]) -> str:
    """Name paths in a message."""
    return str(paths) if isinstance(paths, Path) else ", ".join(map(str, paths))


def base_of(paths: Path | Sequence[Path]) -> Path:
    """Return the folder that paths have in common, absolute; it does not depend on which files are below it.

    >>> base_of([Path("/data/a/part-*.jsonl"), Path("/data/b.jsonl")]).as_posix()
    '/data'
    """
    whole = [path.absolute() for path in ([paths] if isinstance(paths, Path) else paths)]
    return Path(os.path.commonpath([
        path if path.is_dir() else Path(_PATTERN.split(str(path))[0] + "_").parent for path in whole
    ]))  # fmt: skip


def natural_order(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Return the key that sorts numbers in names by their value.

    >>> [path.name for path in sorted(map(Path, ["part-10", "part-2", "part-a"]), key=natural_order)]
    ['part-2', 'part-10', 'part-a']
    """
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], path.as_posix()


def files_of(paths: Path | Sequence[Path], names: str) -> list[Path]:
    """Return the files that paths name: as they are listed, and in natural order below a folder or for a pattern.

    Args:
        paths: files, folders, and patterns such as ``shards/*.jsonl.zst``.
        names: regular expression of the names of the files that count below a folder.

    Raises:
        InputError: a path names no file.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        if path.is_dir():
            below = [one for one in path.rglob("*") if re.search(names, one.name) and _is_shard(one.relative_to(path))]
        elif _PATTERN.search(str(path)) and not path.exists():
            top = next(parent for parent in path.parents if parent.is_dir())  # its name may hold brackets
            below = [top / one for one in glob(str(path.relative_to(top)), root_dir=top, recursive=True)]
        else:
            below = [require_file(path)]
        below = sorted((one for one in below if one.is_file()), key=natural_order)
        if not below:
            got = f"a folder without files whose names match {names}" if path.is_dir() else "a pattern without matches"
            raise InputError(f"cannot read {path}", got=got, fix="check the path in [corpus]")
        found += below
    if not found:
        raise InputError("[corpus] names no file", got="an empty list", fix="list at least one file")
    return found


def _is_shard(path: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.parts)


class SourceFiles:
    """The files that paths name, found when they are first read, and the share of their bytes that was read so far.

    Args:
        paths: as ``files_of``.
        names: as ``files_of``.
    """

    def __init__(self, paths: Path | Sequence[Path], names: str) -> None:
        self._paths, self._names = paths, names
        self._files: list[SourceFile] = []
        self._place = 0  # of the file that is read

    def __iter__(self) -> Iterator[SourceFile]:
        """Yield the files, none of them open.

        Raises:
            InputError: a path names no file.
        """
        self._files = [SourceFile(path) for path in files_of(self._paths, self._names)]
        for place, file in enumerate(self._files):
            self._place = place
            yield file
        self._place = len(self._files)

    def share(self) -> float | None:
        """Return the share of all bytes that was read, compressed ones where a file is compressed."""
        if not self._files:
            return None
        sizes = [file.size() for file in self._files]
        now = sum(file.bytes_read() for file in self._files[self._place : self._place + 1])
        return (sum(sizes[: self._place]) + now) / max(1, sum(sizes))
