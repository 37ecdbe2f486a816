"""Tasks on local processes: the same results as in one process, whatever ends on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import threading
from pathlib import Path

import psutil
import pytest
import worlds
from comparison.test_triage import job_on, without_times

from segue.bank.bank import PassageBank
from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import Job, Results, finished_results
from segue.comparison.options import OPTIONS as OPTIONS_OF_ALL
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.scoring import time_answers
from segue.comparison.settings import ComputeSettings
from segue.comparison.summary import compare
from segue.comparison.tasks import open_workers, share_machine
from segue.errors import InputError, StorageError

OPTIONS = choose_options(["ar-cosine", "infonce", "mlp", "copy-last-rerank", "fusion"])


def job(folder: Path, *, processes: int, **more: int) -> Job:
    """Return a comparison over two folds: baselines, losses, a model under the winning loss, and rows that rerank."""
    made = job_on(worlds.drift_world(2, 14, 10, 16), folder, OPTIONS, folds=2, **more)
    return made.with_tables(compute=ComputeSettings(processes=processes))


def hashes(results: Results) -> dict[str, list[str]]:
    """Return the sha256 of every option's ranks and rankings, fold by fold."""
    return {
        name: [
            hashlib.sha256(fold.evaluation.ranks.tobytes() + fold.evaluation.rankings.tobytes()).hexdigest()
            for fold in folds
            if fold.evaluation is not None
        ]
        for name, folds in results.items()
    }


def test_processes_give_the_bits_of_one_process(tmp_path):
    alone = job(tmp_path / "one", processes=1)
    expected = run_triage(alone)
    beside = job(tmp_path / "two", processes=2)
    said: list[str] = []
    found = run_triage(beside, say=said.append)
    assert hashes(found) == hashes(expected)
    assert without_times(compare(beside, found).to_json()) == without_times(compare(alone, expected).to_json())
    assert {line.split(":")[0] for line in said} == {option.name for option in OPTIONS}
    assert all(fold.evaluation.timings for fold in found["mlp"] if fold.evaluation is not None)
    assert not list(beside.out.rglob("progress.json"))


def test_an_expensive_baseline_goes_first_where_another_process_shows_the_others_meanwhile(tmp_path):
    """On one process the numbers of the cheap ones are shown first."""
    begun: dict[int, list[str]] = {1: [], 2: []}
    for processes, named in begun.items():
        made = job(tmp_path / str(processes), processes=processes)

        def note(done: int, total: int | None, text: str, named: list[str] = named) -> None:
            named.append(text.split(",")[0])

        run_triage(made, progress=note)
    assert begun[2][0] == "encoder-context"
    assert begun[1][0] == "chance"
    assert begun[1].index("encoder-context") > begun[1].index("bm25")


def test_a_class_that_main_lacks_is_left_to_the_task_that_needs_it(tmp_path):
    """That task names it, on one process and on several: model '__main__:Missing' cannot be imported."""
    made = job(tmp_path, processes=2)
    made = made.with_tables(model=made.recipe.model.model_copy(update={"name": "__main__:Missing"}))
    with open_workers(made, Baselines(made)) as workers:
        assert workers.at_once == 2


def test_a_process_that_ends_costs_only_what_runs(tmp_path):
    """The run says what happened; run again, it ends in the numbers of an undisturbed one."""
    undisturbed = job(tmp_path / "whole", processes=1, steps=60)
    disturbed = job(tmp_path / "killed", processes=2, steps=60)
    ended = threading.Event()
    before = {child.pid for child in psutil.Process().children()}

    def end_one() -> None:
        while not ended.wait(0.05):
            with contextlib.suppress(psutil.Error):
                new = [child for child in psutil.Process().children() if child.pid not in before]
                named = {child: " ".join(child.cmdline()) for child in new}
                workers = [child for child, line in named.items() if "loky" in line and "tracker" not in line]
                if workers and list(disturbed.out.glob("options/*/fold-*/training")):
                    workers[0].kill()
                    return

    killer = threading.Thread(target=end_one, daemon=True)
    killer.start()
    try:
        with pytest.raises(StorageError, match=r"a process ended before its task did.*lower \[compute\] processes"):
            run_triage(disturbed)
    finally:
        ended.set()
        killer.join()
    kept = {path: path.stat().st_mtime_ns for path in disturbed.out.glob("options/*/fold-*/result.json")}
    assert kept
    found = run_triage(disturbed)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert hashes(found) == hashes(run_triage(undisturbed))


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


def test_a_kill_while_answers_are_timed_loses_no_result(tmp_path, monkeypatch):
    made = job(tmp_path / "run", processes=1)
    calls = []

    def kill_at_the_third(*given: object) -> object:
        calls.append(given)
        if len(calls) == 3:
            raise Killed
        return time_answers(*given)

    monkeypatch.setattr("segue.comparison.run.time_answers", kill_at_the_third)
    with pytest.raises(Killed):
        run_triage(made)
    assert len(list(made.out.glob("options/*/fold-*/timings.npz"))) == 2
    results = finished_results(made)
    assert {name for name, folds in results.items() if all(fold.evaluation is not None for fold in folds)} == {
        option.name for option in OPTIONS if option.name != "encoder-context"
    }
    monkeypatch.undo()
    found = run_triage(made)
    assert hashes(found) == {**hashes(results), "encoder-context": []}
    timed = {name: {tuple(fold.evaluation.timings) for fold in folds} for name, folds in found.items()
             if name != "encoder-context"}  # fmt: skip
    assert timed["copy-last"] == {("predict", "search", "total")}
    assert all(len(next(iter(stages))) >= 2 for stages in timed.values())


def test_a_finished_result_without_its_evaluation_is_refused(tmp_path):
    made = job(tmp_path / "run", processes=1)
    run_triage(made)
    shutil.rmtree(made.out / "options" / "copy-last" / "fold-0" / "evaluation")
    with pytest.raises(InputError, match=r"copy-last/fold-0/result.json cannot be read back"):
        run_triage(made)


def test_every_fold_decides_by_the_cost_that_the_first_fold_measured(tmp_path):
    """A text option over its share is skipped on both folds, and its cost is measured once."""
    options = (*choose_options([]), *(option for option in OPTIONS_OF_ALL if option.name == "text-dual-encoder"))
    made = dataclasses.replace(job(tmp_path / "run", processes=2), options=options)
    first, second = run_triage(made)["text-dual-encoder"]
    assert (first.status, second.status) == ("skipped", "skipped")
    assert first.reason == second.reason


def test_an_error_in_a_process_is_the_reason_of_the_entry(tmp_path):
    (mlp,) = (option for option in OPTIONS if option.name == "mlp")
    options = (*choose_options([]), dataclasses.replace(mlp, name="own", model="no_such_module:Net"))
    made = dataclasses.replace(job(tmp_path / "run", processes=2), options=options)
    plan = tmp_path / "plan.json"
    record = {"steps": {"own": 5}, "steps_per_second": {}, "score_seconds": 0.0, "budget_minutes": 1.0}
    plan.write_text(json.dumps({"format": 1, **record}), encoding="utf-8")
    made = made.with_tables(triage=made.recipe.triage.model_copy(update={"plan": str(plan)}))
    (first, second) = run_triage(made)["own"]
    assert (first.status, second.status) == ("failed", "failed")
    assert "model 'no_such_module:Net' cannot be imported" in str(first.reason)


def test_processes_are_those_of_the_recipe_or_the_cores_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    memory = type("Memory", (), {"available": 100 * 2**30})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    learns = job_on(worlds.noise_world(1, 12), tmp_path, OPTIONS)
    assert share_machine(learns) == (4, 1)
    assert share_machine(learns.with_tables(compute=ComputeSettings(threads=2))) == (2, 2)
    assert share_machine(learns.with_tables(compute=ComputeSettings(processes=3))) == (3, 1)
    assert share_machine(dataclasses.replace(learns, options=choose_options([]))) == (1, 4)
    one = dataclasses.replace(learns, options=tuple(option for option in OPTIONS if option.name == "mlp"))
    assert share_machine(one) == (1, 1)  # one task
    memory.available = 2 * 1.6 * 2**30
    assert share_machine(learns) == (2, 1)


def test_a_bank_is_opened_again_by_another_process(tmp_path):
    import pickle

    vectors = worlds.noise_world(1, 6).gather(worlds.np.arange(12))
    bank = PassageBank.from_arrays(vectors, ["a"] * 6 + ["b"] * 6, path=tmp_path / "bank")
    sent = pickle.dumps(bank)
    assert len(sent) < 1000  # the folder's name, not the vectors
    again = pickle.loads(sent)
    assert again.hash == bank.hash
    assert (again.gather(worlds.np.arange(12)) == bank.gather(worlds.np.arange(12))).all()
