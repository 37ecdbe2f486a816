"""HTML → title and paragraphs of prose.

Pages are parsed by Beautiful Soup with Python's ``html.parser``, which accepts broken markup. The text is that of
``<main>`` or of all ``<article>`` where these hold most of a page's prose, else of the body, without navigation,
headings, code, tables of data and captions. Paragraphs are kept; list items, cells of other tables and loose text only
if they read like sentences. Where these rules leave little of a page's prose, all of it is kept. Where main text begins
and ends is said by Resiliparse (``benchmarks/extractors.py`` compares extractors).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import webencodings
from bs4 import BeautifulSoup, NavigableString, Tag
from bs4.dammit import EncodingDetector
from bs4.element import PreformattedString

from segue.corpus.intake import decode_text
from segue.corpus.prose import is_prose, join_words, names, split_paragraphs, tidy, without_front_matter
from segue.corpus.words import words

_UNSEEN = names(
    """title; script; style; template; iframe; object; audio; video; canvas; svg; math; button; select; option;
    textarea"""
)
_DROPPED = names(
    """noscript; nav; header; footer; aside; table.data; figure; h1; h2; h3; h4; h5; h6; dt; menu; a.headerlink;
    .toctree-wrapper; .sphinxsidebar; .related; .navheader; .navfooter; sup.reference; a.footnote-reference;
    .mw-editsection"""
)
"""Names of elements, and classes, of all elements or of those of a name."""
_DROPPED_ROLES = names("navigation; banner; search; contentinfo")
_BLOCKS = names(
    """p; li; dd; blockquote; div; section; article; main; body; ul; ol; dl; details; summary; address; center;
    caption; hr; html; td; th; fieldset; form; label; pre; [document]"""
)
_LISTED = names("li; td; th; caption; header; footer; aside")
_MOST, _LITTLE, _LEAST, _NEARLY_ALL = 0.5, 0.25, 0.25, 0.8  # shares of the prose of a page
_LONG, _DEEPEST = 1000, 200  # characters of a page that may have menus and comments; elements inside one another
_OPEN, _BROKEN = (("<!--", "-->"), ("<![", "]>"), ("<", ">")), 100
"""Marks with those that close them, and how many more of the first a page may have."""
_CODE = re.compile(
    r"code|highlight|listing|screen|synopsis|literal|example|console|program|source|verbatim|syntax", re.I
)
_PLAIN_WORD = re.compile(r"(?<!\S)[\"'“‘«(\[]*[^\W\d_]+(?:['’-][^\W\d_]+)*[.,;:!?…\"'”’»)\]]*(?=\s|$)")
_TWO_BREAKS = re.compile("\u2028\\s*\u2028")
_SEVEN_BITS = ("iso-2022-jp",)


def parse(source: str) -> tuple[str, tuple[str, ...]]:
    """Return the title of a page ("" if it has none) and its paragraphs.

    >>> parse("<title>Snow</title><nav><p>Home</p></nav><h1>Snow</h1><p>It <b>falls</b>.<p>It melts.")
    ('Snow', ('It falls.', 'It melts.'))
    """
    if any(source.count(opened) > source.count(closed) + _BROKEN for opened, closed in _OPEN):
        source = _mended(source)
    soup = _Page(without_front_matter(source), "html.parser")
    title = _title(soup)
    for unseen in soup.find_all(_UNSEEN):
        unseen.extract()
    everything = _paragraphs([soup])
    for table in _tables_of_data(soup):
        table["class"] = "data"
    for dropped in soup.find_all(_is_dropped):
        dropped.extract()
    chosen = _paragraphs([soup])
    main = _paragraphs(_outermost(soup.find_all(_is_main) or soup.find_all("article")))
    if _length(main) >= _MOST * _length(chosen):
        chosen = main
    if _length(chosen) <= _LITTLE * _length(everything):
        return title, join_words(everything)
    return title, join_words(chosen if soup.is_deep or _length(chosen) < _LONG else _within(chosen, source))


class _Page(BeautifulSoup):
    """A page whose elements are at most ``_DEEPEST`` inside one another: a deeper one closes the one that it is in.

    Time grows with the square of the depth, here and in Resiliparse, which is not asked about such a page.
    """

    is_deep = False

    def handle_starttag(self, *args: Any, **named: Any) -> Tag | None:
        if len(self.tagStack) > _DEEPEST:
            self.is_deep = True
            self.endData()  # belongs to the element that is closed
            self.popTag()
        return super().handle_starttag(*args, **named)


def _mended(source: str) -> str:
    """Return the page as a browser reads it: ``html.parser`` searches to the end after every mark that stays open."""
    from resiliparse.parse.html import HTMLTree

    return str(HTMLTree.parse(source))


def decode_page(data: bytes) -> str:
    """Decode a page: as UTF-8 where it is, else by the character set that it declares and browsers know.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    encoding = webencodings.lookup(declared) if declared else None
    if encoding is not None and encoding.name in _SEVEN_BITS:
        return encoding.codec_info.decode(data)[0]
    try:
        return decode_text(data)
    except UnicodeDecodeError:
        if encoding is None or encoding.name.startswith("utf-"):
            raise
        return encoding.codec_info.decode(data)[0]


def _title(soup: BeautifulSoup) -> str:
    for element in (soup.h1, soup.title):
        title = tidy(element.get_text()).rstrip("¶#") if element is not None else ""
        if title:
            return title.strip()
    return ""


def _is_dropped(tag: Tag) -> bool:
    classes = tag.get_attribute_list("class")
    return (tag.name in _DROPPED or "hidden" in tag.attrs or tag.get("role") in _DROPPED_ROLES
            or any(f".{name}" in _DROPPED or f"{tag.name}.{name}" in _DROPPED for name in classes))  # fmt: skip


def _is_main(tag: Tag) -> bool:
    return tag.name == "main" or tag.get("role") == "main"


def _tables_of_data(soup: BeautifulSoup) -> list[Tag]:
    """Return the tables that have a head of their own; others lay out the page."""
    tables = {id(table): table for head in soup.find_all(["th", "thead", "caption"])
              if (table := head.find_parent("table")) is not None}  # fmt: skip
    return [table for table in tables.values() if table.get("role") not in ("presentation", "none")]


def _within(paragraphs: list[str], source: str) -> list[str]:
    """Return the paragraphs from the first to the last that Resiliparse takes for main text.

    What is cut off (menus, comments, teasers) is more than a fifth and less than three quarters, otherwise all is kept.
    """
    from resiliparse.extract.html2text import extract_plain_text

    main = _grams(extract_plain_text(source, main_content=True, alt_texts=False, comments=False))
    inside = [place for place, text in enumerate(paragraphs) if 2 * len(_grams(text) & main) >= len(_grams(text))]
    kept = paragraphs[inside[0] : inside[-1] + 1] if inside else []
    return kept if _LEAST <= _length(kept) / _length(paragraphs) < _NEARLY_ALL else paragraphs


def _grams(text: str) -> set[tuple[str, ...]]:
    """Return the sequences of four words of a text; a shorter text is one."""
    found = words(text)
    return {tuple(found[place : place + 4]) for place in range(max(1, len(found) - 3))}


def _outermost(tags: list[Tag]) -> list[Tag]:
    chosen = set(map(id, tags))
    return [tag for tag in tags if chosen.isdisjoint(map(id, tag.parents))]


def _length(paragraphs: list[str]) -> int:
    return sum(map(len, paragraphs))


def _paragraphs(roots: list[Tag]) -> list[str]:
    """Return the text of neighbouring strings of one block; a block inside a block divides it."""
    found: list[str] = []
    for root in roots:
        blocks = {id(root): (root, root.name in _LISTED)}  # of each element: its block, and whether it is in a list
        strings: list[tuple[Tag, bool, str]] = []
        for node in root.descendants:
            block, listed = blocks[id(node.parent)]
            if isinstance(node, Tag):
                blocks[id(node)] = (node if node.name in _BLOCKS else block, listed or node.name in _LISTED)
                if node.name == "br":
                    strings.append((block, listed, "\u2028"))
            elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):  # comments, doctypes
                strings.append((block, listed, node))
        for _, group in itertools.groupby(strings, key=lambda item: id(item[0])):
            run = list(group)
            found += _texts(*run[0][:2], "".join(text for *_, text in run))
    return found


def _texts(block: Tag, listed: bool, text: str) -> Iterator[str]:
    if block.name == "pre":
        if not _is_code(block):
            yield from (
                paragraph for paragraph in split_paragraphs(text.replace("\u2028", "\n")) if _is_text(paragraph)
            )
        return
    for part in _TWO_BREAKS.split(text):
        tidied = tidy(part)
        if tidied and (is_prose(tidied) or (block.name in ("p", "dd", "blockquote") and not listed)):
            yield part.replace("\u2028", "\n")


def _is_code(pre: Tag) -> bool:
    """Return whether the markup says that preformatted text is code."""
    around = [pre, *itertools.islice(pre.parents, 2)]
    return pre.find("code") is not None or any(
        _CODE.search(" ".join(filter(None, tag.get_attribute_list("class")))) for tag in around
    )


def _is_text(paragraph: str) -> bool:
    """Return whether preformatted text reads like sentences: most of it is words."""
    return is_prose(paragraph) and 4 * len(_PLAIN_WORD.findall(paragraph)) >= 3 * len(paragraph.split())
