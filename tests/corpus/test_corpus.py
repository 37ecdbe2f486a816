"""Readers of records (JSONL, Parquet, BEIR, Hugging Face, custom), and the checks that all readers share."""

import bz2
import gzip
import json
import sys
import types
import unicodedata
from typing import ClassVar

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from segue.corpus import (
    BeirCorpus,
    Corpus,
    CorpusReader,
    CustomCorpus,
    HuggingFaceCorpus,
    JsonlCorpus,
    ParquetCorpus,
    VectorsCorpus,
)
from segue.corpus.prose import is_prose, remnants, split_paragraphs
from segue.errors import InputError, MissingExtraError, SegueError
from segue.types import Document, Skipped

A = {"id": "a", "title": "A", "text": "One.\n\nTwo."}
B = {"id": "b", "title": "B", "paragraphs": ["Three.", " ", "Four\n five."]}


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def read_jsonl(path, data, **settings):
    path.write_bytes(data)
    return list(JsonlCorpus(path=path, **settings).read())


class TestJsonl:
    def test_text_and_paragraphs_give_documents_in_the_order_of_the_lines(self, tmp_path):
        assert read_jsonl(tmp_path / "c.jsonl", lines(A, B)) == [
            Document("a", "A", ("One.", "Two."), ""),
            Document("b", "B", ("Three.", "Four five."), ""),
        ]

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
    def test_compressed_files_read_alike(self, tmp_path, pack):
        plain = read_jsonl(tmp_path / "c.jsonl", lines(A, B))
        assert read_jsonl(tmp_path / "c.jsonl.x", pack(lines(A, B))) == plain

    def test_byte_order_mark_blank_lines_more_keys_and_number_ids_are_allowed(self, tmp_path):
        data = b"\xef\xbb\xbf" + lines({"id": 1, "text": "One.", "source": "x", "other": [1]}) + b"\n  \r\n" + lines(A)
        assert [(d.id, d.title, d.source) for d in read_jsonl(tmp_path / "c", data)] == [("1", "", "x"), ("a", "A", "")]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (b'{"id": "x", "text"', r"c\.jsonl:2 is not JSON"),
            (b"[" * 100_000, r"c\.jsonl:2 is not JSON"),
            (b"[1, 2]", r"c\.jsonl:2: got list"),
            (b'{"title": "X", "text": "T."}', r"c\.jsonl:2: got no 'id' among the keys text, title"),
            (b'{"id": true, "text": "T."}', r"c\.jsonl:2: got bool in 'id'"),
            (b'{"id": "x", "title": "X"}', r"c\.jsonl:2: got no 'text' among"),
            (b'{"id": "x", "paragraphs": "T."}', r"c\.jsonl:2: got str in 'paragraphs'"),
            (b'{"id": "x", "paragraphs": ["T.", 1]}', r"c\.jsonl:2: got list in 'paragraphs'"),
            (b'{"id": "x", "title": 1, "text": "T."}', r"c\.jsonl:2: got int in 'title'"),
            (b'{"id": "a", "text": "T."}', r"two documents have the id 'a'"),
            (b'{"id": "a\xe2\x80\x8b", "text": "T."}', r"ids that look the same, 'a' and 'a\\u200b'.*invisible"),
            (b'{"id": " ", "text": "T."}', r"an empty id"),
            (
                b'{"id": "x", "text": "\\ud800"}',
                r"c\.jsonl:2 contains half a character: got U\+D800 .* 'x'",
            ),
        ],
    )
    def test_wrong_lines_are_named_by_file_and_line(self, tmp_path, line, message):
        with pytest.raises(InputError, match=message) as caught:
            read_jsonl(tmp_path / "c.jsonl", lines(A) + line + b"\n", strict=True)
        assert "To fix it" in str(caught.value)

    def test_a_wrong_byte_is_named_by_its_offset_in_the_file(self, tmp_path):
        start = lines(A)
        with pytest.raises(InputError, match=rf"c\.jsonl:2 is not UTF-8: got byte 0xe9 at offset {len(start) + 7}"):
            read_jsonl(tmp_path / "c.jsonl", start + b'{"id": \xe9}\n', strict=True)

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
    def test_a_compressed_file_cut_short_is_named(self, tmp_path, pack):
        with pytest.raises(InputError, match=r"c\.jsonl\.x is incomplete"):
            read_jsonl(tmp_path / "c.jsonl.x", pack(lines(A, B))[:-9], strict=True)

    def test_an_empty_file_is_an_empty_corpus(self, tmp_path):
        assert read_jsonl(tmp_path / "c", b"") == []

    def test_reading_twice_gives_the_same(self, tmp_path):
        (tmp_path / "c").write_bytes(lines(A, B))
        reader = JsonlCorpus(path=tmp_path / "c")
        assert list(reader.read()) == list(reader.read())


def test_empty_and_short_documents_are_skipped_with_their_reason(tmp_path):
    records = [A, {"id": "e", "text": " \n\n "}, {"id": "s", "paragraphs": ["ab", "cd"]}, {"id": "f", "text": "abcde"}]
    items = read_jsonl(tmp_path / "c", lines(*records), minimum_characters=5)
    assert items[1:3] == [Skipped("e", "empty"), Skipped("s", "shorter than 5 characters")]
    assert [item.id for item in items] == ["a", "e", "s", "f"]


def test_the_minimum_counts_a_han_character_as_four_letters(tmp_path):
    records = [{"id": "h", "text": "他住在北京。"}, {"id": "l", "text": "He lives in Beijing"}]
    items = read_jsonl(tmp_path / "c", lines(*records), minimum_characters=20)
    assert [type(item) for item in items] == [Document, Skipped]


def test_the_maximum_counts_documents_only_and_nothing_behind_it_is_read(tmp_path):
    data = lines({"id": "e", "text": ""}, A, B) + b"broken"
    items = read_jsonl(tmp_path / "c", data, maximum_documents=2)
    assert [item.id for item in items] == ["e", "a", "b"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=5))
@settings(deadline=None, max_examples=50)
def test_paragraphs_hold_all_letters_and_digits(blocks):
    paragraphs = split_paragraphs("\n\n".join(blocks))
    said, read = (unicodedata.normalize("NFD", "".join(texts)) for texts in (blocks, paragraphs))
    assert [sign for sign in read if sign.isalnum()] == [sign for sign in said if sign.isalnum()]
    assert all(paragraph == " ".join(paragraph.split()) != "" for paragraph in paragraphs)


@pytest.mark.parametrize(
    ("line", "prose"),
    [
        ("It snows in the winter.", True),
        ("“It snows in the winter.”", True),
        ("There are three kinds of it:", True),
        ("冬になると、この地方ではたくさんの雪が降ります。", True),
        ("Yes.", False),
        ("See also", False),
        ("John Smith (1950–2000), an actor", False),
        ("word " * 50, True),
        ("他是一名医生，住在北京。", True),
        ("他住在北京。", True),
        ("一、二。", False),
        ("張三（1950年－2000年），演員", False),
        ("彼は医者で、東京に住んでいる。", True),
        ("그는 베이징에 사는 의사이다.", True),
        ("เขาเป็นแพทย์และอาศัยอยู่ในกรุงเทพมหานคร", True),
        ("จอห์น สมิธ นักแสดง", False),
        ("ดูเพิ่ม", False),
        ("هل يسقط الثلج في الشتاء؟", True),
    ],
)
def test_prose_ends_like_a_sentence_or_is_long(line, prose):
    assert is_prose(line.strip()) is prose


def test_remnants_are_counted_once_each():
    marks = (
        "[[",
        "}}",
        "{|",
        "''",
        "<ref name='a'>",
        "</ref>",
        "&nbsp;",
        "&#160;",
        "__NOTOC__",
        "thumb|",
        "200px|",
        "-{",
    )
    assert remnants(" word ".join(("", *marks, ""))) == len(marks)
    assert remnants('He said "a < b", 5\' 8" & more; x | y - {z}.') == 0


class TestParquet:
    @staticmethod
    def read(path, **columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return list(ParquetCorpus(path=path, strict=True).read())

    def test_rows_are_documents_in_order(self, tmp_path):
        items = self.read(tmp_path / "t", id=["a", "b"], title=["A", None], text=["One.\n\nTwo.", "Three."], x=[1, 2])
        assert items == [Document("a", "A", ("One.", "Two.")), Document("b", "", ("Three.",))]

    def test_paragraphs_and_number_ids_are_allowed(self, tmp_path):
        assert self.read(tmp_path / "t", id=[7], paragraphs=[["One.", "Two."]]) == [Document("7", "", ("One.", "Two."))]

    def test_more_rows_than_a_batch_keep_their_order(self, tmp_path):
        items = self.read(tmp_path / "t", id=list(range(600)), text=["T."] * 600)
        assert [item.id for item in items] == [str(number) for number in range(600)]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"text": ["T."]}, r"t\.parquet lacks a column: got text, expected id, and text or paragraphs"),
            ({"id": ["a"], "body": ["T."]}, r"lacks a column"),
            ({"id": ["a", None], "text": ["T.", "U."]}, r"t\.parquet, row 1: got NoneType in 'id'"),
            ({"id": ["a", "a"], "text": ["T.", "U."]}, r"two documents have the id 'a'"),
        ],
    )
    def test_wrong_tables_name_column_or_row(self, tmp_path, columns, message):
        with pytest.raises(InputError, match=message):
            self.read(tmp_path / "t.parquet", **columns)

    def test_a_damaged_table_is_named(self, tmp_path):
        (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
        with pytest.raises(InputError, match=r"t\.parquet cannot be read as Parquet"):
            list(ParquetCorpus(path=tmp_path / "t.parquet", strict=True).read())


class TestBeir:
    RECORD: ClassVar = {"_id": "d1", "title": "T", "text": "One.", "metadata": {}}

    @pytest.mark.parametrize("name", ["", "corpus.jsonl"])
    def test_the_folder_and_the_file_read_alike(self, tmp_path, name):
        (tmp_path / "corpus.jsonl").write_bytes(lines(self.RECORD))
        assert list(BeirCorpus(path=tmp_path / name).read()) == [Document("d1", "T", ("One.",))]

    def test_a_folder_without_a_corpus_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"no corpus\.jsonl"):
            list(BeirCorpus(path=tmp_path).read())

    def test_the_id_must_be_beirs(self, tmp_path):
        (tmp_path / "corpus.jsonl").write_bytes(lines(A))
        with pytest.raises(InputError, match=r"corpus\.jsonl:1: got no '_id'"):
            list(BeirCorpus(path=tmp_path, strict=True).read())


class TestHuggingFace:
    SETTINGS = HuggingFaceCorpus(name="wikimedia/wikipedia", config="20231101.en", minimum_characters=1)

    @staticmethod
    def pretend(monkeypatch, load):
        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))

    def test_the_extra_is_named_when_the_library_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'segue\[huggingface\]'"):
            self.SETTINGS.read()

    def test_headings_and_list_entries_are_left_out(self, monkeypatch):
        text = (
            "Snow falls in the winter.\n\nHistory\nIt fell in 1900, too.\nIt was cold then, they say.\n\nSee also\nRain"
        )
        calls = []

        def load(*names, **options):
            calls.append((names, options))
            return [{"id": "1", "url": "u", "title": "Snow", "text": text}]

        self.pretend(monkeypatch, load)
        assert [item.paragraphs for item in self.SETTINGS.read()] == [
            ("Snow falls in the winter.", "It fell in 1900, too.", "It was cold then, they say.")
        ]
        assert calls[0][0] == ("wikimedia/wikipedia", "20231101.en")
        assert calls[0][1] == {"split": "train", "revision": None, "streaming": True}

    def test_what_the_library_raises_becomes_one_error_with_the_name(self, monkeypatch):
        def load(*_, **__):
            raise ConnectionError("no route")

        self.pretend(monkeypatch, load)
        with pytest.raises(
            InputError, match="data set wikimedia/wikipedia cannot be loaded: got ConnectionError: no route"
        ):
            self.SETTINGS.read()

    def test_a_missing_column_is_named_with_its_row(self, monkeypatch):
        self.pretend(monkeypatch, lambda *_, **__: [{"id": "1", "body": "T."}])
        with pytest.raises(InputError, match=r"wikimedia/wikipedia, row 0: got no 'text' among the keys body, id"):
            list(self.SETTINGS.model_copy(update={"strict": True}).read())


class Numbers:
    """A reader such as a user would write."""

    def __init__(self, upto=1, wrong=False):
        self.upto, self.wrong = upto, wrong

    def read(self):
        yield from (Document(str(n), "", (f"Number {n}.",)) for n in range(self.upto))
        if self.wrong:
            yield "text"


class TestCustom:
    @pytest.fixture(autouse=True)
    def module(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "my_readers", types.SimpleNamespace(Numbers=Numbers, Nothing=object))

    def test_a_class_of_the_users_is_read_with_its_options(self):
        reader = CustomCorpus(reader="my_readers:Numbers", options={"upto": 3}, maximum_documents=2)
        assert [item.id for item in reader.read()] == ["0", "1"]

    @pytest.mark.parametrize(
        ("reader", "options"),
        [
            ("no.such.module:X", {}),
            ("my_readers:Missing", {}),
            ("my_readers:Numbers", {"nope": 1}),
            ("my_readers:Nothing", {}),
        ],
    )
    def test_what_cannot_be_made_is_named(self, reader, options):
        with pytest.raises(SegueError, match=reader):
            CustomCorpus(reader=reader, options=options).read()

    def test_tuples_are_paragraphs(self, monkeypatch):
        items = [
            ("a", ("One.", "Two.")),
            {"id": "b", "paragraphs": ("Three.", "Four.")},
            {"id": "c", "text": ("Five.",)},
        ]
        monkeypatch.setattr(sys.modules["my_readers"], "pairs", lambda: iter(items), raising=False)
        assert [(item.id, item.paragraphs) for item in CustomCorpus(reader="my_readers:pairs").read()] == [
            ("a", ("One.", "Two.")), ("b", ("Three.", "Four.")), ("c", ("Five.",))]  # fmt: skip

    def test_other_objects_than_documents_are_refused(self):
        with pytest.raises(InputError, match="my_readers:Numbers, document 1 yielded a wrong object: got str"):
            list(CustomCorpus(reader="my_readers:Numbers", options={"wrong": True}, strict=True).read())


class TestSettings:
    ADAPTER = TypeAdapter(Corpus)

    @pytest.mark.parametrize(
        "table",
        [
            {"kind": "wikipedia-dump"},
            {"kind": "folder", "path": "."},
            {"kind": "jsonl", "path": "c.jsonl"},
            {"kind": "parquet", "path": "c.parquet"},
            {"kind": "beir", "path": "c"},
            {"kind": "custom", "reader": "io:StringIO", "options": {"newline": None}},
        ],
    )
    def test_the_kind_chooses_the_reader_and_settings_survive_json(self, table):
        settings = self.ADAPTER.validate_python(table)
        assert settings.kind == table["kind"]
        assert isinstance(settings, CorpusReader)
        assert self.ADAPTER.validate_json(self.ADAPTER.dump_json(settings)) == settings

    @pytest.mark.parametrize(
        "table", [{"kind": "nothing"}, {"path": "x"}, {"kind": "jsonl"}, {"kind": "jsonl", "path": "x", "glob": "*"}]
    )
    def test_wrong_tables_are_refused(self, table):
        with pytest.raises(ValidationError):
            self.ADAPTER.validate_python(table)

    def test_vectors_are_not_read_as_text(self):
        settings = self.ADAPTER.validate_python({"kind": "vectors", "vectors": "v.npy", "table": "t.parquet"})
        assert isinstance(settings, VectorsCorpus)
        with pytest.raises(InputError, match="import it as a bank"):
            settings.read()

    @pytest.mark.parametrize(
        "model", [JsonlCorpus, ParquetCorpus, BeirCorpus, HuggingFaceCorpus, VectorsCorpus, CustomCorpus]
    )
    def test_every_field_says_what_it_is(self, model):
        fields = {name: field.description for name, field in model.model_fields.items() if name != "kind"}
        assert [name for name, description in fields.items() if not description] == []
