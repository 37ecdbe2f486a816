"""Several files as one corpus: lists, folders and patterns, packed in every way, under column names of one's own."""

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segue.bank.manifest import same_source
from segue.corpus import BeirCorpus, JsonlCorpus, ParquetCorpus
from segue.corpus.intake import share_of
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.errors import InputError, SettingsError
from segue.recipe import load_recipe, parse_recipe
from segue.types import Document

PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


def lines(*names, **keys) -> bytes:
    return "".join(json.dumps({"id": name, "text": f"Text {name}.", **keys}) + "\n" for name in names).encode()


def ids(corpus) -> list[str]:
    return [document.id for document in corpus.read()]


@pytest.fixture
def shards(tmp_path):
    """Eleven shards, each packed in another way, of one document each but the tenth; and files that are no shards."""
    for number, end in enumerate([*PACK, *PACK, ""]):
        data = lines(f"d{number}") if number != 10 else lines("d10", "e10")
        (tmp_path / f"part-{number}.jsonl{end}").write_bytes(PACK[end](data))
    (tmp_path / "_SUCCESS.jsonl").write_bytes(b"")
    (tmp_path / ".part-0.jsonl").write_bytes(b"broken")
    (tmp_path / "README.md").write_text("no data")
    return tmp_path


IN_ORDER = [*(f"d{number}" for number in range(11)), "e10"]  # part-10 after part-9


@pytest.mark.parametrize("path", ["", "*.jsonl*", "part-*", "**/part-*"])
def test_a_folder_and_a_pattern_are_read_in_natural_order(shards, path):
    path = shards / path if path != "*.jsonl*" else shards / "part*.jsonl*"
    assert ids(JsonlCorpus(path=path)) == IN_ORDER


def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path):
    for folder in ("a [1]", "a 1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part-1.jsonl").write_text(f'{{"id": "{folder}", "text": "It snows."}}\n')
    (document,) = JsonlCorpus(path=tmp_path / "a [1]" / "part-*.jsonl").read()
    assert document.id == "a [1]"


def test_a_list_is_read_as_it_stands(shards):
    paths = (shards / "part-10.jsonl", shards / "part-[01].jsonl*")
    assert ids(JsonlCorpus(path=paths)) == ["d10", "e10", "d0", "d1"]


def test_the_share_counts_the_bytes_of_all_files(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.jsonl").write_bytes(lines(name))
    documents = JsonlCorpus(path=tmp_path).read()
    share = share_of(documents)
    assert [share() for _ in documents] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("end", [".xz", ".zst"])
def test_a_packed_shard_cut_short_is_named(tmp_path, end):
    (tmp_path / f"b.jsonl{end}").write_bytes(PACK[end](lines(*map(str, range(2000))))[:-9])
    (tmp_path / "a.jsonl").write_bytes(lines("a"))
    with pytest.raises(InputError, match=rf"b\.jsonl{end} is incomplete"):
        ids(JsonlCorpus(path=tmp_path, strict=True))


def test_zstd_frames_that_were_appended_are_all_read(tmp_path):
    (tmp_path / "c.jsonl.zst").write_bytes(PACK[".zst"](lines("a")) + PACK[".zst"](lines("b")))
    assert ids(JsonlCorpus(path=tmp_path / "c.jsonl.zst")) == ["a", "b"]


@pytest.mark.parametrize("end", [".xz", ".zst"])
def test_dumps_and_data_sets_may_be_packed_alike(tmp_path, end):
    (tmp_path / f"corpus.jsonl{end}").write_bytes(PACK[end](b'{"_id": "d1", "text": "One."}\n'))
    assert ids(BeirCorpus(path=tmp_path)) == ["d1"]
    head = '<siteinfo><sitename>W</sitename><namespaces><namespace key="0"/></namespaces></siteinfo>'
    page = "<title>P</title><ns>0</ns><id>1</id><revision><id>1</id><text>It snows in the winter.</text></revision>"
    place = 'xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11"'
    dump = f"<mediawiki {place}>{head}<page>{page}</page></mediawiki>"
    (tmp_path / "dump").write_bytes(PACK[end](dump.encode()))
    assert ids(WikipediaDumpCorpus(path=str(tmp_path / "dump"), minimum_characters=1)) == ["P"]


def test_parquet_shards_are_read_in_order_and_their_rows_counted(tmp_path):
    for number in (10, 9):
        table = pa.table({"id": [f"{number}a", f"{number}b"], "text": ["One.", "Two."]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    documents = ParquetCorpus(path=tmp_path).read()
    share = share_of(documents)
    assert [(document.id, share()) for document in documents] == [
        ("9a", 0.25), ("9b", 0.5), ("10a", 0.75), ("10b", 1.0)
    ]  # fmt: skip


def test_a_document_in_two_shards_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines("x", "y"))
    (tmp_path / "b.jsonl").write_bytes(lines("y"))
    with pytest.raises(InputError, match=r"two documents have the id 'y'.*one record holds a whole document"):
        ids(JsonlCorpus(path=(tmp_path / "a.jsonl", tmp_path / "b.jsonl")))


@pytest.mark.parametrize(
    ("path", "message"),
    [("nothing.jsonl", "nothing there"), ("*.jsonl", "a pattern without matches"), ("", "a folder without files")],
)
def test_paths_that_name_no_file_are_refused(tmp_path, path, message):
    (tmp_path / "a.txt").write_text("One.")
    for corpus in (JsonlCorpus, ParquetCorpus):
        with pytest.raises(InputError, match=message):
            ids(corpus(path=tmp_path / path))


def test_columns_have_the_names_of_the_user(tmp_path):
    record = {"doc": 7, "head": "T", "body": "One.\n\nTwo.", "paragraphs": 2}
    (tmp_path / "c.jsonl").write_text(json.dumps(record))
    pq.write_table(pa.table({key: [value] for key, value in record.items()}), tmp_path / "t.parquet")
    pq.write_table(pa.table({"doc": [7], "head": ["T"], "body": [["One.", "Two."]]}), tmp_path / "l.parquet")
    names = {"id_column": "doc", "title_column": "head", "text_column": "body"}
    expected = [Document("7", "T", ("One.", "Two."))]
    assert list(JsonlCorpus(path=tmp_path / "c.jsonl", **names).read()) == expected
    assert list(ParquetCorpus(path=tmp_path / "t.parquet", **names).read()) == expected
    assert list(ParquetCorpus(path=tmp_path / "l.parquet", **names).read()) == expected
    with pytest.raises(InputError, match=r"got doc, head, body, paragraphs, expected doc, and txt.*text_column"):
        ids(ParquetCorpus(path=tmp_path / "t.parquet", id_column="doc", text_column="txt"))
    with pytest.raises(InputError, match="no 'txt' among the keys body, doc"):
        ids(JsonlCorpus(path=tmp_path / "c.jsonl", id_column="doc", text_column="txt", strict=True))


URLS = [
    {"kind": "jsonl", "path": "https://example.org/c.jsonl.gz"},
    {"kind": "parquet", "path": ["a.parquet", "http://bucket/b.parquet"]},
    {"kind": "folder", "path": "ftps://docs"},
    {"kind": "wikipedia-dump", "path": "https://dumps.example.org/enwiki.xml.bz2"},
    {"kind": "vectors", "table": "t.parquet", "vectors": "hdf://bucket/v.npy"},
    {"kind": "dialogue", "path": "hf://datasets/a/b"},
]


@pytest.mark.parametrize("table", URLS, ids=lambda table: table["kind"])
def test_a_url_in_place_of_a_path_is_refused_with_the_way(tmp_path, table):
    with pytest.raises(SettingsError, match=r"1 problem.*\n.*the URL \w+://.*download it.*kind = \"huggingface\""):
        parse_recipe({"corpus": table})
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    (tmp_path / "recipe.toml").write_text(f"[corpus]\n{keys}")
    with pytest.raises(SettingsError, match=r"1 problem.*\n.*the URL \w+://"):
        load_recipe(tmp_path / "recipe.toml")


def test_other_urls_and_types_are_refused_too():
    with pytest.raises(SettingsError, match=r"\[corpus\] name: .*the part after \"datasets/\""):
        parse_recipe({"corpus": {"kind": "huggingface", "name": "https://huggingface.co/datasets/a/b"}})
    with pytest.raises(SettingsError, match=r"\[bank\] path: .*the URL https://"):
        parse_recipe({"corpus": {"kind": "wikipedia-dump"}, "bank": {"path": "https://bucket/bank"}})
    with pytest.raises(SettingsError, match=r"1 problem.*\n.*path: not a path: got 3, expected a path, or a list"):
        parse_recipe({"corpus": {"kind": "jsonl", "path": 3}})


def test_relative_paths_of_a_list_are_relative_to_the_recipe(tmp_path):
    (tmp_path / "recipe.toml").write_text('[corpus]\nkind = "jsonl"\npath = ["a.jsonl", "shards/*.jsonl"]')
    corpus = load_recipe(tmp_path / "recipe.toml").corpus
    assert corpus.path == (tmp_path / "a.jsonl", tmp_path / "shards" / "*.jsonl")


def test_a_bank_of_an_older_version_and_one_that_moved_with_its_shards_are_of_the_same_source():
    old = {"kind": "jsonl", "path": "/old/c.jsonl", "minimum_characters": 1, "maximum_documents": None}
    now = JsonlCorpus(path="/old/c.jsonl").model_dump(mode="json")
    assert same_source(old, now, moved=None)
    assert not same_source(old, now | {"text_column": "body"}, moved=None)
    before = now | {"path": ["/old/a.jsonl", "/old/b/*.jsonl"]}
    moved = now | {"path": ["/new/a.jsonl", "/new/b/*.jsonl"]}
    assert same_source(before, moved, moved=("/old/bank", "/new/bank"))
    assert not same_source(before, moved, moved=None)
    assert not same_source(before, moved | {"path": moved["path"][:1]}, moved=("/old/bank", "/new/bank"))
