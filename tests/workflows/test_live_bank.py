"""A bank that changes, as a user changes it. What runs, indexes and bundles say afterwards is in test_index.py."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bundle_world import sentence
from command_line import run
from doc_blocks import blocks, commands
from fake_encoder import HashEncoder

import segue
from recipes import write_recipe
from segue.bank.bank import PassageBank
from segue.errors import InputError
from segue.workflows.bank import corpus_of

DOCUMENTS, LENGTH = 20, 9


def write_corpus(path, documents=DOCUMENTS, edition=""):
    """Write documents as JSON Lines; ``edition`` is put before a passage of the first."""
    texts = [[sentence(number, place) for place in range(LENGTH)] for number in range(documents)]
    texts[0][4] = edition + texts[0][4]
    lines = [{"id": f"d{number}", "text": "\n\n".join(text)} for number, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path):
    """A recipe of a JSON Lines file and the encoder of the tests; its bank is built."""
    write_corpus(tmp_path / "corpus.jsonl")
    path = write_recipe(
        tmp_path,
        corpus={"kind": "jsonl", "path": str(tmp_path / "corpus.jsonl")},
        passages={"target_characters": 70, "minimum_characters": 20},
        encoder={"name": "fake_encoder:HashEncoder", "options": {"dimension": 12}},
    )
    segue.build_bank(path)
    return path


def told(capsys, *words):
    """Run a command that prints JSON, and return it."""
    assert run(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_an_update_says_what_it_found_and_encodes_only_that(recipe, capsys):
    folder, bank = recipe.parent, str(recipe.parent / "bank")
    write_corpus(folder / "corpus.jsonl", DOCUMENTS + 2, edition="Changed: ")
    assert told(capsys, "bank", "update", str(recipe), "--dry-run")["passages_encoded"] == 1 + 2 * LENGTH
    updated = told(capsys, "bank", "update", str(recipe))
    del updated["seconds"]
    assert updated == {
        "added": 2, "changed": 1, "removed": 0, "gone": 0, "unchanged": DOCUMENTS - 1, "skipped": {},
        "passages_encoded": 1 + 2 * LENGTH, "dry_run": False,
        "ids": {"added": ["d20", "d21"], "changed": ["d0"], "removed": [], "gone": []},
    }  # fmt: skip
    assert run("bank", "remove", bank, "d7") == 0
    assert "made before are of the bank as it was" in capsys.readouterr().out
    since = "2 documents added, 1 changed, 1 removed"
    assert told(capsys, "bank", "info", bank)["changed_since_built"].startswith(since)
    write_corpus(folder / "corpus.jsonl", DOCUMENTS - 1)
    assert run("bank", "update", str(recipe), "-q") == 0
    assert "gone from the corpus, kept in the bank: d19, d20, d21 (--remove-gone" in capsys.readouterr().out
    assert told(capsys, "bank", "update", str(recipe), "--remove-gone")["ids"]["removed"] == ["d19", "d20", "d21"]


def test_documents_are_added_from_recipes_tables_folders_and_files(recipe, capsys):
    folder, bank = recipe.parent, str(recipe.parent / "bank")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text(sentence(100, 1))
    (folder / "notes" / "b [old].md").write_text(sentence(101, 1))
    write_corpus(folder / "more.jsonl", DOCUMENTS + 1, edition="Other: ")
    single = str(folder / "notes" / "b [old].md")
    assert told(capsys, "bank", "add", bank, single)["ids"]["added"] == ["b [old].md"]
    added = told(capsys, "bank", "add", bank, str(folder / "notes"), str(folder / "more.jsonl"))
    assert added["ids"]["added"] == ["a.txt", "d20"]
    assert added["skipped"] == {"the bank has a document of this id": 1 + DOCUMENTS}
    (folder / "fresh.toml").write_text(f'[corpus]\nkind = "folder"\npath = "{folder / "notes"}"\n')
    assert told(capsys, "bank", "add", bank, str(folder / "fresh.toml"))["added"] == 0
    document, text = segue.Document("new", "", (sentence(102, 1),)), sentence(102, 1)
    for given in (document, [("new", text)], [{"id": "new", "text": text}], (item for item in [document]),
                  lambda: [("new", text)], SimpleNamespace(read=lambda: [document])):  # fmt: skip
        assert segue.add_to_bank(bank, given, encoder=HashEncoder(12), dry_run=True).added == ("new",)
    found = segue.add_to_bank(bank, [document], encoder=HashEncoder(12))
    assert (found.added, found.passages_encoded) == (("new",), 1)
    assert told(capsys, "bank", "update", str(recipe))["ids"]["gone"] == ["b [old].md", "a.txt", "d20", "new"]
    (folder / "gone.txt").write_text("new\n\nb [old].md\n")
    assert told(capsys, "bank", "remove", bank, "d20", "--ids", str(folder / "gone.txt"))["removed"] == 3
    assert len(segue.PassageBank.open(bank, verify=True).live_documents) == DOCUMENTS + 1


def test_a_document_added_from_the_folder_of_the_bank_has_the_id_that_an_update_gives_it(tmp_path):
    docs = tmp_path / "docs"
    (docs / "part").mkdir(parents=True)
    (docs / "part" / "a.md").write_text(sentence(0, 0))
    recipe = {"corpus": {"kind": "folder", "path": str(docs), "minimum_characters": 5},
              "bank": {"path": str(tmp_path / "bank")},
              "encoder": {"name": "fake_encoder:HashEncoder", "options": {"dimension": 12}}}  # fmt: skip
    bank = segue.build_bank(recipe)
    (docs / "part" / "b.md").write_text(sentence(1, 0))
    assert corpus_of(bank, docs / "part").minimum_characters == 5
    for path in (docs / "part" / "b.md", docs / "part", docs):
        dry = segue.add_to_bank(bank, path, dry_run=True)
        assert dry.added == ("part/b.md",)
    segue.add_to_bank(bank, [docs / "part" / "b.md"])
    assert not segue.update_bank(recipe).differs


def test_what_cannot_be_changed_is_refused_and_the_bank_stays(recipe, capsys):
    folder, bank = recipe.parent, str(recipe.parent / "bank")
    before = PassageBank.open(bank).manifest.to_json()
    assert run("bank", "add", bank, str(folder / "nothing.txt")) == 2
    assert run("bank", "remove", bank, "d1", "nobody") == 2
    assert run("bank", "remove", bank, "--ids", str(folder / "nothing.txt")) == 2
    assert "cannot read the ids" in capsys.readouterr().err
    other = recipe.read_text().replace("target_characters = 70", "target_characters = 90")
    (folder / "other.toml").write_text(other)
    assert run("bank", "update", str(folder / "other.toml"), "--bank", bank) == 2
    assert "passages.target_characters 70 (now 90)" in capsys.readouterr().err
    with pytest.raises(InputError, match="a bank of vectors has no texts to compare"):
        segue.update_bank({"corpus": {"kind": "bank", "path": bank}})
    assert PassageBank.open(bank).manifest.to_json() == before


def test_the_page_about_live_banks_does_what_it_shows(tmp_path, monkeypatch, capsys):
    """Its commands and its Python, in their order, on the folder and the recipe that they name."""
    page = Path(__file__).parents[2] / "docs" / "howto" / "live-bank.md"
    (tmp_path / "my-docs").mkdir()
    for name in ("a", "b", "today"):
        (tmp_path / "my-docs" / f"{name}.md").write_text(sentence(len(name), 0))
    (tmp_path / "ids.txt").write_text("b.md\n")
    table = '[corpus]\nkind = "folder"\npath = "my-docs"\n[bank]\npath = "bank/"\n'
    (tmp_path / "recipe.toml").write_text(table + '[encoder]\nname = "fake_encoder:HashEncoder"\n')
    monkeypatch.chdir(tmp_path)
    assert run("bank", "build", "recipe.toml") == 0
    (tmp_path / "my-docs" / "a.md").write_text(sentence(1, 1))
    shown = [words[1:] for words in commands(page, "segue") if words[1] == "bank" and len(words) > 3]
    assert {words[1] for words in shown} == {"update", "add", "remove", "info"}
    for words in shown:
        assert run(*words) == 0, words
    for block in blocks(page, "python"):
        exec(block, {})
    assert capsys.readouterr().out.count("dry run: nothing was changed") == 1
    assert segue.PassageBank.open("bank").live_documents.keys() == {"a.md", "b.md", "today.md"}


def test_vectors_and_other_banks_are_added_without_an_encoder(tmp_path, capsys):
    eye = np.eye(6, dtype=np.float32)
    for name, ids in (("bank", ["a", "a", "b"]), ("other", ["b", "c", "c"])):
        rows = [ord(one) - ord("a") for one in ids]
        texts = [f"Text {one} {place}." for place, one in enumerate(ids)]
        segue.PassageBank.from_arrays(eye[rows], ids, texts, path=tmp_path / name, name="mine")
    words = ("bank", "add", str(tmp_path / "bank"), str(tmp_path / "other"))
    assert told(capsys, *words, "--dry-run")["added"] == 1
    done = told(capsys, *words)
    assert (done["ids"]["added"], done["skipped"]) == (["c"], {"the bank has a document of this id": 1})
    assert told(capsys, *words)["added"] == 0
    bank = segue.PassageBank.open(tmp_path / "bank", verify=True)
    assert bank.search(eye[2], k=2)[1].tolist() == [3, 4]
    removed = segue.remove_from_bank(bank, ["b"]).bank
    assert removed.search(eye[1], k=4)[0].tolist() == [0.0] * 4, "the vector of b is no candidate"
    assert run("bank", "add", str(tmp_path / "bank"), str(tmp_path)) == 2
    assert "does not record its encoder" in capsys.readouterr().err
