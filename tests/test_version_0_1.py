"""What version 0.1 wrote is still read: its recipe, its run folder with the bank, its bundle (``version_0_1/``)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import segue

KEPT = Path(__file__).parent / "version_0_1"
NAMES = {
    "ar-only": "ar-cosine",
    "option-3-pure": "infonce",
    "model-gru": "gru",
    "option-4-rerank": "rerank",
}
"""The name that an option had in version 0.1, and the name today."""


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    """Return a copy of the files, and be in it: their paths are relative."""
    shutil.copytree(KEPT, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "old"


@pytest.fixture
def old_record() -> dict:
    """Return the comparison as version 0.1 recorded it."""
    return json.loads((KEPT / "run" / "triage.json").read_text(encoding="utf-8"))


def ranks_of(run: Path, option: str) -> np.ndarray:
    with np.load(run / "options" / option / "fold-0" / "evaluation" / "arrays.npz", allow_pickle=False) as arrays:
        return arrays["ranks"]


def metrics_of(entries: list[dict]) -> dict[str, dict]:
    """Return each option's metrics by its name of today, without what a clock measured."""
    return {
        NAMES.get(row["name"], row["name"]): {
            name: interval["value"] for name, interval in row["metrics"].items() if not name.endswith("_ms")
        }
        for row in entries
    }


def folder_today(run: Path, old_name: str) -> Path:
    """Return an option's folder, under either name: a run folder of then may be left as it is."""
    today = run / "options" / NAMES[old_name]
    return today if today.exists() else run / "options" / old_name


def test_the_recipe_is_read(old):
    recipe = segue.load_recipe("recipe.toml")
    assert recipe.title == "What version 0.1 wrote"
    assert set(recipe.triage.options) == set(NAMES.values())


def test_the_report_of_a_run_is_written_again_with_its_numbers(old, old_record):
    found = segue.report("run")
    assert (old / "run" / "report.html").stat().st_size > 10_000
    assert (old / "run" / "report.md").exists()
    assert found.winner == NAMES.get(old_record["winner"], old_record["winner"])
    assert metrics_of(found.record.to_json()["entries"]) == metrics_of(old_record["options"])


def test_nothing_blocks_a_run_s_numbers(old):
    found = segue.audit("run")
    assert found.blocked == []
    assert [finding.statement for finding in found.findings if "broke" in finding.statement] == []


def test_a_bundle_is_built_from_a_run_and_answers_as_the_kept_one(old):
    built = segue.bundle("run", "again", option=NAMES["option-4-rerank"])
    assert built.option == NAMES["option-4-rerank"]
    require_answers(segue.load("again"))


def test_a_run_whose_bank_has_a_relative_path_finds_it_from_another_folder(old, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (old / "run" / "bank.json").exists()
    assert segue.bundle(old / "run", "again").option
    assert not (old / "run" / "bank.json").exists(), "a bundle only reads its run"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["again"]


def test_the_winner_of_a_run_is_what_a_bundle_takes_by_itself(old, old_record):
    assert segue.bundle("run", "again").option == NAMES.get(old_record["winner"], old_record["winner"])


def test_a_bundle_gives_the_answers_it_gave(old):
    require_answers(segue.load("bundle"))


def require_answers(released) -> None:
    """The golden answers are given: near where machines differ, in the order of then."""
    for golden in json.loads((KEPT / "answers.json").read_text(encoding="utf-8")):
        answer = released.next(ids=golden["ids"], k=len(golden["passages"]))
        assert [one.id for one in answer.passages] == [one["id"] for one in golden["passages"]]
        assert [one.score for one in answer.passages] == pytest.approx([one["score"] for one in golden["passages"]],
                                                                        abs=1e-3)  # fmt: skip
        assert answer.prediction == pytest.approx(np.array(golden["prediction"]), abs=1e-4)


def test_a_killed_run_goes_on_and_what_was_finished_is_read_back(old):
    """One option is trained again; no other is, which the log of looks at test documents tells."""
    before = (old / "run" / "looks.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {name: ranks_of(KEPT / "run", name) for name in NAMES}
    shutil.rmtree(old / "run" / "options" / "option-3-pure")
    (old / "run" / "triage.json").unlink()
    found = segue.triage(segue.load_recipe("recipe.toml"), "run")
    after = (old / "run" / "looks.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["option"] for line in after[len(before) :]} == {NAMES["option-3-pure"]}
    assert {entry.status for entry in found.record.entries} <= {"done", "under-trained"}
    for name, ranks in expected.items():
        again = np.load(folder_today(old / "run", name) / "fold-0" / "evaluation" / "arrays.npz")["ranks"]
        if name == "option-3-pure":  # trained here and now: near, whatever machine this is
            assert abs((1 / again).mean() - (1 / ranks).mean()) < 0.02
        else:
            assert np.array_equal(again, ranks)
