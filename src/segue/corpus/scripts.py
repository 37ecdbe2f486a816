"""The script of a text, and the scripts that a language is written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

_LANGUAGES = {
    "Arabic": "ar fa ur ps sd ug ks ku pa kk az uz ms ha tk arz ary apc ckb pnb azb mzn glk lrc bal skr",
    "Armenian": "hy hyw",
    "Bengali": "bn as bpy mni",
    "Canadian": "iu cr oj",
    "Cyrillic": "ru uk be bg mk sr bs kk ky tg mn tt ba cv ce os ab av kv cu az uz tk ku sah tyv udm myv mdf mhr mrj "
    "bua xal rue lez kbd ady lbe inh krc kum nog alt",
    "Devanagari": "hi mr ne sa ks sd bh mai bho new awa gom doi hne mag anp dty",
    "Ethiopic": "am ti tig gez",
    "Georgian": "ka xmf",
    "Greek": "el grc",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han and kana": "zh ja yue wuu gan hak hsn lzh cdo",
    "Hangul": "ko",
    "Hebrew": "he iw yi ji lad",
    "Kannada": "kn tcy",
    "Khmer": "km",
    "Lao": "lo",
    "Latin": "sr bs kk az uz tk ku ms ha mn tt iu cr oj",
    "Malayalam": "ml",
    "Mongolian": "mn",
    "Myanmar": "my shn mnw",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thaana": "dv",
    "Thai": "th",
    "Tibetan": "bo dz",
    "Yi": "ii",
}
"""Languages by script, as ISO 639 codes (likely and further scripts of CLDR); two letters not named here are Latin."""

_HAN_AND_KANA = {"Cjk", "Hiragana", "Katakana", "Bopomofo"}


def main_script(texts: Iterable[str]) -> tuple[str, float]:
    """Return the script of most letters and its share of all letters; an empty name where there are none.

    >>> main_script(["हिन्दी में", "C"])
    ('Devanagari', 0.8)
    """
    count: Counter[str] = Counter()
    for character, times in Counter(character for text in texts for character in text).items():
        if character.isalpha():
            script = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0].capitalize()
            count["Han and kana" if script in _HAN_AND_KANA else script] += times
    script, times = max(count.items(), key=lambda item: item[1], default=("", 0))
    return script, times / max(1, count.total())


def scripts_of(language: str) -> frozenset[str]:
    """Return the scripts that a language is written in; none where they are not known.

    >>> sorted(scripts_of("en")), sorted(scripts_of("sr")), sorted(scripts_of("zh-TW"))
    (['Latin'], ['Cyrillic', 'Latin'], ['Han and kana'])
    """
    code = language.lower().partition("-")[0]
    known = frozenset(script for script, codes in _LANGUAGES.items() if code in codes.split())
    return known or (frozenset({"Latin"}) if len(code) == 2 else known)


def a_language_of(script: str) -> str:
    """Return the code of a language that is written in a script, for examples; "en" for an unknown one.

    >>> a_language_of("Thai")
    'th'
    """
    return _LANGUAGES.get(script, "en").split()[0] if script != "Latin" else "en"
