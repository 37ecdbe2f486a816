"""Importing vectors of one's own: every way they can be wrong is named, nothing else is changed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import unit

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.import_vectors import import_vectors
from segue.corpus import VectorsCorpus
from segue.errors import InputError, StorageError
from segue.windows.near_duplicates import document_groups

IDS = ["b", "b", "a", "b", "c", "a"]
POSITIONS = [1, 0, 0, 2, 4, 1]
ORDER = [1, 0, 3, 2, 5, 4]  # b: 0, 1, 2; a: 0, 1; c: 4
VECTORS = unit(np.random.default_rng(0).standard_normal((6, 4)))


def write(folder, vectors=VECTORS, ids=IDS, positions=POSITIONS, texts=None, **columns) -> VectorsCorpus:
    np.save(folder / "v.npy", vectors)
    table = {"document_id": ids, "position": positions, **columns}
    pq.write_table(pa.table(table if texts is None else {**table, "text": texts}), folder / "t.parquet")
    return VectorsCorpus(vectors=folder / "v.npy", table=folder / "t.parquet", name="my-encoder")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_are_put_in_order_and_vectors_kept_bit_for_bit(tmp_path, dtype):
    given = VECTORS.astype(dtype)
    bank = import_vectors(write(tmp_path, given), tmp_path / "bank", bank=BankSettings(shard_passages=4))
    np.testing.assert_array_equal(bank.gather(np.arange(6)), given[ORDER].astype(np.float32))
    assert bank.document_ids == ["b", "a", "c"]
    assert bank.passage_ids(np.arange(6)) == ["b#0", "b#1", "b#2", "a#0", "a#1", "c#4"]
    assert bank.num_rows.tolist() == [3, 2, 1]


def test_without_texts_every_row_is_its_own_group(tmp_path):
    bank = import_vectors(write(tmp_path), tmp_path / "bank")
    assert bank.duplicate_group.tolist() == list(range(6))
    assert not bank.has_texts
    with pytest.raises(InputError, match="vectors only"):
        bank.texts(np.array([0]))


def test_with_texts_equal_ones_share_a_group(tmp_path):
    bank = import_vectors(write(tmp_path, texts=["one", "two", "Two ", "three", "ONE", "four"]), tmp_path / "bank")
    assert bank.texts(np.arange(6)) == ["two", "one", "three", "Two ", "four", "ONE"]
    assert bank.duplicate_group.tolist() == [0, 1, 2, 0, 4, 1]


def test_a_text_that_is_empty_or_null_is_not_known_and_like_no_other(tmp_path):
    bank = import_vectors(write(tmp_path, texts=["one", "", None, " \n", "one", ""]), tmp_path / "bank")
    assert bank.texts(np.arange(6)) == ["", "one", " \n", "", "", "one"]
    assert bank.duplicate_group.tolist() == [0, 1, 2, 3, 4, 1]
    more = PassageBank.from_arrays(np.eye(4), list("abcd"), ["", "x", "", "x"])
    assert more.duplicate_group.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("texts", [[""] * 6, [None] * 6, ["", None, " ", "\t", "", ""]])
def test_where_all_texts_are_empty_the_bank_has_none(tmp_path, texts):
    bank = import_vectors(write(tmp_path, texts=texts), tmp_path / "bank")
    assert not bank.has_texts
    assert bank.duplicate_group.tolist() == list(range(6))
    assert len(set(document_groups(bank, 0.5).tolist())) == len(bank.document_ids)
    assert not PassageBank.from_arrays(np.eye(3), list("abc"), ["", "", ""]).has_texts


def test_documents_of_unknown_text_are_near_no_other(tmp_path):
    vectors = unit(np.random.default_rng(1).standard_normal((12, 8)))
    texts = ["", "", "", "", "", "", *(f"Sentence {n} says something of its own about subject {n}." for n in range(6))]
    bank = PassageBank.from_arrays(vectors, list("aabbccddeeff"), texts, path=tmp_path / "bank")
    assert document_groups(bank, 0.5).tolist() == list(range(6))


@pytest.mark.parametrize("change", [1000, -3])
def test_a_matrix_that_is_longer_or_shorter_than_its_header_says_is_refused(tmp_path, change):
    settings = write(tmp_path)
    data = (tmp_path / "v.npy").read_bytes()
    (tmp_path / "v.npy").write_bytes(data + bytes(change) if change > 0 else data[:change])
    with pytest.raises(InputError, match=rf"v\.npy.*(got {len(data) + change:,} bytes, expected {len(data)}|mmap)"):
        import_vectors(settings, tmp_path / "bank")


def test_the_space_is_declared(tmp_path):
    space = import_vectors(write(tmp_path), tmp_path / "bank").space
    assert (space.encoder, space.dimension, space.declared, space.fingerprint) == ("my-encoder", 4, True, None)


def changed(row, values) -> np.ndarray:
    vectors = VECTORS.copy()
    vectors[row] = values
    return vectors


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vectors": changed(2, np.nan)}, r"v\.npy.*NaN or infinity in row 2 \(1 rows"),
        ({"vectors": changed(3, np.inf)}, "NaN or infinity in row 3"),
        ({"vectors": VECTORS * 3}, r"length 1: got lengths from 3 to 3, expected 1 ± 0\.001.*divide every vector"),
        ({"vectors": changed(4, 0)}, "lengths from 0 to 1, 1 of them zero.*drop the zero vectors"),
        ({"vectors": VECTORS[:5]}, "5 vectors.*6 rows"),
        ({"vectors": VECTORS[0]}, "not a matrix of vectors"),
        ({"vectors": VECTORS.astype(np.int64)}, "not a matrix of vectors.*int64"),
        ({"positions": [1, 0, 0, 3, 4, 1]}, "gap in document 'b': got position 1 is followed by 3"),
        ({"positions": [1, 0, 0, 1, 4, 1]}, "position is repeated in document 'b'"),
        ({"ids": ["b", None, "a", "b", "c", "a"]}, "empty cells: got in document_id"),
        ({"vectors": np.tile(VECTORS[0], (6, 1))}, r"v\.npy: all 6 vectors are the same"),
        ({"positions": ["x"] * 6}, "column position: wrong type.*expected int64"),
    ],
)
def test_wrong_files_are_refused_and_leave_no_bank(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        import_vectors(write(tmp_path, **wrong), tmp_path / "bank")
    with pytest.raises(InputError):
        PassageBank.open(tmp_path / "bank")
    import_vectors(write(tmp_path), tmp_path / "bank")


def test_missing_files_and_columns_are_named(tmp_path):
    settings = write(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.npy: got nothing there"):
        import_vectors(settings.model_copy(update={"vectors": tmp_path / "nowhere.npy"}), tmp_path / "bank")
    with pytest.raises(InputError, match=r"v\.npy.*Parquet"):
        import_vectors(settings.model_copy(update={"table": tmp_path / "v.npy"}), tmp_path / "bank")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="lacks columns"):
        import_vectors(settings, tmp_path / "bank")


KINDS = {
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float64()),
    "fixed": pa.list_(pa.float32(), 4),
    "half": pa.list_(pa.float16()),
}


def as_column(vectors, kind) -> pa.Array:
    values = pa.array(np.asarray(vectors).ravel().astype(KINDS[kind].value_type.to_pandas_dtype()))
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, 4)
    lists = pa.LargeListArray if kind == "large" else pa.ListArray
    return lists.from_arrays(range(0, len(values) + 1, np.shape(vectors)[1]), values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_lists_is_the_same_bank_as_a_matrix(tmp_path, kind):
    settings = write(tmp_path, VECTORS.astype(np.float16 if kind == "half" else np.float32), texts=list("abcdef"))
    whole = import_vectors(settings, tmp_path / "whole")
    columns = {"doc": IDS, "n": POSITIONS, "body": list("abcdef"), "emb": as_column(VECTORS, kind)}
    for number, rows in enumerate((slice(0, 4), slice(4, 6)), start=9):  # b and a span both shards
        pq.write_table(pa.table(columns).slice(rows.start, rows.stop - rows.start), tmp_path / f"s-{number}.parquet")
    settings = VectorsCorpus(table=tmp_path / "s-*.parquet", name="my-encoder", document_id_column="doc",
                             position_column="n", text_column="body", vector_column="emb")  # fmt: skip
    bank = import_vectors(settings, tmp_path / "bank")
    assert bank.hash == whole.hash
    assert import_vectors(settings, tmp_path / "bank").hash == bank.hash
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bank", "s-10.parquet", "s-9.parquet", "t.parquet", "v.npy", "whole"
    ]  # fmt: skip


def test_shards_of_a_matrix_need_not_end_where_those_of_the_table_do(tmp_path):
    whole = import_vectors(write(tmp_path), tmp_path / "whole")
    for number, rows in enumerate((slice(0, 1), slice(1, 5), slice(5, 6)), start=9):
        np.save(tmp_path / f"v-{number}.npy", VECTORS[rows])
    settings = VectorsCorpus(vectors=tmp_path / "v-*.npy", table=tmp_path / "t.parquet", name="my-encoder")
    assert import_vectors(settings, tmp_path / "bank").hash == whole.hash
    np.save(tmp_path / "v-12.npy", VECTORS[:, :3])
    with pytest.raises(InputError, match=r"v-12\.npy does not fit.*dimension 3, expected float32 of dimension 4"):
        import_vectors(settings, tmp_path / "other")


def test_without_positions_the_rows_of_a_document_are_in_reading_order(tmp_path):
    pq.write_table(pa.table({"document_id": IDS, "vector": as_column(VECTORS, "list")}), tmp_path / "t.parquet")
    bank = import_vectors(VectorsCorpus(table=tmp_path / "t.parquet"), tmp_path / "bank")
    assert bank.passage_ids(np.arange(6)) == ["b#0", "b#1", "b#2", "a#0", "a#1", "c#0"]
    np.testing.assert_array_equal(bank.gather(np.arange(6)), VECTORS[[0, 1, 3, 2, 5, 4]])
    with pytest.raises(InputError, match=r"lacks columns: got document_id, vector, expected place"):
        import_vectors(VectorsCorpus(table=tmp_path / "t.parquet", position_column="place"), tmp_path / "other")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1.0, 0.0], [1.0]], "vectors differ in dimension: got 1 numbers in row 1, expected 2"),
        ([[1.0, 0.0], None], "vectors differ in dimension: got 0 numbers in row 1"),
        (pa.array([[], []], pa.list_(pa.float32())), "vectors differ in dimension: got 0 numbers in row 0"),
        ([[1.0, 0.0], [1.0, None]], "NaN or infinity in row 1"),
        ([[1, 0], [0, 1]], "not a column of vectors: got list<element: int64>"),
        (["a", "b"], "not a column of vectors: got string"),
        (None, "lacks the column of the vectors: got document_id, expected vector.*set vector_column"),
    ],
)
def test_cells_that_are_no_vectors_are_named_by_their_row(tmp_path, column, message):
    columns = {"document_id": ["a", "b"]} | ({} if column is None else {"vector": column})
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=message):
        import_vectors(VectorsCorpus(table=tmp_path / "t.parquet"), tmp_path / "bank")
    with pytest.raises(InputError, match="is not a bank"):
        PassageBank.open(tmp_path / "bank")


def test_pickled_objects_are_never_loaded(tmp_path):
    settings = write(tmp_path)
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read the vectors"):
        import_vectors(settings, tmp_path / "bank")


def test_the_same_files_open_the_bank_and_changed_ones_are_refused(tmp_path):
    first = import_vectors(write(tmp_path), tmp_path / "bank")
    assert import_vectors(write(tmp_path), tmp_path / "bank").manifest.to_json() == first.manifest.to_json()
    with pytest.raises(InputError, match="a bank with other settings"):
        import_vectors(write(tmp_path, changed(0, VECTORS[1])), tmp_path / "bank")


def test_an_import_that_was_interrupted_goes_through_the_second_time(tmp_path, monkeypatch):
    settings, small = write(tmp_path), BankSettings(shard_passages=2)
    with monkeypatch.context() as patch:
        patch.setattr("segue.bank.arrays.write_bank", _full_disk)
        with pytest.raises(StorageError):
            import_vectors(settings, tmp_path / "bank", bank=small)
    with pytest.raises(InputError, match="not finished"):
        PassageBank.open(tmp_path / "bank")
    again = import_vectors(settings, tmp_path / "bank", bank=small)
    whole = import_vectors(settings, tmp_path / "whole", bank=small)
    assert again.manifest.to_json() == whole.manifest.to_json()


def _full_disk(*_, **__):
    raise StorageError("disk is full")
