"""``segue predict``: what was read is a text, vectors or ids; anything else is refused with what to do."""

import json

import numpy as np
import pytest
from command_line import run, write_corpus

import segue


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle over vectors that were made elsewhere: it has no encoder."""
    folder = tmp_path_factory.mktemp("predict")
    recipe = write_corpus(folder)
    recipe.write_text(recipe.read_text().replace('["ar-cosine", "infonce"]', '"baselines"'))
    assert run("triage", str(recipe), "--out", str(folder / "run"), "--quiet") == 0
    assert run("bundle", "build", str(folder / "run"), str(folder / "bundle"), "--option", "copy-last", "--quiet") == 0
    return folder / "bundle"


@pytest.fixture(scope="module")
def bank(bundle):
    return segue.PassageBank.open(bundle / "bank")


def predicted(capsys, *words):
    assert run("predict", *map(str, words), "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_vectors_and_ids_are_answered_as_python_answers_them(bundle, bank, tmp_path, capsys, dtype):
    ids = ["document-3#2", "document-3#3"]
    rows = np.array([bank.first_row[3] + 2, bank.first_row[3] + 3])
    np.save(tmp_path / "read.npy", bank.gather(rows).astype(dtype))
    by_vectors = predicted(capsys, bundle, "--vectors", tmp_path / "read.npy", "-k", 4)
    by_ids = predicted(capsys, bundle, "--id", ids[0], "--id", ids[1], "-k", 4)
    expected = [one.id for one in segue.load(bundle).next(ids=ids, k=4)]
    assert [one["id"] for one in by_ids["passages"]] == expected
    assert [one["id"] for one in by_vectors["passages"]] == expected
    assert by_ids["read"] == by_vectors["read"] == ids
    # copying by hand: the nearest to the last passage, without the two that were read
    cosines = bank.gather(np.arange(len(bank))).astype(np.float64) @ bank.gather(rows[1:])[0]
    cosines[rows] = -np.inf
    assert expected == bank.passage_ids(np.argsort(-cosines)[:4])


def test_one_vector_is_one_passage(bundle, bank, tmp_path, capsys):
    np.save(tmp_path / "one.npy", bank.gather(np.array([5]))[0])
    assert predicted(capsys, bundle, "--vectors", tmp_path / "one.npy")["read"] == bank.passage_ids(np.array([5]))


UNIT = np.eye(16, dtype=np.float32)[:2]


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.eye(12, dtype=np.float32)[:2], "vectors are of another dimension than the bundle: got shape [2, 12]"),
        (2 * UNIT, "vectors must have length 1: got 2 to 2"),
        (np.where(UNIT == 1, np.nan, UNIT), "vectors must be numbers: got NaN or infinity"),
        (np.eye(16, dtype=np.int64)[:2], "holds no vectors: got int64 (2, 16), expected floats [context, dim]"),
        (UNIT[None], "holds no vectors: got float32 (1, 2, 16)"),
        (UNIT[:0], "the query has no passages"),
        (np.array([{}]), "cannot read the vectors"),
    ],
)
def test_vectors_that_cannot_be_read_are_named(bundle, tmp_path, capsys, vectors, said):
    np.save(tmp_path / "read.npy", vectors)
    assert run("predict", str(bundle), "--vectors", str(tmp_path / "read.npy")) == 2
    assert said in capsys.readouterr().err


def test_other_ways_are_refused_with_what_to_do(bundle, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("A text that the bundle does not hold.")
    for words, said in (
        ((), "got nothing, expected one of text, vectors, ids"),
        (("--text", ""), "the text is empty: got '', expected the path of a file of UTF-8 text, or -"),
        (("--text", "", "--id", "document-3#2"), "got text and ids"),
        (("--text", tmp_path / "text.txt", "--id", "document-3#2"), "got text and ids"),
        (("--vectors", tmp_path / "nowhere.npy"), "got no such file, expected a .npy file"),
        (("--id", "document-3#99"), "the bundle does not have this passage: got 'document-3#99'"),
        (("--text", tmp_path / "text.txt"), "--vectors"),
    ):
        assert run("predict", str(bundle), *map(str, words)) == 2
        assert said in capsys.readouterr().err
