"""Models of a user's, named in a recipe: what breaks a rule is refused or found, and its healthy neighbour is not."""

import json
import re

import numpy as np
import pytest
import worlds

import segue
from recipes import write_import

# With 21 windows a document: 189 and 378 test windows.
LENGTH = 24


def write(folder, model, *, documents=30, anchor=False, steps=30, **options):
    """Write a world of documents that wander, and a recipe with a model of a user's."""
    bank = worlds.drift_world(5, documents, LENGTH, 24)
    names = [bank.document_ids[number] for number in bank.document_of]
    follows = np.minimum(np.arange(len(bank)) + 1, bank.first_row[bank.document_of] + LENGTH - 1)
    np.savez(folder / "passages.npz", vectors=bank.vectors, follows=follows)
    return write_import(
        folder, bank.vectors, {"document_id": names, "position": bank.position},
        model={"name": f"own_models:{model}", "anchor": anchor, "options": options}, training={"steps": steps},
    )  # fmt: skip


def compared(folder, model, **how):
    return segue.triage(write(folder, model, **how), folder / "run").record


def entry_of(record):
    (entry,) = [entry for entry in record.entries if entry.name == "infonce"]
    return entry


def outcomes(record):
    return {finding.code: finding.outcome for finding in record.audit if finding.code in ("SG118", "SG119")}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("NextWindow", "'rows_are_independent': got answers depend on the rest of the batch"),
        ("AttendsOverTheBatch", "'rows_are_independent': got answers depend on the rest of the batch"),
        ("Counts", "'repeatable': got the same contexts get other answers the second time"),
        ("HiddenWeights", "'weights_are_all': got another net with the same weights answers otherwise"),
        ("SinglePrecision", r"fails on contexts of shape \(6, 3, 24\) in float64: got RuntimeError.*register_buffer"),
    ],
)
def test_a_model_that_breaks_a_rule_is_a_failed_entry_with_the_reason(model, reason, tmp_path):
    record = compared(tmp_path, model)
    entry = entry_of(record)
    assert entry.status == "failed"
    assert re.search(reason, entry.reason), entry.reason
    assert record.winner == "copy-last"
    assert record.blocked == ()


@pytest.mark.parametrize("documents", [30, 60])
@pytest.mark.parametrize("model", ["NextWindow", "AttendsOverTheBatch"])
def test_a_model_that_reads_its_batch_where_it_is_large_is_found(model, documents, tmp_path):
    record = compared(tmp_path, model, documents=documents, smallest=20)
    assert outcomes(record) == {"SG118": "issue", "SG119": "passed"}
    assert record.causes[0].name == "batch-dependence"
    assert "wrong-model" not in {cause.name for cause in record.causes}


@pytest.mark.parametrize("options", [{"share": 1.0}, {"share": 0.5, "anchor": True}, {"share": 0.2}, {"least": 0.999}])
def test_a_model_that_holds_the_bank_is_found(options, tmp_path):
    record = compared(tmp_path, "Memory", **options, bank=str(tmp_path / "passages.npz"))
    assert outcomes(record) == {"SG118": "passed", "SG119": "issue"}
    assert record.causes[0].name == "private-copy"


@pytest.mark.parametrize("model", ["Honest", "AttendsOverTheContext"])
def test_an_honest_model_raises_nothing(model, tmp_path):
    record = compared(tmp_path, model)
    assert entry_of(record).status in ("done", "under-trained")
    assert outcomes(record) == {"SG118": "passed", "SG119": "passed"}
    assert record.blocked == ()


def test_a_memory_of_training_documents_is_allowed(tmp_path):
    compared(tmp_path, "Honest", steps=2)
    (fold,) = json.loads((tmp_path / "run" / "split.json").read_text())["folds"]
    (tmp_path / "other").mkdir()
    recipe = write(tmp_path / "other", "Memory", share=1.0, bank=str(tmp_path / "passages.npz"))
    with np.load(tmp_path / "passages.npz") as stored:
        vectors, rows = stored["vectors"], np.arange(len(stored["vectors"])).reshape(-1, LENGTH)
    train = rows[[int(name.removeprefix("document-")) for name in fold["train"]]].ravel()
    places = np.arange(len(train)).reshape(-1, LENGTH)
    follows = np.concatenate([places[:, 1:], places[:, -1:]], axis=1).ravel()
    np.savez(tmp_path / "passages.npz", vectors=vectors[train], follows=follows)
    record = segue.triage(recipe, tmp_path / "other" / "run").record
    assert entry_of(record).status in ("done", "under-trained")
    assert outcomes(record) == {"SG118": "passed", "SG119": "passed"}
