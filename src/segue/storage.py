"""Object storage: a URL (``s3://bucket/bank``) stands for a folder of the cache, which is all that other rooms see.

``pull`` makes the folder equal to what the bucket holds, ``publish`` uploads what was written there. An object appears
whole or not at all, and records and manifests are uploaded last, so a bucket is at every moment what a local folder
would be after a kill. The bucket decides and the cache may be deleted at any time. A cached file has the time of its
object, with nine digits of its ETag as fractions of a second, so the two are compared without a list of what is cached.

``file://`` URLs are paths. File systems, endpoints and credentials are those of fsspec and of their own packages.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from segue.errors import InputError, MissingExtraError, SegueError, StorageError
from segue.files import file_sha256, is_locked, locked

P = ParamSpec("P")
R = TypeVar("R")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)  # a Path has lost the second slash
_PATTERN = re.compile(r"[*?\[]")
SHARD = re.compile(r"(vectors-\d+\.npy|passages-\d+\.parquet)$")
"""Files of a bank that are fetched when they are first read."""
DERIVED = {"sentences", "tokens"}
"""Folders beside a bank's files that are made from them and state their hash; the cache keeps one that is no object."""
PASSING = "progress.json"
"""File of a task that runs; it is not uploaded."""
BEGINNINGS = ("build.json", "recipe.json", "bundle.json")
"""Files that say what a folder is of."""
SEALS = ("result.json", "manifest.json", "manifest.sha256", "triage.json", "current.json")
"""Files that say that others are whole."""
LONGEST_NAME = 255
"""Bytes of the name of a file or folder, on the common file systems."""
AT_ONCE = 8
"""Files that are downloaded at the same time."""

_published: dict[Path, int] = {}  # the time of each file when it last was equal to its object


def cache_folder() -> Path:
    """Return the folder of what can be fetched or measured again: ``SEGUE_CACHE``, else below the user's cache."""
    beside = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "segue"
    return Path(os.environ.get("SEGUE_CACHE") or beside).absolute()


def url_of(path: Path | str) -> str | None:
    """Return the URL that a path is, or whose folder of the cache it is; None for all others.

    >>> url_of("s3:/bucket/bank"), url_of("memory://bank"), url_of("bank"), url_of("file:///bank")
    ('s3://bucket/bank', 'memory://bank', None, None)
    """
    found = _URL.fullmatch(str(path))
    if found is None:
        root = cache_folder() / "remote"
        below = Path(os.path.normpath(path)).relative_to(root).parts if Path(path).is_relative_to(root) else ()
        return f"{below[0]}://{'/'.join(below[1:])}" if below[1:] else None
    return None if found[1] == "file" else f"{found[1]}://{found[2].rstrip('/')}"


def is_known(url: str) -> bool:
    """Return whether fsspec has a file system for a URL, and it is one of storage, not of the web or a hub."""
    from fsspec import available_protocols

    kind = url.partition("://")[0]
    return kind in available_protocols() and kind not in ("http", "https", "hf")


def is_url(path: Path | str) -> bool:
    """Return whether a path is a URL, also ``file://``; a ``Path`` of one counts, although it lost a slash."""
    return _URL.fullmatch(str(path)) is not None


def place_of(path: Path | str) -> str:
    """Return a path as the user knows it: the URL of a folder of the cache, else itself."""
    return url_of(path) or str(path)


def local(path: Path | str) -> Path:
    """Return the folder of the cache that a URL stands for; nothing is read from the network. A path is itself.

    >>> local("file:///data/bank").as_posix(), local("bank").as_posix()
    ('/data/bank', 'bank')

    Raises:
        InputError: it is no path, or the URL holds a password or leaves its bucket by ``..``.
    """
    found = _URL.fullmatch(str(path))
    if found is not None and found[1] != "file":
        _require_safe(found[1], found[2])
    _require_names(path)
    url = url_of(path)
    if found is None or url is None:
        return Path(path) if found is None else Path("/", found[2])
    return cache_folder() / "remote" / found[1] / os.path.normpath(url.partition("://")[2])


def _require_names(path: Path | str) -> None:
    """Refuse a path that no file system takes.

    Raises:
        InputError: a null character, half a character, or a name that is too long.
    """
    try:
        wrong = "a null character" if "\0" in str(path) else ""
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(path).parts):
            wrong = f"a name of more than {LONGEST_NAME} bytes"
    except UnicodeEncodeError:
        wrong = "half a character"
    if wrong:
        raise InputError(f"{str(path)[:60]!a} is no path", got=wrong, fix="check the path")


def _require_safe(kind: str, rest: str) -> None:
    """Refuse a URL that leaves its place in the cache, or would write a password into run folders.

    Raises:
        InputError: names the URL without the password.
    """
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and ":" in user:
        raise InputError(f"a URL of {kind}:// holds a password (not shown here)", got="it would be in run folders",
                         fix="give credentials by the environment or the client's own files")  # fmt: skip
    if ".." in rest.split("/") or "\0" in rest:
        raise InputError(f"{kind}://{rest!r} leaves its bucket", got="'..' or a null character",
                         fix="write the URL without it")  # fmt: skip


def pull(path: Path | str, *, whole: bool = True) -> Path:
    """Make the cached copy of a URL equal to what is there, and return it; a path is returned as it is.

    Args:
        path: a URL of a file, a folder or a pattern such as ``s3://bucket/shards/*.jsonl``; or a path.
        whole: also fetch the shards of banks, which are otherwise fetched when they are read.

    Raises:
        StorageError: it cannot be read whole.
    """
    place = local(path)
    if is_url(path) and url_of(path) and not is_written(place):
        _make_equal(place, whole=whole)
    return place


def _make_equal(place: Path, *, whole: bool) -> None:
    """Download what is missing or other in the cache, and remove what the bucket does not have."""
    with _named_errors(place_of(place), "read"):
        system, there = _listed(place)
    wanted = {}
    for file, info in there.items():
        time = _published[file] = _time(info)
        if not (file.is_file() and (file.stat().st_mtime_ns, file.stat().st_size) == (time, info["size"])):
            wanted[file] = info
    top = _before_pattern(place)
    for file in [top] if top.is_file() else _files(top):
        if file in wanted or (file not in there and DERIVED.isdisjoint(file.parts)):
            file.unlink()
    fetched = [file for file in wanted if whole or not SHARD.search(file.name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda file: _download(system, wanted[file], file), fetched))
    _remove_empty(top)


def is_absent(path: Path) -> bool:
    """Return whether a file is in the bucket only, so far."""
    return url_of(path) is not None and not path.is_file()


def fetch(path: Path, sha256: str | None = None) -> Path:
    """Return a file of the cache, which is downloaded if it is not there; files elsewhere are returned as they are.

    Args:
        path: the file.
        sha256: its hash; the copy in the cache is hashed, too.

    Raises:
        StorageError: it cannot be read whole, or has another hash.
    """
    url = url_of(path)
    if url is None:
        return path
    if not path.is_file():
        with _named_errors(url, "read"):
            system, name = _system(url)
            info = system.info(name)
        _download(system, info, path, sha256)
    elif sha256 is not None and file_sha256(path) != sha256:
        raise _flipped(str(path), sha256, f"delete that copy of {url}; it is fetched again")
    return path


@contextlib.contextmanager
def writing(path: Path | str, *, whole: bool = True) -> Iterator[Path]:
    """Yield the folder of the cache that a URL stands for, and upload at the end what was written there.

    Args:
        path: a URL, or a path, which is yielded as it is.
        whole: also fetch the shards of banks first.

    Raises:
        StorageError: another process of this machine writes there, or the URL cannot be read or written.
    """
    place = local(path)
    if not is_url(path) or url_of(path) is None:
        yield place
        return
    with locked(_lock_of(place), name=place_of(path)):
        _make_equal(place, whole=whole)
        yield place
        publish(place)


def on_storage(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take URLs of the folders that it writes: it sees folders of the cache, uploaded when it returns.

    Args:
        names: its parameters that are folders.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            with contextlib.ExitStack() as stack:
                for name in names:
                    path = given.arguments.get(name)
                    if not isinstance(path, str | Path):
                        continue
                    local(path)  # refuses what is no path
                    if is_url(path):
                        given.arguments[name] = stack.enter_context(writing(path))
                return function(*given.args, **given.kwargs)

        return call

    return decorate


def publish(folder: Path) -> None:
    """Upload a file, or all that was written in a folder, of the cache, records and manifests last; leave others alone.

    Nothing is deleted in the bucket. A file that somebody else wrote there meanwhile is not replaced.

    Raises:
        StorageError: it cannot be written, or another builder has written another file of this name.
    """
    if url_of(folder) is None or not folder.exists():
        return
    for file in sorted([folder] if folder.is_file() else _files(folder), key=_place_in_order):
        time = _modified(file)
        try:
            if time not in (None, _published.get(file)):
                _upload(file)
        except OSError:
            if _modified(file) == time:
                raise  # else it was removed or replaced meanwhile, and is uploaded the next time


def _modified(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.is_file() else None


def size_bytes(folder: Path) -> int:
    """Return the size of all files of a folder, or of those in the bucket for a folder of the cache.

    Raises:
        StorageError: it cannot be read.
    """
    url = url_of(folder)
    if url is None:
        return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    with _named_errors(url, "read"):
        return sum(int(info["size"]) for info in _listed(folder)[1].values())


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    kind = url.partition("://")[0]
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        extra = "pip install 'segue[s3]'" if kind in ("s3", "s3a") else f"install fsspec's package for {kind}://"
        raise MissingExtraError(f"{url} cannot be opened", got=str(error), fix=extra) from error
    except ValueError as error:
        raise InputError(f"{url} cannot be opened", got=str(error), expected="a URL that fsspec knows") from error
    system.invalidate_cache()
    return system, path


def _listed(place: Path) -> tuple[Any, dict[Path, Mapping[str, Any]]]:
    """Return the file system, and what it knows of each object of a URL, by the file of the cache it stands for."""
    system, path = _system(place_of(place))
    top = _before_pattern(place)
    base = _system(place_of(top))[1]
    try:
        found = (system.find if top == place else system.glob)(path, detail=True)
    except FileNotFoundError:  # nothing there, or no such bucket
        return system, {}
    inside = {name: name[len(base) :].lstrip("/") for name in found if found[name]["type"] == "file"}
    outside = [name for name, path in inside.items() if ".." in path.split("/") or "\0" in path]
    if outside:  # who writes to the bucket may not write anywhere on this machine
        raise StorageError(f"{place_of(place)} holds an object that is no file below it", got=repr(outside[0])[:200],
                           fix="delete that object")  # fmt: skip
    return system, {top / inside[name]: found[name] for name in inside}


def _download(system: Any, info: Mapping[str, Any], file: Path, sha256: str | None = None) -> None:
    """Fetch one object; it gets its name when it is whole."""
    url = place_of(file)
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}.part")
    with _named_errors(url, "read"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(info["name"], str(temporary))
            if temporary.stat().st_size != info["size"]:
                raise StorageError(f"{url} was not read whole", got=f"{temporary.stat().st_size} bytes",
                                   expected=f"{info['size']} bytes", fix="run again")  # fmt: skip
            if sha256 is not None and file_sha256(temporary) != sha256:
                raise _flipped(url, sha256, "restore that object, or build the folder again")
            os.utime(temporary, ns=(_time(info), _time(info)))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    _published[file] = _time(info)


def _upload(file: Path) -> None:
    """Write one object, but not over one that another process wrote meanwhile, unless it is the same."""
    url, before = place_of(file), file.stat()
    with _named_errors(url, "write"):
        system, path = _system(url)
        there = None
        with contextlib.suppress(FileNotFoundError):
            there = system.info(path)
        if there is None or _time(there) == _published.get(file):
            system.put_file(str(file), path)
        elif there["size"] != before.st_size or system.cat_file(path) != file.read_bytes():
            raise StorageError(f"{url} was written by another process meanwhile", got="another content",
                               fix="let one process write there; run again to go on from what is there")  # fmt: skip
        time = _published[file] = _time(system.info(path))
    if file.stat().st_mtime_ns == before.st_mtime_ns:  # else it changed meanwhile, and is uploaded again
        os.utime(file, ns=(time, time))


def _time(info: Mapping[str, Any]) -> int:
    """Return when an object was written, in ns, of which the last nine digits follow from its ETag or exact time."""
    known = ("LastModified", "last_modified", "mtime", "updated", "created")
    when: Any = next((info[key] for key in known if info.get(key)), 0)
    when = datetime.fromisoformat(when) if isinstance(when, str) else when
    seconds = when.timestamp() if isinstance(when, datetime) else float(when)
    version = info.get("ETag") or info.get("etag") or seconds
    return int(seconds) * 10**9 + zlib.crc32(str(version).encode()) % 10**9


def _place_in_order(file: Path) -> tuple[bool, bool, bool, int, str]:
    """Sort what a folder is of, then data, then records, then what says that all is whole, from the inside out."""
    name = file.name
    return name not in BEGINNINGS, file.suffix == ".json", name in SEALS, -len(file.parts), str(file)


def _is_ours(file: Path, top: Path) -> bool:
    """Return whether a file below ``top`` belongs into the bucket: no lock, no part, nothing of a running task."""
    return not any(part.startswith(".") or part == PASSING for part in file.relative_to(top).parts)


def _files(top: Path) -> list[Path]:
    return [file for file in top.rglob("*") if file.is_file() and _is_ours(file, top)]


def _before_pattern(place: Path) -> Path:
    return next(one for one in (place, *place.parents) if not _PATTERN.search(str(one.relative_to(cache_folder()))))


def _remove_empty(top: Path) -> None:
    """Remove folders without files, which a bucket does not have."""
    for folder in [*sorted((one for one in top.rglob("*") if one.is_dir()), reverse=True), top]:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _lock_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


def is_written(place: Path) -> bool:
    """Return whether a process of this machine writes in a folder, in one above it, or in one below it."""
    root = cache_folder()
    locks = [_lock_of(one) for one in (place, *place.parents) if one.is_relative_to(root)]
    return any(is_locked(lock) for lock in (*locks, *place.rglob("*.lock")))


def _flipped(where: str, sha256: str, fix: str) -> StorageError:
    return StorageError(f"{where} has changed since it was written", got="another sha256",
                        expected=f"{sha256[:16]}…", fix=fix)  # fmt: skip


@contextlib.contextmanager
def _named_errors(url: str, verb: str) -> Iterator[None]:
    """Turn whatever a file system raises into one error that names the URL; it has tried again before."""
    try:
        yield
    except SegueError:
        raise
    except Exception as error:  # each file system has errors of its own
        got = f"{type(error).__name__}: {str(error).strip() or 'no answer'}".splitlines()[0][:200]
        fix = "check the URL, the endpoint and the credentials, then run again; what is finished is kept"
        raise StorageError(f"cannot {verb} {url}", got=got, fix=fix) from error
