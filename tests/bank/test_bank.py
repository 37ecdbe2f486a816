"""Reading a bank: the same numbers whatever the shards, little memory, and no damage unnoticed."""

import json
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from fake_encoder import HashEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import environment

from segue.bank.bank import BankSettings, PassageBank, bank_info
from segue.bank.build import DuplicateGroups, build_bank
from segue.bank.changes import remove
from segue.corpus.passages import PassageSettings, cut
from segue.errors import InputError, StorageError
from segue.files import read_json
from segue.types import Bank, Document

PASSAGES = PassageSettings(target_characters=60, minimum_characters=20)
DOCUMENTS = [
    Document(f"d{n}", f"T{n}", tuple(f"Sentence {s} of document {n} says a thing." for s in range(1 + n % 5)))
    for n in range(24)
]
TEXTS = [passage.text for item in DOCUMENTS for passage in cut(item, PASSAGES)]


class ListReader:
    def read(self):
        yield from DOCUMENTS


def build(out, **options) -> PassageBank:
    return build_bank(ListReader(), HashEncoder(), out, passages=PASSAGES, settings=BankSettings(**options))


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> PassageBank:
    return build(tmp_path_factory.mktemp("bank") / "b", shard_passages=5)


def test_it_is_what_all_rooms_read(bank):
    assert isinstance(bank, Bank)
    assert len(bank) == len(TEXTS)
    assert bank.dimension == 8
    assert (bank.document_of.dtype, bank.position.dtype) == (np.int32, np.int32)
    assert (bank.duplicate_group.dtype, bank.first_row.dtype, bank.num_rows.dtype) == (np.int64,) * 3
    assert bank.alive.all()


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.integers(0, len(TEXTS) - 1), max_size=30))
def test_gather_and_texts_follow_the_rows_asked_for_with_repeats(bank, rows):
    expected = HashEncoder().vectors([TEXTS[row] for row in rows])
    np.testing.assert_array_equal(bank.gather(np.array(rows, dtype=np.int64)), expected)
    assert bank.texts(np.array(rows, dtype=np.int64)) == [TEXTS[row] for row in rows]


@pytest.mark.parametrize("rows_per_block", [1, 4, 5, 7, 1000])
def test_blocks_cover_the_bank_once_in_order(bank, rows_per_block):
    starts, blocks = zip(*bank.blocks(rows_per_block), strict=True)
    assert list(starts) == list(range(0, len(bank), rows_per_block))
    np.testing.assert_array_equal(np.concatenate(blocks), HashEncoder().vectors(TEXTS))


def test_the_shards_size_changes_nothing_but_the_files(bank, tmp_path):
    other = build(tmp_path / "b", shard_passages=1000)
    np.testing.assert_array_equal(other.gather(np.arange(len(other))), bank.gather(np.arange(len(bank))))
    np.testing.assert_array_equal(other.duplicate_group, bank.duplicate_group)
    assert other.manifest.documents_sha256 == bank.manifest.documents_sha256


def test_arrays_may_be_written_to_without_touching_the_bank(bank):
    bank.gather(np.array([0]))[:] = 7
    for _, block in bank.blocks():
        block[:] = 7
    np.testing.assert_array_equal(bank.gather(np.array([0])), HashEncoder().vectors(TEXTS[:1]))


def test_float16_storage_costs_three_digits_and_halves_the_file(bank, tmp_path):
    half = build(tmp_path / "b", storage="float16", shard_passages=1000)
    vectors = half.gather(np.arange(len(half)))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, bank.gather(np.arange(len(bank))), atol=1e-3)
    assert (half.path / "vectors-00000.npy").stat().st_size == 128 + len(half) * 8 * 2


def test_info_agrees_with_counting_by_hand(bank):
    info = bank_info(bank)
    assert json.loads(json.dumps(info)) == info
    assert (info["documents"], info["passages"], info["duplicate_passages"]) == (24, len(TEXTS), 0)
    assert info["characters"] == sum(map(len, TEXTS))
    lengths = [len(cut(item, PASSAGES)) for item in DOCUMENTS]
    assert info["passages_per_document"] == {"min": min(lengths), "median": np.median(lengths), "max": max(lengths)}
    assert info["space"]["fingerprint"] == "8 probes"


def test_opening_nothing_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        PassageBank.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        PassageBank.open(tmp_path)


def test_a_bank_of_another_version_is_refused(tmp_path):
    path = build(tmp_path / "b").path / "manifest.json"
    path.write_text(json.dumps(read_json(path) | {"format": 99}))
    with pytest.raises(InputError, match="format 99, expected format 1"):
        PassageBank.open(path.parent)


def test_verify_passes_on_an_untouched_bank(bank):
    assert len(PassageBank.open(str(bank.path), verify=True)) == len(TEXTS)


def _flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("shard", [0, 2])
def test_verify_notices_one_changed_bit_of_a_vector(tmp_path, shard):
    bank = build(tmp_path / "b", shard_passages=5)
    _flip_last_byte(bank.path / f"vectors-{shard:05d}.npy")
    with pytest.raises(StorageError, match=rf"vectors-{shard:05d}\.npy has changed since it was written"):
        PassageBank.open(bank.path, verify=True)


def test_verify_notices_tables_that_changed_places(tmp_path):
    bank = build(tmp_path / "b", shard_passages=5)
    (bank.path / "passages-00000.parquet").write_bytes((bank.path / "passages-00001.parquet").read_bytes())
    with pytest.raises(StorageError, match=r"passages-00000\.parquet"):
        PassageBank.open(bank.path, verify=True)


@pytest.mark.parametrize("name", ["vectors-00001.npy", "passages-00001.parquet", "documents.parquet"])
def test_files_cut_short_or_missing_are_named(tmp_path, name):
    path = build(tmp_path / "b", shard_passages=5).path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=name):
        PassageBank.open(path.parent, verify=True)
    path.unlink()
    with pytest.raises(StorageError, match=name):
        PassageBank.open(path.parent, verify=True)


@settings(deadline=None, max_examples=25)
@given(batches=st.lists(st.lists(st.sampled_from([*"0123456789abcdef", None]), max_size=9), max_size=12))
def test_duplicate_groups_agree_with_a_dictionary(batches):
    groups, first, row, found, expected = DuplicateGroups(), {}, 0, [], []
    for batch in batches:
        hashes = [None if value is None else value * 64 for value in batch]
        found += groups.add(hashes, row).tolist()
        for value in batch:
            expected.append(row if value is None else first.setdefault(value, row))
            row += 1
    assert found == expected


def test_a_text_is_moved_few_times_while_a_bank_grows(monkeypatch):
    """Sorting moves what it sorts: 100 shards of 50 texts may not move all earlier texts again and again."""
    moved, sort = [], np.argsort

    def counted(keys, kind):
        moved.append(len(keys))
        return sort(keys, kind=kind)

    monkeypatch.setattr(np, "argsort", counted)
    groups, shards, size = DuplicateGroups(), 100, 50
    for shard in range(shards):
        hashes = [f"{(shard * size + n) * 2654435761 % 2**64:064x}"[::-1] for n in range(size)]
        assert groups.add(hashes, shard * size).tolist() == list(range(shard * size, (shard + 1) * size))
    assert 0 < sum(moved) < shards * size * np.log2(shards)


MEMORY = """
import sys
import numpy as np, psutil
from fake_encoder import HashEncoder
from segue.bank.bank import BankSettings
from segue.bank.build import build_bank
from segue.types import Document

class Reader:
    def read(self):
        for n in range(int(sys.argv[2])):
            yield Document(f"d{n}", "", tuple(f"Passage {p} of document {n}. " + "Words " * 60 for p in range(10)))

class Encoder(HashEncoder):
    def encode(self, texts, **options):
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[:, 0] = 1
        return vectors

build_bank(Reader(), Encoder(dimension=256), sys.argv[1], settings=BankSettings(shard_passages=256))
print(psutil.Process().memory_full_info().uss, __import__("resource").getrusage(0).ru_maxrss * 1024)
"""


def test_memory_of_a_build_does_not_grow_with_the_corpus(tmp_path):
    """Eight times the corpus (14 MB of vectors and text more) may cost 4 MB: ids, titles, 16 bytes per text."""
    peaks = []
    for documents in (150, 1200):
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(documents)), str(documents)]
        done = subprocess.run(command, env=environment(MALLOC_ARENA_MAX="1"), capture_output=True, text=True,
                              check=True)  # fmt: skip
        peaks.append(int(done.stdout.split()[1]))
    assert peaks[1] - peaks[0] < 4e6


def test_a_passage_is_read_by_its_row_as_from_a_list(bank):
    passages = [passage for item in DOCUMENTS for passage in cut(item, PASSAGES)]
    assert [bank[row] for row in range(len(bank))] == passages
    assert bank[-1] == passages[-1]
    with pytest.raises(IndexError):
        bank[len(bank)]


@pytest.mark.parametrize("k", [1, 7])
def test_a_search_finds_what_faiss_finds_and_never_a_deleted_document(tmp_path, k):
    bank = build(tmp_path / "b", shard_passages=5)
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((9, bank.dimension)).astype(np.float32)
    flat = faiss.IndexFlatIP(bank.dimension)
    flat.add(bank.gather(np.arange(len(bank))))
    cosines, rows = bank.search(queries, k)
    expected, places = flat.search(queries, k)
    np.testing.assert_array_equal(rows, places)
    np.testing.assert_allclose(cosines, expected, rtol=1e-5)
    one = bank.search(queries[0], k)[1]
    assert one.tolist() == rows[0].tolist()
    gone = bank.document_ids[bank.document_of[rows[0, 0]]]
    left = remove(bank, [gone]).bank
    assert gone not in {left[int(row)].document_id for row in left.search(queries, k)[1].ravel()}


@pytest.mark.parametrize(("shape", "k"), [((3,), 1), ((1, 1, 16), 1), ((16,), 0), ((16,), 10_000)])
def test_a_search_says_what_it_expects(bank, shape, k):
    shape = tuple(bank.dimension if size == 16 else size for size in shape)
    with pytest.raises(InputError, match="expected"):
        bank.search(np.ones(shape), k)
