"""Tokens of passages: the first and the last are kept, reduced and rounded; stored as sentences are."""

from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import HashEncoder, token_number
from worlds import make_bank

from segue.bank import pieces, tokens
from segue.bank.tokens import build_tokens, fit_reduction, rounded
from segue.errors import InputError

WORDS = [f"word{n}" for n in range(300)]
LENGTHS = (0, 3, 80, 81, 200)


def text_bank(encoder):
    """Return a bank of passages of few and of many words."""
    texts = [" ".join(WORDS[row : row + LENGTHS[row % 5]]) for row in range(23)]
    return replace(make_bank(encoder.encode(texts), [23], texts), space=encoder.space)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pieces, "ROWS_PER_BLOCK", 5)
    monkeypatch.setattr(tokens, "TEXTS_AT_ONCE", 2)
    monkeypatch.setattr(tokens, "SAMPLE", 4)


def kept(text):
    words = text.split()
    return words if len(words) <= 80 else words[:32] + words[-48:]


def test_a_passage_keeps_its_first_32_and_last_48_tokens(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    stored, counts = build_tokens(bank, lambda: encoder, tmp_path).packed(np.arange(23))
    words = [word for text in bank.passage_texts for word in kept(text)]
    assert counts.tolist() == [min(80, length) for length in (LENGTHS * 5)[:23]]
    assert stored["token"].tolist() == [token_number(word) for word in words]
    reduction = np.load(next(tmp_path.glob("reduction-*.npy")))
    for word, vector in zip(words, stored["vector"], strict=True):
        exact = encoder.vectors([word])[0] @ reduction
        assert np.abs(vector - 127 * exact / np.abs(exact).max()).max() < 0.51
        assert np.abs(vector).max() == 127


def test_some_of_the_first_or_of_the_last_tokens_are_read_alone_and_new_texts_too(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    found = build_tokens(bank, lambda: encoder, tmp_path)
    rows = np.array([4, -1, 1, 0, -1])
    new = {1: " ".join(WORDS[:100]), 4: "word7 word8"}
    texts = [bank.passage_texts[4], new[1], bank.passage_texts[1], "", new[4]]
    for first, last, cut in ((32, None, slice(32)), (None, 48, slice(-48, None)), (None, None, slice(None))):
        stored, counts = found.packed(rows, new, first=first, last=last)
        words = [kept(text)[cut] for text in texts]
        assert counts.tolist() == [len(some) for some in words]
        assert stored["token"].tolist() == [token_number(word) for some in words for word in some]


def test_a_killed_build_ends_in_the_same_bytes(tmp_path):
    bank = text_bank(HashEncoder())
    killed, second = HashEncoder(limit=20), HashEncoder()
    with pytest.raises(KeyboardInterrupt):
        build_tokens(bank, lambda: killed, tmp_path / "killed")
    build_tokens(bank, lambda: second, tmp_path / "killed")
    assert len(killed.encoded) + len(second.encoded) < 2 * 23
    build_tokens(bank, HashEncoder, tmp_path / "undisturbed")
    names = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_a_grown_bank_keeps_the_reduction_and_the_whole_blocks(tmp_path):
    encoder = HashEncoder()
    bank = text_bank(encoder)
    before = build_tokens(bank, lambda: encoder, tmp_path).packed(np.arange(20))
    texts = [*bank.passage_texts, "word250 word251"]
    grown = replace(make_bank(encoder.encode(texts), [23, 1], texts), space=encoder.space)
    encoder.encoded.clear()
    after = build_tokens(grown, lambda: encoder, tmp_path)
    assert encoder.encoded == texts[20:]
    assert all(np.array_equal(one, other) for one, other in zip(after.packed(np.arange(20)), before, strict=True))
    assert len(list(tmp_path.glob("reduction-*.npy"))) == 1


def test_the_reduction_keeps_cosines_of_vectors_of_few_directions():
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((400, 60)) @ generator.standard_normal((60, 96))
    reduced = vectors @ fit_reduction(vectors)
    assert reduced.shape == (400, 64)
    unit, stored = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (vectors, rounded(reduced)))
    assert np.abs(unit @ unit.T - stored @ stored.T).max() < 0.02
    assert rounded(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_an_encoder_without_tokens_is_refused(tmp_path):
    encoder = HashEncoder()

    class Sealed:
        space, encode = encoder.space, encoder.encode

    with pytest.raises(InputError, match="no vectors of tokens"):
        build_tokens(text_bank(encoder), Sealed, tmp_path)
