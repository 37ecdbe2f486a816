"""A bank in LanceDB: it comes back as it was, follows its changes, and is never half-converted."""

import subprocess
import sys

import numpy as np
import pytest
from bank.test_changes import SHARED, ListReader
from fake_encoder import HashEncoder

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.build import build_bank
from segue.bank.changes import append, change, copy_bank, remove
from segue.bank.lance import connect, from_lance, to_lance
from segue.corpus.passages import PassageSettings
from segue.errors import InputError, StorageError
from segue.types import Document


def documents(prefix: str, count: int) -> list[Document]:
    own = "This sentence of document {} {} stands nowhere else at all."
    return [Document(f"{prefix}{n}", f"Title {n}", (own.format(prefix, n), SHARED)) for n in range(count)]


def built(folder, storage="float32") -> PassageBank:
    passages = PassageSettings(target_characters=60, minimum_characters=20)
    settings = BankSettings(shard_passages=4, storage=storage)
    return build_bank(ListReader(documents("old", 5)), HashEncoder(), folder, passages=passages, settings=settings)


def same(one: PassageBank, other: PassageBank) -> bool:
    rows = np.arange(len(one))
    assert other.hash == one.hash
    assert other.manifest.to_json() == one.manifest.to_json()
    if one.space.fingerprint is not None:
        assert np.array_equal(other.space.fingerprint, one.space.fingerprint)
    assert other.documents.equals(one.documents)
    for name in ("alive", "duplicate_group", "position", "document_of"):
        assert np.array_equal(getattr(other, name), getattr(one, name)), name
    assert np.array_equal(other.gather(rows), one.gather(rows))
    return other.has_texts == one.has_texts and (not one.has_texts or other.texts(rows) == one.texts(rows))


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_bank_comes_back_as_it_was(tmp_path, storage):
    bank = built(tmp_path / "bank", storage)
    done = to_lance(bank, tmp_path / "lance")
    assert (done.added, done.removed, done.passages) == (10, 0, 10)
    back = from_lance(tmp_path / "lance", tmp_path / "back")
    assert same(bank, PassageBank.open(back.path, verify=True))
    table = connect(tmp_path / "lance").open_table("passages").to_arrow().sort_by("row")
    assert table["text"].to_pylist() == bank.texts(np.arange(10))
    assert table["document_id"].to_pylist() == [f"old{n}" for n in range(5) for _ in range(2)]
    assert table["duplicate_group"].to_pylist() == [0, 1, 2, 1, 4, 1, 6, 1, 8, 1]
    assert np.array_equal(np.array(table["vector"].to_pylist(), dtype="float32"), bank.gather(np.arange(10)))


def test_vectors_alone_come_back(tmp_path):
    bank = PassageBank.from_arrays(np.eye(6), list("aabbbc"), path=tmp_path / "bank")
    to_lance(bank, tmp_path / "lance")
    assert same(bank, from_lance(tmp_path / "lance", tmp_path / "back"))


def test_only_what_changed_is_written(tmp_path):
    """Added, replaced and removed: a replaced document has its id twice, and only its old rows leave."""
    bank = built(tmp_path / "bank")
    first = to_lance(bank, tmp_path / "lance")
    append(bank, documents("new", 2), HashEncoder())
    grown = to_lance(PassageBank.open(bank.path), tmp_path / "lance")
    assert (grown.added, grown.removed, grown.passages) == (4, 0, 14)
    edited = Document("old1", "Title 1", ("A sentence that is new to this document, and longer.",))
    kept = [one for one in (*documents("old", 5), *documents("new", 2)) if one.id not in ("old1", "new0")]
    change(PassageBank.open(bank.path), [edited, *kept], HashEncoder(), replace=True, remove_gone=True)
    now = PassageBank.open(bank.path)
    done = to_lance(now, tmp_path / "lance")
    assert (done.added, done.removed) == (1, 4)
    ids = connect(tmp_path / "lance").open_table("passages").to_arrow().sort_by("row")["document_id"].to_pylist()
    assert ids == ["old0"] * 2 + ["old2"] * 2 + ["old3"] * 2 + ["old4"] * 2 + ["new1"] * 2 + ["old1"]
    assert same(now, from_lance(tmp_path / "lance", tmp_path / "back"))
    assert to_lance(now, tmp_path / "lance") == type(done)(now.hash, 0, 0, 11, done.version)
    before = from_lance(tmp_path / "lance", tmp_path / "before", at=first.hash[:10])
    assert (before.hash, len(before)) == (first.hash, 10)


def test_a_bank_that_lost_documents_before_it_was_converted_comes_back(tmp_path):
    bank = remove(built(tmp_path / "bank"), ["old0", "old3"]).bank
    assert to_lance(bank, tmp_path / "lance").passages == 6
    assert same(bank, from_lance(tmp_path / "lance", tmp_path / "back"))


def test_a_conversion_that_stopped_is_put_right_by_the_next(tmp_path):
    """Rows of another state, a row twice and a row lost; a compaction changes the version, not the contents."""
    bank = built(tmp_path / "bank")
    to_lance(bank, tmp_path / "lance")
    other = append(copy_bank(bank, tmp_path / "copy"), documents("other", 2), HashEncoder())
    passages = connect(tmp_path / "lance").open_table("passages")
    stale = passages.to_arrow().slice(2, 2)
    to_lance(other, tmp_path / "second")
    passages.add(connect(tmp_path / "second").open_table("passages").to_arrow().slice(10, 3))
    passages.add(stale)
    passages.delete("row = 7")
    passages.optimize()
    assert same(bank, from_lance(tmp_path / "lance", tmp_path / "untouched"))
    now = append(bank, documents("new", 1), HashEncoder())
    to_lance(now, tmp_path / "lance")
    assert same(now, from_lance(tmp_path / "lance", tmp_path / "back"))


def test_what_another_hand_changed_is_refused(tmp_path):
    to_lance(built(tmp_path / "bank"), tmp_path / "lance")
    database = connect(tmp_path / "lance")
    database.open_table("passages").update(where="row = 3", values={"text": "Other words."})
    entry = database.open_table("banks")
    entry.update(values={"passages": database.open_table("passages").version})
    with pytest.raises(StorageError, match="changed by another hand"):
        from_lance(tmp_path / "lance", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_another_bank_another_database_and_a_full_folder_are_refused(tmp_path):
    bank = built(tmp_path / "bank")
    to_lance(bank, tmp_path / "lance")
    with pytest.raises(InputError, match="holds another bank"):
        to_lance(PassageBank.from_arrays(np.eye(16), list("a" * 16), path=tmp_path / "other"), tmp_path / "lance")
    with pytest.raises(InputError, match="already exists"):
        from_lance(tmp_path / "lance", bank.path)
    with pytest.raises(InputError, match="not a bank in LanceDB"):
        from_lance(tmp_path / "bank", tmp_path / "back")
    with pytest.raises(InputError, match="no state ffff"):
        from_lance(tmp_path / "lance", tmp_path / "back", at="ffff")
    connect(tmp_path / "own").create_table("passages", [{"row": 1}])
    with pytest.raises(InputError, match="tables that Segue did not write"):
        to_lance(bank, tmp_path / "own")


KILLED = """
import os, signal, sys
from segue.bank import lance
from segue.bank.bank import PassageBank

def kill(bank, numbers):
    os.kill(os.getpid(), signal.SIGKILL)
lance._documents = kill
lance.to_lance(PassageBank.open(sys.argv[1]), sys.argv[2])
"""


def test_a_kill_in_an_append_leaves_the_last_version(tmp_path):
    bank = built(tmp_path / "bank")
    to_lance(bank, tmp_path / "lance")
    before = copy_bank(bank, tmp_path / "before")
    now = append(bank, documents("new", 2), HashEncoder())
    now = remove(now, ["old1"]).bank
    killed = subprocess.run([sys.executable, "-c", KILLED, str(bank.path), str(tmp_path / "lance")], check=False)
    assert killed.returncode == -9
    assert connect(tmp_path / "lance").open_table("passages").count_rows() == 12
    assert same(before, from_lance(tmp_path / "lance", tmp_path / "back"))
    to_lance(now, tmp_path / "lance")
    assert same(now, from_lance(tmp_path / "lance", tmp_path / "after"))
