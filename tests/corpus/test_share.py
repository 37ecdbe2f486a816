"""Every reader knows which share of its source was read, where that can be known without reading it twice."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import sys
import types

import pyarrow
import pyarrow.parquet
import pytest

from segue.corpus import BeirCorpus, CustomCorpus, FolderCorpus, HuggingFaceCorpus, JsonlCorpus, ParquetCorpus
from segue.corpus.intake import share_of
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.types import Document

IDS = ("a", "b", "c", "d")
FOUR = [0.25, 0.5, 0.75, 1.0]


def shares(corpus, **settings):
    """Return the share after each document, and at the end."""
    documents = corpus.model_copy(update=settings).read()
    share = share_of(documents)
    return [share() for _ in documents], share()


def of_equal_length(key="id"):
    """Return four lines of one length, so that each is a quarter of the file."""
    return "".join(json.dumps({key: name, "text": "One."}) + "\n" for name in IDS).encode()


@pytest.fixture
def folder(tmp_path):
    for name in ("a.txt", "b.png", "c.txt", "d.txt"):  # one that is skipped is read, too
        (tmp_path / name).write_text("One.", encoding="utf-8")
    return FolderCorpus(path=tmp_path)


def test_a_folder_counts_its_files(folder):
    assert shares(folder) == (FOUR, 1.0)


def test_a_file_of_lines_counts_its_bytes(tmp_path):
    (tmp_path / "corpus.jsonl").write_bytes(of_equal_length())
    assert shares(JsonlCorpus(path=tmp_path / "corpus.jsonl")) == (FOUR, 1.0)
    (tmp_path / "corpus.jsonl").write_bytes(of_equal_length("_id"))
    assert shares(BeirCorpus(path=tmp_path)) == (FOUR, 1.0)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_compressed_file_counts_its_compressed_bytes(tmp_path, pack):
    noise = random.Random(0).randbytes(200_000).hex()  # no packing makes it fit into a buffer
    lines = [json.dumps({"id": name, "text": text}) for name, text in (("a", "One."), ("b", noise))]
    (tmp_path / "corpus").write_bytes(pack("\n".join(lines).encode()))
    found, end = shares(JsonlCorpus(path=tmp_path / "corpus"))
    assert 0 < found[0] <= found[1] == end == 1.0


def test_a_table_counts_its_rows(tmp_path):
    table = pyarrow.table({"id": IDS, "text": ["One."] * 4})
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    assert shares(ParquetCorpus(path=tmp_path / "table.parquet")) == (FOUR, 1.0)


def test_a_dump_counts_its_bytes(tmp_path):
    pages = [f"<page><title>P{n}</title><ns>0</ns><id>{n}</id><revision><id>{n}</id><text>{'It snows. ' * 20_000}"
             "</text></revision></page>" for n in range(4)]  # fmt: skip
    head = ('<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11"><siteinfo><sitename>W'
            "</sitename><namespaces><namespace key=\"0\"/></namespaces></siteinfo>")  # fmt: skip
    (tmp_path / "dump.xml").write_text(head + "".join(pages) + "</mediawiki>", encoding="utf-8")
    found, end = shares(WikipediaDumpCorpus(path=str(tmp_path / "dump.xml")))
    assert found == pytest.approx(FOUR, abs=0.1)  # an XML parser reads 64 KB ahead, of 800 KB
    assert found == sorted(found)
    assert end == 1.0


class Named:
    """A reader of the user's."""

    def read(self):
        yield from (Document(name, "", ("One.",)) for name in IDS)


class Counted(Named):
    """One that knows how many documents it has."""

    def __len__(self):
        return 4


def test_a_reader_of_the_users_counts_its_documents_where_it_has_a_length(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_readers", types.SimpleNamespace(Named=Named, Counted=Counted))
    assert shares(CustomCorpus(reader="my_readers:Counted")) == (FOUR, 1.0)
    assert shares(CustomCorpus(reader="my_readers:Named")) == ([None] * 4, None)


@pytest.mark.parametrize("known", [4, None])
def test_a_streamed_data_set_counts_the_rows_that_it_states(monkeypatch, known):
    class Streamed:
        info = types.SimpleNamespace(splits=known and {"train": types.SimpleNamespace(num_examples=known)})

        def __iter__(self):
            yield from ({"id": name, "text": "It snows in the winter."} for name in IDS)

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda *_, **__: Streamed()))
    corpus = HuggingFaceCorpus(name="wikimedia/wikipedia", minimum_characters=1)
    assert shares(corpus) == ((FOUR, 1.0) if known else ([None] * 4, None))


def test_the_maximum_ends_it_earlier(folder, monkeypatch):
    assert shares(folder, maximum_documents=2) == ([0.5, 0.5, 1.0], 1.0)  # the second file is skipped: not a document
    assert shares(folder, maximum_documents=100) == (FOUR, 1.0)
    monkeypatch.setitem(sys.modules, "my_readers", types.SimpleNamespace(Named=Named))
    assert shares(CustomCorpus(reader="my_readers:Named"), maximum_documents=2) == ([0.5, 1.0], 1.0)


def test_before_it_begins_and_of_plain_iterators_nothing_is_known(folder, tmp_path):
    assert share_of(folder.read())() is None
    assert share_of(JsonlCorpus(path=tmp_path / "nothing").read())() is None
    assert share_of(iter([]))() is None
