"""Text from outside (documents, ids, file names, names in files) as it may be shown: terminals, logs, Markdown.

A terminal obeys escape sequences, a log is read line by line, and controls of the writing direction show a text in
another order than it has. All of them are shown as Python writes them in a string: ``\\x1b``, ``\\u202e``.
"""

from __future__ import annotations

import logging
import re

_CONTROLS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # of terminals, also one byte long in Latin-1; tab and line feed are not among them
    r"\u2028\u2029"  # line breaks, for some readers
    r"\u202a-\u202e\u2066-\u2069"  # of the writing direction: embeddings, overrides, isolates
    r"\ud800-\udfff"  # halves of pairs, which no encoding can write
)
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_IN_LINE = re.compile(f"[{_CONTROLS}\\t\\n]")
_MARKS = re.compile(r"([\\`*_\[\]<>&~$|])")


def printable(value: object) -> str:
    r"""Return a text that acts on no terminal; tabs and line feeds are kept.

    >>> printable("a\x1b[2Jb\r\n") == "a\\x1b[2Jb\\r\n"
    True
    """
    return _UNSAFE.sub(_escaped, str(value))


def printable_line(value: object) -> str:
    r"""Return a text on one line that acts on no terminal.

    >>> printable_line("a\nb") == "a\\nb"
    True
    """
    return _UNSAFE_IN_LINE.sub(_escaped, str(value))


def printable_json(text: str) -> str:
    r"""Return JSON that acts on no terminal and means the same.

    >>> printable_json('"\x9b2J"')
    '"\\u009b2J"'
    """
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def markdown_text(value: object) -> str:
    r"""Return a text on one line that is no markup, also in a cell of a table.

    >>> print(markdown_text("<b>|*"))
    \<b\>\|\*
    """
    return _MARKS.sub(r"\\\1", printable_line(" ".join(str(value).split())))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class OneLine(logging.Filter):
    """Makes each message of a logger one line that acts on no terminal; lines of a traceback are indented."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and keep it."""
        record.msg, record.args = printable_line(record.getMessage()), None
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = "\n".join(f"    {line}" for line in printable(text).splitlines())
        return True
