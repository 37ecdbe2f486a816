"""Words are what people see as words, in any script; English words are those of the pattern of version 0.1."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.corpus.words import long_words, normalise_text, visible, words

INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u2060\ufeff\ufe0f\u034f\U000e0100"
ENGLISH = re.compile(r"(?u)\b\w\w+\b")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी में लिखो। क्या है?", "हिन्दी में लिखो क्या है"),
        ("வணக்கம், உலகம்!", "வணக்கம் உலகம்"),
        ("اللغة العربية؛ كِتَابٌ ١٢٣", "اللغة العربية كِتَابٌ ١٢٣"),
        ("שלום עולם", "שלום עולם"),
        ("Die Straße, naïve Übergröße: STRASSE", "die strasse naïve übergrösse strasse"),
        ("Ελληνικός ΛΌΓΟΣ", "ελληνικόσ λόγοσ"),  # the final sigma is folded
        ("nước Việt Nam", "nước việt nam"),
        ("한국어 물", "한국어 물"),
        ("it's be-all end_all 3.14", "it s be all end_all 3 14"),
        ("ภาษาไทย", "ภา าษ ษา าไ ไท ทย"),  # leading and following vowels are letters of their own
        ("ที่นี่ 2 คน", "ที่นี่ 2 คน"),  # marks stay with their letter: two characters are one pair
        ("ພາສາລາວ", "ພາ າສ ສາ າລ ລາ າວ"),
        ("ខ្មែរ", "ខ្មែ មែរ"),
        ("雪是白的。水", "雪是 是白 白的 水"),
        ("ひらがな・カタカナー", "ひら らが がな カタ タカ カナ ナー"),
        ("ｱｲｳ ＡＢＣ", "アイ イウ abc"),  # half and full width
        ("iPhone手机12部", "iphone 手机 12 部"),
        ("", ""),
        ("\u0301 \u200b", ""),  # marks without a letter
    ],
)
def test_words_by_hand(text, expected):
    assert words(text) == expected.split()


def test_words_of_two_letters_or_more():
    assert long_words("I am 9 水 물 น x2 व का") == ["am", "水", "물", "x2", "का"]


@given(st.text(st.sampled_from("éàüñकाहिन्दीน้ำที่가각がプ" + "ab "), max_size=20), st.sampled_from(["NFD", "NFC", "NFKD"]))
@settings(deadline=None, max_examples=60)
def test_composed_and_decomposed_letters_are_the_same_words(text, form):
    assert words(unicodedata.normalize(form, text)) == words(text)
    assert normalise_text(unicodedata.normalize(form, text)) == normalise_text(text)


@given(st.text(st.sampled_from("aé हि雪น "), min_size=1, max_size=12), st.data())
@settings(deadline=None, max_examples=60)
def test_invisible_characters_do_not_count(text, data):
    place = data.draw(st.integers(0, len(text)))
    other = text[:place] + data.draw(st.sampled_from(INVISIBLE)) + text[place:]
    assert words(other) == words(text)
    assert normalise_text(other) == normalise_text(text)
    assert visible(other) == visible(text)


def runs_of_word_characters(text):
    """Return maximal runs of letters, marks, decimal digits and connectors that begin with no mark, one by one."""
    found, run = [], ""
    for character in [*text, " "]:
        kind = unicodedata.category(character)
        if kind[0] == "L" or kind in ("Nd", "Pc") or (kind[0] == "M" and run):
            run += character
        elif run:
            found, run = [*found, run], ""
    return found


WITH_SPACES = "".join(
    map(chr, [*range(0x20, 0x7F), *range(0xE0, 0xF7), *range(0x430, 0x450), *range(0x5D0, 0x5EB), *range(0x620, 0x653),
              *range(0x900, 0x970), 0x301, 0x2014, 0x2019])
)  # fmt: skip


@given(st.text(st.sampled_from(WITH_SPACES), max_size=40))
@settings(deadline=None, max_examples=150)
def test_words_of_scripts_with_spaces_equal_a_naive_loop(text):
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert words(text) == runs_of_word_characters(folded)


def test_english_words_are_those_of_the_old_pattern():
    """The project's own pages, without the few fractions, powers and circumflexes of formulas."""
    pages = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    text = " ".join(path.read_text(encoding="utf-8") for path in pages)
    text = re.sub("[½\u0302⁰¹²³⁴⁵⁶⁷⁸⁹]", " ", text)
    assert len(text) > 50_000
    assert long_words(text) == ENGLISH.findall(text.lower())
    assert words(text) == re.findall(r"\w+", text.casefold())


@given(st.text())
@settings(deadline=None, max_examples=100)
def test_normalising_twice_changes_nothing(text):
    assert normalise_text(normalise_text(text)) == normalise_text(text)


def test_case_width_ligatures_and_white_space_do_not_tell_passages_apart():
    assert normalise_text("Ｔhe\u00a0ﬁrst\n STRASSE ") == normalise_text("the first straße")
    assert normalise_text("Snow.") != normalise_text("Snow")


def test_names_are_compared_by_what_is_seen():
    assert visible("cafe\u0301\u200b") == "café"
    assert visible("Café") != visible("café")
