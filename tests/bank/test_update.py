"""Updating a bank: only what changed is encoded, ranks are those of a bank built anew, no kill leaves half of it."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_encoder import HashEncoder
from resealed import edit

from segue.bank.bank import BankSettings, PassageBank, bank_info
from segue.bank.build import build_bank
from segue.bank.changes import KNOWN, change, copy_bank, remove
from segue.bank.history import BankDifference, changed_since, difference_since
from segue.bank.shards import read_hashes
from segue.corpus.passages import PassageSettings
from segue.errors import InputError, StorageError
from segue.files import read_json, write_json
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.types import Document, Skipped
from segue.windows.near_duplicates import document_groups
from segue.windows.windows import WindowSettings, gather_contexts, make_windows
from segue.workflows.bank import add, read_skipped

REFRAIN = "This refrain stands in each of the documents here."
CUT = PassageSettings(target_characters=40, minimum_characters=10)


class ListReader:
    def __init__(self, items) -> None:
        self.items = items

    def read(self):
        yield from self.items


def document(name: str, edition: str = "first", title: str = "") -> Document:
    """Return a document of four passages, of which the second is in all documents and the third has the edition."""
    return Document(name, title, (f"Document {name} begins in this very place.", REFRAIN,
                                  f"It is the {edition} edition of document {name}.",
                                  f"Document {name} ends here, as all of them do."))  # fmt: skip


def build(documents, folder: Path, shard_passages: int = 512) -> PassageBank:
    settings = BankSettings(shard_passages=shard_passages)
    return build_bank(ListReader(documents), HashEncoder(), folder, passages=CUT, settings=settings)


def ranks(bank: PassageBank) -> dict[str, int]:
    """Return the exact rank of every passage that follows another, of copy-last over the whole bank, by its id."""
    pool = Pool(bank)
    windows = make_windows(bank, np.array(sorted(bank.live_documents.values())), WindowSettings(context=1))
    found = VectorRetriever("copy-last", "candidate", copy_last, pool).target_ranks(
        gather_contexts(bank, windows), windows.target
    )
    return dict(zip(bank.passage_ids(windows.target), found.tolist(), strict=True))


def test_a_document_whose_id_looks_like_one_of_the_bank_is_that_document(tmp_path):
    bank = build([document("caf\u00e9"), document("b")], tmp_path / "bank")
    same = Document("cafe\u0301\u200b", "", document("caf\u00e9").paragraphs)
    assert change(bank, [same], HashEncoder(), replace=False, dry_run=True).skipped == {
        "the bank has a document of this id": 1
    }
    assert change(bank, [same, document("b")], HashEncoder(), replace=True).unchanged == 2


def test_duplicates_of_a_bank_that_hashed_invisible_characters_are_found(tmp_path):
    shy = Document(
        "a", "", ("This is a sen\u00adtence with soft hy\u00adphens.", "And this one is a sentence without them.")
    )
    bank = build([shy], tmp_path / "bank")
    path = tmp_path / "bank" / "passages-00000.parquet"
    old = pq.read_table(path).replace_schema_metadata(None)
    hashes = [hashlib.sha256(text.casefold().encode()).hexdigest() for text in old["text"].to_pylist()]
    place = old.column_names.index("text_sha256")
    pq.write_table(old.set_column(place, "text_sha256", pa.array(hashes)), path, write_page_checksum=True)
    manifest = tmp_path / "bank" / "manifest.json"
    edit(manifest, shards=[shard | {"passages_sha256": None} for shard in read_json(manifest)["shards"]])
    assert len(set(hashes) & set(read_hashes(tmp_path / "bank", 0))) == 1
    plain = Document("b", "", ("This is a sentence with soft hyphens.", "And this one is a sentence without them."))
    grown = change(bank, [plain], HashEncoder(), replace=False).bank
    assert grown.duplicate_group.tolist() == [0, 1, 0, 1]
    assert PassageBank.open(tmp_path / "bank", verify=True).hash == grown.hash


def passages(bank: PassageBank) -> dict[str, tuple[str, bytes]]:
    """Return text and vector of every live passage, by its id."""
    rows = np.flatnonzero(bank.alive)
    vectors = [vector.tobytes() for vector in bank.gather(rows)]
    return dict(zip(bank.passage_ids(rows), zip(bank.texts(rows), vectors, strict=True), strict=True))


def test_rests_of_markup_of_added_documents_are_counted_too(tmp_path):
    marked = Document("m", "", ("It lies {{deep and is white as [[snow]] is.",), dropped=("{{depth}}",))
    bank = build([marked, document("a")], tmp_path / "bank")
    news = Document("n", "", marked.paragraphs, dropped=("{{depth}}", "{{t}}"))
    added = change(bank, [marked, news], HashEncoder(), replace=False)
    info = bank_info(added.bank)
    assert info["markup_remnants_per_million_characters"] == round(6e6 / added.bank.counts.characters, 1)
    assert info["dropped_inside_sentences"] == {"{{depth}}": 2, "{{t}}": 1}


def test_of_a_thousand_documents_only_ten_changed_ones_are_encoded_and_ranks_are_those_of_a_new_bank(tmp_path):
    names = [f"d{number:04d}" for number in range(1000)]
    bank = build(map(document, names), tmp_path / "bank")
    edited = set(names[5:1000:100])
    after = [document(name, "second" if name in edited else "first") for name in names]
    encoder = HashEncoder()
    done = change(bank, after, encoder, replace=True)
    assert encoder.encoded == [f"It is the second edition of document {name}." for name in sorted(edited)]
    assert done.passages_encoded == len(edited) == 10
    assert (set(done.changed), done.added, done.removed, done.gone, done.unchanged) == (edited, (), (), (), 990)

    anew = build(after, tmp_path / "anew")
    assert passages(PassageBank.open(done.bank.path, verify=True)) == passages(anew)
    assert Pool(done.bank).size == Pool(anew).size == 3001
    assert ranks(done.bank) == ranks(anew)
    assert len(ranks(anew)) == 3000
    assert difference_since(done.bank, bank.hash) == BankDifference(added=0, changed=10, removed=0)


@pytest.fixture
def bank(tmp_path) -> PassageBank:
    """Documents a to f, in shards of 8 passages."""
    return build(map(document, "abcdef"), tmp_path / "bank", shard_passages=8)


PRESENT = [document("a"), document("b", "second"), document("c", title="named"), *map(document, "dgh")]
"""The corpus of ``bank`` later: b and c changed, e and f are gone, g and h are new."""


def test_documents_that_are_gone_are_named_and_removed_only_on_request(bank):
    kept = change(bank, PRESENT, HashEncoder(), replace=True)
    assert (kept.added, kept.changed, kept.gone, kept.removed) == (("g", "h"), ("b", "c"), ("e", "f"), ())
    assert sorted(kept.bank.live_documents) == list("abcdefgh")
    assert kept.passages_encoded == 1 + 2 * 3 + 2  # of b one, of g and h all: the refrain is not theirs yet
    again = change(kept.bank, PRESENT, HashEncoder(limit=0), replace=True)
    assert (again.differs, again.unchanged, again.bank.hash) == (False, 6, kept.bank.hash)
    fewer = change(kept.bank, PRESENT, HashEncoder(limit=0), replace=True, remove_gone=True)
    assert (fewer.removed, fewer.gone, fewer.unchanged) == (("e", "f"), (), 6)
    assert sorted(fewer.bank.live_documents) == list("abcdgh")
    assert fewer.bank.document_titles[fewer.bank.live_documents["c"]] == "named"
    info = bank_info(fewer.bank)
    assert (info["documents"], info["deleted_passages"], info["duplicate_passages"]) == (6, 4 * 4, 5)
    assert changed_since(fewer.bank, bank.hash) == "2 documents added, 2 changed, 2 removed"
    assert difference_since(fewer.bank, kept.bank.hash) == BankDifference(0, 0, 2)
    assert changed_since(fewer.bank, fewer.bank.hash) is None
    assert "another bank" in changed_since(fewer.bank, "0" * 64)


def test_documents_that_cannot_be_read_are_not_gone(bank):
    damaged = Skipped("e", "is not UTF-8", unreadable=True)
    done = change(bank, [*map(document, "abcd"), damaged], HashEncoder(limit=0), replace=True, dry_run=True)
    assert (done.gone, done.skipped) == (("f",), {"is not UTF-8": 1})
    done = change(bank, [*map(document, "abcd"), damaged], HashEncoder(limit=0), replace=True, remove_gone=True)
    assert sorted(done.bank.live_documents) == list("abcde")
    line = Skipped("c.jsonl:7", "is not JSON", unreadable=True)
    encoder = HashEncoder()
    with pytest.raises(InputError, match="which documents are gone cannot be known: got 1 that cannot be read"):
        change(bank, [*map(document, "abx"), line], encoder, replace=True, remove_gone=True)
    assert not encoder.encoded
    assert change(bank, [*map(document, "abx"), line], encoder, replace=True).gone == ("c", "d", "e")


def test_what_was_skipped_is_listed_behind_what_was_skipped_before_or_instead_of_it(bank):
    change(bank, [document("g"), Skipped("p", "redirect")], HashEncoder(), replace=False)
    added = change(bank, [document("h"), document("g"), Skipped("q", "empty")], HashEncoder(), replace=False).bank
    assert [(item.id, item.reason) for item in read_skipped(bank.path)] == [
        ("p", "redirect"), ("g", KNOWN), ("q", "empty")
    ]  # fmt: skip
    assert added.counts.skipped == {"redirect": 1, KNOWN: 1, "empty": 1}
    copy = copy_bank(added, bank.path.with_name("copy"))
    change(bank, [*map(document, "abcdefgi"), Skipped("r", "redirect")], HashEncoder(), replace=True)
    assert [item.id for item in read_skipped(bank.path)] == ["r"]
    assert [item.id for item in read_skipped(copy.path)] == ["p", "g", "q"]
    change(bank, [*map(document, "abcdefgj")], HashEncoder(), replace=True)
    assert list(read_skipped(bank.path)) == []


def test_too_much_that_cannot_be_read_changes_nothing_and_encodes_nothing(bank, tmp_path):
    lines = [json.dumps({"id": name, "text": f"Document {name} begins in this very place."}) for name in "pqr"]
    (tmp_path / "more.jsonl").write_text("\n".join([*lines, "{broken"]))
    encoder = HashEncoder()
    with pytest.raises(InputError, match=r"1 of 4 documents, files and records: 1 × is not JSON.*more\.jsonl:4"):
        add(bank, tmp_path / "more.jsonl", encoder=encoder)
    (tmp_path / "more.jsonl").write_text("\n".join([*lines, *lines[:1]]))
    with pytest.raises(InputError, match=r"two documents have the id 'p': got .*more\.jsonl:1 and .*more\.jsonl:4"):
        add(bank, tmp_path / "more.jsonl", encoder=encoder)
    assert not encoder.encoded
    assert PassageBank.open(bank.path).hash == bank.hash
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    assert add(bank, tmp_path / "more.jsonl", encoder=encoder).added == ("p", "q", "r")


def test_a_dry_run_counts_the_same_and_writes_nothing(bank):
    before = {path.name: path.read_bytes() for path in bank.path.iterdir()}
    planned = change(bank, PRESENT, HashEncoder(limit=0), replace=True, remove_gone=True, dry_run=True)
    assert {path.name: path.read_bytes() for path in bank.path.iterdir()} == before
    done = change(bank, PRESENT, HashEncoder(), replace=True, remove_gone=True)
    for name in ("added", "changed", "removed", "gone", "unchanged", "skipped", "passages_encoded"):
        assert getattr(planned, name) == getattr(done, name)


def test_killed_at_any_write_it_leaves_the_old_bank_and_the_next_call_removes_the_rest(bank, tmp_path, monkeypatch):
    """Before and after every file that appears the folder is copied, as a kill at that moment would leave it."""
    old, states = bank.manifest.to_json(), []
    rename = Path.replace

    def kept(self, target):
        for step in (lambda: None, lambda: rename(self, target)):
            result = step()
            states.append(Path(shutil.copytree(bank.path, tmp_path / f"state-{len(states)}")))
        return result

    monkeypatch.setattr(Path, "replace", kept)
    new = change(bank, PRESENT, HashEncoder(), replace=True, remove_gone=True).bank
    monkeypatch.undo()
    files = {path.name for path in new.path.iterdir()}
    assert len(states) == 2 * (3 * 2 + 2)  # two shards of three files, the documents, the manifest
    for state in states[:-1]:
        assert PassageBank.open(state, verify=True).manifest.to_json() == old
        again = change(PassageBank.open(state), PRESENT, HashEncoder(), replace=True, remove_gone=True).bank
        assert (again.hash, {path.name for path in again.path.iterdir()}) == (new.hash, files)
    assert PassageBank.open(states[-1], verify=True).manifest.to_json() == new.manifest.to_json()


def test_documents_that_became_empty_are_gone_and_skipped_ones_are_counted_once(bank):
    items = [*map(document, "abcde"), Document("f", "", ("",)), Skipped("x", "binary file")]
    for _ in range(2):
        done = change(bank, items, HashEncoder(limit=0), replace=True)
        assert (done.gone, done.skipped) == (("f",), {"no passages": 1, "binary file": 1})
    assert remove(bank, ["f"]).bank.counts.skipped == {}


def test_a_removed_document_may_come_back_and_removing_twice_is_no_change(bank):
    without = remove(bank, ["b", "c"])
    assert (without.removed, sorted(without.bank.live_documents)) == (("b", "c"), list("adef"))
    assert not remove(without.bank, ["b"]).differs
    back = change(without.bank, [document("b")], HashEncoder(), replace=False).bank
    assert passages(back) == passages(build(map(document, "abdef"), bank.path.parent / "anew"))
    assert back.hash != bank.hash
    assert difference_since(back, bank.hash) == BankDifference(added=0, changed=1, removed=1)
    assert back.passage_ids(back.duplicate_group[[1, 25]]) == ["a#1", "a#1"]


def test_another_process_does_not_open_a_bank_that_changed_in_the_meantime(bank):
    sent = pickle.dumps(bank)
    assert pickle.loads(sent).hash == bank.hash
    remove(bank, ["a"])
    assert bank.alive.all(), "an open bank stays as it was"
    with pytest.raises(InputError, match="has changed while it was in use"):
        pickle.loads(sent)


def test_several_removed_documents_are_near_duplicates_of_none(bank):
    left = remove(bank, ["b", "d", "e"]).bank
    assert document_groups(left, 0.9).tolist() == [0, 1, 0, 3, 4, 0]  # a, c and f are alike


def test_names_of_duplicates_are_those_of_live_passages(bank):
    left = remove(bank, ["a"]).bank
    assert left.passage_ids(left.duplicate_group[[1, 5, 9]]) == ["b#1"] * 3


def test_a_bank_that_version_0_1_deleted_documents_from_can_be_changed(bank):
    write_json(bank.path / "tombstones.json", {"documents": ["b"]})
    old = PassageBank.open(bank.path)
    assert sorted(old.live_documents) == list("acdef")
    new = change(old, [document("b", "second")], HashEncoder(), replace=False).bank
    assert sorted(new.live_documents) == list("abcdef")
    assert int((~new.alive).sum()) == 4


def test_a_corpus_that_lost_everything_and_a_busy_bank_are_refused(bank, tmp_path):
    with pytest.raises(InputError, match=r"every document of .* would be removed"):
        change(bank, [Skipped("a", "hidden file")], HashEncoder(), replace=True, remove_gone=True)
    with pytest.raises(InputError, match=r"every document of .* would be removed"):
        remove(bank, "abcdef")
    with pytest.raises(InputError, match="two documents have the id 'a'"):
        change(bank, [document("a"), document("a")], HashEncoder(), replace=True)
    from segue.files import exclusive

    with exclusive(bank.path), pytest.raises(StorageError, match="another process"):
        remove(bank, ["a"])
    assert PassageBank.open(bank.path, verify=True).manifest.to_json() == bank.manifest.to_json()
    copied = copy_bank(bank, tmp_path / "copy")
    assert remove(copied, ["a"]).bank.hash != bank.hash
