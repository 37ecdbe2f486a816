"""`segue index` end to end: built over a bank, tuned on a run's own queries or on a file of queries."""

import json

import numpy as np
import pytest
from command_line import run, write_corpus

import segue
from segue.errors import InputError
from segue.workflows.index import tune


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bank, a trained and evaluated run, an index."""
    where = tmp_path_factory.mktemp("index")
    recipe = write_corpus(where, documents=24, length=12)
    segue.train(recipe, where / "run")
    segue.evaluate(where / "run")
    assert run("index", "build", str(where / "bank"), "--out", str(where / "index")) == 0
    return where


def test_it_is_tuned_on_the_runs_own_queries_and_says_so(folder, capsys):
    words = ("index", "tune", str(folder / "index"), str(folder / "bank"), "--run", str(folder / "run"))
    assert run(*words, "--recall", "0.8", "-k", "10", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["confirmed_recall"] >= 0.8
    record = json.loads((folder / "index" / "index.json").read_text())
    assert record["effort"] == found["chosen"]["effort"]
    assert record["tuned"]["source"].startswith("model, ")


def test_a_file_of_queries_can_be_asked_instead(folder, capsys):
    queries = np.load(folder / "vectors.npy")[:60]
    np.save(folder / "queries.npy", queries)
    words = ("index", "tune", str(folder / "index"), str(folder / "bank"), "--queries", str(folder / "queries.npy"))
    assert run(*words, "--recall", "0.8", "-k", "10") == 0
    assert "recall on other queries" in capsys.readouterr().out


def test_what_cannot_be_tuned_on_is_refused(folder):
    index, bank = folder / "index", folder / "bank"
    with pytest.raises(InputError, match="no queries to tune the index on"):
        tune(index, bank)
    with pytest.raises(InputError, match="no finished option of this name"):
        tune(index, bank, run=folder / "run", option="gru")
    (folder / "letter.npy").write_text("hello")
    with pytest.raises(InputError, match="cannot read the queries"):
        tune(index, bank, queries=folder / "letter.npy")


def test_an_index_of_another_kind_is_refused_by_the_command_line(folder, capsys):
    assert run("index", "build", str(folder / "bank"), "--out", str(folder / "x"), "--kind", "vamana") == 2
