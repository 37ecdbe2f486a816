"""Sentences of passages: cut by hand-made rules, encoded once, resumed after a kill, never of a foreign encoder."""

from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import HashEncoder
from worlds import make_bank, unit

from segue.bank import pieces
from segue.bank.build import build_bank
from segue.bank.changes import append, copy_bank, remove
from segue.bank.sentences import MAXIMUM_SENTENCES, build_sentences, split_sentences
from segue.errors import InputError, SpaceError, StorageError
from segue.types import Document

LONG = "This sentence has rather many words, so it can stand alone"
SIX = [f"{LONG} as number {n}." for n in range(6)]


def text_bank(encoder=None, count=23):
    """Return a bank of passages of 1 to 4 sentences, in the space of an encoder."""
    encoder = encoder or HashEncoder()
    texts = [" ".join(f"{LONG} in passage {row}, place {n}." for n in range(1 + row % 4)) for row in range(count)]
    return replace(make_bank(encoder.encode(texts), [count], texts), space=encoder.space)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pieces, "ROWS_PER_BLOCK", 5)


def naive(texts, encoder):
    """Return vectors and counts, text by text."""
    vectors, counts = [], []
    for text in texts:
        counts.append(len(split_sentences(text)))
        vectors += [encoder.vectors([sentence])[0].astype(np.float16) for sentence in split_sentences(text)]
    return np.array(vectors), np.array(counts)


def same(found, expected):
    """Compare stored vectors and counts."""
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_passage_of_up_to_six_sentences_is_cut_at_each_and_of_more_keeps_three_and_two():
    for count in range(1, 7):
        assert split_sentences(" ".join(SIX[:count])) == SIX[:count]
    nine = [f"{LONG} as number {n}." for n in range(9)]
    assert split_sentences(" ".join(nine)) == [*nine[:3], " ".join(nine[3:7]), *nine[7:]]


def test_short_pieces_join_a_neighbour_and_blank_texts_have_no_sentence():
    assert split_sentences(f"Why? {SIX[0]} Yes. {SIX[1]}") == [f"Why? {SIX[0]} Yes.", SIX[1]]
    assert split_sentences("Short.") == ["Short."]
    assert split_sentences(" \n ") == split_sentences("") == []


def test_a_long_sentence_is_divided_and_no_word_is_lost():
    text = ", ".join(f"clause number {n} of a sentence that never ends" for n in range(30))
    pieces = split_sentences(text)
    assert 1 < len(pieces) <= MAXIMUM_SENTENCES
    assert " ".join(pieces).split() == text.split()


def test_each_row_has_its_sentences_vectors_and_pads_have_none(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    sentences = build_sentences(bank, lambda: encoder, tmp_path)
    rows = np.array([22, -1, 0, 4, 4, 11])
    assert same(sentences.packed(rows), naive([bank.passage_texts[row] if row >= 0 else "" for row in rows], encoder))
    assert sentences.packed(rows)[0].dtype == np.float16
    assert [found.shape for found in sentences.packed(rows[:0])] == [(0, 8), (0,)]


def test_texts_are_encoded_as_the_bank_s_are(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    sentences = build_sentences(bank, lambda: encoder, tmp_path)
    assert same(sentences.encode(bank.passage_texts), sentences.packed(np.arange(23)))
    assert not sentences.encode([""])[1].any()


def test_a_killed_build_goes_on_behind_the_last_block_and_ends_in_the_same_bytes(tmp_path):
    bank = text_bank()
    killed, second = HashEncoder(limit=30), HashEncoder()
    with pytest.raises(KeyboardInterrupt):
        build_sentences(bank, lambda: killed, tmp_path / "killed")
    build_sentences(bank, lambda: second, tmp_path / "killed")
    whole = [sentence for text in bank.passage_texts for sentence in split_sentences(text)]
    assert killed.encoded + second.encoded == whole
    assert 0 < len(killed.encoded) < len(whole)
    build_sentences(bank, HashEncoder, tmp_path / "undisturbed")
    names = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_a_whole_build_opens_without_an_encoder(tmp_path):
    bank = text_bank()
    built = build_sentences(bank, HashEncoder, tmp_path)

    def no_encoder():
        raise AssertionError

    opened = build_sentences(bank, no_encoder, tmp_path)
    assert same(opened.packed(np.arange(23)), built.packed(np.arange(23)))


def test_progress_only_rises_and_ends_at_all_passages(tmp_path):
    seen = []
    build_sentences(text_bank(), HashEncoder, tmp_path, progress=lambda *said: seen.append(said[:2]))
    assert seen == sorted(seen)
    assert seen[-1] == (23, 23)


def test_a_foreign_encoder_is_refused(tmp_path):
    bank = text_bank(HashEncoder())
    with pytest.raises(SpaceError, match="encoder of its sentences"):
        build_sentences(bank, lambda: HashEncoder(salt="other"), tmp_path)
    foreign = text_bank(HashEncoder(salt="other"))
    build_sentences(foreign, lambda: HashEncoder(salt="other"), tmp_path)
    with pytest.raises(SpaceError, match="sentences in"):
        build_sentences(bank, HashEncoder, tmp_path)


def test_a_bank_without_texts_is_refused(tmp_path):
    with pytest.raises(InputError, match="no sentences"):
        build_sentences(make_bank(np.eye(8), [8]), HashEncoder, tmp_path)


def test_damaged_files_are_told(tmp_path):
    build_sentences(text_bank(), HashEncoder, tmp_path)
    path = next(tmp_path.glob("vectors-*.npy"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StorageError, match="delete that folder"):
        build_sentences(text_bank(), HashEncoder, tmp_path)


def test_another_bank_takes_the_vectors_of_texts_it_shares_and_encodes_the_others(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    sentences = build_sentences(bank, lambda: encoder, tmp_path)
    order = np.random.default_rng(0).permutation(23)
    texts = [bank.passage_texts[row] for row in order]
    texts[3], texts[20] = " ".join(SIX[:3]), ""
    other = replace(make_bank(bank.vectors[order], [23], texts), space=bank.space)
    encoder.encoded.clear()
    found = sentences.over(other).packed(np.arange(23))
    assert encoder.encoded == SIX[:3]
    assert same(found, naive(texts, encoder))
    with pytest.raises(SpaceError):
        sentences.over(text_bank(HashEncoder(salt="other")))


class Reader:
    """Documents of three paragraphs each."""

    def __init__(self, *names):
        self.names = names

    def read(self):
        for name in self.names:
            yield Document(name, name, tuple(f"{LONG} in {name}, {n}. " * 8 for n in range(3)))


def test_documents_that_join_a_bank_get_theirs_and_the_rest_is_kept(tmp_path):
    encoder = HashEncoder()
    bank = build_bank(Reader("a", "b", "c", "d"), encoder, tmp_path / "bank")
    build_sentences(bank, lambda: encoder, bank.path / "sentences")
    grown = append(remove(copy_bank(bank, tmp_path / "copy"), ["b"]).bank, Reader("e").read(), encoder)
    encoder.encoded.clear()
    sentences = build_sentences(grown, lambda: encoder, grown.path / "sentences")
    rows = np.arange(len(grown))
    assert len(bank) // 5 * 5 > 0
    started = [s for text in grown.texts(rows[len(bank) // 5 * 5 :]) for s in split_sentences(text)]
    assert encoder.encoded == started
    assert same(sentences.packed(rows), naive(grown.texts(rows), encoder))
    assert len(list((grown.path / "sentences").glob("vectors-*.npy"))) == -(-len(grown) // 5)
    build_sentences(bank, HashEncoder, bank.path / "sentences")  # the original still has all of its own


def test_vectors_are_of_length_one_to_what_storage_costs(tmp_path):
    sentences = build_sentences(text_bank(), HashEncoder, tmp_path)
    vectors = sentences.packed(np.arange(23))[0].astype(np.float64)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
    assert np.allclose(vectors, unit(vectors), atol=1e-3)
