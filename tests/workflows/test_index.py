"""`segue index` end to end: built over a bank, tuned on a run's own queries or on a file of queries."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run, write_corpus
from resealed import replace_text

import segue
from segue.errors import InputError
from segue.files import read_json
from segue.models import hash_documents
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


def test_what_was_made_of_a_bank_says_that_it_has_changed(folder, tmp_path, capsys):
    """A run, an index and a bundle; then two documents are removed and one, of another bank, is added."""
    where = shutil.copytree(folder, tmp_path / "copy")
    for name in ("run/bank.json", "run/recipe.json", "recipe.toml"):
        if name.endswith(".json"):
            replace_text(where / name, str(folder), str(where))
        else:
            (where / name).write_text((where / name).read_text().replace(str(folder), str(where)))
    bank, made, bundle, refit = (str(where / name) for name in ("bank", "run", "bundle", "refit"))
    assert run("bundle", "build", made, bundle, "--option", "model", "--unsafe") == 0
    assert run("bundle", "build", made, refit, "--option", "model", "--unsafe", "--refit") == 0
    ids = segue.PassageBank.open(bank).document_ids
    trained = [(Path(one) / "training_documents.txt").read_text().split() for one in (bundle, refit)]
    assert set(trained[0]) < set(trained[1]) == set(hash_documents(ids))
    gates = [read_json(Path(one) / "gates.json") for one in (bundle, refit)]
    notes = [gates[1].pop("refit"), json.loads((Path(refit) / "manifest.json").read_text())["note"]]
    assert gates[0].pop("refit") is None
    assert gates[0] == gates[1], "the numbers are those of the recipe"
    assert all("No number of the report was measured on them" in note for note in notes)
    assert notes[0] in (Path(refit) / "README.md").read_text()
    assert run("predict", refit, "--id", f"{ids[3]}#2", "--bank", bank) == 0
    assert "has changed" not in capsys.readouterr().err

    vectors = np.eye(2, 16, dtype=np.float32)
    segue.PassageBank.from_arrays(vectors, ["new", "new"], ["One.", "Two."], path=where / "other")
    assert run("bank", "remove", bank, *ids[:2]) == 0
    assert run("bank", "add", bank, str(where / "other")) == 0
    since = "1 document added, 0 changed, 2 removed"
    capsys.readouterr()
    for words in (("audit", made), ("evaluate", made), ("bundle", "build", made, bundle + "2", "--refit"),
                  ("train", str(where / "recipe.toml"), "--out", made)):  # fmt: skip
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert f"the bank has changed since {made}/split.json was written" in error
        assert since in error
    before = read_json(where / "run" / "triage.json")
    assert run("report", made, "--unsafe") in (0, 3)
    assert f"The bank has changed since this run: {since}." in " ".join(capsys.readouterr().out.split())
    assert f"{since}." in (where / "run" / "report.html").read_text()
    after = read_json(where / "run" / "triage.json")
    assert {name for name in after if after[name] != before[name]} <= {"bank_changes", "unsafe"}
    assert run("bundle", "promote", bundle, str(where / "bundles")) == 0
    moved = shutil.copytree(bundle, where / "far" / "away" / "bundle")
    for words, found in (((bundle, "--bank", bank), True), ((bundle,), True), ((str(where / "bundles"),), True),
                         ((str(moved),), False)):  # fmt: skip
        capsys.readouterr()
        assert run("predict", *words, "--id", f"{ids[3]}#2") == 0
        shown = capsys.readouterr()
        assert (f"{bank} has changed since this bundle was built: {since}" in shown.err) == found
        assert shown.out.strip()
    assert run("index", "tune", str(where / "index"), bank, "--queries", str(where / "vectors.npy")) == 2
    assert since in capsys.readouterr().err
