"""The little markup that sentences of the report carry: ``code`` and **strong**, everything else is text.

Sentences are written once and shown three times (HTML, Markdown, terminal). Whatever comes from a run (titles, names,
paths) goes through ``plain`` or ``code`` before it enters a sentence, so that it can never act as markup.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal

Kind = Literal["plain", "code", "strong"]

_SPAN = re.compile(r"`((?:\\.|[^`\\])*)`|\*\*((?:\\.|[^*\\])+)\*\*|((?:\\.|[^`*\\])+|[`*\\])")
_MARKS = re.compile(r"([\\`*])")
_ESCAPED = re.compile(r"\\(.)")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")


def plain(value: object) -> str:
    r"""Make a value from outside safe inside a sentence: one line, no control characters, no markup.

    >>> plain("a*b\n c")
    'a\\*b c'
    """
    text = "".join(" " if unicodedata.category(char) == "Cc" else char for char in str(value))
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def code(value: object) -> str:
    """Set a name from outside in code type.

    >>> code("ar-cosine")
    '`ar-cosine`'
    """
    return f"`{plain(value)}`"


def strong(text: str) -> str:
    """Emphasise text that is already safe and holds no other markup."""
    return f"**{text}**"


def spans(text: str) -> Iterator[tuple[Kind, str]]:
    """Split a sentence into its spans, the escapes undone.

    >>> list(spans("of `x` **now**"))
    [('plain', 'of '), ('code', 'x'), ('plain', ' '), ('strong', 'now')]
    """
    for match in _SPAN.finditer(text):
        kind: Kind = "code" if match[1] is not None else "strong" if match[2] is not None else "plain"
        content = match[1] if kind == "code" else match[2] if kind == "strong" else match[3]
        yield kind, _ESCAPED.sub(r"\1", content)


def to_html(text: str) -> str:
    """Show a sentence as HTML; all text is escaped.

    >>> to_html("`<b>` & **more**")
    '<code>&lt;b&gt;</code> &amp; <strong>more</strong>'
    """
    tags = {"plain": "", "code": "code", "strong": "strong"}
    return "".join(_tagged(tags[kind], html.escape(content)) for kind, content in spans(text))


def _tagged(tag: str, content: str) -> str:
    return f"<{tag}>{content}</{tag}>" if tag else content


def to_markdown(text: str) -> str:
    """Show a sentence as GitHub-flavoured Markdown, safe inside a table's cell.

    >>> to_markdown("`a|b` < **c**")
    '`a\\\\|b` &lt; **c**'
    """
    shapes: dict[Kind, Callable[[str], str]] = {
        "plain": _markdown_text,
        "code": _markdown_code,
        "strong": lambda content: f"**{_markdown_text(content)}**",
    }
    return "".join(shapes[kind](content) for kind, content in spans(text))


def _markdown_text(content: str) -> str:
    return html.escape(_MARKDOWN.sub(r"\\\1", content), quote=False)


def _markdown_code(content: str) -> str:
    """Choose a fence longer than any run of backticks inside; a bar ends a cell even in code."""
    content = content.replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {content} {fence}" if longest else f"`{content}`"


def to_text(text: str) -> str:
    """Show a sentence as plain text.

    >>> to_text("of `x` **now**")
    'of x now'
    """
    return "".join(content for _, content in spans(text))
