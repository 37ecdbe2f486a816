"""Read a folder of texts: one file = one document, in the order of their paths.

It reads ``.txt``, ``.md``, ``.rst``, ``.html`` and their alternative spellings. Everything else that matches is skipped
with a reason: other files, files that cannot be read, linked folders, second names of one file. The id is the path
below the folder, with ``/`` on every system and composed letters (NFC), so that a corpus has the same ids on every
machine. Code blocks, tables and headings are left out: passages are prose.
"""

from __future__ import annotations

import codecs
import itertools
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from segue.corpus.intake import TextCorpus, admit, decode_text, is_lfs_pointer
from segue.corpus.prose import split_paragraphs, tidy, without_front_matter
from segue.corpus.sources import SourcePath
from segue.errors import InputError
from segue.types import Document, Skipped

_PLAIN = (".txt", ".text")
_MARKDOWN = (".md", ".markdown")
_RESTRUCTURED = (".rst", ".rest")
_HTML = (".html", ".htm", ".xhtml")
_READABLE = (*_PLAIN, *_MARKDOWN, *_RESTRUCTURED, *_HTML)
_HEAD_BYTES = 8192  # bytes at the start of a file that are searched for signs of a binary


class FolderCorpus(TextCorpus):
    """Documents in a folder, one per file."""

    kind: Literal["folder"] = "folder"
    path: SourcePath = Field(description="folder of .txt, .md, .rst and .html files")
    glob: str = Field("**/*", min_length=1, description='which files below it, e.g. "**/*.rst"')

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the documents, sorted by their paths.

        Raises:
            InputError: there is no such folder, or no file matches.
        """
        found = matching(self.path, self.glob)
        documents = (left_out or _document(self.path / name, name) for name, left_out in found.items())
        return admit(documents, self, source=self.path, share=lambda num_read: num_read / len(found))


def matching(root: Path, glob: str) -> dict[str, Skipped | None]:
    """Return the paths below ``root`` that match, sorted by code points, and why one is not read; None where it is.

    Raises:
        InputError: there is no such folder, or nothing matches.
    """
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise InputError(f"cannot read {root}", got=got, expected="a folder", fix="check [corpus] path")
    try:
        names = {path.relative_to(root).as_posix() for path in {*root.glob(glob), *_closed_folders(root, glob)}}
    except (ValueError, NotImplementedError) as error:
        fix = 'write one relative to the folder, e.g. "**/*.rst"'
        raise InputError(f"the pattern {glob!r} cannot be used", got=str(error), fix=fix) from error
    found: dict[str, Skipped | None] = {}
    files: dict[object, list[str]] = {}  # names by the file's place on the disk
    for name in sorted(names):
        if left_out := _left_out(root / name, name):
            found[name] = left_out
        elif (root / name).is_file():
            found[name], known = None, (root / name).stat()
            files.setdefault((known.st_dev, known.st_ino) if known.st_ino else name, []).append(name)
    for same in files.values():
        if same[1:]:  # the file itself rather than a link to it
            same.sort(key=lambda name: ((root / name).resolve() != root.resolve() / name, name))
            found.update((name, Skipped(_id(name), "another name of a file that is read")) for name in same[1:])
    ids: set[str] = set()
    for name, left_out in found.items():
        if left_out is None and _id(name) in ids:
            found[name] = Skipped(_id(name), "another file has this id")
        ids |= {_id(name)} if found[name] is None else set()
    if not found:
        raise InputError(f"no file in {root} matches {glob!r}", fix="check [corpus] path and glob")
    return found


def _id(name: str) -> str:
    """Return the id of a file: its name, with composed letters; bytes that are not UTF-8 are written as ``\\xe9``."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _closed_folders(root: Path, glob: str) -> set[Path]:
    """Return the folders that ``**`` would enter if they were no links, and if it were allowed to."""
    closed: set[Path] = set()
    if "**" in glob:
        top = root.joinpath(*itertools.takewhile(lambda part: "*" not in part, PurePosixPath(glob).parts))
        for parent, folders, _ in os.walk(top, onerror=lambda error: closed.add(Path(error.filename))):
            closed.update(path for path in (Path(parent, name) for name in folders) if path.is_symlink())
    return closed


def _left_out(path: Path, name: str) -> Skipped | None:
    """Return why a path is not read; None for a file that is, and for a folder whose files are found on their own."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = "broken link" if os.path.islink(path) else f"cannot be read ({error.strerror})"
        return Skipped(_id(name), reason, unreadable=True)
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK):
            return Skipped(_id(name), "folder that cannot be opened", unreadable=True)
        return Skipped(_id(name), "linked folder") if path.is_symlink() else None
    if any(part.startswith(".") for part in PurePosixPath(name).parts):
        return Skipped(_id(name), "hidden file")
    if not stat.S_ISREG(mode):
        return Skipped(_id(name), "not a file")
    readable = PurePosixPath(name).suffix.lower() in _READABLE
    return None if readable else Skipped(_id(name), f"not one of {' '.join(_READABLE)}")


def _document(path: Path, name: str) -> Document | Skipped:
    """Return the document of one file; one that cannot be read is skipped, whatever is wrong with it."""
    reason = ""
    try:
        data = path.read_bytes()
        reason = _pointer(data) or ("binary file" if _is_binary(data) else "")
        title, paragraphs = ("", ()) if reason else _parse(_kind(path), data)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or type(error).__name__})"
    except Exception as error:  # the parsers are not ours
        reason = f"cannot be parsed ({type(error).__name__})"
    if reason:
        return Skipped(_id(name), reason, unreadable=True)
    return Document(_id(name), tidy(title) or PurePosixPath(_id(name)).stem, paragraphs, _id(name))


def _kind(path: Path) -> str:
    """Return the suffix that says how a file is read; Sphinx publishes its sources as .rst.txt."""
    *_, before, last = ["", *(suffix.lower() for suffix in path.suffixes)]
    return before if last in _PLAIN and before in (*_MARKDOWN, *_RESTRUCTURED) else last


def _pointer(data: bytes) -> str:
    """Return why a file shows that its contents were never fetched, or "" where it does not."""
    if is_lfs_pointer(data):
        return "git-LFS pointer, not the file itself: run `git lfs pull`"
    return "git-annex pointer, not the file itself: run `git annex get`" if data.startswith(b"/annex/objects/") else ""


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:_HEAD_BYTES] and not data.startswith(
        (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    )


def _parse(suffix: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    """Return title and paragraphs; a parser is imported when its first file is read."""
    if suffix in _HTML:
        from segue.corpus import html

        return html.parse(html.decode_page(data))
    text = decode_text(data)
    if suffix in _MARKDOWN:
        from segue.corpus import markdown

        return markdown.parse(text)
    if suffix in _RESTRUCTURED:
        from segue.corpus import restructured_text

        return restructured_text.parse(text)
    return "", split_paragraphs(without_front_matter(text))
