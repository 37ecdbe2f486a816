"""Words of a text, and the forms in which texts and names are compared: what people see, not how it is stored.

A word is a run of letters, marks, digits and underscores (the property *word* of UTS #18), so a vowel sign stays in its
word. Han, kana, Thai, Lao, Khmer, Myanmar and the other scripts without spaces give pairs of neighbouring
characters, each with its marks: no dictionary, and the same on every machine. Apostrophes end a word, as in English
retrieval. Letter case, compatibility forms (NFKC) and default-ignorable characters (soft hyphens, zero-width spaces and
joiners, byte order marks, variation selectors) make no difference, composed and decomposed letters are the same.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import regex

from segue.corpus.prose import letters

_WORD = re.compile(r"\w+")
_ELSEWHERE = re.compile("[^\0-\u02ff\u0370-\u0482\u1e00-\u203e]")
"""What stands in no text of Latin, Greek and Cyrillic letters; in these ``re`` finds the same words, and faster."""
_SPACELESS = r"[\p{Ideographic}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{lb=SA}&&\w--\p{M}]"


def words(text: str) -> list[str]:
    """Return the words of a text in order, case folded.

    >>> words("It’s a naïve be-all."), words("हिन्दी में लिखो।"), words("雪是白的, OK?")
    (['it', 's', 'a', 'naïve', 'be', 'all'], ['हिन्दी', 'में', 'लिखो'], ['雪是', '是白', '白的', 'ok'])
    """
    folded = fold(text)
    if folded.isascii() or _ELSEWHERE.search(folded) is None:
        return _WORD.findall(folded)
    if _pattern(_SPACELESS).search(folded) is None:
        return _pattern(r"[\w--\p{M}]\w*").findall(folded)
    return list(_with_pairs(folded))


def long_words(text: str) -> list[str]:
    """Return the words of two letters or more; one character of Han, kana or Hangul counts as two.

    >>> long_words("I saw 水 at A.")
    ['saw', '水', 'at']
    """
    return [word for word in words(text) if len(word) > 1 or letters(word) > 1]


def _with_pairs(folded: str) -> Iterator[str]:
    """Yield words, and the pairs of neighbouring characters of every run without spaces; a lone one as it is."""
    runs = _pattern(rf"((?:{_SPACELESS}\p{{M}}*)+)|(?:(?!{_SPACELESS})[\w--\p{{M}}]\p{{M}}*)+")
    for run in runs.finditer(folded):
        characters = _pattern(r".\p{M}*").findall(run[1]) if run[1] else [run[0]]
        yield from map("".join, pairwise(characters)) if len(characters) > 1 else characters


def normalise_text(text: str) -> str:
    r"""Return the form in which passages are compared: case folded NFKC without ignorable characters, one space each.

    Passages with the same normalised text are one candidate of a ranking.

    >>> normalise_text("  The \uFB01rst\n TI\u00ADME ")
    'the first time'
    """
    return " ".join(fold(text).split())


def fold(text: str) -> str:
    """Return a text case folded, in NFKC, without default-ignorable characters (Unicode 3.13, toNFKC_Casefold)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible(text)).casefold())


def visible(text: str) -> str:
    r"""Return a text in NFC without default-ignorable characters: how an id or a name is compared.

    >>> visible("Cafe\u0301\u200B") == "Café"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", _pattern(r"\p{DI}+").sub("", text))


@functools.cache
def _pattern(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.V1)
