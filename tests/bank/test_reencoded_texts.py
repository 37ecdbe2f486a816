"""Texts encoded again: the encoder's own vectors, resumed after a kill, never mixed between encoders."""

import dataclasses

import numpy as np
import pytest
from fake_encoder import HashEncoder
from worlds import make_bank, noise_world, transition_world

from segue.bank import reencoded
from segue.bank.reencoded import reencode_texts
from segue.encoders.space import difference
from segue.errors import InputError

BANK = transition_world(documents=5, length=9)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(reencoded, "ROWS_PER_FILE", 10)


def test_each_row_has_its_text_s_vector_in_the_encoder_s_space(tmp_path):
    encoder = HashEncoder(salt="new")
    bank = reencode_texts(BANK, encoder, folder=tmp_path)
    assert np.array_equal(bank.gather(np.arange(45)), encoder.vectors(BANK.passage_texts))
    assert difference(bank.space, encoder.space) is None
    assert difference(bank.space, BANK.space) is not None


def test_a_killed_run_goes_on_behind_the_last_block_and_a_finished_one_encodes_nothing(tmp_path):
    killed = HashEncoder(limit=25)
    with pytest.raises(KeyboardInterrupt):
        reencode_texts(BANK, killed, folder=tmp_path)
    assert killed.encoded == BANK.passage_texts[:20]
    second, third = HashEncoder(), HashEncoder(limit=0)
    bank = reencode_texts(BANK, second, folder=tmp_path)
    assert second.encoded == BANK.passage_texts[20:]
    again = reencode_texts(BANK, third, folder=tmp_path)
    assert np.array_equal(bank.gather(np.arange(45)), again.gather(np.arange(45)))
    assert len(list(tmp_path.iterdir())) == 1


def test_two_encoders_share_a_folder(tmp_path):
    for salt in "ab":
        bank = reencode_texts(BANK, HashEncoder(salt=salt), folder=tmp_path)
        assert np.array_equal(bank.gather(np.arange(3)), HashEncoder(salt=salt).vectors(BANK.passage_texts[:3]))


def test_progress_ends_at_all_passages(tmp_path):
    seen = []
    reencode_texts(BANK, HashEncoder(), folder=tmp_path, progress=lambda *said: seen.append(said[:2]))
    assert seen == [(0, 45), (10, 45), (20, 45), (30, 45), (40, 45), (45, 45)]


def test_a_bank_without_texts_is_refused(tmp_path):
    bank = make_bank(noise_world(documents=2).vectors, [12, 12])
    with pytest.raises(InputError, match="no texts"):
        reencode_texts(bank, HashEncoder(), folder=tmp_path)


def test_a_bank_without_a_hash_is_encoded_in_memory(tmp_path):
    copies = [dataclasses.replace(BANK, hash=None) for _ in range(2)]
    copies[1] = dataclasses.replace(copies[1], passage_texts=BANK.passage_texts[::-1])
    for copy in copies:  # as long as each other, so that nothing but their texts tells them apart
        bank = reencode_texts(copy, HashEncoder(), folder=tmp_path)
        assert np.array_equal(bank.gather(np.arange(45)), HashEncoder().vectors(copy.passage_texts))
    assert list(tmp_path.iterdir()) == []
