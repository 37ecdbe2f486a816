"""Passages hold every sentence once, in order, within their lengths; and are the same every time."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segue.corpus import passages
from segue.corpus.passages import PassageSettings, cut
from segue.types import Document, Passage

words = st.sampled_from(
    ["a", "snow", "Dr.", "e.g.", "(it", "so)", "3.5", "clause,", "雪。", "…", "U.S.", "x" * 90, "y" * 700]
)
sentences = st.builds(
    lambda w, end: " ".join(w) + end, st.lists(words, min_size=1, max_size=40), st.sampled_from(".! ")
)
paragraphs = st.lists(st.lists(sentences, max_size=5).map(" ".join), max_size=6).map(tuple)
any_text = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5).map(tuple)
lengths = st.builds(
    lambda target, share: PassageSettings(target_characters=target, minimum_characters=max(1, int(target * share))),
    st.integers(40, 500),
    st.floats(0, 0.5),
)


def bare(text):
    return "".join(text.split())


def texts(*paragraphs, **settings):
    return [passage.text for passage in cut(Document("d", "D", paragraphs), PassageSettings(**settings))]


@given(paragraphs | any_text, lengths)
@settings(deadline=None, max_examples=100)
def test_no_text_is_lost_doubled_or_moved(paragraphs, lengths):
    passages = cut(Document("d", "D", paragraphs), lengths)
    whole = bare("".join(unicodedata.normalize("NFC", paragraph) for paragraph in paragraphs))
    kept = bare("".join(passage.text for passage in passages))
    assert kept == whole or (not passages and len(whole) < lengths.minimum_characters)


@given(paragraphs, lengths)
@settings(deadline=None, max_examples=100)
def test_lengths_stay_within_what_is_promised(paragraphs, lengths):
    cut_texts = [passage.text for passage in cut(Document("d", "D", paragraphs), lengths)]
    assert all(text == " ".join(text.split()) for text in cut_texts)
    # Two targets for one long sentence, and a remainder shorter than the minimum on either side of it.
    assert all(len(text) <= 2 * lengths.target_characters + 2 * lengths.minimum_characters + 2 for text in cut_texts)
    if len(cut_texts) > 1:
        assert all(len(text) >= lengths.minimum_characters for text in cut_texts)


@given(paragraphs, lengths, st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_positions_count_up_and_a_maximum_keeps_the_first(paragraphs, lengths, maximum):
    document = Document("d", "D", paragraphs)
    every = cut(document, lengths)
    assert [passage.position for passage in every] == list(range(len(every)))
    assert {passage.document_id for passage in every} <= {"d"}
    assert cut(document, lengths.model_copy(update={"maximum_passages": maximum})) == every[:maximum]


def test_passages_are_the_nearest_to_the_target_that_whole_sentences_allow():
    # Sentences of 20 characters with their space: 5 make 100, a sixth would lead away from the target.
    paragraph = "Abcdef ghijk lmnopq. " * 12
    assert [len(text) for text in texts(paragraph, target_characters=100)] == [104, 104, 41]


def test_passages_end_where_sentences_end_not_at_abbreviations():
    paragraph = "Dr. Smith met Mr. Jones in Washington, D.C. on Jan. 5, e.g. for talks. " * 6
    assert all(text.endswith("for talks.") for text in texts(paragraph, target_characters=80))


def test_short_paragraphs_share_a_passage_and_a_long_one_ends_it():
    assert texts("One is short.", "Two is short.", target_characters=100, minimum_characters=5) == [
        "One is short. Two is short."
    ]
    long = "This paragraph has a little more than three quarters of the target, so it ends."
    assert texts(long, "Next one.", "And " * 20 + "so on.", target_characters=100)[0] == long


def test_a_short_tail_joins_the_passage_before_it():
    long = "This paragraph has a little more than three quarters of the target, so it ends."
    assert texts(long, "A tail is short.", target_characters=100, minimum_characters=5) == [f"{long} A tail is short."]


def test_a_single_long_sentence_stays_whole_up_to_two_targets():
    sentence = "Word " * 38 + "end."  # 194 characters
    assert texts(sentence, target_characters=100) == [sentence]


@pytest.mark.parametrize(
    ("sentence", "first_ends"),
    [
        ("word " * 10 + "clause, " + "word " * 60 + "end.", "clause,"),
        ("word " * 70 + "end.", "word"),
        ("x" * 500, "x" * 150),
    ],
)
def test_longer_sentences_are_divided_at_a_clause_a_space_or_anywhere(sentence, first_ends):
    pieces = texts(sentence, target_characters=100)
    assert pieces[0].endswith(first_ends)
    assert all(len(piece) <= 200 for piece in pieces)
    assert bare("".join(pieces)) == bare(sentence)


def test_a_long_paragraph_is_searched_in_parts_and_no_sentence_is_cut(monkeypatch):
    paragraph = "".join(
        f"Sentence {n} has some words, and not always as many{' as this' * (n % 5)}. " for n in range(400)
    )
    whole = texts(paragraph, target_characters=100)
    monkeypatch.setattr(passages, "SEARCHED_AT_ONCE", 10**9)
    assert len(paragraph) > 20_000
    assert whole == texts(paragraph, target_characters=100)
    assert all(text.endswith(".") for text in whole)


def test_documents_shorter_than_the_minimum_and_empty_ones_give_no_passage():
    assert texts("Too short.", minimum_characters=40) == []
    assert texts() == []
    assert texts(" ", "\n") == []


def test_languages_have_their_own_sentence_ends():
    german = "Am 3. Oktober war es z.B. in Berlin so. " * 8
    assert all(text.endswith("so.") for text in texts(german, target_characters=60, language="de"))
    japanese = "これは文です。" * 40  # 15 letters each: 4 of Han, 10 of kana, the mark
    assert texts(japanese, target_characters=70, language="ja")[0] == "これは文です。" * 5


def test_passages_hold_composed_letters_whatever_form_they_were_read_in():
    decomposed = unicodedata.normalize("NFD", "Crème brûlée is a dessert of cream and eggs.")
    assert texts(decomposed) == ["Crème brûlée is a dessert of cream and eggs."]
    assert texts(decomposed)[0] == unicodedata.normalize("NFC", decomposed)


def test_another_process_with_another_hash_seed_cuts_alike():
    code = (
        "from segue.corpus.passages import *; from segue.types import Document;"
        "print([p.text for p in cut(Document('d', 'D', ('It snows, e.g. in Oslo. ' * 30,)), PassageSettings())])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_characters": 0},
        {"language": "English!"},
        {"maximum_passages": 0},
        {"size": 1},
        {"minimum_characters": 201},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        PassageSettings(**wrong)


def test_a_passage_names_its_document_and_place():
    assert cut(Document("Albedo", "A", ("Snow reflects most of the light that falls on it.",)), PassageSettings()) == [
        Passage("Albedo", 0, "Snow reflects most of the light that falls on it.")
    ]
