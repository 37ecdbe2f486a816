"""What the encoder reads of a bank: the script against the language, unknown words, passages behind its limit."""

import re

import numpy as np
import pytest
from fake_encoder import HashEncoder

from segue.bank.bank import PassageBank, bank_info
from segue.bank.build import build_bank
from segue.bank.changes import remove
from segue.bank.text_statistics import EvenSample, TextStatistics, text_statistics_of
from segue.corpus.passages import PassageSettings
from segue.corpus.scripts import main_script, scripts_of
from segue.types import Document

HINDI = "हिन्दी में लिखा हुआ यह एक छोटा सा वाक्य है जो यहाँ समाप्त होता है।"


class CountingEncoder(HashEncoder):
    """Counts a token for each word, of which all but ASCII ones are unknown, and reads ten."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self.space, "maximum_tokens", 10)

    def count_tokens(self, texts):
        tokens = [len(text.split()) for text in texts]
        unknown = [sum(not word.isascii() for word in text.split()) for text in texts]
        return np.array(tokens), np.array(unknown)


class Documents:
    def __init__(self, *texts):
        self.texts = texts

    def read(self):
        return (Document(f"d{number}", "", (text,)) for number, text in enumerate(self.texts))


def built(folder, encoder, *texts, language="en"):
    return build_bank(Documents(*texts), encoder, folder, passages=PassageSettings(language=language))


def test_facts_are_stored_when_a_bank_is_built_and_stay_when_it_changes(tmp_path):
    texts = ("one two three four five.", "a b c d e f g h i j k l and é ü.")  # 5 and 15 tokens, 2 of 20 unknown
    bank = built(tmp_path / "bank", CountingEncoder(), *texts)
    assert bank_info(bank)["text_statistics"] == {
        "passages": 2, "script": "Latin", "script_share": 1.0, "tokens": 10.0, "unknown_share": 0.1,
        "letters_per_token": 2.8, "limit": 10, "over_limit_share": 0.5, "longest": 15,
    }  # fmt: skip
    unknown, long = bank_info(bank)["warnings"]
    assert unknown.startswith("10.0% of the tokens are unknown to the encoder")
    assert long.startswith("50% of the passages are longer than the 10 tokens that the encoder reads (up to 15)")
    assert remove(bank, ["d1"]).bank.manifest.text_statistics == bank.manifest.text_statistics


@pytest.mark.parametrize(
    ("text", "language", "warned"),
    [
        (HINDI, "en", 'language is "en", but 100% of the letters are Devanagari: .* "hi"'),
        (HINDI, "hi", None),
        (HINDI, "mr", None),
        ("This sentence is written in English.", "hi", 'language is "hi", but 100% of the letters are Latin: .* "en"'),
        ("This sentence is written in English.", "de", None),
        ("这是一个很短的中文句子，到这里就结束了。", "ja", None),
        ("这是一个很短的中文句子，到这里就结束了。", "en", "Han and kana"),
        ("Ово је кратка реченица на српском.", "sr", None),
        ("Ovo je kratka rečenica na srpskom.", "sr", None),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15.", "hi", None),
    ],
)
def test_a_language_that_the_script_contradicts_is_reported(tmp_path, text, language, warned):
    found = bank_info(built(tmp_path / "bank", HashEncoder(), text, language=language))
    assert found["text_statistics"]["tokens"] is None
    if warned is None:
        assert found["warnings"] == []
    else:
        assert re.search(warned, found["warnings"][0])


def test_an_encoder_that_cuts_words_into_letters_is_reported():
    reading = TextStatistics(1, "Thai", 1.0, tokens=99.0, unknown_share=0.0, letters_per_token=1.1)
    assert [text.partition(":")[0] for text in reading.warnings("th")] == ["the encoder knows few of the words"]
    assert reading.warnings("th")[0].partition(": ")[2].startswith("1.1 letters per token")


def test_a_bank_of_vectors_has_no_facts():
    bank = PassageBank.from_arrays(np.eye(2), ["a", "b"], [HINDI, HINDI + "!"])
    assert (bank_info(bank)["text_statistics"], bank_info(bank)["warnings"]) == (None, [])


def test_samples_are_drawn_evenly(monkeypatch):
    monkeypatch.setattr("segue.bank.text_statistics.SAMPLE", 10)
    sample = EvenSample()
    for start in range(0, 100, 7):
        sample.add(map(str, range(start, min(start + 7, 100))))
    assert sample.texts == [str(number) for number in range(0, 100, 8)]


def test_scripts_and_languages():
    assert main_script([]) == main_script(["123"]) == ("", 0.0)
    assert main_script(["Ｆｕｌｌ", "水 is"]) == ("Latin", 6 / 7)
    assert scripts_of("xyz") == frozenset()
    assert scripts_of("pa") == {"Arabic", "Gurmukhi"}
    assert text_statistics_of(HashEncoder(), []).passages == 0
