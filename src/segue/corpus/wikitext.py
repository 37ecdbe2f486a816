"""Wikitext → paragraphs of prose, in reading order.

Constructs without prose (comments, references, formulas, tables, templates, files and categories) are removed by linear
scans first; the rest (links, styles, entities) is parsed by mwparserfromhell. Parsing the whole source would give the
same text in six times the time. A few inline templates hold text (``{{convert|5|km|mi}}``), which is kept.

Headings and sections of references or links are left out.
"""

from __future__ import annotations

import re

import mwparserfromhell

from segue.corpus.prose import is_prose, names, tidy

DROPPED_SECTIONS = names(
    """references; notes; notes and references; references and notes; footnotes; citations; sources; works cited;
    bibliography; further reading; external links; see also; gallery; literature; references and sources;
    einzelnachweise; siehe auch; literatur; weblinks; anmerkungen; quellen; belege;
    références; notes et références; voir aussi; liens externes; bibliographie; articles connexes; annexes;
    referencias; véase también; enlaces externos; bibliografía; notas; note; voci correlate; collegamenti esterni;
    bibliografia; altri progetti; referências; ver também; ligações externas; referenties; zie ook; externe links;
    примечания; см. также; ссылки; литература; 脚注; 関連項目; 外部リンク; 参考文献; 参考资料; 外部链接; 参见"""
)
"""Titles, in lower case, of sections without prose, in the languages of the larger Wikipedias."""

_MEDIA = ("file", "image", "category", "media")
_DEEPEST_NESTING = 25

_EMPTY_TAG = re.compile(r"<(?:ref|references|templatestyles)\b[^<>]*/\s*>", re.IGNORECASE)
# The contents never contain the same tag again, so that one that is not closed does not remove the prose after it.
_PAIRED_TAG = re.compile(
    r"<(ref|references|math|chem|gallery|timeline|imagemap|score|syntaxhighlight|source|pre|table|hiero|graph|inputbox"
    r"|templatedata|categorytree)\b(?:[^<>]*[^<>/])?>(?:(?!<\1\b).)*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_TABLE = re.compile(r"^[ \t:*#]*\{\|(?:(?!^[ \t:*#]*\{\|).)*?^[ \t]*\|\}(?!\})", re.DOTALL | re.MULTILINE)
_OPEN_TABLE_ROW = re.compile(r"^[ \t]*(?:\{\||\|[-}+|]?|!).*$", re.MULTILINE)
_HEADING = re.compile(r"^(={1,6})[ \t]*(.+?)[ \t]*\1[ \t]*$", re.MULTILINE)
_INTERWIKI = re.compile(r"\[\[(?:[a-z]{2,3}|simple|zh-[a-z-]+):[^\[\]|]*\]\]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")
_MAGIC_WORD = re.compile(r"__[A-Z]+__")
_BREAK = re.compile(r"<br\b[^<>]*>", re.IGNORECASE)
_POWER = re.compile(r"(?<=\d)<sup>\s*([-−+]?\d+)\s*</sup>", re.IGNORECASE)
_ARGUMENT = re.compile(r"\|(?![^\[\]]*\]\])")
_LEFTOVER = re.compile(r"'{2,}|\[\[|\]\]|\{\{+|\}\}+|</?[a-zA-Z][^<>]{0,300}>")

# What stays around a removed construct: "()", "(, born 1950)", "value , and".
_EMPTY_BRACKETS = re.compile(r"\(\s*[,;:–-]*\s*\)|\[\s*\]")
_OPEN_BRACKET = re.compile(r"\(\s*(?:[,;]\s*)+|\(\s+")
_BEFORE_MARK = re.compile(r"\s+(?=[,)]|\.(?!\d|\.))")
_DOUBLE_COMMA = re.compile(r",(?:\s*,)+")


def paragraphs(source: str, *, media: tuple[str, ...] = _MEDIA) -> tuple[str, ...]:
    """Return the paragraphs of an article; ``media`` are the names of the file and category namespaces, in lower case.

    >>> paragraphs("'''Snow''' is [[ice|frozen water]]<ref>A book.</ref>.\\n== See also ==\\n* [[Rain]]")
    ('Snow is frozen water.',)
    """
    kept = _without_reference_sections(_cut(source, media))
    text = str(mwparserfromhell.parse(kept).strip_code())
    lines = (_fix(line) for line in text.split("\n"))
    return tuple(line for line in lines if is_prose(line))


def _cut(source: str, media: tuple[str, ...]) -> str:
    """Remove what holds no prose; nested constructs from the inside out."""
    text = _EMPTY_TAG.sub("", _without_comments(source))
    text = _until_stable(_PAIRED_TAG, "", text)
    for _ in range(_DEEPEST_NESTING):
        text, templates = _TEMPLATE.subn(_write_out, text)
        text, tables = _TABLE.subn("", text)
        if not templates and not tables:
            break
    text = _OPEN_TABLE_ROW.sub("", text)
    text = _until_stable(_media_link(media), "", text)
    text = _INTERWIKI.sub("", text)
    return _TAG.sub("", _MAGIC_WORD.sub("", _BREAK.sub(" ", _POWER.sub(r"^\1", text))))


def _without_comments(text: str) -> str:
    """Remove comments; of one that is not closed only the mark."""
    kept = []
    end = 0
    while (start := text.find("<!--", end)) >= 0 and (close := text.find("-->", start)) >= 0:
        kept.append(text[end:start])
        end = close + 3
    return "".join((*kept, text[end:].replace("<!--", "")))


def _until_stable(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """Substitute until nothing is found, so that nested constructs are removed too."""
    for _ in range(_DEEPEST_NESTING):
        text, found = pattern.subn(replacement, text)
        if not found:
            break
    return text


def _media_link(media: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of ``[[File: …]]`` with links, but no other file, in its caption."""
    names = "|".join(map(re.escape, media))
    inner = rf"\[\[(?!\s*(?:{names})\s*:)[^\[\]]*\]\]"
    return re.compile(rf"\[\[\s*(?:{names})\s*:(?:[^\[\]]|{inner}|\[[^\[\]]*\])*\]\]", re.IGNORECASE)


def _without_reference_sections(text: str) -> str:
    """Remove headings, and sections (with their subsections) that are lists of references or links."""
    kept = []
    dropping = 0  # level of the section being dropped; 0 = none
    start = 0
    for heading in _HEADING.finditer(text):
        if not dropping:
            kept.append(text[start : heading.start()])
        start = heading.end()
        level = len(heading[1])
        if not dropping or level <= dropping:
            title = tidy(_LEFTOVER.sub("", heading[2])).casefold().rstrip(":")
            dropping = level if title in DROPPED_SECTIONS else 0
    if not dropping:
        kept.append(text[start:])
    return "\n".join(kept)


def _fix(line: str) -> str:
    """Remove empty brackets, stray commas and unparsed markup around removed constructs."""
    line = _LEFTOVER.sub("", line) if _LEFTOVER.search(line) else line
    line = _EMPTY_BRACKETS.sub("", _OPEN_BRACKET.sub("(", tidy(line)))
    return tidy(_DOUBLE_COMMA.sub(",", _BEFORE_MARK.sub("", line)))


_FIRST_ARGUMENT = names(
    """nowrap; nobr; small; smaller; big; larger; sc; vanchor; visible anchor; quote; blockquote; cquote;
    quotation; abbr; tooltip; val; nihongo; angbr; angle bracket; math; mvar; strong; em; code; mono; keypress;
    key press; linktext; okina"""
)
_LAST_ARGUMENT = names("lang; transl; transliteration; script")
_SYMBOLS = {
    **dict.fromkeys(("nbsp", "space", "spaces", "thinsp", "·", "•", "dot", "bullet"), " "),
    **dict.fromkeys(("ndash", "spaced ndash", "snd", "spnd", "spaced en dash", "en dash", "–"), " – "),
    **dict.fromkeys(("mdash", "em dash", "—", "spaced em dash"), " — "),
    "'s": "'s",
    "'": "'",
    "=": "=",
}
_RANGE_WORDS = frozenset(("to", "and", "or", "by", "x", "-", "–", "+/-", "±"))


def _write_out(match: re.Match[str]) -> str:
    """Return the text of an inline template, "" for other templates."""
    name, *arguments = _ARGUMENT.split(match[1])
    name = name.strip().replace("_", " ").lower()
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    values = [value for argument in arguments if (value := _positional(argument)) is not None]
    if not values:
        return ""
    if name in ("convert", "cvt"):
        has_range = len(values) > 3 and values[1] in _RANGE_WORDS  # 5|to|10|km → "5 to 10 km", else 5|km|mi → "5 km"
        return " ".join(values[: 4 if has_range else 2])
    if name in _FIRST_ARGUMENT or name.startswith("lang-"):
        return values[0]
    if name in _LAST_ARGUMENT:
        return values[-1]
    return _phrase(name, values)


def _positional(argument: str) -> str | None:
    """Return the value of an unnamed (or numbered) argument, None for a named one."""
    key, equals, value = argument.partition("=")
    if not equals or "[" in key or "<" in key:
        return argument.strip()
    return value.strip() if key.strip().isdigit() or key.strip() == "text" else None


def _phrase(name: str, values: list[str]) -> str:
    if name == "frac":
        return "/".join(values[:3]) if len(values) < 3 else f"{values[0]} {values[1]}/{values[2]}"
    if name == "as of":
        return f"As of {values[0]}"
    if name in ("circa", "c.", "c"):
        return f"c. {values[0]}"
    if name == "chem":
        return "".join(values)
    return ""
