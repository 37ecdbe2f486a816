"""Records as people really have them: one that cannot be read is listed with its reason and costs no other."""

import bz2
import gzip
import json
import lzma
import re
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segue.bank.bank import PassageBank
from segue.bank.import_vectors import import_vectors
from segue.corpus import (
    BeirCorpus,
    CustomCorpus,
    DialogueCorpus,
    HuggingFaceCorpus,
    JsonlCorpus,
    ParquetCorpus,
    VectorsCorpus,
)
from segue.corpus.intake import is_lfs_pointer, read_most
from segue.errors import InputError
from segue.types import Document, Skipped

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c9\nsize 12345\n"
ONE, TWO = "One is here.", "Two is here."


def jsonl(folder: Path, *records: dict) -> JsonlCorpus:
    return of_text(folder, "".join(json.dumps(record) + "\n" for record in records))


def of_text(folder: Path, text: str | bytes, **settings) -> JsonlCorpus:
    (folder / "c.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return JsonlCorpus(path=folder / "c.jsonl", **settings)


def beir(folder: Path, *records: dict) -> BeirCorpus:
    lines = (json.dumps({"_id": record["id"], **record}) + "\n" for record in records)
    (folder / "corpus.jsonl").write_text("".join(lines))
    return BeirCorpus(path=folder)


def parquet(folder: Path, *records: dict) -> ParquetCorpus:
    """One file a record, since a column has one type."""
    for number, record in enumerate(records):
        column = {"text": pa.array([record["text"]], pa.string())} if "text" in record else {}
        pq.write_table(pa.table({**{key: [value] for key, value in record.items()}, **column}), folder / f"{number}.pq")
    return ParquetCorpus(path=folder)


def dialogue(folder: Path, *records: dict) -> DialogueCorpus:
    turns = [{"id": record["id"], "turns": [record["text"]]} for record in records]
    (folder / "d.jsonl").write_text("".join(json.dumps(record) + "\n" for record in turns))
    return DialogueCorpus(path=folder / "d.jsonl")


def custom(folder: Path, *records: dict) -> CustomCorpus:
    sys.modules["readers_of_records"] = types.SimpleNamespace(read=lambda: iter(records))
    return CustomCorpus(reader="readers_of_records:read", options={})


class Rows:
    """What the library ``datasets`` returns, as far as it is used."""

    def __init__(self, records):
        self.records = records

    def __iter__(self):
        yield from self.records


@pytest.fixture
def hub(monkeypatch):
    def make(folder: Path, *records: dict) -> HuggingFaceCorpus:
        loaded = types.SimpleNamespace(load_dataset=lambda *_, **__: Rows(records))
        monkeypatch.setitem(sys.modules, "datasets", loaded)
        return HuggingFaceCorpus(name="a/b", minimum_characters=1)

    return make


@pytest.fixture(params=[jsonl, beir, parquet, dialogue, custom, "hub"], ids=lambda one: getattr(one, "__name__", one))
def make(request, hub):
    """Make a corpus of records with id and text, of each kind."""
    return hub if request.param == "hub" else request.param


class TestIds:
    def test_a_number_and_a_text_that_collide_are_named_with_both_places(self, make, tmp_path):
        corpus = make(tmp_path, {"id": 1, "text": ONE}, {"id": "1", "text": TWO})
        with pytest.raises(InputError, match=r"two documents have the id '1', a number and a text: got .* and "):
            list(corpus.read())

    def test_the_lines_are_named(self, tmp_path):
        corpus = of_text(tmp_path, f'{{"id":1,"text":"{ONE}"}}\n\n{{"id":"1","text":"{TWO}"}}\n')
        with pytest.raises(InputError, match=r"got .*c\.jsonl:1 and .*c\.jsonl:3\. To fix it: .*all ids as texts"):
            list(corpus.read())

    def test_two_texts_are_named_with_both_places(self, make, tmp_path):
        corpus = make(tmp_path, {"id": "a", "text": ONE}, {"id": "b", "text": TWO}, {"id": "a", "text": TWO})
        with pytest.raises(InputError, match=r"two documents have the id 'a': got (.+) and (.+)\. To fix it: give"):
            list(corpus.read())

    def test_numbers_alone_and_texts_alone_do_not_collide(self, make, tmp_path):
        corpus = make(tmp_path, {"id": 1, "text": ONE}, {"id": 2, "text": TWO}, {"id": "x", "text": TWO})
        assert [item.id for item in corpus.read()] == ["1", "2", "x"]

    def test_tables_of_vectors_name_a_document_by_numbers_or_by_texts(self, tmp_path):
        np.save(tmp_path / "v.npy", np.eye(4, dtype=np.float32))
        for name, ids in (("a", [1, 2]), ("b", ["1", "3"])):
            pq.write_table(pa.table({"document_id": ids}), tmp_path / f"{name}.parquet")
        corpus = VectorsCorpus(vectors=tmp_path / "v.npy", table=tmp_path)
        with pytest.raises(InputError, match=r"id '1', a number and a text: got .*a\.parquet and .*b\.parquet"):
            import_vectors(corpus, tmp_path / "bank")
        pq.write_table(pa.table({"document_id": ["x", "y"]}), tmp_path / "b.parquet")
        assert import_vectors(corpus, tmp_path / "bank").document_ids == ["1", "2", "x", "y"]
        with pytest.raises(InputError, match="id '1', a number and a text"):
            PassageBank.from_arrays(np.eye(3), [1, "1", 2])


class TestKeys:
    @pytest.mark.parametrize("line", ['{"id":"a","id":"b","text":"One."}', '{"id":"a","text":"One.","text":"Two."}',
                                      '{"id":"a","text":"T","meta":{"x":1,"x":2}}'])  # fmt: skip
    def test_a_key_twice_is_refused_with_the_line(self, tmp_path, line):
        corpus = of_text(tmp_path, f'{{"id":"x","text":"{ONE}"}}\n{line}\n')
        first, second = corpus.read()
        assert first == Document("x", "", (ONE,))
        reason = "has a key twice; keep the one that is meant"
        assert second == Skipped(f"{tmp_path}/c.jsonl:2", reason, unreadable=True)
        with pytest.raises(InputError, match=r"c\.jsonl:2 has a key twice: got two values of '(id|text|x)'"):
            list(corpus.model_copy(update={"strict": True}).read())

    def test_a_column_twice_is_refused_in_tables_and_in_tables_of_vectors(self, tmp_path):
        names = ["document_id", "id", "text", "text"]
        table = pa.Table.from_arrays([pa.array(["a"])] * 4, names=names)
        pq.write_table(table, tmp_path / "t.parquet")
        (item,) = ParquetCorpus(path=tmp_path / "t.parquet").read()
        assert (item.unreadable, item.reason) == (True, "has a column twice; keep the one that is meant")
        np.save(tmp_path / "v.npy", np.eye(1, dtype=np.float32))
        with pytest.raises(InputError, match=r"t\.parquet has a column twice: got two columns 'text'"):
            import_vectors(VectorsCorpus(vectors=tmp_path / "v.npy", table=tmp_path / "t.parquet"), tmp_path / "bank")


class TestNull:
    def test_a_text_that_is_null_is_skipped_and_counted_as_an_empty_one(self, make, tmp_path):
        corpus = make(tmp_path, {"id": "a", "text": ONE}, {"id": "b", "text": None}, {"id": "c", "text": ""})
        assert list(corpus.read())[1:] == [Skipped("b", "empty"), Skipped("c", "empty")]

    @pytest.mark.parametrize("record", ['"paragraphs":null', '"text":NaN', '"text":null,"paragraphs":null',
                                        '"paragraphs":[null]', '"paragraphs":[]'])  # fmt: skip
    def test_so_are_other_ways_to_write_nothing(self, tmp_path, record):
        assert list(of_text(tmp_path, f'{{"id":"a",{record}}}').read()) == [Skipped("a", "empty")]

    @pytest.mark.parametrize("turns", ["null", "[]", "[null]", '[{"role":"user","content":null}]'])
    def test_dialogues_without_turns_are_empty(self, tmp_path, turns):
        (tmp_path / "d.jsonl").write_text(f'{{"id":"a","messages":{turns}}}')
        assert list(DialogueCorpus(path=tmp_path / "d.jsonl").read()) == [Skipped("a", "empty")]

    def test_paragraphs_stand_in_for_a_text_that_is_null_and_null_paragraphs_are_left_out(self, tmp_path):
        corpus = of_text(tmp_path, '{"id":"a","text":null,"paragraphs":["One.",null,"Two."]}')
        assert list(corpus.read()) == [Document("a", "", ("One.", "Two."))]


class TestLines:
    def test_an_array_is_named_and_how_to_turn_it_into_lines(self, tmp_path):
        array = '[\n{"id":"a","text":"One."},\n{"id":"b","text":"Two."}\n]\n'
        for text in (array, array.replace("\n", ""), f"\n  {array}", f"﻿{array}"):
            (item,) = of_text(tmp_path, text).read()
            assert item.id == f"{tmp_path}/c.jsonl"
            assert item.unreadable
            assert "JSON array" in item.reason
            assert "jq -c '.[]'" in item.reason
        with pytest.raises(InputError, match=r"c\.jsonl is a JSON array: expected one JSON object per line.*jq -c"):
            list(of_text(tmp_path, array, strict=True).read())

    def test_an_object_on_several_lines_is_named(self, tmp_path):
        (item,) = of_text(tmp_path, json.dumps({"id": "a", "text": "One."}, indent=1)).read()
        assert "on several lines" in item.reason
        assert "jq -c ." in item.reason

    @pytest.mark.parametrize("at_once", [1, 7, 2**24])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_line_end_is_read_and_counted(self, tmp_path, end, at_once, monkeypatch):
        monkeypatch.setattr("segue.corpus.jsonl.BYTES_AT_ONCE", at_once)
        records = [{"id": name, "text": f"Text {name} é\u2028\x85."} for name in "abc"]
        text = end.join([*(json.dumps(record, ensure_ascii=False) for record in records), "broken"]) + end
        *found, last = of_text(tmp_path, text).read()
        assert [item.id for item in found] == ["a", "b", "c"]
        assert last.id == f"{tmp_path}/c.jsonl:4"
        (tmp_path / "corpus.jsonl").write_bytes(f'{{"_id":"a","text":"One."}}{end}{{"_id":"b","text":"Two."}}'.encode())
        assert [item.id for item in BeirCorpus(path=tmp_path).read()] == ["a", "b"]

    def test_a_broken_line_costs_no_other(self, tmp_path):
        lines = [b'{"id":"a","text":"One."}', b"{", b"[1]", b'{"id":"\xe9"}', b'{"id":" ","text":"T."}', b'{"id":"b"}',
                 b'{"id":"c","text":"\\ud800"}', b'{"id":"d","text":"Two."}']  # fmt: skip
        found = list(of_text(tmp_path, b"\n".join(lines)).read())
        assert [item.id for item in found if isinstance(item, Document)] == ["a", "d"]
        skipped = [item for item in found if isinstance(item, Skipped)]
        assert all(item.unreadable for item in skipped)
        assert [item.id.rpartition(":")[2] for item in skipped] == list("234567")
        assert [item.reason.partition(";")[0] for item in skipped] == [
            "is not JSON", "got list", "is not UTF-8", "a document has an empty id", "got no 'text' among the keys id",
            "contains half a character",
        ]  # fmt: skip


def zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c.jsonl", "{}")
    return path.read_bytes()


NOT_TEXT = {
    "pointer": (POINTER, "git-LFS pointer.*git lfs pull"),
    "zip": (b"PK\x03\x04abc", "a zip archive; `unzip` it"),
    "7z": (b"7z\xbc\xaf\x27\x1cabc", "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "a rar archive"),
    "lz4": (b"\x04\x22\x4d\x18abc", "lz4 -d"),
    "parquet": (b"PAR1abc", 'kind = "parquet"'),
    "tar": (b"c.jsonl".ljust(257, b"\0") + b"ustar\x00" + bytes(249), "a tar archive; unpack it with `tar xf`"),
    "xz": (b"\xfd7zXZ\x00abc", "is incomplete"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00abc", "is incomplete"),
    "gzip": (b"\x1f\x8babc", "is incomplete"),
    "bz2": (b"BZhabc", "is incomplete"),
}


class TestFiles:
    @pytest.mark.parametrize("name", NOT_TEXT)
    def test_a_file_that_is_no_text_is_named_and_costs_no_other(self, tmp_path, name):
        data, message = NOT_TEXT[name]
        (tmp_path / "b.jsonl").write_bytes(data)
        for other in "ac":
            (tmp_path / f"{other}.jsonl").write_text(f'{{"id":"{other}","text":"One.","turns":["One."]}}')
        for corpus in (JsonlCorpus(path=tmp_path), DialogueCorpus(path=tmp_path)):
            first, wrong, last = corpus.read()
            assert (first.id, last.id) == ("a", "c")
            assert (wrong.id, wrong.unreadable) == (f"{tmp_path}/b.jsonl", True)
            if name != "parquet" or corpus.kind == "jsonl":  # a dialogue may be Parquet
                assert re.search(message, wrong.reason)
            with pytest.raises(InputError, match=r"b\.jsonl"):
                list(corpus.model_copy(update={"strict": True}).read())

    def test_archives_inside_gzip_and_real_ones_are_named(self, tmp_path):
        for data, message in ((gzip.compress(NOT_TEXT["tar"][0]), "tar"), (zipped(tmp_path / "z"), "zip"),
                              (bz2.compress(POINTER), "git lfs pull")):  # fmt: skip
            (item,) = of_text(tmp_path, data).read()
            assert message in item.reason

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                      lambda data: pa.Codec("zstd").compress(data, asbytes=True)])  # fmt: skip
    def test_of_a_file_that_is_cut_short_what_was_read_stays(self, tmp_path, pack):
        noise = np.random.default_rng(0).bytes(400_000).hex()  # no packing makes it fit into a buffer
        texts = [f'{{"id":"b{n}","text":"{noise[n * 8000 : (n + 1) * 8000]}"}}\n' for n in range(100)]
        (tmp_path / "b.jsonl").write_bytes(pack("".join(texts).encode())[:-9])
        for other in "ac":
            (tmp_path / f"{other}.jsonl").write_text(f'{{"id":"{other}","text":"One."}}')
        found = list(JsonlCorpus(path=tmp_path).read())
        (wrong,) = [item for item in found if isinstance(item, Skipped)]
        assert wrong.id == f"{tmp_path}/b.jsonl"
        assert wrong.reason == "is incomplete; download or copy it again"
        assert [found[0].id, found[-1].id] == ["a", "c"]
        before = [item.id for item in found[1:-2]]
        assert before == [f"b{number}" for number in range(len(before))]
        assert before

    def test_a_table_that_is_a_pointer_or_damaged_costs_no_other(self, tmp_path):
        whole = pa.table({"id": ["a"], "text": [ONE], "turns": [[ONE]]})
        pq.write_table(whole, tmp_path / "a.parquet")
        (tmp_path / "b.parquet").write_bytes(POINTER)
        (tmp_path / "c.parquet").write_bytes(b"PAR1 not really")
        first, pointer, broken = ParquetCorpus(path=tmp_path).read()
        assert first.id == "a"
        assert "git lfs pull" in pointer.reason
        assert broken.reason.startswith("cannot be read as Parquet")
        assert "git lfs pull" in list(DialogueCorpus(path=tmp_path).read())[1].reason

    def test_vectors_and_their_table_may_be_pointers(self, tmp_path):
        settings = VectorsCorpus(vectors=tmp_path / "v.npy", table=tmp_path / "t.parquet")
        (tmp_path / "t.parquet").write_bytes(POINTER)
        (tmp_path / "v.npy").write_bytes(POINTER)
        with pytest.raises(InputError, match=r"t\.parquet is a git-LFS pointer.*git lfs pull"):
            import_vectors(settings, tmp_path / "bank")
        pq.write_table(pa.table({"document_id": ["a"]}), tmp_path / "t.parquet")
        with pytest.raises(InputError, match=r"v\.npy is a git-LFS pointer.*git lfs pull"):
            import_vectors(settings, tmp_path / "bank")

    def test_a_data_set_in_a_folder_may_hold_pointers(self, tmp_path, monkeypatch):
        def load(*_, **__):
            raise ValueError("cannot parse")

        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))
        (tmp_path / "train.jsonl").write_bytes(POINTER)
        with pytest.raises(InputError, match=r"train\.jsonl is a git-LFS pointer.*git lfs pull"):
            list(HuggingFaceCorpus(name=str(tmp_path)).read())

    def test_a_pointer_is_known_by_its_first_line(self):
        assert is_lfs_pointer(POINTER)
        assert not is_lfs_pointer(b"version 1 of a text")


def test_a_stream_that_breaks_off_is_an_error(hub, tmp_path):
    class Broken(Rows):
        def __iter__(self):
            yield from self.records
            raise ConnectionError("reset by peer")

    corpus = hub(tmp_path, {"id": "a", "text": ONE})
    sys.modules["datasets"].load_dataset = lambda *_, **__: Broken([{"id": "a", "text": ONE}])
    with pytest.raises(InputError, match=r"data set a/b cannot be read to its end: got ConnectionError: reset by peer"):
        list(corpus.read())


LINES = ['{"id":"a","text":"One."}', "{1", "{2", '{"id":"b","text":null}', '{"id":"c"}', *["{"] * 5]


class TestShare:
    def test_more_than_the_share_ends_it_with_the_reasons_first(self, tmp_path):
        documents = read_most(of_text(tmp_path, "\n".join(LINES)))
        with pytest.raises(InputError) as caught:
            list(documents)
        places = ", ".join(f"{tmp_path}/c.jsonl:{line}" for line in (2, 3, 6, 7, 8))
        assert str(caught.value) == (
            "too much of the corpus cannot be read: got 8 of 10 documents, files and records: 7 × is not JSON; correct "
            f"the line ({places}, …); 1 × got no 'text' among the keys id; correct or remove this record "
            f"({tmp_path}/c.jsonl:5), expected at most 20 %. To fix it: correct or remove them, or raise "
            "maximum_unreadable in [corpus]."
        )

    @pytest.mark.parametrize(("bad", "ends"), [(2, False), (3, True)])
    def test_up_to_a_fifth_is_let_through(self, tmp_path, bad, ends):
        lines = [f'{{"id":"{n}","text":"One."}}' for n in range(10 - bad)] + ["{"] * bad
        documents = read_most(of_text(tmp_path, "\n".join(lines)))
        if ends:
            with pytest.raises(InputError, match="3 of 10 documents"):
                list(documents)
        else:
            assert len(list(documents)) == 10

    def test_the_share_is_a_setting(self, tmp_path):
        assert len(list(read_most(of_text(tmp_path, "\n".join(LINES), maximum_unreadable=0.8)))) == 10
        with pytest.raises(InputError, match="expected at most 79 %"):
            list(read_most(of_text(tmp_path, "\n".join(LINES), maximum_unreadable=0.79)))

    def test_what_is_left_out_on_purpose_does_not_count(self, tmp_path):
        lines = [f'{{"id":"{n}","text":""}}' for n in range(9)] + ['{"id":"x","text":"One."}']
        assert len(list(read_most(of_text(tmp_path, "\n".join(lines), maximum_unreadable=0)))) == 10

    def test_strict_refuses_what_another_reader_found_unreadable(self):
        skipped = Skipped("a.txt", "is not UTF-8", unreadable=True)
        sys.modules["readers_of_records"] = types.SimpleNamespace(read=lambda: iter([skipped]))
        corpus = CustomCorpus(reader="readers_of_records:read", strict=True)
        with pytest.raises(InputError, match=r"a\.txt cannot be read: got is not UTF-8.*strict = false"):
            list(corpus.read())
        assert list(corpus.model_copy(update={"strict": False}).read()) == [skipped]
