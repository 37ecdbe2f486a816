"""Fresh documents of a run over vectors made elsewhere are vectors too, of the same name and dimension."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import worlds
from command_line import run, write_corpus

import segue
from segue.bank.changes import append_bank
from segue.errors import InputError, StorageError
from segue.files import exclusive

KNOWN, FRESH, LENGTH, CONTEXT = 16, 5, 10, 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training over 16 documents of 10 vectors and texts."""
    folder = tmp_path_factory.mktemp("trained")
    assert run("train", str(write_corpus(folder)), "--out", str(folder / "run"), "--quiet") == 0
    return folder


def fresh_world(dimension=16, *, texts=True, known=0):
    """Return vectors and columns of documents that wander elsewhere; the first ``known`` have ids of the bank."""
    bank = worlds.drift_world(77, FRESH, LENGTH, dimension)
    ids = [f"document-{one}" if one < known else f"fresh-{one}" for one in range(FRESH)]
    columns = {"document_id": [ids[number] for number in bank.document_of], "position": bank.position}
    words = np.random.default_rng(3).integers(0, 10**6, (len(bank), 12)).astype(str)
    return bank.vectors, columns | ({"text": [" ".join(row) for row in words]} if texts else {})


def write_fresh(folder, vectors, columns, *, name="unknown"):
    """Write the recipe of a fresh corpus, with paths relative to it."""
    np.save(folder / "fresh.npy", vectors)
    pq.write_table(pa.table(columns), folder / "fresh.parquet")
    path = folder / "fresh.toml"
    files = f'vectors = "fresh.npy"\ntable = "fresh.parquet"\nname = "{name}"\n'
    path.write_text(f'[corpus]\nkind = "vectors"\n{files}')
    return path


def evaluated(trained, corpus, capsys):
    """Evaluate on a fresh corpus; return exit code, the public numbers and what was said."""
    code = run("evaluate", str(trained / "run"), "--corpus", str(corpus), "--json", "--quiet")
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err


def test_fresh_vectors_are_evaluated_in_a_pool_of_old_and_new(trained, tmp_path, capsys):
    vectors, columns = fresh_world(known=1)
    code, public, _ = evaluated(trained, write_fresh(tmp_path, vectors, columns), capsys)
    assert code == 0
    added = FRESH - 1
    assert (public["pool"], public["windows"]) == ((KNOWN + added) * LENGTH, added * (LENGTH - CONTEXT))
    record = json.loads((trained / "run" / "fresh" / "fresh" / "triage.json").read_text())
    assert record["fresh"]["documents"] == added
    assert record["fresh"]["skipped"] == {"the bank has a document of this id": 1}
    assert len(segue.PassageBank.open(trained / "bank")) == KNOWN * LENGTH, "the run's own bank is as it was"
    # copy-last by hand: the rank of what came next by its cosine to the last passage, what was read left out
    old = segue.PassageBank.open(trained / "bank")
    new = vectors[LENGTH:]
    every = np.concatenate([old.gather(np.arange(len(old))), new]).astype(np.float64)
    ranks = []
    for target in (len(old) + d * LENGTH + p for d in range(added) for p in range(CONTEXT, LENGTH)):
        scores = every @ every[target - 1]
        scores[target - CONTEXT : target] = -np.inf
        ranks.append((scores >= scores[target]).sum())
    (copied,) = [one for one in public["options"] if one["name"] == "copy-last"]
    assert copied["metrics"]["MRR"]["value"] == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-6)


def test_two_processes_do_not_evaluate_on_one_fresh_corpus_at_a_time(trained, tmp_path):
    corpus = write_fresh(tmp_path, *fresh_world()).rename(tmp_path / "held.toml")
    folder = trained / "run" / "fresh" / "held"
    with exclusive(folder), pytest.raises(StorageError, match=r"held is in use: got another process"):
        segue.evaluate(trained / "run", corpus=corpus)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_fresh_bank_gives_the_same_numbers(trained, tmp_path, capsys):
    vectors, columns = fresh_world()
    _, public, _ = evaluated(trained, write_fresh(tmp_path, vectors, columns).rename(tmp_path / "same.toml"), capsys)
    segue.PassageBank.from_arrays(vectors, columns["document_id"], columns["text"], path=tmp_path / "fresh-bank")
    (tmp_path / "bank.toml").write_text('[corpus]\nkind = "bank"\npath = "fresh-bank"\n')
    code, again, _ = evaluated(trained, tmp_path / "bank.toml", capsys)
    assert code == 0
    values = [{one["name"]: one["metrics"]["MRR"] for one in found["options"]} for found in (public, again)]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("world", "name", "said"),
    [
        ({}, "another-encoder", "different encoder ('unknown' against 'another-encoder')"),
        ({"dimension": 12}, "unknown", "16 dimensions (unknown) against 12 (unknown)"),
        ({"texts": False}, "unknown", "the added vectors have no texts"),
        ({"known": FRESH}, "unknown", "nothing to add to the bank: got 5 documents skipped"),
    ],
)
def test_what_does_not_fit_the_bank_is_refused_with_the_reason(trained, tmp_path, capsys, world, name, said):
    path = write_fresh(tmp_path, *fresh_world(**world), name=name).rename(tmp_path / "refused.toml")
    code, _, error = evaluated(trained, path, capsys)
    assert code == 2
    assert said in error


def test_fresh_texts_of_a_run_over_vectors_are_refused_with_the_way_to_give_them(trained, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("A sentence.")
    (tmp_path / "texts.toml").write_text('[corpus]\nkind = "folder"\npath = "docs"\n')
    code, _, error = evaluated(trained, tmp_path / "texts.toml", capsys)
    assert code == 2
    assert 'got kind = "folder", expected fresh vectors' in error
    assert 'kind = "vectors", name = "unknown"' in error


def test_added_vectors_are_those_of_a_bank_made_at_once(tmp_path):
    """In shards of 7 and of other sizes, with a text that both banks have."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((30, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids, texts = np.repeat([*"abcdef"], 5).tolist(), [f"text {row % 13}" for row in range(30)]

    def bank_of(name, first, last):
        return segue.PassageBank.from_arrays(
            vectors[first:last], ids[first:last], texts[first:last], path=tmp_path / name
        )

    whole = bank_of("whole", 0, 30)
    grown = append_bank(bank_of("first", 0, 10), bank_of("second", 10, 30))
    rows = np.arange(30)
    assert grown.document_ids == whole.document_ids
    assert grown.texts(rows) == whole.texts(rows)
    assert np.array_equal(grown.gather(rows), whole.gather(rows))
    assert np.array_equal(grown.duplicate_group, whole.duplicate_group)
    assert np.array_equal(grown.position, whole.position)
    segue.PassageBank.open(grown.path, verify=True)
    with pytest.raises(InputError, match="nothing to add"):
        append_bank(grown, bank_of("again", 10, 30))
