"""Read a folder of texts: one file = one document, in the order of their paths.

It reads ``.txt``, ``.md``, ``.rst``, ``.html`` and their alternative spellings; other files are skipped with a reason.
The id is the path below the folder, with ``/`` on every system, so that a corpus has the same ids on every machine.
Code blocks, tables and headings are left out: passages are prose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from segue.corpus.intake import TextCorpus, admit, decode
from segue.corpus.prose import split_paragraphs
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
            InputError: there is no such folder, no file matches, or a file is not UTF-8.
        """
        names = matching(self.path, self.glob)
        documents = (_document(self.path, name) for name in names)
        return admit(documents, self, source=self.path, share=lambda num_read: num_read / len(names))


def matching(root: Path, glob: str) -> list[str]:
    """Return the paths below ``root`` of all files that match, sorted by code points.

    Raises:
        InputError: there is no such folder, or no file matches.
    """
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise InputError(f"cannot read {root}", got=got, expected="a folder", fix="check [corpus] path")
    try:
        names = sorted(path.relative_to(root).as_posix() for path in root.glob(glob) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        fix = 'write one relative to the folder, e.g. "**/*.rst"'
        raise InputError(f"the pattern {glob!r} cannot be used", got=str(error), fix=fix) from error
    if not names:
        raise InputError(f"no file in {root} matches {glob!r}", fix="check [corpus] path and glob")
    return names


def _document(root: Path, name: str) -> Document | Skipped:
    suffix = PurePosixPath(name).suffix.lower()
    if any(part.startswith(".") for part in PurePosixPath(name).parts):
        return Skipped(name, "hidden file")
    if suffix not in _READABLE:
        return Skipped(name, f"not one of {' '.join(_READABLE)}")
    try:
        data = (root / name).read_bytes()
    except OSError as error:
        fix = "check its permissions, or narrow [corpus] glob"
        raise InputError(f"cannot read {root / name}", got=error.strerror or str(error), fix=fix) from error
    if b"\0" in data[:_HEAD_BYTES] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16 is reported below
        return Skipped(name, "binary file")
    title, paragraphs = _parse(suffix, data, str(root / name))
    return Document(name, title or PurePosixPath(name).stem, paragraphs, name)


def _parse(suffix: str, data: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """Return title and paragraphs; a parser is imported when its first file is read."""
    if suffix in _HTML:
        from segue.corpus import html

        return html.parse(html.decode_page(data, where))
    text = decode(data, where)
    if suffix in _MARKDOWN:
        from segue.corpus import markdown

        return markdown.parse(text)
    if suffix in _RESTRUCTURED:
        from segue.corpus import restructured_text

        return restructured_text.parse(text)
    return "", split_paragraphs(text)
