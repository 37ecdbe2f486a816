"""Small files that unpack to more than memory: what is too long is left out or refused, and memory stays bounded."""

import bz2
import gzip
import json
import lzma
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segue.bank.shards import read_table
from segue.corpus import JsonlCorpus, ParquetCorpus, WikipediaDumpCorpus, intake, jsonl
from segue.errors import InputError
from segue.files import read_npz, write_npz
from segue.types import Document, Skipped

PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
LIMIT = 2**20
BOMB = 64 * LIMIT
REASON = f"is too long: expected at most {LIMIT:,} bytes"


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch):
    monkeypatch.setattr(intake, "LONGEST_RECORD", LIMIT)
    monkeypatch.setattr(jsonl, "BYTES_AT_ONCE", LIMIT // 16)


@pytest.fixture
def peak():
    """Return the most bytes that Python held so far in this test."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def line(name, text="It snows."):
    return json.dumps({"id": name, "text": text}).encode()


def found_in(corpus):
    """Return the ids that a corpus yields, and the places of what it leaves out as too long."""
    items = list(corpus.read())
    skipped = [item for item in items if isinstance(item, Skipped)]
    assert all(item.unreadable and item.reason.startswith("is too long") for item in skipped)
    return [item.id for item in items if isinstance(item, Document)], [item.id.rpartition("/")[2] for item in skipped]


@pytest.mark.parametrize("kind", PACKERS)
def test_a_line_that_unpacks_to_more_than_is_read_is_left_out_alone(tmp_path, peak, kind):
    path = tmp_path / "c.jsonl"
    path.write_bytes(PACKERS[kind](b"\n".join((line("a"), b"x" * BOMB, line("b")))))
    assert path.stat().st_size < LIMIT // 4
    tracemalloc.reset_peak()
    assert found_in(JsonlCorpus(path=path)) == (["a", "b"], ["c.jsonl:2"])
    assert peak() < 16 * LIMIT


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("over", range(-2, 3))
def test_lines_about_as_long_as_is_read_end_where_they_end(tmp_path, monkeypatch, end, over):
    monkeypatch.setattr(intake, "LONGEST_RECORD", 256)
    monkeypatch.setattr(jsonl, "BYTES_AT_ONCE", 64)
    path = tmp_path / "c.jsonl"
    for size in (256, 320, 1024):
        long = line("long", "")
        long += b" " * (size + over - len(long) - len(end))
        path.write_bytes(end.join((line("a"), long, line("b"), b"\xff", b"")))
        items = list(JsonlCorpus(path=path, minimum_characters=0).read())
        second = f"{path}:2" if len(long + end) > 256 else "long"
        assert [item.id for item in items] == ["a", second, "b", f"{path}:4"]


def test_a_byte_that_is_no_utf_8_is_named_by_its_place_behind_a_line_that_is_too_long(tmp_path):
    path = tmp_path / "c.jsonl"
    data = b"\n".join((line("a"), b"x" * (3 * LIMIT), line("b"), b"caf\xe9"))
    path.write_bytes(data)
    found = [str(record) for record, _ in jsonl.read_objects(intake.SourceFile(path)) if isinstance(record, InputError)]
    assert len(found) == 2
    assert REASON in found[0]
    assert f"byte 0xe9 at offset {data.index(bytes([0xE9]))}" in found[1]


def test_one_array_that_is_too_long_is_still_named_an_array(tmp_path):
    (tmp_path / "c.jsonl").write_bytes(b"[" + b"1," * LIMIT + b"1]")
    with pytest.raises(InputError, match="is a JSON array"):
        list(JsonlCorpus(path=tmp_path / "c.jsonl", strict=True).read())


def dump(*parts):
    return b"".join((b"<mediawiki><siteinfo/>", *parts, b"</mediawiki>"))


def page(title, text=b"'''Snow''' falls in winter, and it melts in spring.", *, before=b""):
    revision = b"<revision><text>" + text + b"</text></revision>"
    return b"<page><title>" + title + b"</title><ns>0</ns>" + before + revision + b"</page>"


def wikipedia(path, data):
    path.write_bytes(bz2.compress(data))
    return WikipediaDumpCorpus(path=str(path), minimum_characters=1)


def test_a_page_that_unpacks_to_more_than_is_read_ends_a_dump(tmp_path, peak):
    corpus = wikipedia(tmp_path / "d.xml", dump(page(b"A"), page(b"B", b"x" * BOMB)))
    tracemalloc.reset_peak()
    with pytest.raises(InputError, match=f"d.xml: a page {REASON}"):
        list(corpus.read())
    assert peak() < 16 * LIMIT


@pytest.mark.parametrize(
    ("between", "before"),
    [(b"<news/>" * LIMIT, b""), (b"", (b"<revision><text>old</text></revision>" + b"<news/>" * 1000) * 300)],
    ids=["beside pages", "in a page of many revisions"],
)
def test_elements_that_are_not_read_take_no_memory(tmp_path, peak, between, before):
    corpus = wikipedia(tmp_path / "d.xml", dump(page(b"A"), between, page(b"B", before=before)))
    tracemalloc.reset_peak()
    assert [(item.id, item.paragraphs) for item in corpus.read()] == [
        (name, ("Snow falls in winter, and it melts in spring.",)) for name in "AB"
    ]
    assert peak() < 16 * LIMIT


LAUGHS = (
    b"<!DOCTYPE mediawiki [<!ENTITY a 'ha'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (letter, b"&%c;" % (letter - 1) * 10) for letter in range(ord("b"), ord("h")))
    + b"]>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("prolog", [LAUGHS, b"<!-- <mediawiki> -->" + LAUGHS, b" " * 20_000 + LAUGHS])
def test_a_document_type_is_refused_before_it_multiplies_text(tmp_path, encoding, prolog):
    data = (prolog + dump(page(b"A", b"&g;"))).decode().encode(encoding)
    with pytest.raises(InputError, match=r"not a complete MediaWiki dump: got a document type"):
        list(wikipedia(tmp_path / "d.xml", data).read())


def test_a_row_that_unpacks_to_more_than_is_read_is_left_out_alone(tmp_path):
    texts = ["It snows.", "x" * (2 * LIMIT), "It melts."]
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": texts}), tmp_path / "t.parquet", compression="zstd")
    assert found_in(ParquetCorpus(path=tmp_path / "t.parquet")) == (["a", "c"], ["t.parquet, row 1"])


def test_one_text_that_many_rows_repeat_is_unpacked_once_a_row(tmp_path):
    ids = [str(number) for number in range(500)]
    text = pa.DictionaryArray.from_arrays(np.zeros(500, dtype=np.int32), ["x" * (2 * LIMIT)])
    pq.write_table(pa.table({"id": ids, "text": text}), tmp_path / "t.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "t.parquet").stat().st_size < LIMIT // 4
    held = pa.total_allocated_bytes()
    most = 0
    for item in ParquetCorpus(path=tmp_path / "t.parquet").read():
        assert isinstance(item, Skipped)
        most = max(most, pa.total_allocated_bytes() - held)
    assert most < 16 * LIMIT


class Free:
    available = 1000


def test_arrays_and_tables_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", {"a": np.zeros(BOMB // 8)}, compressed=True)
    pq.write_table(pa.table({"text": ["x" * LIMIT], "id": ["a"]}), tmp_path / "t.parquet", compression="zstd")
    assert len(read_npz(tmp_path / "a.npz")["a"]) == BOMB // 8
    monkeypatch.setattr("segue.files.psutil.virtual_memory", lambda: Free)
    with pytest.raises(InputError, match=rf"a.npz does not fit into memory: got {BOMB + 128:,} bytes"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"t.parquet does not fit into memory"):
        read_table(tmp_path / "t.parquet", columns=["text"])
    assert read_table(tmp_path / "t.parquet", columns=["id"]).num_rows == 1
