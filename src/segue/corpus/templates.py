"""The text of templates inside sentences: values of numbers, dates and units, words of other languages, symbols.

What a template shows is written in the wiki, not in the page. So the common ones of the larger Wikipedias are known
here by name, and one of any name that is called with a number (``{{altitude|2000|m}}``) is taken for a value. The text
of others is lost; their names are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from segue.corpus.prose import names, tidy

_FIRST = names(
    """nowrap; nobr; small; smaller; big; larger; sc; vanchor; visible anchor; quote; blockquote; cquote; quotation;
    abbr; tooltip; nihongo; angbr; angle bracket; math; mvar; strong; em; code; mono; keypress; key press; linktext;
    okina; abréviation; abrev; abr; comment; citation; cita; citazione; zitat; citaat; citat; цитата; "; kapitälchen;
    versalitas; petites capitales; polytonisch; lj; esd; нобр; référence nécessaire; refnec; citation nécessaire;
    要出典範囲; ルビ; 読み仮名; formatnum"""
)
_LAST = names("lang; langx; tsl; translink; transl; transliteration; script; langue; lingua; idioma; taal; język; язык")
_SECOND = names("нп; нп2; нп3; нп4; нп5; не переведено; не переведено 2; не переведено 3; не переведено 5; iw")
_THIRD = names("le")
_CONVERT = names(
    """convert; cvt; convertir; converti; converter; convertor; converteer; konvertera; umrechnen; конвертировать;
    تحويل; حول; تبدیل; המרה; แปลงหน่วย; 변환; 換算; 单位换算; chuyển đổi; dönüştür"""
)
_DATE = names(
    "date; date-; date rép; fecha; data; datum; dato; дата; 日期; 日付; تاريخ; تاریخ; วันที่; दिनांक; 날짜; tarih; ngày"
)
_NO_TEXT = names(
    """0; !; anchor; ancre; якорь; anker; audio; clear; clarify; citation needed; cn; coord; coordinate; coordinates;
    better source; dubious; failed verification; main; respell; where; which; by whom; vague; sic; efn; fact;
    flagicon; harv; harvnb; harvsp; harvtxt; ipa; note; notetag; page needed; r; ref; ref label; refn; rp; sfn; sfnp;
    snf; when; who; isbn; issn; doi; oclc; pmid; jstor; arxiv; bibcode; api; belege; quelle; cita requerida; źródło;
    carece de fontes; citazione necessaria; нет аи; источник?; 要出典; 来源请求; 來源請求; 출처; ต้องการอ้างอิง"""
)
_NO_TEXT_BEGINNINGS = ("cite", "citation needed", "coor", "koor", "ipa", "#tag", "#invoke", "sfn", "harv")
_COMPUTED = names("age; density; pop density; densidad; densité; inflation; alter; âge; edad; idade; età; возраст")
_SYMBOLS = {
    **dict.fromkeys(("nbsp", "space", "spaces", "thinsp", "·", "•", "dot", "bullet"), " "),
    **dict.fromkeys(("ndash", "spaced ndash", "snd", "spnd", "spaced en dash", "en dash", "–"), " – "),
    **dict.fromkeys(("mdash", "em dash", "—", "spaced em dash"), " — "),
    "'s": "'s",
    "'": "'",
    "=": "=",
}
_RANGE_WORDS = names("to; and; or; by; x; -; –; +/-; ±; a; à; e; y; et; bis; und; до; и")
_FUNCTIONS = frozenset(("lc", "uc", "lcfirst", "ucfirst", "formatnum"))
_LABELS = ("lt", "label", "fr", "texte", "عر")
_UNITS = ("u", "ul", "unit", "unità", "unité")

_ARGUMENT = re.compile(r"\|(?![^\[\]]*\]\])")
_NUMBER = re.compile(r"[-+−–±~≈<>≤≥]?\s?\d[^\n]{0,40}")
_ITSELF = re.compile(r"(?:\d+|[IVX]+)(?:er|re|e|ème)(?: siècle)?")  # {{XIXe siècle}}
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_ROMAN = re.compile(r"[IVX]+")
_YEAR = re.compile(r"\d{3,4}")
_GERMAN_LANGUAGE = re.compile(r"[A-Za-z][a-z]{1,2}S")  # {{enS|snow}}


def text_of(inner: str, *, is_apart: bool = True) -> str | None:
    """Return the text of a template; "" where it holds none, None where that is not known.

    Args:
        inner: what stands between the braces, without braces in it.
        is_apart: whether no word or mark stands right before it; what stands at a word is a note, not a value.

    >>> [text_of(inner) for inner in ("convert|5|km|mi", "altitude|2000|m", "date|3|mai|1900", "formatnum:12345")]
    ['5 km', '2000 m', '3 mai 1900', '12345']
    >>> text_of("sfn|Smith|1990"), text_of("infobox snow|Snow")
    ('', None)
    """
    kind = name_of(inner)
    if kind in _SYMBOLS or kind in _NO_TEXT or kind.startswith(_NO_TEXT_BEGINNINGS):
        return _SYMBOLS.get(kind, "")
    name, *arguments = _ARGUMENT.split(inner)
    if kind.endswith(":"):
        return _of_function(kind[:-1], name.partition(":")[2].strip(), is_apart)
    values = [found for argument in arguments if (found := _positional(argument)) is not None]
    rule = _rule(kind, name.strip())
    label = _first(_named(arguments), _LABELS) if kind in _LINKS else ""
    if label or not values:
        return label or (name.strip() if _ITSELF.fullmatch(name.strip()) else "" if rule else None)
    if rule:
        return rule(values)
    if kind not in _COMPUTED and (is_apart or kind == "val") and _NUMBER.fullmatch(values[0]):
        return _measure(values[:1] if kind == "val" else values, _named(arguments))
    return None


def name_of(inner: str) -> str:
    """Return the name of a template in lower case, of a parser function with its colon.

    >>> name_of("Cite_web|url=x"), name_of("#expr: 1 + 1")
    ('cite web', '#expr:')
    """
    name, colon, _ = inner.partition("|")[0].partition(":")
    return tidy(name.replace("_", " ")).lower() + colon


def _of_function(kind: str, value: str, is_apart: bool) -> str | None:
    """Return the value of a parser function: ``formatnum`` has another name in every language."""
    is_value = kind in _FUNCTIONS or (is_apart and not kind.startswith("#") and _NUMBER.fullmatch(value))
    return value if is_value else None


def _positional(argument: str) -> str | None:
    """Return the value of an unnamed (or numbered) argument, None for a named one."""
    key, equals, value = argument.partition("=")
    if not equals or "[" in key or "<" in key:
        return argument.strip()
    return value.strip() if key.strip().isdigit() or key.strip() == "text" else None


def _named(arguments: Sequence[str]) -> dict[str, str]:
    return {key.strip(): value.strip() for key, equals, value in (a.partition("=") for a in arguments) if equals}


def _first(named: Mapping[str, str], keys: Sequence[str]) -> str:
    """Return the first value that is there, "" for none."""
    return next((named[key] for key in keys if named.get(key)), "")


def _rule(kind: str, name: str) -> Callable[[Sequence[str]], str] | None:
    """Return how the text of a known template follows from its values."""
    if kind in _RULES:
        return _RULES[kind]
    if kind.startswith("lang-") or _GERMAN_LANGUAGE.fullmatch(name):
        return _at(0)
    if kind.startswith(("link-", "internal link helper/")):
        return _at(2)
    return None


def _at(place: int) -> Callable[[Sequence[str]], str]:
    """Return the function that takes the value at a place, or the first where there is none."""
    return lambda values: (values[place] if place < len(values) else "") or values[0]


def _link(values: Sequence[str]) -> str:
    """Snow|de|Schnee → "Snow"; an older form has the language first: de|Schnee → "Schnee"."""
    return values[1] if len(values) > 1 and _LANGUAGE.fullmatch(values[0]) else values[0]


def _converted(values: Sequence[str]) -> str:
    """5|km|mi → "5 km"; 5|to|10|km → "5 to 10 km"; 5|ft|8|in → "5 ft 8 in"."""
    has_range = len(values) > 3 and values[1] in _RANGE_WORDS
    has_parts = len(values) > 3 and _NUMBER.fullmatch(values[2]) and not _NUMBER.fullmatch(values[3])
    return " ".join(values[: 4 if has_range or has_parts else 2])


def _fraction(values: Sequence[str]) -> str:
    return "/".join(values[:3]) if len(values) < 3 else f"{values[0]} {values[1]}/{values[2]}"


def _date(values: Sequence[str]) -> str:
    """3|mai|1900|en musique → "3 mai 1900"; 3 mai 1900|en musique → "3 mai 1900"."""
    return values[0] if " " in values[0] else _joined([value for value in values[:3] if value])


def _measure(values: Sequence[str], named: Mapping[str, str]) -> str:
    """2000|m → "2000 m"; 3|m|2 → "3 m^2"; 1900|5|3 → "1900-5-3"; 2|e=6|u=W → "2×10^6 W"."""
    if len(values) > 2 and not _NUMBER.fullmatch(values[1]) and re.fullmatch(r"-?[1-4]", values[2]):
        return f"{values[0]} {values[1]}^{values[2]}"
    power = f"×10^{named['e']}" if named.get("e") else ""
    return f"{_joined(values[:3])}{power} {_first(named, _UNITS)}".rstrip()


def _joined(values: Sequence[str]) -> str:
    is_date = len(values) == 3 and all(map(str.isdecimal, values)) and any(map(_YEAR.fullmatch, values))
    return ("-" if is_date else " ").join(values)


_LINKS = names("ill; interlanguage link; interlanguage link multi; illm; 仮リンク; lien; وإو")
_RULES: Mapping[str, Callable[[Sequence[str]], str]] = {
    **dict.fromkeys(_FIRST, _at(0)),
    **dict.fromkeys(_LINKS, _link),
    **dict.fromkeys(_SECOND, _at(1)),
    **dict.fromkeys(_THIRD, _at(2)),
    **dict.fromkeys(_LAST, _at(-1)),
    **dict.fromkeys(_CONVERT, _converted),
    **dict.fromkeys(("frac", "fraction", "sfrac", "bruch"), _fraction),
    **dict.fromkeys(("circa", "c.", "c"), lambda values: f"c. {values[0]}"),
    **dict.fromkeys(_DATE, _date),
    "s": lambda values: f"{values[0]}e siècle" if _ROMAN.fullmatch(values[0]) else values[0],
    "höhe": lambda values: f"{values[0]} m",
    "zahlexp": lambda values: "×10^".join(values[:2]),
    "as of": lambda values: f"As of {values[0]}",
    "chem": "".join,
}
