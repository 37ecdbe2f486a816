"""Rows that rerank: cross-fitting, what is kept in the folder, costs, and how they stand beside the others."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import worlds
from recorded_curves import record

from segue.comparison.calibration import extra_trainings, reranking_seconds
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, cross_fitting_folds
from segue.comparison.job import Job, spread
from segue.comparison.options import choose_options
from segue.comparison.plan import make_plan
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings, TriageSettings
from segue.comparison.summary import compare
from segue.errors import InputError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.models import ModelSettings, hash_documents
from segue.retrieval.rerank.lambdamart import LambdaMartSettings
from segue.retrieval.rerank.lists import TrainingLists
from segue.retrieval.rerank.listwise import ListwiseSettings
from segue.retrieval.rerank.settings import RerankSettings
from segue.training.train import TrainingSettings
from segue.types import Windows
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

CASCADES = ("copy-last-rerank", "rerank", "bm25-by-model", "copy-last-by-model", "fusion")
GROUPS = ("prediction", "context", "density", "list", "words", "length", "places")


def no_encoder():
    raise InputError("there is no encoder in a synthetic world")


def job_on(bank, out, names, **rerank):
    """Return a toy job; its plan is written, so that no test depends on how fast this machine is."""
    options = choose_options(list(names))
    path = out.parent / "plan.json"
    steps = {option.name: 20 for option in options if option.trained}
    about = {"steps_per_second": {}, "score_seconds": 0.0, "budget_minutes": 1.0}
    path.write_text(json.dumps({"format": 1, "steps": steps, **about}))
    trees = LambdaMartSettings(rounds=8, leaves=7, least_in_leaf=5)
    drawn = {"first": 12, "bm25": 6, "bm25_context": 6, "alone": 15, "features": GROUPS, "lists": 100, **rerank}
    recipe = ComparisonSettings(
        model=ModelSettings(size="toy", name="mlp"),
        training=TrainingSettings(batch_size=32, steps=20, evaluations=2, precision="float32", device="cpu"),
        evaluation=EvaluationSettings(resamples=200, latency_queries=5, run_depth=10),
        triage=TriageSettings(budget_minutes=1000, plan=str(path)),
        rerank=RerankSettings(lambdamart=trees, **drawn),
        gates="report",
    )
    experiment = build_experiment(bank, SplitSettings(test=0.25, validation=0.2), WindowSettings(context=3))
    return Job(recipe, experiment, options, no_encoder, out)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A triage of every row that reranks, and one model that they can borrow."""
    bank = worlds.drift_world(1, 16, 12, 16)
    job = job_on(bank, tmp_path_factory.mktemp("cascades") / "run", ["mlp", *CASCADES])
    return job, run_triage(job)


def test_every_row_that_reranks_is_compared_like_the_others(ran):
    job, results = ran
    record = compare(job, results).to_json()
    json.dumps(record, allow_nan=False)
    rows = {row["name"]: row for row in record["entries"]}
    windows = len(results["copy-last"][0].evaluation)
    for name in CASCADES:
        (result,) = results[name]
        assert result.status in ("done", "under-trained"), result.reason
        assert len(result.evaluation) == windows
        assert set(result.evaluation.timings) >= {"search", "rerank", "total"}
        assert rows[name]["latency"]["rerank"]["p95_ms"] > 0
        assert (rows[name]["family"], rows[name]["intent"]) == ("rerank", "candidate")
    assert [name for name in CASCADES if results[name][0].training] == ["rerank"]
    assert results["bm25-by-model"][0].evaluation.cosine is None
    assert results["fusion"][0].evaluation.cosine is not None


def test_reranked_windows_take_the_same_candidates_as_every_other_row(ran):
    job, results = ran
    for name in CASCADES:
        evaluation = results[name][0].evaluation
        assert evaluation.pool_size == job.experiment.pool.size
        assert evaluation.ranks.min() >= 1
        assert evaluation.ranks.max() <= evaluation.pool_size - 3


def test_the_record_tells_of_all_trainings_and_of_the_fit(ran):
    job, results = ran
    training = results["rerank"][0].training
    served = json.loads((job.folder(option_of(job), job.experiment.folds[0]) / "training.json").read_text())
    assert training["steps"] == served["steps"] <= 20
    about = training["reranker"]
    assert (about["trainings"], len(about["half_steps"])) == (3, 2)
    assert training["seconds"] > about["first_stage_seconds"] == served["seconds"]
    assert about["lambdamart"]["lists"] <= 100
    assert 0 < about["first_stage_mrr"]["training"] < 1


def option_of(job, name="rerank"):
    return next(option for option in job.options if option.name == name)


def test_no_list_is_of_a_document_that_its_first_stage_has_seen(ran):
    job, _ = ran
    (fold,), bank = job.experiment.folds, job.experiment.bank
    folder = job.folder(option_of(job), fold)
    seen = {}
    for half in (0, 1):
        listed = set((folder / f"half-{half}" / "checkpoint" / "training_documents.txt").read_text().split())
        seen[half] = {number for number in range(16) if hash_documents([bank.document_ids[number]])[0] in listed}
    assert seen[0] | seen[1] == set(fold.split.train.tolist())
    assert not seen[0] & seen[1]
    for half in (0, 1):
        lists = TrainingLists.load(folder / f"lists-of-half-{half}.npz")
        documents = set(bank.document_of[lists.windows.target].tolist())
        assert documents <= seen[half]
        assert not documents & seen[1 - half]  # the first stage of the other half drew them
    validation = TrainingLists.load(folder / "lists-validation.npz")
    assert set(bank.document_of[validation.windows.target].tolist()) <= set(fold.split.validation.tolist())


def test_a_killed_run_goes_on_to_the_same_ranks(ran, tmp_path):
    job, results = ran
    out = tmp_path / "run"
    shutil.copytree(job.out, out)
    for name in ("copy-last-rerank", "rerank"):
        folder = out / "options" / name / "fold-0"
        (folder / "result.json").unlink()
        shutil.rmtree(folder / "reranker")
    shutil.rmtree(out / "options" / "rerank" / "fold-0" / "half-1")
    (out / "options" / "rerank" / "fold-0" / "lists-of-half-0.npz").unlink()
    again = run_triage(dataclasses.replace(job, out=out))
    for name in CASCADES:
        assert np.array_equal(again[name][0].evaluation.ranks, results[name][0].evaluation.ranks)


def test_a_tool_has_the_curve_of_a_listwise_reranker_but_not_of_its_refit(tmp_path, monkeypatch):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", ["copy-last-rerank"], kind="listwise",
                 listwise=ListwiseSettings(width=8, heads=2, layers=1, epochs=2))  # fmt: skip
    job = job.with_tables(training=job.recipe.training.model_copy(update={"report_to": ("tensorboard",)}))
    found, (fold,) = record(monkeypatch, job.out), job.experiment.folds
    unit = OptionOnFold(job, next(one for one in job.options if one.name == "copy-last-rerank"), fold, Baselines(job))
    CascadeBuilder(unit).build()
    curve = json.loads((unit.folder / "reranker" / "fit.json").read_text())["listwise"]["curve"]
    assert [point["step"] for point in curve] == [1, 2]
    ((name, points),) = found.items()
    assert name == "copy-last-rerank/fold-0/reranker"
    assert points == [*((point["step"], {"train/seconds": point["seconds"], "train/loss": point["loss"],
                                         "validation/MRR": point["MRR"]}) for point in curve), True]  # fmt: skip
    again = dataclasses.replace(job, out=tmp_path / "refit")
    CascadeBuilder(dataclasses.replace(unit, job=again, like=unit.folder)).build()
    assert len(found) == 1
    assert len(points) == 3


def test_a_row_that_borrows_says_so_where_there_is_nothing_to_borrow(tmp_path):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", ["fusion"])
    (result,) = run_triage(job)["fusion"]
    assert result.status == "skipped"
    assert "there is none" in result.reason


def test_vectors_alone_are_reranked_without_words(tmp_path):
    bank = dataclasses.replace(worlds.drift_world(1, 16, 12, 16), passage_texts=None)
    job = job_on(bank, tmp_path / "run", ["copy-last-rerank"])
    (result,) = run_triage(job)["copy-last-rerank"]
    assert result.status == "done", result.reason


def test_rows_that_rerank_do_not_choose_the_winning_loss():
    assert not any(option.loss_candidate or option.reusable for option in choose_options("all") if option.reranking)
    assert [option.name for option in choose_options([]) if option.reranking] == []


def test_halves_keep_near_duplicates_together_and_lose_no_document():
    bank = worlds.drift_world(1, 40, 8, 16)
    experiment = build_experiment(bank, SplitSettings(test=0.2, validation=0.2), WindowSettings(context=3))
    (fold,) = experiment.folds
    groups = np.arange(40) // 3 * 3
    one, other = cross_fitting_folds(fold, bank, groups, seed=1)
    parts = [set(part.split.train.tolist()) for part in (one, other)]
    assert parts[0] | parts[1] == set(fold.split.train.tolist())
    assert not parts[0] & parts[1]
    assert not {groups[n] for n in parts[0]} & {groups[n] for n in parts[1]}
    assert abs(len(parts[0]) - len(parts[1])) <= 6
    for part, documents in zip((one, other), parts, strict=True):
        assert set(bank.document_of[part.train.target].tolist()) == documents
        assert np.array_equal(part.validation.target, fold.validation.target)
    assert np.array_equal(cross_fitting_folds(fold, bank, groups, seed=1)[0].split.train, one.split.train)
    assert not np.array_equal(cross_fitting_folds(fold, bank, groups, seed=2)[0].split.train, one.split.train)
    with pytest.raises(InputError, match="cannot be halved"):
        cross_fitting_folds(fold, bank, np.zeros(40, dtype=np.int64), seed=1)


def test_two_groups_make_two_halves():
    bank = worlds.drift_world(1, 12, 8, 16)
    experiment = build_experiment(bank, SplitSettings(test=0.2, validation=0.2), WindowSettings(context=3))
    groups = np.where(np.arange(12) == experiment.folds[0].split.train[0], 0, 1)
    one, other = cross_fitting_folds(experiment.folds[0], bank, groups, seed=1)
    assert min(len(one.split.train), len(other.split.train)) == 1


def test_windows_are_spread_evenly():
    windows = Windows(np.arange(10)[:, None], np.arange(10))
    assert spread(windows, 4).target.tolist() == [0, 3, 6, 9]
    assert spread(windows, 99) is windows


def test_the_plan_pays_for_the_halves_and_gives_everyone_the_same_steps(ran):
    job, _ = ran
    rates = {"mlp": 10.0, "rerank": 10.0}
    more = extra_trainings(job, rates)
    assert sorted(more.values()) == [10.0, 10.0]
    how = {"most_steps": 1000, "folds": 1, "score_seconds": 1.0, "scorings": 5, "budget_minutes": 2.0}
    # 60 s less 2 trainings x 5 s, 0.2 s for a step of each: 250; with two halves 60 - 4 x 5 s, 0.4 s: 100
    assert make_plan(rates, seconds=60.0, **how).steps == {"mlp": 250, "rerank": 250}
    assert make_plan(rates, seconds=60.0, more=more, **how).steps == {"mlp": 100, "rerank": 100}


def test_time_is_set_aside_where_something_is_reranked_after_the_plan(ran, monkeypatch):
    """Each reading of the clock is a second later: drawing the candidates of the timed windows takes 1 s, features 1 s.

    A test window is read under the declared condition, for timing, and under each condition; a watched one once.
    """
    job, _ = ran
    baselines, (fold,) = Baselines(job), job.experiment.folds
    ticks = iter(range(1000))
    monkeypatch.setattr("segue.comparison.calibration.monotonic", lambda: float(next(ticks)))
    watched, fitted = len(fold.validation), len(fold.train)  # fewer than the 100 lists of the recipe
    scored = (2 + len(job.recipe.evaluation.conditions)) * len(fold.test) + watched
    borrowed = scored / min(64, watched)  # draws for every option that reranks with a trained model
    own = (scored + 2.5 * 2 * (fitted + watched)) / min(64, watched)  # reads features too, and fits
    without_fusion = tuple(option for option in job.options if option.name != "fusion")
    assert reranking_seconds(job, baselines) == pytest.approx(4 * borrowed + own)
    assert reranking_seconds(dataclasses.replace(job, options=without_fusion), baselines) == pytest.approx(
        3 * borrowed + own
    )
    without = [option for option in job.options if option.reranking is None or option.name == "copy-last-rerank"]
    assert reranking_seconds(dataclasses.replace(job, options=tuple(without)), baselines) == 0.0


def test_the_lists_that_a_reranker_is_fitted_on_are_of_training_documents(ran):
    job, _ = ran
    (fold,), bank = job.experiment.folds, job.experiment.bank
    path = job.folder(option_of(job, "copy-last-rerank"), fold) / "lists-train.npz"
    documents = bank.document_of[TrainingLists.load(path).windows.target]
    assert set(documents.tolist()) == set(fold.split.train.tolist())
