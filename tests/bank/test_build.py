"""Building a bank: resumable at any point, refused where anything differs, never half."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import HashEncoder
from processes import environment

from segue.bank.bank import BankSettings, PassageBank, bank_info
from segue.bank.build import build_bank
from segue.corpus.folder import FolderCorpus
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.corpus.words import normalise_text
from segue.encoders import EncoderSettings
from segue.errors import InputError, StorageError
from segue.files import exclusive, read_json, write_json
from segue.types import Document, Skipped
from segue.workflows.bank import read_skipped

PASSAGES = PassageSettings(target_characters=60, minimum_characters=20)
SMALL = BankSettings(shard_passages=7)


class ListReader:
    """Documents from a list."""

    def __init__(self, items) -> None:
        self.items = items

    def read(self):
        yield from self.items


def document(number: int, sentences: int = 5) -> Document:
    text = " ".join(f"Sentence {n} of document {number} says something new." for n in range(sentences))
    return Document(f"d{number}", f"Title {number}", (text, "This closing sentence is in every document."))


DOCUMENTS = [document(number, sentences=1 + number % 6) for number in range(20)]


def build(out, items=DOCUMENTS, *, encoder=None, settings=SMALL, passages=PASSAGES, **options) -> PassageBank:
    return build_bank(ListReader(items), encoder or HashEncoder(), out, passages=passages, settings=settings, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_rows_are_the_passages_of_the_documents_in_order(tmp_path):
    bank = build(tmp_path / "bank")
    expected = [passage for item in DOCUMENTS for passage in cut(item, PASSAGES)]
    rows = np.arange(len(bank))
    assert bank.texts(rows) == [passage.text for passage in expected]
    assert bank.passage_ids(rows) == [passage.id for passage in expected]
    assert bank.position.tolist() == [passage.position for passage in expected]
    assert [bank.document_ids[number] for number in bank.document_of] == [p.document_id for p in expected]
    assert bank.document_titles == [item.title for item in DOCUMENTS]
    np.testing.assert_array_equal(bank.gather(rows), HashEncoder().vectors([p.text for p in expected]))


def test_equal_texts_share_the_group_of_their_first_row_across_shards(tmp_path):
    items = [
        Document("a", "", ("The ﬁrst TEXT stands here alone.",)),
        *DOCUMENTS[:9],
        Document("b", "", ("the first   text stands here alone.",)),
    ]
    bank = build(tmp_path / "bank", items)
    first: dict[str, int] = {}
    texts = bank.texts(np.arange(len(bank)))
    expected = [first.setdefault(normalise_text(text), row) for row, text in enumerate(texts)]
    assert bank.duplicate_group.tolist() == expected
    assert expected[-1] == 0
    assert len(bank.manifest.shards) > 2


def test_counts_say_what_was_left_out_and_why(tmp_path):
    items = [Skipped("r", "redirect"), DOCUMENTS[0], Skipped("s", "redirect"), Document("short", "", ("Tiny.",))]
    counts = build(tmp_path / "bank", items).counts
    assert counts.documents == 1
    assert counts.skipped == {"no passages": 1, "redirect": 2}
    assert counts.characters == sum(len(passage.text) for passage in cut(DOCUMENTS[0], PASSAGES))


def test_rests_of_markup_and_dropped_templates_are_counted_and_shown(tmp_path):
    text = "Snow is [[ice|frozen]] water that falls from the clouds of the sky."  # two remnants in 67 characters
    marked = Document("m", "", (text,), dropped=("{{height}}", "{{depth}}", "{{height}}"))
    unread = Document("short", "", ("Tiny.",), dropped=("{{unread}}",))
    info = bank_info(build(tmp_path / "bank", [marked, unread]))
    assert info["markup_remnants_per_million_characters"] == round(2e6 / 67, 1)
    assert info["dropped_inside_sentences"] == {"{{height}}": 2, "{{depth}}": 1}
    clean = bank_info(build(tmp_path / "clean", DOCUMENTS))
    assert clean["markup_remnants_per_million_characters"] == 0
    assert clean["dropped_inside_sentences"] == {}


def test_the_most_frequent_dropped_templates_are_kept(tmp_path):
    dropped = tuple(f"{{{{t{number}}}}}" for number in range(50) for _ in range(number + 1))
    bank = build(tmp_path / "bank", [Document("d", "", DOCUMENTS[0].paragraphs, dropped=dropped)])
    shown = bank_info(bank)["dropped_inside_sentences"]
    assert list(shown.items())[:2] == [("{{t49}}", 50), ("{{t48}}", 49)]
    assert len(shown) == 30


def test_progress_counts_all_passages_batch_by_batch(tmp_path):
    seen = []
    bank = build(tmp_path / "bank", progress=lambda done, total, note: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == len(bank)
    assert len(seen) == len(bank.manifest.shards)


def progress_of(corpus, folder, encoder=None):
    seen = []
    build_bank(corpus, encoder or HashEncoder(), folder, passages=PASSAGES, settings=SMALL,
               progress=lambda *said: seen.append(said))  # fmt: skip
    return seen


def test_the_total_is_exact_from_the_first_report_of_encoding(tmp_path):
    """Three passages a file, six files, shards of seven."""
    (tmp_path / "texts").mkdir()
    for number in range(6):
        text = "\n\n".join(f"Sentence {place} of the text {number} says something new." for place in range(3))
        (tmp_path / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    corpus = FolderCorpus(path=tmp_path / "texts")
    expected = [(done, 18, "passages encoded") for done in (7, 14, 18)]
    assert progress_of(corpus, tmp_path / "bank") == expected
    with pytest.raises(KeyboardInterrupt):
        progress_of(corpus, tmp_path / "killed", HashEncoder(limit=7))
    assert progress_of(corpus, tmp_path / "killed") == [(7, 18, "passages found encoded"), *expected[1:]]
    fewer = corpus.model_copy(update={"maximum_documents": 4})
    assert progress_of(fewer, tmp_path / "fewer") == [(7, 12, "passages encoded"), (12, 12, "passages encoded")]


def test_while_the_corpus_is_read_the_number_of_documents_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("segue.bank.build.DOCUMENTS_BETWEEN_REPORTS", 4)
    items = [Document(f"d{n}", "", ("It snows in the winter, and it rains.",)) for n in range(10)]
    assert progress_of(ListReader(items), tmp_path / "bank") == [
        (0, None, "4 documents read"), (0, None, "8 documents read"), (7, 10, "passages encoded"),
        (10, 10, "passages encoded")
    ]  # fmt: skip
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("It snows in the winter, and it rains.", encoding="utf-8")
    seen = progress_of(FolderCorpus(path=tmp_path, glob="*.txt"), tmp_path / "other")
    assert seen[:2] == [(0, None, "4 documents read, 50 %"), (0, None, "8 documents read, 100 %")]


def test_resumed_build_is_byte_for_byte_the_undisturbed_one_and_encodes_nothing_twice(tmp_path):
    build(tmp_path / "whole")
    for limit in (0, 7, 30):
        folder = tmp_path / f"killed-after-{limit}"
        with pytest.raises(KeyboardInterrupt):
            build(folder, encoder=HashEncoder(limit=limit))
        with pytest.raises(InputError, match="is not a bank"):
            PassageBank.open(folder)
        again = HashEncoder()
        bank = build(folder, encoder=again)
        assert len(again.encoded) == len(bank) - limit // 7 * 7
        assert files(folder) == files(tmp_path / "whole")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_stopped_before_or_after_any_one_file_appears_the_build_goes_on_to_the_same_bank(tmp_path, monkeypatch, moment):
    few = DOCUMENTS[:4]
    build(tmp_path / "whole", few)
    replace, files_written = Path.replace, 0
    for stop in range(1, 100):
        count = iter(range(1, 100))

        def stopping(path, target, stop=stop, count=count):
            last = next(count) == stop
            if last and moment == "before":
                raise KeyboardInterrupt
            replace(path, target)
            if last:
                raise KeyboardInterrupt

        folder = tmp_path / str(stop)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, "replace", stopping)
            build(folder, few)
            files_written = next(count) - 1
        if files_written:
            break
        assert (folder / "manifest.json").exists() == (stop == 9 and moment == "after")
        build(folder, few)
        assert files(folder) == files(tmp_path / "whole")
    assert files_written == len(files(tmp_path / "whole")) == 9


def test_a_finished_bank_is_reused_without_encoding(tmp_path):
    build(tmp_path / "bank")
    before = files(tmp_path / "bank")
    again = HashEncoder()
    build(tmp_path / "bank", encoder=lambda: again)
    assert not again.encoded
    assert files(tmp_path / "bank") == before


def test_equal_encoder_settings_open_a_finished_bank_without_loading_the_encoder(tmp_path, monkeypatch):
    loaded = []

    def load(settings):
        loaded.append(settings)
        return HashEncoder()

    monkeypatch.setattr("segue.bank.build.load_encoder", load)
    for _ in range(2):
        build(tmp_path / "bank", encoder=EncoderSettings(name="x"))
    assert len(loaded) == 1
    build(tmp_path / "bank", encoder=EncoderSettings(name="y"))
    assert len(loaded) == 2


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": HashEncoder(salt="other")}, "encoder: .*cosine"),
        ({"encoder": HashEncoder(dimension=9)}, "9 .*dimensions|dimensions .*9"),
        ({"settings": BankSettings(shard_passages=8)}, "shard_passages 7 .now 8"),
        ({"settings": BankSettings(shard_passages=7, storage="float16")}, "storage float32 .now float16"),
        ({"passages": PassageSettings(target_characters=80)}, "passages.target_characters 60 .now 80"),
    ],
)
def test_a_folder_of_other_settings_is_refused(tmp_path, change, message, finished):
    if finished:
        build(tmp_path / "bank")
    else:
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "bank", encoder=HashEncoder(limit=7))
    before = files(tmp_path / "bank")
    with pytest.raises(InputError, match=message):
        build(tmp_path / "bank", **change)
    assert files(tmp_path / "bank") == before


def test_how_fast_a_corpus_is_read_is_no_other_setting(tmp_path):
    class Listed(WikipediaDumpCorpus):
        def read(self):
            return ListReader(DOCUMENTS).read()

    for processes in (1, 2):
        bank = build_bank(
            Listed(processes=processes), HashEncoder(), tmp_path / "bank", passages=PASSAGES, settings=SMALL
        )
        assert len(bank.document_ids) == len(DOCUMENTS)
    manifest = read_json(bank.path / "manifest.json")
    manifest["source"]["processes"] = 7  # as a version wrote it
    write_json(bank.path / "manifest.json", manifest)
    build_bank(Listed(processes=1), HashEncoder(), tmp_path / "bank", passages=PASSAGES, settings=SMALL)


def test_an_encoder_s_batches_are_no_other_setting_and_a_build_keeps_those_it_began_with(tmp_path, monkeypatch):
    asked = []

    def load(settings):
        asked.append(settings.batch_size)
        return HashEncoder(limit=30 if len(asked) == 1 else None)

    monkeypatch.setattr("segue.bank.build.load_encoder", load)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "bank", encoder=EncoderSettings(batch_size=32))
    build(tmp_path / "bank", encoder=EncoderSettings())
    assert asked == [32, 32]
    build(tmp_path / "bank", encoder=EncoderSettings(batch_size=4))
    assert asked == [32, 32]  # a finished bank opens without an encoder


@pytest.mark.parametrize(
    "items",
    [[document(77), *DOCUMENTS[1:]], DOCUMENTS[:2], []],
    ids=["other text", "fewer documents", "nothing"],
)
def test_a_source_that_changed_since_the_build_began_is_noticed(tmp_path, items):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "bank", encoder=HashEncoder(limit=20))
    with pytest.raises(InputError, match="changed since"):
        build(tmp_path / "bank", items)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty.*thesis\.txt"):
        build(tmp_path)


def test_an_empty_corpus_is_refused_with_the_reasons_and_leaves_no_build_behind(tmp_path):
    with pytest.raises(InputError, match=r"no passages.*2 redirect"):
        build(tmp_path / "bank", [Skipped("a", "redirect"), Skipped("b", "redirect")])
    assert len(build(tmp_path / "bank", DOCUMENTS[:1], settings=BankSettings())) > 0


def test_an_id_that_comes_twice_is_refused_before_anything_is_encoded(tmp_path):
    encoder = HashEncoder()
    with pytest.raises(InputError, match="two documents have the id 'd3'"):
        build(tmp_path / "bank", [*DOCUMENTS, DOCUMENTS[3]], encoder=encoder)
    assert not encoder.encoded
    assert files(tmp_path / "bank") == {}
    build(tmp_path / "bank")
    build(tmp_path / "whole")
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


def damaged_corpus(folder, damaged, sound=10) -> JsonlCorpus:
    """Write a corpus of lines, the first ones of which are broken."""
    texts = (item.paragraphs[0] for item in (document(number) for number in range(sound)))
    lines = ["{broken"] * damaged + [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)]
    (folder / "c.jsonl").write_text("\n".join([*lines, '{"id": "e", "text": null}']))
    return JsonlCorpus(path=folder / "c.jsonl")


def test_too_much_that_cannot_be_read_ends_the_build_before_anything_is_encoded(tmp_path):
    encoder, corpus = HashEncoder(), damaged_corpus(tmp_path, 3)
    with pytest.raises(InputError, match=r"3 of 14 documents, files and records: 3 × is not JSON.*c\.jsonl:1, .*:2, "):
        build_bank(corpus, encoder, tmp_path / "bank", passages=PASSAGES, settings=SMALL)
    assert not encoder.encoded
    assert files(tmp_path / "bank") == {}
    more = corpus.model_copy(update={"maximum_unreadable": 0.3})
    bank = build_bank(more, encoder, tmp_path / "bank", passages=PASSAGES, settings=SMALL)
    assert len(bank.document_ids) == 10


def test_every_document_is_in_the_bank_or_listed_with_its_reason(tmp_path):
    bank = build_bank(damaged_corpus(tmp_path, 2), HashEncoder(), tmp_path / "bank", passages=PASSAGES, settings=SMALL)
    assert bank.counts.skipped == {"is not JSON; correct the line": 2, "empty": 1}
    listed = [json.loads(line) for line in (bank.path / "skipped.jsonl").read_text().splitlines()]
    reason = {"reason": "is not JSON; correct the line", "unreadable": True}
    assert listed == [
        *({"id": f"{tmp_path}/c.jsonl:{line}", **reason} for line in (1, 2)),
        {"id": "e", "reason": "empty", "unreadable": False},
    ]
    assert list(read_skipped(bank.path)) == [Skipped(**item) for item in listed]
    assert bank_info(bank)["skipped_listed_in"] == str(bank.path / "skipped.jsonl")


def test_the_list_of_an_interrupted_build_is_that_of_an_undisturbed_one(tmp_path):
    items = [Skipped("\udce9.txt", "is no name"), *DOCUMENTS[:9], Skipped("s", "redirect"), *DOCUMENTS[9:]]
    build(tmp_path / "whole", items)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "bank", items, encoder=HashEncoder(limit=7))
    build(tmp_path / "bank", items)
    assert files(tmp_path / "bank") == files(tmp_path / "whole")
    assert [item.id for item in read_skipped(tmp_path / "bank")] == ["\udce9.txt", "s"]


def test_passages_of_a_reading_that_was_interrupted_are_no_part_of_the_bank(tmp_path):
    class Killed(ListReader):
        def read(self):
            yield from self.items
            raise KeyboardInterrupt

    Killed.__name__ = ListReader.__name__  # the plan names the kind of source
    with pytest.raises(KeyboardInterrupt):
        build_bank(Killed(DOCUMENTS), HashEncoder(), tmp_path / "bank", passages=PASSAGES, settings=SMALL)
    assert len(list((tmp_path / "bank").glob("passages-*"))) > 2
    build(tmp_path / "bank", DOCUMENTS[:4])
    build(tmp_path / "whole", DOCUMENTS[:4])
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.5])
def test_vectors_that_are_not_unit_numbers_are_refused(tmp_path, wrong):
    encoder = HashEncoder()
    vectors = encoder.vectors
    encoder.vectors = lambda texts: vectors(texts) * np.float32(wrong)
    with pytest.raises(InputError, match="vectors must"):
        build(tmp_path / "bank", encoder=encoder)


def test_only_one_process_writes_at_a_time(tmp_path):
    with exclusive(tmp_path / "bank"), pytest.raises(StorageError, match="in use"):
        build(tmp_path / "bank")


def test_a_full_disk_is_one_clear_error_and_the_build_goes_on_when_there_is_room(tmp_path):
    """A limit on file size stands for the full disk: the system refuses to write either way."""
    wide = HashEncoder(dimension=400)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "bank", encoder=HashEncoder(dimension=400, limit=7))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
        with pytest.raises(StorageError, match=r"cannot write .*vectors-00001\.npy"):
            build(tmp_path / "bank", encoder=wide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "bank").glob(".*.part"))
    build(tmp_path / "bank", encoder=wide)
    build(tmp_path / "whole", encoder=wide)
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


KILLER = """
import itertools, os, sys
from pathlib import Path
from processes import CallCounter
from test_build import build

folder, undisturbed = Path(sys.argv[1]) / "killed", Path(sys.argv[1]) / "undisturbed"
build(folder.with_name("first"))  # what is imported at first use is imported here
counted = CallCounter().start()
build(undisturbed)
sys.setprofile(None)
kills, shards = 0, []
for part in itertools.count(1):
    if (folder / "manifest.json").exists():
        break
    calls = int(part * counted.calls / 9)  # a little later each time, so that one gets through
    child = os.fork()
    if child == 0:
        CallCounter(calls).start()
        build(folder)
        os._exit(0)
    kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    shards.append(len(list(folder.glob("shard-*.json"))))
print(kills, len(set(shards)))
"""


def test_killed_at_random_moments_and_resumed_the_hashes_are_those_of_an_undisturbed_build(tmp_path):
    """Real processes, real SIGKILL, until one gets through; forked, so that none has to import everything again."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{KILLER}",
               str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    kills, moments = map(int, done.stdout.split())
    assert kills >= 3
    assert moments >= 3, "the kills should fall between different shards"
    build(tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")
    PassageBank.open(tmp_path / "killed", verify=True)
