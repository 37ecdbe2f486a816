"""Adding, deleting, copying: rows keep their numbers, and a bank is never half-changed."""

import numpy as np
import pytest
from fake_encoder import HashEncoder

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.build import build_bank
from segue.bank.changes import append, copy_bank, remove
from segue.corpus.passages import PassageSettings
from segue.errors import InputError, SpaceError
from segue.types import Document, Skipped

SHARED = "This sentence stands in documents of both batches alike."


class ListReader:
    def __init__(self, items) -> None:
        self.items = items

    def read(self):
        yield from self.items


def documents(prefix: str, count: int) -> list[Document]:
    own = "This sentence of document {} {} stands nowhere else at all."
    return [Document(f"{prefix}{n}", "", (own.format(prefix, n), SHARED)) for n in range(count)]


@pytest.fixture
def bank(tmp_path) -> PassageBank:
    passages = PassageSettings(target_characters=60, minimum_characters=20)
    settings = BankSettings(shard_passages=4)
    return build_bank(
        ListReader(documents("old", 5)), HashEncoder(), tmp_path / "b", passages=passages, settings=settings
    )


def test_added_passages_come_last_and_join_the_groups_of_their_texts(bank):
    grown = append(bank, [Skipped("x", "redirect"), *documents("new", 3)], HashEncoder())
    assert len(grown) == len(bank) + 6 == 16
    old = np.arange(len(bank))
    np.testing.assert_array_equal(grown.gather(old), bank.gather(old))
    assert grown.document_ids == [*bank.document_ids, "new0", "new1", "new2"]
    assert grown.texts(np.array([10, 11])) == [documents("new", 1)[0].paragraphs[0], SHARED]
    assert grown.duplicate_group[10:].tolist() == [10, 1, 12, 1, 14, 1]
    assert grown.position[10:].tolist() == [0, 1] * 3
    assert grown.counts.skipped == {"redirect": 1}
    assert grown.hash != bank.hash
    PassageBank.open(bank.path, verify=True)


def test_the_total_of_an_addition_counts_the_bank(bank):
    """3 documents of 2 passages come to 10, in a shard of 4 and one of 2; all are read before the first is encoded."""
    seen = []
    append(bank, documents("new", 3), HashEncoder(), progress=lambda *said: seen.append(said[:2]))
    assert seen == [(14, 16), (16, 16)]


def test_an_interrupted_addition_leaves_the_bank_as_it_was(bank):
    with pytest.raises(KeyboardInterrupt):
        append(bank, documents("new", 6), HashEncoder(limit=8))
    assert (bank.path / "shard-00004.json").exists()
    same = PassageBank.open(bank.path, verify=True)
    assert same.manifest.to_json() == bank.manifest.to_json()
    assert same.document_ids == bank.document_ids
    grown = append(bank, documents("other", 1), HashEncoder())
    assert len(grown) == len(bank) + 2
    assert not (bank.path / "shard-00004.json").exists()


def test_a_bank_whose_manifest_was_not_yet_replaced_is_the_old_one(bank):
    before = (bank.path / "manifest.json").read_bytes()
    append(bank, documents("new", 2), HashEncoder())
    (bank.path / "manifest.json").write_bytes(before)
    old = PassageBank.open(bank.path, verify=True)
    assert old.document_ids == bank.document_ids
    assert len(append(old, documents("newer", 1), HashEncoder())) == len(bank) + 2
    assert PassageBank.open(bank.path, verify=True).document_ids == [*bank.document_ids, "newer0"]


def test_what_cannot_be_added_is_refused(bank):
    with pytest.raises(InputError, match="two documents have the id 'new0'"):
        append(bank, documents("new", 1) * 2, HashEncoder())
    with pytest.raises(InputError, match="1 the bank has a document of this id"):
        append(bank, documents("old", 3)[2:], HashEncoder())
    with pytest.raises(SpaceError, match=r"bank and the encoder.*cosine"):
        append(bank, documents("new", 1), HashEncoder(salt="another"))
    with pytest.raises(InputError, match=r"nothing to add.*1 redirect"):
        append(bank, [Skipped("x", "redirect")], HashEncoder())


def test_deleted_documents_keep_their_rows_but_are_not_alive(bank):
    fewer = remove(remove(bank, ["old1"]).bank, ["old3"]).bank
    assert len(fewer) == len(bank)
    assert fewer.alive.tolist() == [True, True, False, False, True, True, False, False, True, True]
    with pytest.raises(InputError, match="does not have these documents: got nobody"):
        remove(bank, ["nobody", "old0"])
    assert PassageBank.open(bank.path).alive.sum() == 6
    back = append(fewer, documents("old", 2)[1:], HashEncoder())
    assert back.live_documents == {"old0": 0, "old2": 2, "old4": 4, "old1": 5}
    assert back.duplicate_group[[10, 11]].tolist() == [10, 1] == [10, fewer.duplicate_group[1]]


def test_a_copy_grows_without_touching_its_original(bank, tmp_path):
    before = {path.name: path.read_bytes() for path in bank.path.iterdir()}
    copy = copy_bank(bank, tmp_path / "copy")
    assert (copy.path / "vectors-00000.npy").samefile(bank.path / "vectors-00000.npy")
    remove(append(copy, documents("new", 4), HashEncoder()), ["old0"])
    assert {path.name: path.read_bytes() for path in bank.path.iterdir()} == before
    with pytest.raises(InputError, match="already exists"):
        copy_bank(bank.path, tmp_path / "copy")
    with pytest.raises(InputError, match="is not a bank"):
        copy_bank(tmp_path / "nothing", tmp_path / "copy2")
