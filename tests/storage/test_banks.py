"""Banks in object storage: whole or absent at every moment, refused where a byte differs, built by one or by two."""

import os
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_encoder import HashEncoder
from fsspec.implementations.memory import MemoryFileSystem

import segue
from segue.bank.bank import PassageBank
from segue.corpus.passages import PassageSettings
from segue.errors import InputError, StorageError
from segue.storage import _published, pull, writing

SETTINGS = PassageSettings(target_characters=70, minimum_characters=20)


def build(url, path, encoder=None, shard=50):
    """Build a bank at a URL, of a local corpus."""
    tables = {"corpus": {"kind": "jsonl", "path": str(path)}, "passages": SETTINGS.model_dump(),
              "bank": {"path": url, "shard_passages": shard}}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segue.bank.build.load_encoder", lambda settings: encoder or HashEncoder(8))
        return segue.build_bank(tables)


@pytest.fixture
def path(tmp_path, world):
    """A corpus of 180 passages: four shards."""
    (tmp_path / "corpus.jsonl").write_bytes(world[0]())
    return tmp_path / "corpus.jsonl"


@pytest.fixture
def memory(cache):
    """An empty file system in memory."""
    MemoryFileSystem.store.clear()
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


@pytest.fixture
def expected(path, tmp_path):
    """The bank of an uninterrupted local build."""
    return build(str(tmp_path / "local"), path).hash


def test_a_build_killed_at_any_upload_leaves_no_bank_or_a_whole_one_and_goes_on(
    memory, path, tmp_path, forget, monkeypatch
):
    whole_hash = build(str(tmp_path / "local"), path, shard=100).hash
    put = MemoryFileSystem.put_file
    uploads, encoded = [], []
    for kill_at in range(1, 100):
        memory.clear()
        forget()
        uploads.clear()

        def put_or_die(self, here, there, kill_at=kill_at, **more):
            if len(uploads) == kill_at:
                raise KeyboardInterrupt
            uploads.append(there.rpartition("/")[2])
            put(self, here, there, **more)

        monkeypatch.setattr(MemoryFileSystem, "put_file", put_or_die)
        try:
            build("memory://bank", path, shard=100)
        except KeyboardInterrupt:
            monkeypatch.setattr(MemoryFileSystem, "put_file", put)
            forget()
            if "manifest.json" in uploads:
                assert PassageBank.open("memory://bank", verify=True).hash == whole_hash
            else:
                with pytest.raises(InputError, match=r"memory://bank is not a bank"):
                    PassageBank.open("memory://bank")
            encoder = HashEncoder(8)
            assert build("memory://bank", path, encoder, 100).hash == whole_hash
            whole = sum(name.startswith("shard-") for name in uploads)
            encoded.append((whole, len(encoder.encoded)))
        else:
            break
    assert uploads[0] == "build.json"
    assert uploads[-1] == "manifest.json"
    assert set(encoded) == {(0, 180), (1, 80), (2, 0)}


def test_shards_are_fetched_when_they_are_read(bucket, path, forget):
    whole = build(f"{bucket.url}/bank", path)
    vectors = whole.gather(np.arange(len(whole)))
    forget()
    bucket.endpoint.requests.clear()
    bank = PassageBank.open(f"{bucket.url}/bank")
    asked = bucket.endpoint.requests
    assert not [name for name in asked if "vectors" in name or "passages" in name]
    assert np.array_equal(bank.gather(np.array([60, 99])), vectors[[60, 99]])
    assert bank.texts(np.array([3])) == whole.texts(np.array([3]))
    read = {name.rpartition("/")[2] for name in asked if "vectors" in name or "passages" in name}
    assert read == {"vectors-00001.npy", "passages-00000.parquet"}
    asked.clear()
    assert np.array_equal(PassageBank.open(f"{bucket.url}/bank").gather(np.array([60])), vectors[[60]])
    assert not [name for name in asked if name.startswith("GET") and "vectors" in name]
    assert segue.workflows.bank.info(f"{bucket.url}/bank")["path"] == f"{bucket.url}/bank"


def test_documents_are_added_to_a_bank_without_its_vectors(memory, path, forget, monkeypatch):
    build("memory://bank", path)
    forget()
    get, fetched = MemoryFileSystem.get_file, []

    def get_and_note(self, there, here, **more):
        fetched.append(there)
        get(self, there, here, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_and_note)
    more = [("new", "A passage that the bank does not hold, of some fifty letters.")]
    assert segue.add_to_bank("memory://bank", more, encoder=HashEncoder(8)).added == ("new",)
    assert "/bank/passages-00003.parquet" in fetched
    assert not [name for name in fetched if "vectors" in name]
    forget()
    assert len(PassageBank.open("memory://bank", verify=True)) == 181
    segue.remove_from_bank("memory://bank", ["d3"])
    forget()
    assert "d3" not in PassageBank.open("memory://bank").live_documents


@pytest.mark.parametrize("name", ["vectors-00002.npy", "passages-00002.parquet", "documents.parquet"])
def test_a_flipped_byte_in_the_bucket_or_in_the_cache_is_refused(memory, path, forget, cache, name):
    build("memory://bank", path)
    stored, good = memory[f"/bank/{name}"], memory[f"/bank/{name}"].getvalue()
    bad, at = bytearray(good), len(good) // 3
    if name.startswith("passages"):
        texts = pq.ParquetFile(BytesIO(good)).metadata.row_group(0).column(3)
        at = (texts.dictionary_page_offset or texts.data_page_offset) + texts.total_compressed_size // 2
    bad[at] ^= 4

    def read():
        bank = PassageBank.open("memory://bank")
        return bank.gather(np.arange(len(bank))), bank.texts(np.arange(len(bank))), bank.document_titles

    forget()
    stored.seek(0)
    stored.write(bytes(bad))
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        read()
    forget()
    stored.seek(0)
    stored.write(good)
    read()
    copy = cache / "remote/memory/bank" / name
    time = copy.stat()
    copy.write_bytes(bytes(bad))
    os.utime(copy, ns=(time.st_atime_ns, time.st_mtime_ns))  # as a bad disk does it
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        read()
    copy.unlink()
    read()


class Meanwhile(HashEncoder):
    """Builds the same bank on another machine before it encodes its second shard."""

    def __init__(self, other):
        self.other, self.calls = other, 0
        super().__init__(8)

    def encode(self, texts, **more):
        self.calls += 1
        if self.calls == 2:
            with pytest.MonkeyPatch.context() as patch:
                mine = dict(_published)
                patch.setenv("SEGUE_CACHE", str(self.other[0]))
                _published.clear()
                self.other[1]()
                _published.clear()
                _published.update(mine)
        return super().encode(texts, **more)


def test_two_builders_of_one_bank_end_in_the_same_bytes(bucket, path, tmp_path, expected):
    seen = {}

    def other():
        build(f"{bucket.url}/bank", path)
        seen.update(bucket.contents("bank"))

    first = build(f"{bucket.url}/bank", path, Meanwhile((tmp_path / "other", other)))
    assert first.hash == expected
    assert seen
    assert bucket.contents("bank") == seen


def test_a_second_builder_with_other_settings_is_refused_and_the_bank_stays(memory, path, tmp_path, expected):
    refused = []

    def other():
        with pytest.raises(InputError, match=r"memory://bank|unfinished build with other settings") as error:
            build("memory://bank", path, HashEncoder(8, salt="other"))
        refused.append(error)

    assert build("memory://bank", path, Meanwhile((tmp_path / "other", other))).hash == expected
    assert refused


def test_a_file_that_another_machine_wrote_meanwhile_is_not_replaced(memory, cache):
    def save():
        with writing("memory://run") as folder:
            folder.mkdir(parents=True)
            (folder / "a.txt").write_text("mine")
            MemoryFileSystem().pipe_file("memory://run/a.txt", b"theirs")

    with pytest.raises(StorageError, match=r"memory://run/a\.txt was written by another process"):
        save()
    assert memory["/run/a.txt"].getvalue() == b"theirs"


def test_a_second_process_of_a_machine_is_refused_and_a_reader_reads(memory, cache):
    with writing("memory://run") as folder:
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("not uploaded yet")
        with pytest.raises(StorageError, match=r"memory://run is in use"), writing("memory:/run"):
            pass
        assert (pull("memory://run") / "a.txt").read_text() == "not uploaded yet"
        assert pull("memory://") == folder.parent
    assert memory["/run/a.txt"].getvalue() == b"not uploaded yet"


def test_what_a_cached_bank_derived_stays_and_what_else_the_bucket_lacks_goes(memory, path, cache):
    build("memory://bank", path)
    folder = cache / "remote/memory/bank"
    for name in ("sentences/a.npy", "vectors-00009.npy", "below/b.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("left over")
    pull("memory://bank")
    left = {file.name for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")}
    assert left == {name.rpartition("/")[2] for name in memory} | {"a.npy"}
    assert not (folder / "below").exists()


def test_a_corpus_is_read_as_it_is_in_the_bucket_now(memory, cache, world):
    corpus = world[0](6, 3).split(b"\n")
    system = MemoryFileSystem()
    for number, line in enumerate(corpus):
        system.pipe_file(f"memory://docs/part-{number}.jsonl", line)
    system.pipe_file("memory://docs-old/part-0.jsonl", b"no JSON")

    def documents(path):
        tables = {"corpus": {"kind": "jsonl", "path": path}, "passages": SETTINGS.model_dump()}
        return segue.workflows.bank.estimate(tables)["documents"]

    assert [documents("memory://docs"), documents("memory://docs/part-[012].jsonl")] == [6, 3]
    assert documents(["memory://docs/part-0.jsonl", "memory://docs/part-5.jsonl"]) == 2
    system.rm("memory://docs/part-1.jsonl")
    assert [documents("memory://docs"), documents("memory://docs/part-[012].jsonl")] == [5, 2]
    with pytest.raises(InputError, match="nothing there"):
        documents("memory://docs/part-1.jsonl")


def test_a_recipe_in_a_bucket_reads_what_is_beside_it(memory, cache, world):
    system = MemoryFileSystem()
    system.pipe_file("memory://shelf/corpus.jsonl", world[0]())
    system.pipe_file(
        "memory://shelf/recipe.toml",
        b"""
[corpus]
kind = "jsonl"
path = "corpus.jsonl"
[passages]
target_characters = 70
minimum_characters = 20
[encoder]
name = "fake_encoder:HashEncoder"
""",
    )
    bank = segue.build_bank("memory://shelf/recipe.toml")
    assert "/shelf/bank/manifest.json" in memory
    assert bank.manifest.source["path"] == "memory://shelf/corpus.jsonl"
    assert PassageBank.open("memory://shelf/bank").hash == bank.hash


def test_a_file_url_is_a_path(tmp_path, path, cache):
    bank = build(f"file://{tmp_path}/bank", path)
    assert bank.path == tmp_path / "bank"
    assert PassageBank.open(f"file://{tmp_path}/bank").hash == bank.hash
    assert not cache.exists()
