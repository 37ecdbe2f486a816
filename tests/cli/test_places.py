"""Where recipes, banks and runs are: paths of a recipe are relative to it, and a run finds its bank from anywhere."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import worlds
from command_line import run, write_corpus
from processes import environment
from resealed import edit, replace_text

import segue
from segue.errors import InputError
from segue.recipe import load_recipe
from segue.workflows.prepare import make_job

READING = {
    "audit": (),
    "diagnose": ("--fast",),
    "evaluate": (),
    "bundle": ("bundle",),
}
"""Verbs that read a run and its bank, with their further words."""


def words_of(verb: str, run_folder: Path) -> tuple[str, ...]:
    if verb == "bundle":
        return ("bundle", "build", str(run_folder), *READING[verb])
    return (verb, str(run_folder), *READING[verb])


def relative_recipe(project: Path) -> Path:
    """Write a corpus and a recipe that names its files and its bank by relative paths."""
    project.mkdir()
    recipe = write_corpus(project)
    recipe.write_text(recipe.read_text().replace(f"{project}/", ""))
    assert str(project) not in recipe.read_text()
    return recipe


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose triage was started from the folder above it."""
    folder = tmp_path_factory.mktemp("places")
    recipe = relative_recipe(folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("triage", str(recipe.relative_to(folder)), "--out", "runs/mine", "--quiet") == 0
    return folder


@pytest.fixture
def moved(project, tmp_path, monkeypatch):
    """A copy of the project in another place, from which no bank can be built."""
    shutil.copytree(project, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")

    def built(*args, **kwargs):
        raise AssertionError("a bank was built")

    monkeypatch.setattr("segue.workflows.prepare.import_vectors", built)
    monkeypatch.setattr("segue.workflows.prepare.build_bank", built)
    return tmp_path / "moved"


def test_the_paths_of_a_recipe_are_relative_to_it_and_out_to_the_current_folder(project):
    assert (project / "project" / "bank" / "manifest.json").exists()
    assert sorted(path.name for path in project.iterdir()) == ["project", "runs"]
    found = load_recipe(project / "project" / "recipe.toml")
    assert found.bank.path == str(project / "project" / "bank")
    assert found.corpus.vectors == project / "project" / "vectors.npy"


def test_every_path_of_a_recipe_is_and_no_name_is(tmp_path):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "minilm").mkdir()
    path = tmp_path / "recipe.toml"

    def read(text: str, **overrides):
        path.write_text(text)
        return load_recipe(path, overrides=overrides)

    found = read('[corpus]\nkind = "jsonl"\npath = "../all.jsonl"\n[triage]\nplan = "plan.json"\n'
                 '[encoder]\nname = "models/mine"\n')  # fmt: skip
    assert found.corpus.path == tmp_path.parent / "all.jsonl"
    assert found.triage.plan == str(tmp_path / "plan.json")
    assert found.encoder.name == str(tmp_path / "models" / "mine")
    assert found.bank.path == str(tmp_path / "bank"), "the default is beside the recipe as well"
    named = read('[corpus]\nkind = "wikipedia-dump"\npath = "demo"\n[encoder]\nname = "minilm"\n')
    assert (named.corpus.path, named.encoder.name) == ("demo", "minilm")
    assert read('[corpus]\nkind = "wikipedia-dump"\n').corpus.path == "demo"
    assert read('[corpus]\nkind = "folder"\npath = "/docs"\n').corpus.path == Path("/docs")
    given = read('[corpus]\nkind = "folder"\npath = "docs"\n', bank={"path": "here"})
    assert given.bank.path == "here", "what Python gives is relative to the current folder"


@pytest.mark.parametrize("verb", READING)
def test_a_run_finds_its_bank_from_any_folder(verb, project, tmp_path, monkeypatch, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    copy = shutil.copytree(project / "runs" / "mine", tmp_path / "run")  # the absolute path is left
    assert run(*words_of(verb, copy)) == 0
    made = {path.name for path in elsewhere.iterdir()}
    assert made == ({"bundle"} if verb == "bundle" else set())


@pytest.mark.parametrize("verb", READING)
def test_a_bank_that_is_not_there_is_named_and_not_built(verb, moved, tmp_path, capsys):
    shutil.rmtree(moved / "project" / "bank")
    record = moved / "runs" / "mine" / "bank.json"
    edit(record, path=str(tmp_path / "gone"))
    replace_text(moved / "runs" / "mine" / "recipe.json", "/project/bank", "/gone")
    before = sorted(path for path in tmp_path.rglob("*"))
    assert run(*words_of(verb, moved / "runs" / "mine")) == 2
    error = capsys.readouterr().err
    assert f"no bank at {moved}/project/bank or {tmp_path}/gone" in error
    assert "--bank" in error
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", READING)
def test_the_flag_names_the_bank_and_another_one_is_refused(verb, moved, tmp_path, capsys):
    shutil.move(moved / "project" / "bank", tmp_path / "kept")
    other = worlds.drift_world(2, 16, 10, 16)
    names = [other.document_ids[number] for number in other.document_of]
    segue.PassageBank.from_arrays(other.vectors, names, path=tmp_path / "other")
    words = words_of(verb, moved / "runs" / "mine")
    assert run(*words, "--bank", str(tmp_path / "other")) == 2
    assert "the bank has changed since" in capsys.readouterr().err
    assert run(*words, "--bank", str(tmp_path / "nothing")) == 2
    assert "nothing is not a bank" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()
    assert run(*words, "--bank", str(tmp_path / "kept")) == 0


def test_a_project_that_was_moved_goes_on_with_its_bank(project, tmp_path, monkeypatch):
    copy = shutil.copytree(project, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in (copy / "project" / "bank").rglob("*")}
    monkeypatch.chdir(tmp_path)
    assert run("triage", "copy/project/recipe.toml", "--out", "copy/runs/mine", "--quiet") == 0
    assert {path: path.stat().st_mtime_ns for path in (copy / "project" / "bank").rglob("*")} == before
    recorded = json.loads((copy / "runs" / "mine" / "bank.json").read_text())
    assert recorded["path"] == str(copy / "project" / "bank")
    assert recorded["relative"] == "../../project/bank"


def test_an_audit_of_a_recipe_builds_no_bank(tmp_path, capsys):
    recipe = relative_recipe(tmp_path / "project")
    assert run("audit", str(recipe)) == 2
    assert f"no bank at {tmp_path}/project/bank" in capsys.readouterr().err
    assert not (tmp_path / "project" / "bank").exists()
    assert run("bank", "build", str(recipe), "--out", str(tmp_path / "built"), "--quiet") == 0
    assert run("audit", str(recipe), "--bank", str(tmp_path / "built")) == 0
    assert run("audit", str(tmp_path / "built"), "--bank", str(tmp_path / "other")) == 2
    assert "is a bank itself" in capsys.readouterr().err


def test_a_bundle_names_no_folder_of_the_machine_it_was_built_on(project, tmp_path):
    built = segue.bundle(project / "runs" / "mine", tmp_path / "bundle")
    texts = [path.read_bytes() for path in built.path.rglob("*") if path.is_file()]
    assert [text for text in texts if str(project).encode() in text] == []
    assert json.loads((built.path / "bank" / "manifest.json").read_text())["source"]["vectors"] == "vectors.npy"


def test_texts_at_another_place_are_another_corpus(tmp_path):
    """Two folders of one name are told apart, whichever way they are written."""
    for place in ("one", "two"):
        (tmp_path / place / "docs").mkdir(parents=True)
        (tmp_path / place / "docs" / "a.txt").write_text(f"A sentence of {place} stands here. Another follows it.")
        tables = f'[corpus]\nkind = "folder"\npath = "docs"\n[bank]\npath = "{tmp_path}/bank"\n'
        encoder = '[encoder]\nname = "fake_encoder:HashEncoder"\noptions = { dimension = 8 }\n'
        (tmp_path / place / "recipe.toml").write_text(tables + encoder)
    bank = segue.build_bank(tmp_path / "one" / "recipe.toml")
    with pytest.raises(InputError, match="bank with other settings"):
        segue.build_bank(tmp_path / "two" / "recipe.toml")
    same = (tmp_path / "one" / "recipe.toml").read_text().replace('"docs"', f'"{tmp_path}/one/docs"')
    (tmp_path / "same.toml").write_text(same)
    assert segue.build_bank(tmp_path / "same.toml").hash == bank.hash


def test_a_run_that_refuses_another_bank_still_knows_its_own(project, tmp_path):
    copied = tmp_path / "mine"
    shutil.copytree(project / "runs" / "mine", copied)
    recorded = (copied / "bank.json").read_bytes()
    recipe = load_recipe(project / "project" / "recipe.toml")
    other = segue.PassageBank.from_arrays(worlds.drift_world(2, 12, 10, 16).vectors, [n // 10 for n in range(120)],
                                          path=tmp_path / "other")  # fmt: skip
    with pytest.raises(InputError, match="the bank has changed"):
        make_job(recipe, other, (), copied)
    assert (copied / "bank.json").read_bytes() == recorded


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, dimension, context):
        super().__init__()
        self.head = nn.Linear(dimension, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(context[:, -1]))
"""


@pytest.mark.parametrize("folder", [".", "nets"])
def test_a_class_beside_the_recipe_is_found_from_any_folder_and_by_every_verb(tmp_path, folder):
    recipe = relative_recipe(tmp_path / "project")
    module = recipe.parent / folder / "nets_of_mine.py"
    module.parent.mkdir(exist_ok=True)
    module.write_text(NET)
    named = recipe.read_text().replace('name = "mlp"', 'name = "nets_of_mine:Net"')
    recipe.write_text(named if folder == "." else f'import_from = "{folder}"\n{named}')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for words in (("train", recipe, "--out", "run"), ("evaluate", "run"), ("audit", "run")):
        done = subprocess.run([sys.executable, "-m", "segue", *map(str, words), "--quiet"], cwd=elsewhere,
                              env=environment(), capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert segue.Comparison.open(elsewhere / "run").metric("model", "R@5") is not None
