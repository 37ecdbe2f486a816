"""Rules of prose and white space that the kinds of corpora share.

Passages are made of sentences. Headings, code, tables and bare list entries ("John Smith, actor") are left out: a
heading would reveal the topic of a passage, and a list does not lead to the next passage.
"""

from __future__ import annotations

import re

_CLOSERS = "\"'»”’›)]}」』）*_"
_ENDERS = (".", "!", "?", "…", ":", ";", "。", "！", "？", "：", "；", "؟", "۔", "।", "։", "።", "။", "។")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_DENSE = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u30fa\u30fc-\u30ff\u3105-\u318e\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uffdc\U00016fe0-\U0001b2ff\U00020000-\U0003ffff]"
)
"""Han, kana, Bopomofo, Hangul syllables and the other scripts of ideographs."""

LETTERS_OF_DENSE = 2.5
"""Latin letters that say as much as one character of ``_DENSE``."""

FEW_DENSE = 0.2
"""Share of such characters below which the lengths of a text are not changed."""

SHORTEST_SENTENCE = 20
"""Characters; a shorter line is a name or a number, even with a full stop."""

SURELY_PROSE = 200
"""Characters; a line this long is prose, with any end (Thai has no mark at the end of sentences)."""


def names(text: str) -> frozenset[str]:
    """Return the set of names in a text, separated by semicolons.

    >>> sorted(names("see also; notes"))
    ['notes', 'see also']
    """
    return frozenset(tidy(name) for name in text.split(";"))


def tidy(text: str) -> str:
    r"""Collapse white space (no-break spaces and line ends too) to single spaces.

    >>> tidy(" one\n two\u00a0 three ")
    'one two three'
    """
    return " ".join(text.split())


def letters(text: str) -> int:
    """Return the length of a text in Latin letters: characters, of which one of Han, kana or Hangul counts as 2.5.

    Lengths that say whether a text is prose, or how long a passage is, are meant in these letters.

    >>> letters("It snows."), letters("下雪了。")
    (9, 8)
    """
    dense = 0 if text.isascii() else len(_DENSE.findall(text))
    return len(text) + int((LETTERS_OF_DENSE - 1) * dense)


def characters(of_letters: int, text: str) -> int:
    """Return how many characters of a text say as much as some Latin letters.

    It is the same number where less than a fifth of the text is Han, kana or Hangul, as in English with a few names.

    >>> characters(400, "It snows."), characters(400, "今天下雪")
    (400, 160)
    """
    longer = letters(text) - len(text)
    if longer < (LETTERS_OF_DENSE - 1) * FEW_DENSE * len(text) or not longer:
        return of_letters
    return max(1, round(of_letters * len(text) / letters(text)))


def is_prose(line: str) -> bool:
    """Return whether a line reads like a sentence: it ends like one, or is long.

    >>> [is_prose(line) for line in ("It snows in winter, mostly.", "John Smith (1950-2000), actor", "See also")]
    [True, False, False]
    """
    if len(line) >= SURELY_PROSE:
        return True
    return len(line) >= SHORTEST_SENTENCE and line.rstrip(_CLOSERS).endswith(_ENDERS)


def split_paragraphs(text: str) -> tuple[str, ...]:
    r"""Split plain text at blank lines; line ends inside a paragraph become spaces.

    >>> split_paragraphs("One\ntwo.\n \nThree.\n")
    ('One two.', 'Three.')
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    return tuple(paragraph for block in _BLANK_LINE.split(unified) if (paragraph := tidy(block)))
