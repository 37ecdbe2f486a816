"""What the pages of docs/parts tell a reader to type, run as they stand there."""

import shutil
import sys
import tomllib

import pytest
from doc_blocks import blocks
from own_world import QUICK, write_talks
from part_examples import EXAMPLES

import segue
from segue.files import read_json

PAGES = EXAMPLES.parent
NAMES = {"my_package": ("encoder", "model", "loss", "retriever", "reranker"), "my_readers": ("corpus",),
         "my_checks": ("check",), "my_metrics": ("metric",), "my_gates": ("gate",)}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The reader's folder: their modules, which are the examples, and their talks."""
    for module, examples in NAMES.items():
        code = [EXAMPLES.joinpath(f"{name}.py").read_text() for name in examples]
        code = [text.replace("from __future__ import annotations\n", "") for text in code]
        (tmp_path / f"{module}.py").write_text("\n".join(code))
        monkeypatch.delitem(sys.modules, module, raising=False)
    write_talks(tmp_path / "talks", turns=60)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("quick_comparisons")
@pytest.mark.parametrize(
    ("page", "own"),
    [
        ("model", {"convolution"}),
        ("loss", {"smoothed"}),
        ("retriever", {"rare-words", "last-two"}),
        ("reranker", {"topic", "topic-of-words"}),
        ("encoder", {"encoder-context"}),
    ],
)
def test_the_python_of_a_page_runs(page, own, folder, monkeypatch):
    """With fewer steps and resamples than a reader's comparison has."""
    monkeypatch.syspath_prepend(str(folder))
    shutil.copytree(folder / "talks", folder / "docs")
    if page != "encoder":
        segue.build_bank(documents=talks(folder), out=folder / "bank", encoder=hashed_words())
    compare = segue.compare
    monkeypatch.setattr(segue, "compare", lambda *given, **named: compare(*given, **named, **QUICK))
    (block,) = [block for block in blocks(PAGES / f"{page}.md", "python") if "segue.compare(" in block]
    written = {}
    exec(compile(block, f"{page}.md", "exec"), written)
    found = {entry.name: entry for entry in written["comparison"].record.entries}
    assert {found[name].status for name in own} <= {"done", "under-trained"}, [found[name].reason for name in own]
    if page == "retriever":
        assert len(list(segue.load(folder / "bundle").next(passages=["What was said at turn 3."], k=3))) == 3


def talks(folder):
    import my_readers

    return my_readers.Talks(str(folder / "talks"))


def hashed_words():
    import my_package

    return my_package.HashedWords(256)


@pytest.mark.usefixtures("quick_comparisons")
def test_the_tables_of_all_pages_make_one_recipe(folder):
    """Every part has an import path, and its module lies beside the recipe."""
    shown = "\n".join(block for page in sorted(PAGES.glob("*.md")) for block in blocks(page, "toml"))
    few = "\n".join(f"[{table}]\n" + "\n".join(f"{key} = {str(value).lower() if isinstance(value, bool) else value!r}"
                    for key, value in keys.items()) for table, keys in QUICK.items() if table != "model")  # fmt: skip
    recipe = folder / "recipe.toml"
    recipe.write_text(f"{shown}\n{few}\n[bank]\npath = 'bank'\n[triage]\noptions = ['infonce']\nbudget_minutes = 5\n")
    tables = tomllib.loads(recipe.read_text())
    assert set(tables) >= {"corpus", "encoder", "model", "models", "loss", "losses", "retrievers", "rerankers",
                           "checks", "gates", "evaluation"}  # fmt: skip
    record = segue.triage(recipe, folder / "run").record
    entries = {entry.name: entry for entry in record.entries}
    own = [name for table in ("models", "losses", "retrievers", "rerankers") for name in tables[table]]
    assert {entries[name].status for name in own} <= {"done", "under-trained"}, [entries[name].reason for name in own]
    assert entries["infonce"].training.loss
    assert record.corpus.documents == 20
    assert {gate["name"] for gate in tables["gates"]} <= {gate.name for gate in record.gates}
    assert set(tables["evaluation"]["metrics"]) <= set(entries["copy-last"].metrics)
    assert [found.outcome for found in record.audit if found.code == "MY101"] == ["passed"]
    assert read_json(folder / "run" / "recipe.json")["corpus"]["reader"] == "my_readers:Talks"
