"""Phase 1 replayed on a small world: blocked as it was done, blocked when leaked, not blocked when clean."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from story import story_world

from benchmarks.phase1.as_done import AMN, matched_and_random
from benchmarks.phase1.replay import FOLDERS, Budget, replay_phase1, unexpected
from segue.checks import Effort
from segue.errors import InputError
from segue.recipe import parse_recipe


def story_recipe(folder):
    """Return the recipe of a story world whose vectors and texts lie in ``folder``."""
    bank = story_world(documents=64)
    np.save(folder / "vectors.npy", bank.vectors)
    names = [bank.document_ids[number] for number in bank.document_of]
    table = {"document_id": names, "position": bank.position.astype(np.int32), "text": bank.passage_texts}
    pq.write_table(pa.table(table), folder / "table.parquet")
    corpus = {"kind": "vectors", "vectors": str(folder / "vectors.npy"), "table": str(folder / "table.parquet")}
    return parse_recipe(
        {
            "corpus": corpus,
            "bank": {"path": str(folder / "bank")},
            "windows": {"context": 3},
            "split": {"validation": 0.15},
            "model": {"name": "mlp", "size": "toy"},
            "training": {"batch_size": 128, "evaluations": 4, "precision": "float32", "device": "cpu"},
            "evaluation": {"resamples": 300, "latency_queries": 20, "run_depth": 20},
        }
    )


@pytest.fixture(scope="module")
def budget(tmp_path_factory):
    recipe = story_recipe(tmp_path_factory.mktemp("story"))
    effort = Effort(windows=100, steps=10, batches=2, resamples=200)
    return Budget(steps=60, effort=effort, keys_per_document=16, recipe=recipe)


@pytest.fixture(scope="module")
def replay(budget, tmp_path_factory):
    return replay_phase1(tmp_path_factory.mktemp("replay") / "phase1", budget=budget)


def form(replay, name):
    return replay.record["forms"][name]


def test_every_form_comes_out_as_it_must(replay):
    assert replay.unexpected == []
    assert replay.as_expected


def test_as_it_was_done_finds_nothing_and_is_blocked_for_the_true_reasons(replay):
    done = form(replay, "a")
    assert {"SG101", "SG102", "SG103", "SG105", "SG110", "SG111"} <= set(done["blocked"])
    assert {"target-not-searched", "truth-is-wrong"} <= set(done["causes"])
    assert done["documents"]["queried_and_indexed"] == 0
    chance = done["chance"]["R@5"]
    for name in ("ar-cosine", "infonce-projected"):
        row = done["rows"][name]
        assert row["metrics"]["R@5"]["low"] <= chance
        assert abs(row["cosine"]["difference"]["value"]) < 0.05
        assert row["validation"]["cosine"] > row["cosine"]["matched"] + 0.1
        assert row["fixed"]["cosine"]["value"] > row["cosine"]["matched"] + 0.05
    assert done["rows"][AMN]["metrics"]["R@5"]["value"] == 1.0


def test_its_compatibility_test_says_nothing_on_unrelated_pairs_and_something_on_real_ones(replay):
    spaces = form(replay, "a")["compatibility"]
    for space in ("raw", "projected"):
        assert abs(spaces["stored queries"][space]["difference"]["value"]) < 0.05
        assert spaces["validation windows"][space]["matched"] > spaces["validation windows"][space]["random"] + 0.1


def test_a_leaked_split_is_blocked_with_the_inflated_number_beside_the_honest_one(replay):
    leaked = form(replay, "b")
    assert leaked["blocked"] == ["SG104"]
    assert leaked["causes"] == ["leaked-split"]
    assert abs(leaked["trained_on"] / leaked["evaluated"] - 0.915) < 0.5 / leaked["evaluated"] + 1e-9
    for row in leaked["rows"].values():
        assert row["leaked"]["value"] > row["honest"]["value"]
        assert row["difference"]["low"] > 0
        assert row["difference"]["value"] == pytest.approx(row["leaked"]["value"] - row["honest"]["value"])


def test_the_honest_number_is_that_of_the_clean_form(replay):
    for name, row in form(replay, "b")["rows"].items():
        assert row["honest"] == form(replay, "c")["rows"][name]["metrics"]["R@5"]


def test_clean_is_not_blocked_and_has_the_models_and_their_fixes(replay):
    clean = form(replay, "c")
    assert clean["blocked"] == []
    assert {"copy-last", "ar-cosine", "infonce-projected", "infonce-ar", "infonce"} <= set(clean["rows"])
    assert clean["rows"]["infonce-projected"]["compatibility"]["projected"]["matched"] > 0


def test_a_blocked_form_prints_no_number_and_the_clean_one_does(replay):
    reports = {name: (replay.path / folder / "report.md").read_text() for name, folder in FOLDERS.items()}
    for name in ("a", "b"):
        assert "No headline number is printed" in reports[name]
        public = json.loads((replay.path / FOLDERS[name] / "report.json").read_text())
        assert {option["metrics"]["R@5"]["value"] for option in public["options"]} == {None}
    assert "No headline number" not in reports["c"]
    for folder in FOLDERS.values():
        record = json.loads((replay.path / folder / "triage.json").read_text())
        assert {"audit", "diagnosis", "causes", "muted", "blocked"} <= set(record)


def test_the_front_page_links_three_reports_and_labels_what_is_inflated(replay):
    page = (replay.path / "README.md").read_text()
    for folder in FOLDERS.values():
        assert f"({folder}/report.html)" in page
        assert (replay.path / folder / "report.html").exists()
    assert "inflated (SG104)" in page
    assert "not to be quoted" in page
    assert len(replay.lines) == 4


def test_a_bank_that_is_not_there_is_not_built(budget, tmp_path):
    with pytest.raises(InputError, match=r"bank is not built: got no bank at .*nothing"):
        replay_phase1(tmp_path / "phase1", bank=tmp_path / "nothing", budget=budget)
    assert not (tmp_path / "nothing").exists()


def test_run_again_it_trains_nothing_and_measures_the_same(replay, budget, tmp_path, monkeypatch):
    shutil.copytree(replay.path, tmp_path / "again")
    monkeypatch.setattr("segue.comparison.entries.trained.train", None)
    for checks in ("segue.workflows.check_record.AUDIT", "segue.workflows.check_record.DIAGNOSIS",
                   "benchmarks.phase1.as_done.AUDIT", "benchmarks.phase1.clean_and_leaked.DIAGNOSIS"):  # fmt: skip
        monkeypatch.setattr(checks, ())  # the findings have their own tests
    for module in ("segue.workflows.triage", "benchmarks.phase1.as_done"):
        monkeypatch.setattr(f"{module}.write_report", lambda run: None)
    again = replay_phase1(tmp_path / "again", budget=budget)
    for name in FOLDERS:
        assert form(again, name)["rows"] == form(replay, name)["rows"]


def test_another_plan_in_the_same_folder_is_refused(replay, budget):
    with pytest.raises(InputError, match="another plan"):
        replay_phase1(replay.path, budget=dataclasses.replace(budget, steps=7))


def test_what_comes_out_otherwise_is_said(replay):
    forms = json.loads(json.dumps(replay.record["forms"]))
    forms["a"]["blocked"].remove("SG101")
    forms["a"]["causes"].remove("truth-is-wrong")
    forms["a"]["rows"]["ar-cosine"]["metrics"]["R@5"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    forms["a"]["rows"]["ar-cosine"]["fixed"]["R@5"]["value"] = 0.0
    forms["b"]["rows"]["ar-cosine"]["leaked"]["value"] = 0.0
    forms["c"]["blocked"] = ["SG107"]
    said = " ".join(unexpected(forms))
    for part in (
        "SG101",
        "truth-is-wrong",
        "above chance",
        "no more than chance",
        "gains nothing",
        "(c) is blocked by SG107",
    ):
        assert part in said


def test_random_pairs_are_of_other_documents_only():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = matched_and_random(vectors, vectors, np.array([0, 0, 1]))
    # windows 0 and 1 meet window 2: −1 and 0; window 2 meets the mean of 0 and 1: −0.5
    assert found["matched"] == pytest.approx(1.0)
    assert found["random"] == pytest.approx(-0.5)
