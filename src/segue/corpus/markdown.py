"""Markdown (CommonMark) → title and paragraphs of prose.

Paragraphs are kept; list items only if they read like sentences. Headings, code, tables, HTML blocks, images and front
matter are left out. The title is the first heading of the highest level.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from segue.corpus.prose import is_prose, join_words, tidy, without_front_matter

_DIRECTIVE_FENCE = re.compile(r"^:{3,}.*$", re.MULTILINE)  # ":::{note}" of MyST and Pandoc: its contents are prose
_PARSER = MarkdownIt("commonmark", {"maxNesting": 100}).enable("table")
_BRACKET, _DEEPEST = re.compile(r"[\[\]]|\n[^\S\n]*\n"), 20
"""Marks of links, and ends of paragraphs; links inside links that are read."""
_TEXT = ("text", "code_inline", "text_special")


def parse(source: str) -> tuple[str, tuple[str, ...]]:
    r"""Return the title of a text ("" if it has none) and its paragraphs.

    >>> parse("# Snow\n\nIt *falls*,\nand melts.\n\n    code()\n\n- See [rain](rain.md)\n- Sleet is a mixture of both.")
    ('Snow', ('It falls, and melts.', 'Sleet is a mixture of both.'))
    """
    text = without_front_matter(source.replace("\r\n", "\n").replace("\r", "\n"))
    tokens = _PARSER.parse(_without_deep_brackets(_DIRECTIVE_FENCE.sub("", text)))
    return _title(tokens), join_words(_paragraphs(tokens))


def _without_deep_brackets(text: str) -> str:
    """Remove opening brackets that are deep inside others: after each of them the parser reads on."""
    depth = 0

    def kept(mark: re.Match[str]) -> str:
        nonlocal depth
        depth = max(0, depth + {"[": 1, "]": -1}.get(mark[0], -depth))
        return "" if mark[0] == "[" and depth > _DEEPEST else mark[0]

    return _BRACKET.sub(kept, text)


def _title(tokens: Sequence[Token]) -> str:
    headings = [
        (token.tag, tidy(_inline(content)))
        for token, content in itertools.pairwise(tokens)
        if token.type == "heading_open"
    ]
    return min(headings, key=lambda heading: heading[0])[1] if headings else ""  # min keeps the first of equals


def _paragraphs(tokens: Sequence[Token]) -> Iterator[str]:
    items = 0  # list items around the current token
    for token, content in itertools.pairwise(tokens):
        items += (token.type == "list_item_open") - (token.type == "list_item_close")
        if token.type != "paragraph_open":
            continue
        text = _inline(content)
        if not items or is_prose(tidy(text)):
            yield text


def _inline(token: Token) -> str:
    """Return the text of inline markup with its line ends; images and HTML tags are dropped."""
    parts = []
    for child in token.children or ():
        is_break = child.type in ("softbreak", "hardbreak") or child.content.lower().startswith("<br")
        parts.append(child.content if child.type in _TEXT else "\n" * is_break)
    return "".join(parts)
