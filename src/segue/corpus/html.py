"""HTML → title and paragraphs of prose.

Pages are parsed by Beautiful Soup with Python's ``html.parser``, which accepts broken markup. The text is that of
``<main>`` or ``<article>`` where a page has one, else of the body, without navigation, headings, code, tables and
captions. Paragraphs are kept; list items and loose text only if they read like sentences.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, NavigableString, Tag
from bs4.element import PreformattedString

from segue.corpus.intake import decode
from segue.corpus.prose import is_prose, names, tidy

_DROPPED = (
    "head, script, style, noscript, template, nav, header, footer, aside, form, button, select, textarea, svg, math, "
    "pre, table, figure, iframe, object, audio, video, canvas, h1, h2, h3, h4, h5, h6, dt, menu, "
    "[hidden], [role=navigation], [role=banner], [role=search], [role=contentinfo], a.headerlink, .toctree-wrapper, "
    ".sphinxsidebar, .related, .navheader, .navfooter, sup.reference, a.footnote-reference, .mw-editsection"
)
_BLOCKS = names(
    """p; li; dd; blockquote; div; section; article; main; body; ul; ol; dl; details; summary; address; center;
    caption; hr; html; td; th; fieldset; [document]"""
)
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]+)", re.IGNORECASE)


def parse(source: str) -> tuple[str, tuple[str, ...]]:
    """Return the title of a page ("" if it has none) and its paragraphs.

    >>> parse("<title>Snow</title><nav><p>Home</p></nav><h1>Snow</h1><p>It <b>falls</b>.<p>It melts.")
    ('Snow', ('It falls.', 'It melts.'))
    """
    soup = BeautifulSoup(source, "html.parser")
    title = _title(soup)
    root = soup.select_one("main, [role=main], article") or soup.body or soup
    for dropped in root.select(_DROPPED):
        dropped.extract()
    for line_break in root.find_all("br"):
        line_break.replace_with(" ")
    return title, tuple(_paragraphs(root))


def decode_page(data: bytes, where: str) -> str:
    """Decode a page by the character set that it declares, otherwise as UTF-8.

    Raises:
        InputError: the bytes are not in that character set.
    """
    declared = _DECLARED.search(data[:4096])
    if declared and not data.startswith(codecs.BOM_UTF8):
        try:
            return data.decode(declared[1].decode())
        except (LookupError, UnicodeDecodeError):
            pass  # a wrong or unknown declaration: the page may still be UTF-8
    return decode(data, where)


def _title(soup: BeautifulSoup) -> str:
    for element in (soup.select_one("main h1, article h1, h1"), soup.title):
        title = tidy(element.get_text()).rstrip("¶#") if element is not None else ""
        if title:
            return title.strip()
    return ""


def _paragraphs(root: Tag) -> Iterator[str]:
    """Yield the text of neighbouring strings of one block; a block inside a block divides it."""
    strings = (
        node
        for node in root.descendants
        if isinstance(node, NavigableString) and not isinstance(node, PreformattedString)  # comments, doctypes
    )
    for block, group in itertools.groupby(strings, key=_block_of):
        text = tidy("".join(group))
        if text and (_is_paragraph(block) or is_prose(text)):
            yield text


def _block_of(node: NavigableString) -> _Block:
    parent = node.parent
    while parent is not None and parent.parent is not None and parent.name not in _BLOCKS:
        parent = parent.parent
    return _Block(parent)


class _Block:
    """An element compared by identity (Beautiful Soup compares the contents of elements, which is slow)."""

    def __init__(self, tag: Tag | None) -> None:
        self.tag = tag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Block) and self.tag is other.tag

    def __hash__(self) -> int:
        return id(self.tag)


def _is_paragraph(block: _Block) -> bool:
    """Return whether the markup is that of a paragraph outside of a list item."""
    if block.tag is None or block.tag.name not in ("p", "dd", "blockquote"):
        return False
    return block.tag.parent is None or block.tag.parent.name != "li"
