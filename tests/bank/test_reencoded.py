import dataclasses

import numpy as np
import pytest
from worlds import drift_world, unit

from segue.bank.reencoded import ReencodedBank, derived_space, reencode
from segue.encoders.space import declared_space, difference, require_same
from segue.errors import InputError, SpaceError
from segue.ranking.pool import Pool
from segue.types import Bank


def rotation(seed, dimension=16):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))[0].astype(np.float32)


def rotated(seed):
    matrix = rotation(seed)
    return lambda vectors: vectors @ matrix.T


def measured(bank):
    probes = unit(np.random.default_rng(9).standard_normal((8, bank.dimension)))
    space = dataclasses.replace(bank.space, fingerprint=probes, declared=False)
    return dataclasses.replace(bank, space=space)


def test_every_vector_goes_through_the_encoder_and_nothing_else_changes():
    bank = drift_world(documents=4)
    encoded = reencode(bank, rotated(1), name="tower")
    rows = np.array([7, 0, 59, 7])
    by_hand = np.stack([rotation(1) @ bank.vectors[row] for row in rows])
    assert isinstance(encoded, Bank)
    assert np.allclose(encoded.gather(rows), by_hand, atol=1e-6)
    blocks = list(encoded.blocks(25))
    assert [start for start, _ in blocks] == [0, 25, 50]
    assert np.array_equal(np.concatenate([block for _, block in blocks]), encoded.gather(np.arange(60)))
    assert np.array_equal(encoded.document_of, bank.document_of)
    assert encoded.texts(rows) == bank.texts(rows)
    assert encoded.passage_ids(rows) == bank.passage_ids(rows)
    assert encoded.hash != bank.hash


def test_a_space_of_its_own_by_name_where_there_is_no_fingerprint():
    bank = drift_world(documents=2)
    one, other = (reencode(bank, rotated(1), name=f"tower {digest}").space for digest in ("a1", "b2"))
    assert difference(bank.space, one) is not None
    assert difference(one, other) is not None
    with pytest.raises(SpaceError, match="are not in the same embedding space"):
        require_same(bank.space, one, "bank and tower")


def test_a_space_of_its_own_by_what_the_tower_does_to_the_fingerprint():
    bank = measured(drift_world(documents=2))
    one, other, same = (derived_space(bank.space, rotated(seed), name=f"tower {seed}") for seed in (1, 2, 1))
    assert np.allclose(one.fingerprint, bank.space.fingerprint @ rotation(1).T, atol=1e-6)
    assert difference(bank.space, one) is not None
    assert difference(one, other) is not None
    assert difference(one, same) is None
    assert difference(bank.space, derived_space(bank.space, lambda vectors: vectors, name="identity")) is None


def test_vectors_of_another_length_are_refused_except_deleted_ones():
    bank = drift_world(documents=2)

    def half(vectors):
        return vectors * np.where(np.arange(len(vectors)) == 3, 0.5, 1.0)[:, None].astype(np.float32)

    with pytest.raises(InputError, match="are not unit vectors"):
        reencode(bank, half, name="half")
    with pytest.raises(InputError, match="are not unit vectors"):
        reencode(bank, lambda vectors: vectors * np.float32("nan"), name="nan")
    alive = bank.alive.copy()
    alive[3] = False
    reencode(dataclasses.replace(bank, alive=alive), half, name="half")


def test_vectors_of_another_number_are_refused():
    bank = drift_world(documents=2)
    with pytest.raises(InputError, match="do not fit the bank"):
        ReencodedBank(bank, bank.vectors[:-1], bank.space)
    with pytest.raises(InputError, match="do not fit the bank"):
        ReencodedBank(bank, bank.vectors, declared_space("other", 8))


def test_a_pool_keeps_its_candidates_on_the_re_encoded_bank():
    bank = drift_world(documents=4)
    encoded = reencode(bank, rotated(1), name="tower")
    pool = Pool(bank, np.array([1, 3]))
    moved = pool.on(encoded)
    assert moved.bank is encoded
    assert pool.bank is bank
    assert moved.size == pool.size
    assert np.array_equal(moved.members, Pool(encoded, np.array([1, 3])).members)
