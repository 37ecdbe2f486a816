"""The recipes and the notebook that people copy: each is run on small data, as it stands."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import worlds
from fake_encoder import HashEncoder

import segue
from segue.corpus import HuggingFaceCorpus
from segue.recipe import load_recipe
from segue.types import Document
from segue.workflows.prepare import experiment_of

ROOT = Path(__file__).parents[1]


def copied(name: str, folder: Path) -> Path:
    """Copy a recipe of the project, as a user does."""
    path = folder / name
    path.write_text((ROOT / "recipes" / name).read_text(encoding="utf-8"), encoding="utf-8")
    return path


def windows_of(path: Path):
    """Build the bank of a recipe and the windows of its first fold."""
    recipe = load_recipe(path)
    bank = segue.build_bank(recipe)
    return bank, experiment_of(recipe, bank).folds[0]


def test_own_embeddings(tmp_path):
    world = worlds.drift_world(1, 60, 8, 16)
    (tmp_path / "embeddings").mkdir()
    names = [world.document_ids[number] for number in world.document_of]
    table = pa.table({"document_id": names, "vector": [row.tolist() for row in world.vectors]})
    for number in range(4):
        pq.write_table(table.slice(number * 120, 120), tmp_path / "embeddings" / f"part-{number}.parquet")
    bank, fold = windows_of(copied("own-embeddings.toml", tmp_path))
    np.testing.assert_allclose(bank.gather(np.arange(len(bank))), world.vectors, atol=1e-6)
    assert bank.position.tolist() == list(range(8)) * 60
    assert fold.test.context.shape == (6 * 3, 5)  # a tenth of the documents; passages 5, 6 and 7 are targets


def test_next_turns_of_dialogues(tmp_path, monkeypatch):
    """Texts of hours and places, written for this test; encoded by a stand-in for minilm."""
    monkeypatch.setattr("segue.bank.build.load_encoder", lambda settings: HashEncoder(name=settings.name))
    (tmp_path / "dialogues").mkdir()
    places = ["harbour", "station", "library", "market", "museum", "theatre", "garden", "castle", "school", "bridge"]
    lines = []
    for number in range(40):
        place, row = places[number % 10], number + 10  # turns that many dialogues share are no targets
        turns = [f"When does {place} {row} open?", f"At {row}.", f"How far is {place} {row}?", f"About {row} miles."]
        roles = ["user", "assistant"] * 2
        messages = [{"role": "system", "content": "Answer briefly."}]
        messages += [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
        lines.append(json.dumps({"messages": messages}) + "\n")
    (tmp_path / "dialogues" / "part-1.jsonl").write_text("".join(lines[:25]))
    (tmp_path / "dialogues" / "part-2.jsonl").write_text("".join(lines[25:]))
    bank, fold = windows_of(copied("dialogues.toml", tmp_path))
    assert bank.document_ids[24:26] == ["part-1.jsonl:25", "part-2.jsonl:1"]
    assert bank.num_rows.tolist() == [4] * 40
    assert bank.texts(np.arange(2)) == ["user: When does harbour 10 open?", "assistant: At 10."]
    assert len(fold.test) == 4 * 3
    assert (fold.test.context >= 0).sum(axis=1).tolist() == [1, 2, 3] * 4


def test_wikipedia_from_the_hub(monkeypatch):
    """The hub is out of reach of tests: the library gets what the recipe states, and its rows become documents."""
    corpus = load_recipe(ROOT / "recipes" / "wikipedia-hub.toml").corpus
    assert isinstance(corpus, HuggingFaceCorpus)
    calls = []

    def load(*names, **options):
        calls.append((*names, options["split"], options["streaming"]))
        line = "It snows in the winter, and the snow stays until the spring. " * 40
        return [{"id": str(n), "url": "u", "title": "Snow", "text": f"{line}\n\nHistory\n{line}"} for n in range(3)]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))
    documents = list(corpus.read())
    assert calls == [("wikimedia/wikipedia", "20231101.en", "train", True)]
    assert [len(one.paragraphs) for one in documents if isinstance(one, Document)] == [2, 2, 2]


def test_the_notebook_runs_and_shows_what_it_shows_now(monkeypatch, quick_comparisons, capsys):
    """With fewer documents than in its outputs, and baselines alone: training has its own tests."""
    pytest.importorskip("pandas")
    cells = json.loads((ROOT / "examples" / "own_embeddings.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    kinds = {kind for cell in code for output in cell["outputs"] for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= kinds
    assert "/tmp/" not in json.dumps(cells)
    compare = segue.compare
    quick = {"resamples": 100, "latency_queries": 5, "run_depth": 10}
    monkeypatch.setattr(segue, "compare", lambda *given, **tables: compare(*given, **{**tables, "evaluation": quick}))
    names: dict = {}
    for cell in code:
        source = "".join(cell["source"]).replace("(120", "(40").replace('["infonce", "mlp"],', "")
        exec(compile(source, "own_embeddings.ipynb", "exec"), names)
    assert "480 passages of 40 documents, 32 dimensions" in capsys.readouterr().out
    assert {"copy-last", "ridge"} <= set(names["frame"]["name"])
    assert names["figure"].axes
