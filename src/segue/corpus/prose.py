"""Rules of prose and white space that the kinds of corpora share.

Passages are made of sentences. Headings, code, tables and bare list entries ("John Smith, actor") are left out: a
heading would reveal the topic of a passage, and a list does not lead to the next passage.
"""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

_CLOSERS = "\"'»”’›)]}」』）》】〉*_"
_ENDERS = tuple(".!?…:;。！？：；．｡؟؛۔।॥։።။។།")
_IDEOGRAPH = re.compile(r"[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SYLLABLE = re.compile(r"[\u3041-\u30ff\u3105-\u312f\u31f0-\u31ff\uac00-\ud7a3\uff66-\uff9f]")  # kana, Bopomofo, Hangul
_WITHOUT_END = re.compile(r"[\u0e00-\u0eff]")  # Thai and Lao: no mark ends a sentence
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
FEW = 1.3
"""Letters per character of a text below which its lengths are not changed."""

_NO_SPACES = "\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf\ua980-\ua9df\uaa60-\uaadf"
"""Thai, Lao, Tibetan, Burmese, Khmer and their neighbours: a zero-width space divides words there."""
_INVISIBLE = re.compile(
    rf"\u00ad(?:[^\S\n]*\n\s*)?|[\u2060-\u2064\u206a-\u206f\ufeff]|(?<![{_NO_SPACES}])\u200b|\u200b(?![{_NO_SPACES}])"
)
"""Soft hyphens and other invisible characters, which only say where a word may break."""
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")
_DIVIDED = re.compile(r"(?<![^\W_])([^\W_]+)([-\u2010])[^\S\n]*\n\s*([^\W_]+)")
_RULE = re.compile(r"^[-=*_~#+.:^ \t]{3,}$", re.MULTILINE)
_PAGE_NUMBER = re.compile(
    r"\W*(?:(?:page|seite|p[aá]gina|стр)\W*)?\d+(?:\s*(?:/|of|von|de|sur)\s*\d+)?\W*", re.IGNORECASE
)
_COLUMNS = re.compile(r"\S(?: {3}|\t)\s*\S")
_PAGE_END = re.compile(r"(   \[Page \d+\][^\S\n]*\n)(?!\s*\f)")

SHORTEST_SENTENCE = 20
"""Letters (see ``letters``); a shorter line is a name or a number, even with a full stop."""

SURELY_PROSE = 200
"""Letters; a line this long is prose, with any end."""

SHORTEST_WITHOUT_END = 30
"""Letters; a shorter line of Thai or Lao, which mark no end of sentences, is a name or a title."""

_REMNANT = re.compile(
    r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|''|-\{|\}-|</?\w+[^<>\n]{0,80}>|&#?\w+;|__[A-Z]+__"
    r"|\b(?:thumb|mini|upright|frameless|\d+px)\|"
)


def names(text: str) -> frozenset[str]:
    """Return the set of names in a text, separated by semicolons, in composed letters (NFC).

    >>> sorted(names("see also; notes"))
    ['notes', 'see also']
    """
    return frozenset(tidy(name) for name in unicodedata.normalize("NFC", text).split(";"))


def tidy(text: str) -> str:
    r"""Collapse white space (no-break spaces and line ends too) to single spaces; compose letters and accents (NFC).

    Soft hyphens, zero-width spaces inside words and byte order marks are dropped. Joiners stay: they change letters of
    Arabic and Indic scripts.

    >>> tidy(" one\n two\u00a0 th\u00adree ")
    'one two three'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(text.split())


def letters(text: str) -> int:
    """Return the length of a text in letters of an alphabet: a Han character counts four, kana and Hangul two.

    Limits are written for alphabets; the same sentence has a fourth of the characters in Chinese, half in Korean.

    >>> letters("He lives in Beijing."), letters("他住在北京。"), letters("그는 베이징에 산다.")
    (20, 21, 19)
    """
    if text.isascii():
        return len(text)
    return len(text) + 3 * len(_IDEOGRAPH.findall(text)) + len(_SYLLABLE.findall(text))


def characters(of_letters: int, text: str) -> int:
    """Return how many characters of a text say as much as some letters of an alphabet.

    It is the same number where few of the text's characters are Han, kana or Hangul, as in English with a few names.

    >>> characters(400, "It snows."), characters(400, "今天下雪")
    (400, 100)
    """
    many = letters(text)
    return of_letters if many < FEW * len(text) or not text else max(1, round(of_letters * len(text) / many))


def is_prose(line: str) -> bool:
    """Return whether a line reads like a sentence: it ends like one, or is long.

    >>> [is_prose(line) for line in ("It snows in winter, mostly.", "John Smith (1950-2000), actor", "See also")]
    [True, False, False]
    """
    length = letters(line)
    if length < SHORTEST_SENTENCE:
        return False
    if length >= SURELY_PROSE or line.rstrip(_CLOSERS).endswith(_ENDERS):
        return True
    return length >= SHORTEST_WITHOUT_END and 3 * len(_WITHOUT_END.findall(line)) > length


def remnants(text: str) -> int:
    """Count what still looks like markup: links, templates, tables, italics, tags, entities, options of pictures.

    >>> remnants("Snow is [[ice|frozen]] ''water''.<br>"), remnants("Snow is frozen water.")
    (5, 0)
    """
    return len(_REMNANT.findall(text))


def split_paragraphs(text: str) -> tuple[str, ...]:
    r"""Split plain text at blank lines; line ends inside a paragraph become spaces.

    Words that are divided at line ends are joined. Heads and feet of pages are left out, and so are lines of signs
    alone, which are rules or underlines.

    >>> split_paragraphs("One\ntwo.\n \nThree.\n-----\nInter-\nnational.")
    ('One two.', 'Three.', 'International.')
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n")
    return join_words(_BLANK_LINE.split(_RULE.sub("\n", _join_pages(unified))))


def join_words(paragraphs: Iterable[str]) -> tuple[str, ...]:
    r"""Tidy paragraphs, and join the words that are divided at line ends; drop empty paragraphs.

    A word keeps its hyphen where the document has it with one, or has both parts as words and never the whole.

    >>> join_words(["Inter-\nnational fame, pre-\nand postwar.", "A well-\nknown poet; a well-known poem."])
    ('International fame, pre- and postwar.', 'A well-known poet; a well-known poem.')
    """
    texts = list(paragraphs)
    if any(_DIVIDED.search(text) for text in texts):
        words = {word.lower() for text in texts for word in _WORD.findall(_DIVIDED.sub(" ", text))}
        texts = [_DIVIDED.sub(lambda match: _joined(match, words), text) for text in texts]
    return tuple(tidied for text in texts if (tidied := tidy(text)))


def _joined(divided: re.Match[str], words: set[str]) -> str:
    left, hyphen, right = divided.groups()
    if right in _AND:
        return f"{left}{hyphen} {right}"
    compound, whole = f"{left}{hyphen}{right}", left + right
    known = whole.lower() in words
    apart = compound.lower() in words or (left.lower() in words and right.lower() in words)
    return compound if not right[0].islower() or not left.isalpha() or (apart and not known) else whole


def _join_pages(text: str) -> str:
    """Return the text without heads and feet of pages; a paragraph that goes on over a form feed is one paragraph."""
    pages = [page.strip().split("\n") for page in _PAGE_END.sub(r"\1\f", text).split("\f")]
    if len(pages) == 1:
        return text
    heads, feet = (Counter(_shape(page[place]) for page in pages) for place in (0, -1))
    parts: list[str] = []
    for number, page in enumerate(pages):
        lines = _without_running(page, heads) if number else page
        if number < len(pages) - 1:
            lines = _without_running(lines[::-1], feet)[::-1]
        part = "\n".join(lines).strip()
        parts += ["\n" if parts and _goes_on(parts[-1], part) else "\n\n", part]
    return "".join(parts)


def _shape(line: str) -> str:
    return re.sub(r"\d+", "#", tidy(line))


def _without_running(lines: list[str], known: Counter[str]) -> list[str]:
    """Return a page without its first line where that is a head: repeated, in columns, or a number on its own."""
    first, apart = lines[0] if lines else "", not "".join(lines[1:2]).strip()
    number = apart and _PAGE_NUMBER.fullmatch(first)
    return lines[1:] if number or _COLUMNS.search(first) or known[_shape(first)] > 1 else lines


def _goes_on(before: str, after: str) -> bool:
    """Return whether a sentence goes on: it has no end, and no capital letter follows."""
    first, last = after.lstrip()[:1], before.rstrip()
    return bool(last) and first.isalpha() and not first.isupper() and not last.rstrip(_CLOSERS).endswith(_ENDERS)


_AND = names("and; or; to; und; oder; bis; sowie; et; ou; y; e; o; u; en; of; och; eller; og; i; ja; és")
"""Words after the hyphen of "pre- and postwar", which stays."""

_FENCED = re.compile(
    r"(?P<fence>---|\+\+\+|;;;)(?:yaml|toml|json)?[^\S\n]*\n(?P<fields>.*?)^(?:(?P=fence)|\.\.\.)[^\S\n]*$",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_KEY = r"""["']?[\w.@-]+(?: [\w.-]+){0,2}["']?[^\S\n]*[:=](?:[^\S\n].*)?$"""
_FIRST_FIELD = re.compile(rf"(?:#.*\n|\s*\n)*(?:{_KEY}|[\[{{])", re.MULTILINE)
_FIELD = re.compile(rf"{_KEY}|[-#\[{{}}\]%]|\s|$")
_UNFENCED = re.compile(rf"(?=(?:.+\n)*title:)(?:{_KEY}\n(?:[^\S\n]+\S.*\n)*){{2,}}(?=\n)", re.IGNORECASE | re.MULTILINE)


def without_front_matter(text: str) -> str:
    r"""Return a text without the fields before it, in YAML, TOML, JSON or plain lines; a rule is no front matter.

    >>> without_front_matter("---\ntitle: Snow\n---\nIt falls."), without_front_matter("---\n\nIt falls.\n\n---\n")
    ('\nIt falls.', '---\n\nIt falls.\n\n---\n')
    """
    start = len(text) - len(text.lstrip())
    fenced = _FENCED.match(text, start)
    if fenced:
        fields = fenced["fields"]
        by_lines = fenced["fence"] != "---" or (fields[:1] != "\n" and all(map(_FIELD.match, fields.split("\n"))))
        return text[fenced.end() :] if not fields or (by_lines and _FIRST_FIELD.match(fields)) else text
    if text.startswith("{", start):
        with contextlib.suppress(ValueError, RecursionError):
            fields, end = json.JSONDecoder().raw_decode(text, start)
            return text[end:] if isinstance(fields, dict) and text[end:].strip() else text
    unfenced = _UNFENCED.match(text, start)
    return text[unfenced.end() :] if unfenced else text
