"""A budget that cannot hold the plan is refused before training; a comparison that trained nothing is no success."""

from __future__ import annotations

import re

import pytest
from command_line import run, write_corpus

from segue.comparison.plan import make_plan
from segue.errors import SettingsError
from segue.files import read_json


def test_a_budget_that_is_too_small_ends_before_training_with_the_minutes_it_needs(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("budget_minutes = 3", "budget_minutes = 0.0001"), encoding="utf-8")
    assert run("triage", str(recipe), "--out", str(tmp_path / "run"), "--quiet") == 2
    message = capsys.readouterr().err
    assert "the budget is too small to train anything: got [triage] budget_minutes = 0.0001" in message
    enough = int(re.search(r"set budget_minutes = (\d+) or more", message)[1])
    assert not list((tmp_path / "run").glob("options/*/fold-*/training"))
    baseline = tmp_path / "run" / "options" / "copy-last" / "fold-0" / "result.json"
    written = baseline.stat().st_mtime_ns
    recipe.write_text(text.replace("budget_minutes = 3", f"budget_minutes = {10 * enough}"), encoding="utf-8")
    assert run("triage", str(recipe), "--out", str(tmp_path / "run"), "--quiet") == 0
    assert baseline.stat().st_mtime_ns == written  # the baselines were not measured again


def test_the_minutes_that_are_needed_follow_from_the_speeds():
    """2 options x 3 folds x (4 scorings of 1 s + 20 steps at 10 a second) = 36 s; with 6 s left, 30 s are missing."""
    how = {"most_steps": 500, "folds": 3, "score_seconds": 1.0, "scorings": 4, "budget_minutes": 1.0}
    with pytest.raises(SettingsError, match=r"expected at least 1\.5, for 20 steps of each of 2 trainings on 3 folds"):
        make_plan({"a": 10.0, "b": 10.0}, seconds=6.0, **how)
    # two at a time need 18 s
    with pytest.raises(SettingsError, match=r"expected at least 1\.2"):
        make_plan({"a": 10.0, "b": 10.0}, seconds=6.0, at_once=2, **how)
    assert make_plan({"a": 10.0, "b": 10.0}, seconds=18.0, at_once=2, **how).steps == {"a": 20, "b": 20}


def test_a_plan_counts_on_no_more_processes_than_there_are_trainings():
    """60 s hold 600 steps of one training; three that follow one another share them, on any number of cores."""
    how = {"most_steps": 5000, "folds": 1, "score_seconds": 0.0, "scorings": 0, "budget_minutes": 1.0, "at_once": 16}
    assert make_plan({"a": 10.0}, seconds=60.0, **how).steps == {"a": 600}
    halves = {"a, half 0": 10.0, "a, half 1": 10.0}
    assert make_plan({"a": 10.0}, seconds=60.0, more=halves, chain=3, **how).steps == {"a": 200}


def test_a_comparison_in_which_nothing_was_trained_is_no_success(tmp_path, capsys, monkeypatch):
    """The clock of the machine stands for one that is far slower than its calibration said."""
    recipe = write_corpus(tmp_path)
    monkeypatch.setattr("segue.comparison.run._Run.elapsed", lambda self: 0.0 if self.plan is None else 1e6)
    assert run("triage", str(recipe), "--out", str(tmp_path / "run"), "--quiet") == 2
    said = capsys.readouterr()
    assert (
        "no trained option was measured on every fold: ar-cosine: aborted: the run took more than 2 × budget_minutes"
        in said.err
    )
    statuses = {entry["name"]: (entry["status"], entry["reason"]) for entry in
                read_json(tmp_path / "run" / "triage.json")["entries"]}  # fmt: skip
    assert statuses["infonce"][0] == "aborted"
    assert "run again to resume" in statuses["infonce"][1]
