"""Wikitext → paragraphs of prose, in reading order.

Constructs without prose (comments, references, formulas, tables, templates, files and categories) are removed by linear
scans first; the rest (links, styles, entities) is parsed by mwparserfromhell. Parsing the whole source would give the
same text in six times the time. Inline templates that hold a value or text (``{{convert|5|km|mi}}``) keep it; the
names of other ones inside sentences are returned beside the text.

Headings and sections of references or links are left out.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache, partial

import mwparserfromhell

from segue.corpus import mediawiki
from segue.corpus.prose import is_prose, tidy
from segue.corpus.templates import name_of, text_of

_MEDIA = mediawiki.FILES | mediawiki.CATEGORIES
_DEEPEST_NESTING = 25

_EMPTY_TAG = re.compile(r"<(?:ref|references|templatestyles)\b[^<>]*/\s*>", re.IGNORECASE)
# The contents never contain the same tag again, so that one that is not closed does not remove the prose after it.
_PAIRED_TAG = re.compile(
    r"<(ref|references|math|chem|ce|gallery|timeline|imagemap|score|syntaxhighlight|source|pre|table|hiero|graph|inputbox"
    r"|templatedata|categorytree|mapframe|maplink|indicator|includeonly|dynamicpagelist|style|rss)\b(?:[^<>]*[^<>/])?>(?:(?!<\1\b).)*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_VARIANT_FLAGS = re.compile(r"(?:\s*(?:[-+A-Z]|[a-z]{2,3}(?:-[a-z]+)*)\s*[;|])+(?<=\|)")
_HIDING_FLAGS = frozenset("HTDN-")
_PREFERRED_VARIANTS = ("zh-hans", "zh-cn", "zh", "sr-ec", "sr-cyrl")
_SINGLE_BRACKET = re.compile(r"(?<!\[)\[(?!\[)|[()]")
_VARIANT_CODE = r"(?:zh|sr|sh|kk|ku|uz|gan|tg|iu|shi|crh|wuu)(?:-[a-z]+)*"
_VARIANT_RULE = re.compile(
    rf"(?:[^;]*=>)?\s*({_VARIANT_CODE})\s*:(.*?)(?:;\s*(?=[^;]*=>|{_VARIANT_CODE}\s*:)|;?\s*\Z)", re.DOTALL
)
_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_TABLE = re.compile(r"^[ \t:*#]*\{\|(?:(?!^[ \t:*#]*\{\|).)*?^[ \t]*\|\}(?!\})", re.DOTALL | re.MULTILINE)
_OPEN_TABLE_ROW = re.compile(r"^[ \t]*(?:\{\||\|[-}+|]?|!).*$", re.MULTILINE)
_HEADING = re.compile(r"^(={1,6})[ \t]*(.+?)[ \t]*\1[ \t]*$", re.MULTILINE)
_INTERWIKI = re.compile(r"\[\[(?:[a-z]{2,3}(?:-[a-z]+){0,2}|simple):[^\[\]|]*\]\]")
_COLON_LINK = re.compile(r"\[\[\s*:(?=[^\[\]|]*\]\])")
_PAIRS = (
    re.compile(r"(\[\[)|\]\]"),
    re.compile(r"(\{\{)|\}\}"),
    re.compile(r"((?<!\[)\[(?!\[))|(?<!\])\](?!\])"),
)
"""Marks that open a construct, as group 1, and those that close it."""
_LONG_TAG, _TAG_BEGIN = re.compile(r"</?[a-zA-Z][^<>]*>"), re.compile(r"<(?=[/a-zA-Z])")
_LIST_MARKS, _MOST_LIST_MARKS = re.compile(r"^[*#:;]+", re.MULTILINE), 1000
_MOST_OPEN, _MOST_TAGS = 100, 10  # the parser reads on after each of them; after a tag 20 times as slowly
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")
_MAGIC_WORD = re.compile(r"__[^\s_]+(?:_[^\s_]+)*__")
_BREAK = re.compile(r"<br\b[^<>]*>", re.IGNORECASE)
_POWER = re.compile(r"(?<=\d)<sup>\s*([-−+]?\d+)\s*</sup>", re.IGNORECASE)
_LEFTOVER = re.compile(r"'{2,}|\[\[|\]\]|\{\{+|\}\}+|</?[a-zA-Z][^<>]{0,300}>")

# What stays around a removed construct: "()", "(, born 1950)", "value , and".
_EMPTY_BRACKETS = re.compile(r"\(\s*[,;:–،؛-]*\s*\)|（\s*[,;:–，、；：-]*\s*）|\[\s*\]")
_OPEN_BRACKET = re.compile(r"([(（])(?:\s*(?:[,;，、；：،؛]\s*)+|\s+)")
_BEFORE_MARK = re.compile(r"\s+(?=[,)，。、；：）،؛؟۔।]|\.(?!\d|\.))")
_COMMA_AT_BRACKET = re.compile(r"[，、；،؛]\s*(?=[)）])")
_DOUBLE_COMMA = re.compile(r"([,，、،])(?:\s*\1)+")
_FIRST_MARK, _LAST_MARK = 0xD800, 0xDFFF  # half characters, which no text holds, stand for dropped templates
_MARKS = re.compile(r"[\ud800-\udfff]")
_FRACTION = re.compile(r"\d+/\d+")
_ENDS_OF_WORDS = frozenset('0123456789.,;:!?)]"”»')


def paragraphs(source: str, *, media: frozenset[str] = _MEDIA) -> tuple[str, ...]:
    """Return the paragraphs of an article. See ``read``.

    >>> paragraphs("'''Snow''' is [[ice|frozen water]]<ref>A book.</ref>.\\n== See also ==\\n* [[Rain]]")
    ('Snow is frozen water.',)
    """
    return read(source, media=media)[0]


def read(source: str, *, media: frozenset[str] = _MEDIA) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paragraphs of an article, and the names of the templates that were dropped inside them.

    Args:
        source: the wikitext.
        media: names of the namespaces of files and categories, in lower case.

    >>> read("Snow lies {{depth of|Oslo}} deep in the north.")
    (('Snow lies deep in the north.',), ('{{depth of}}',))
    """
    unknown: dict[str, str] = {}
    kept = _without_reference_sections(_cut(source, media, unknown))
    dropped: tuple[str, ...] = ()
    if unknown:
        marked = "".join(
            line for line in kept.split("\n") if _MARKS.search(line) and is_prose(tidy(_MARKS.sub("", line)))
        )
        names = {mark: name for name, mark in unknown.items()}
        dropped = tuple(names[mark] for mark in _MARKS.findall(marked))
        kept = _MARKS.sub("", kept)
    text = str(mwparserfromhell.parse(_without_open(kept)).strip_code())
    lines = (_fix(line) for line in text.split("\n"))
    return tuple(line for line in lines if is_prose(line)), dropped


def _cut(source: str, media: frozenset[str], unknown: dict[str, str]) -> str:
    """Remove what holds no prose; nested constructs from the inside out. Adds unknown templates, and their marks."""
    text = _EMPTY_TAG.sub("", _without_comments(source))
    text = _until_stable(_PAIRED_TAG, "", text)
    for _ in range(_DEEPEST_NESTING):
        before = text
        text = _VARIANT.sub(_variant, text) if "-{" in text else text
        text = _TABLE.sub("", _TEMPLATE.sub(partial(_write_out, unknown=unknown), text))
        if text == before:
            break
    text = _OPEN_TABLE_ROW.sub("", text)
    text = _until_stable(_media_link(media), "", text)
    text = _COLON_LINK.sub("[[", _INTERWIKI.sub("", text))
    return _TAG.sub("", _MAGIC_WORD.sub(_magic_word, _BREAK.sub(" ", _POWER.sub(r"^\1", text))))


def _write_out(template: re.Match[str], unknown: dict[str, str]) -> str:
    """Return the text of a template; a mark where it is not known and the template is part of a sentence."""
    whole, start, end = template.string, template.start(), template.end()
    before, after = whole[start - 1] if start else "\n", whole[end : end + 2].lstrip(" ")[:1]
    at_word = before.lower() != before.upper() or before in _ENDS_OF_WORDS or whole.endswith("''", 0, start)
    text = text_of(template[1], is_apart=not at_word)
    if text is not None:
        return f" {text}" if before.isdigit() and _FRACTION.fullmatch(text) else text
    if before == "\n" and not after.isalnum():
        return ""
    name = f"{{{{{_MARKS.sub('', name_of(template[1]))[:60]}}}}}"
    return unknown.setdefault(name, chr(min(_FIRST_MARK + len(unknown), _LAST_MARK)))


def _variant(markup: re.Match[str]) -> str:
    """Return the text of ``-{zh-hans:…; zh-hant:…}-`` in one variant; "" for a rule that shows nothing."""
    known = _VARIANT_FLAGS.match(markup[1])
    flags = {flag.strip() for flag in known[0].rstrip("|").split(";")} if known else set()
    rules = markup[1][known.end() :] if known else markup[1]
    if flags & _HIDING_FLAGS:
        return ""
    texts = dict(_VARIANT_RULE.findall(rules))
    if texts and "R" not in flags:
        return next((texts[code] for code in _PREFERRED_VARIANTS if code in texts), next(iter(texts.values()))).strip()
    # Names of chemicals hold such braces too: 4-{[4-(methyl)phenyl]amino}-1H
    return rules if known or not _SINGLE_BRACKET.search(rules) else markup[0]


def _magic_word(word: re.Match[str]) -> str:
    """Remove ``__NOTOC__`` in any language; what is in lower case is text, such as ``__init__``."""
    return "" if word[0] == word[0].upper() else word[0]


def _without_comments(text: str) -> str:
    """Remove comments; of one that is not closed only the mark."""
    kept = []
    end = 0
    while (start := text.find("<!--", end)) >= 0 and (close := text.find("-->", start)) >= 0:
        kept.append(text[end:start])
        end = close + 3
    return "".join((*kept, text[end:].replace("<!--", "")))


def _without_open(text: str) -> str:
    """Remove marks such as ``[[`` that nothing closes where there are many: the parser reads on after each of them.

    Marks of list entries, which the parser only removes, are removed where there are many, too.
    """
    if sum(map(len, _LIST_MARKS.findall(text))) > _MOST_LIST_MARKS:
        text = _LIST_MARKS.sub("", text)
    if len(_TAG_BEGIN.findall(text)) > _MOST_TAGS:
        text = _TAG_BEGIN.sub("", _LONG_TAG.sub("", text))
    for pair in _PAIRS:
        opened: list[re.Match[str]] = []
        for found in pair.finditer(text):
            if found[1]:
                opened.append(found)
            elif opened:
                opened.pop()
        if len(opened) > _MOST_OPEN:
            starts, ends = [0, *(found.end() for found in opened)], [*(found.start() for found in opened), len(text)]
            text = "".join(text[start:end] for start, end in zip(starts, ends, strict=True))
    return text


def _until_stable(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """Substitute until nothing is found, so that nested constructs are removed too."""
    for _ in range(_DEEPEST_NESTING):
        text, found = pattern.subn(replacement, text)
        if not found:
            break
    return text


@lru_cache(maxsize=4)
def _media_link(media: frozenset[str]) -> re.Pattern[str]:
    """Return the pattern of ``[[File: …]]`` with links, but no other file, in its caption.

    A file is known by its namespace, or by its ending where the namespace has another name: ``[[Datotêka:A.jpg|…]]``.
    """
    names = "|".join(re.escape(name).replace("\\ ", "[ _]") for name in sorted(media))
    by_ending = rf"[^:]+:[^\[\]|:\n]{{1,240}}\.(?:{mediawiki.MEDIA_ENDINGS})\s*(?=\||\]\])"
    opening = rf"\s*(?=[^\[\]|:\n]{{1,40}}:)(?:(?:{names})\s*:|{by_ending})"  # first of all: is there a colon?
    inner = rf"\[\[(?!{opening})[^\[\]]*\]\]"
    return re.compile(rf"\[\[{opening}(?:[^\[\]]|{inner}|\[[^\[\]]*\])*\]\]", re.IGNORECASE)


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
            title = unicodedata.normalize("NFC", tidy(_MARKS.sub("", _LEFTOVER.sub("", heading[2]))))
            title = title.casefold().rstrip(":")
            dropping = level if title in mediawiki.SECTIONS_WITHOUT_PROSE else 0
    if not dropping:
        kept.append(text[start:])
    return "\n".join(kept)


def _fix(line: str) -> str:
    """Remove empty brackets, stray commas and unparsed markup around removed constructs."""
    line = _LEFTOVER.sub("", line) if _LEFTOVER.search(line) else line
    line = _EMPTY_BRACKETS.sub("", _OPEN_BRACKET.sub(r"\1", tidy(line)))
    line = tidy(_DOUBLE_COMMA.sub(r"\1", _BEFORE_MARK.sub("", line)))
    return line if line.isascii() else _COMMA_AT_BRACKET.sub("", line)
