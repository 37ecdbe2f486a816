"""Refitting a winner on all documents: the same steps, no new choice, and no number of its own."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bundle_world import CONTEXT

import segue
from segue.bundles.build import Winner, build_bundle
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import build_predictor_and_loss, training_settings
from segue.comparison.options import OPTIONS
from segue.comparison.refit import refit
from segue.errors import InputError
from segue.evaluation.experiment import build_experiment
from segue.files import read_json, write_json
from segue.models import load_predictor
from segue.retrieval.retrievers.baselines import NormalEquations
from segue.training.train import train
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, make_windows

WINDOWS = WindowSettings(context=CONTEXT)


def option_of(run, name):
    return next(option for option in run.job.options if option.name == name)


def all_windows(run):
    return make_windows(run.job.experiment.bank, np.arange(16), WINDOWS)


@pytest.fixture
def refitted(run, tmp_path):
    """Return what refits an option of the run."""
    fold = run.job.experiment.folds[0]
    return lambda name: refit(run.job, option_of(run, name), fold, WINDOWS, tmp_path / "refit")


def test_a_model_takes_the_steps_of_its_best_step_over_all_windows(run, tmp_path):
    """The oracle is a training whose validation scores are best after 5 steps of 10."""
    fold, option = run.job.experiment.folds[0], option_of(run, "mlp")
    job = replace(run.job, out=tmp_path / "run")
    shutil.copytree(run.job.folder(option, fold), job.folder(option, fold))
    before = read_json(job.folder(option, fold) / "training.json") | {"best_step": 5}
    write_json(job.folder(option, fold) / "training.json", before)
    assert [point["step"] for point in before["curve"]] == [0, 5, before["planned_steps"]]
    found = refit(job, option, fold, WINDOWS, tmp_path / "refit")
    assert found.facts["steps"] == 5
    assert found.fold.split.train.tolist() == list(range(16))
    np.testing.assert_array_equal(found.fold.train.target, all_windows(run).target)

    unit = OptionOnFold(run.job, option_of(run, "mlp"), fold, Baselines(run.job), before["loss_name"])
    predictor, loss = build_predictor_and_loss(unit)
    settings = training_settings(run.job, unit.option, fold, steps=before["planned_steps"])
    scores = iter([0.1, 0.3, 0.2])
    result = train(predictor, loss, unit.job.experiment.bank, all_windows(run), settings=settings,
                   score=lambda model: {"MRR": next(scores)}, folder=tmp_path / "oracle")  # fmt: skip
    assert (result.best_step, result.steps) == (5, before["planned_steps"])
    expected = predictor.state_dict()
    record = read_json(found.job.folder(unit.option, found.fold) / "training.json")
    assert (record["best_step"], record["steps"], record["curve"]) == (5, 5, []), "nothing was scored"
    weights = load_predictor(found.job.folder(unit.option, found.fold) / "checkpoint")[0].state_dict()
    for name, weight in expected.items():
        np.testing.assert_allclose(weights[name].numpy(), weight.numpy(), atol=1e-6)
    first = load_predictor(run.job.folder(unit.option, fold) / "checkpoint")[0].state_dict()
    assert any(not np.allclose(weights[name].numpy(), first[name].numpy()) for name in weights)


def test_ridge_keeps_its_penalty_and_is_fitted_on_all_windows(run, refitted):
    found, fold, bank = refitted("ridge"), run.job.experiment.folds[0], run.job.experiment.bank
    before = Baselines(run.job).ridge(fold)
    now = Baselines(found.job, penalties=(before.alpha,)).ridge(found.fold)
    assert now.alpha == before.alpha
    expected = NormalEquations.sum_up(bank, all_windows(run)).solve(before.alpha).weights
    np.testing.assert_allclose(now.weights, expected, atol=1e-6)
    assert not np.allclose(now.weights, before.weights, atol=1e-3)


def test_a_run_with_folds_is_refitted_with_the_choices_of_one(run, tmp_path):
    bank = run.job.experiment.bank
    folds = build_experiment(bank, SplitSettings(folds=2, validation=0.2), WINDOWS)
    job = replace(run.job, experiment=folds, out=tmp_path / "run")
    found = refit(job, option_of(run, "exp-mean"), folds.folds[1], WINDOWS, tmp_path / "refit")
    assert [fold.number for fold in found.job.experiment.folds] == [1]
    assert found.fold.split.train.tolist() == list(range(16))
    chosen = [Baselines(one).decay(fold).decay for one, fold in ((job, folds.folds[1]), (found.job, found.fold))]
    assert chosen[0] == chosen[1]


def test_a_model_of_a_run_with_folds_is_refitted_and_bundled_with_the_steps_and_the_seed_of_one(run, tmp_path):
    bank, option = run.job.experiment.bank, option_of(run, "mlp")
    folds = build_experiment(bank, SplitSettings(folds=2, validation=0.2), WINDOWS)
    job = replace(run.job, experiment=folds, out=tmp_path / "run")
    place = shutil.copytree(run.job.folder(option, run.job.experiment.folds[0]), job.folder(option, folds.folds[1]))
    before = read_json(place / "training.json") | {"best_step": 5}
    write_json(place / "training.json", before)
    found = refit(job, option, folds.folds[1], WINDOWS, tmp_path / "refit")
    build_bundle(Winner(found.job, option, found.fold, run.record, "whole", refit=found.facts), tmp_path / "bundle")

    unit = OptionOnFold(job, option, folds.folds[1], Baselines(job), before["loss_name"])
    predictor, loss = build_predictor_and_loss(unit)
    settings = training_settings(job, option, folds.folds[1], steps=before["planned_steps"])
    assert settings.seed == run.job.recipe.training.seed + 1
    scores = iter([0.1, 0.3, 0.2])
    train(predictor, loss, bank, all_windows(run), settings=settings, score=lambda model: {"MRR": next(scores)},
          folder=tmp_path / "oracle")  # fmt: skip
    released = load_predictor(tmp_path / "bundle" / "predictor")[0].state_dict()
    for name, weight in predictor.state_dict().items():
        np.testing.assert_allclose(released[name].numpy(), weight.numpy(), atol=1e-6)
    contract = read_json(tmp_path / "bundle" / "bundle.json")
    assert (contract["fold"], contract["refit"]["steps"], contract["training_documents"]) == (1, 5, 16)


def test_a_text_encoder_is_not_refitted(run, tmp_path):
    option = next(option for option in OPTIONS if option.text is not None)
    with pytest.raises(InputError, match="cannot be trained again on all documents: got a fine-tuned text encoder"):
        refit(run.job, option, run.job.experiment.folds[0], WINDOWS, tmp_path / "refit")


def test_a_reranker_keeps_its_number_of_trees_and_reads_lists_of_all_documents(run, refitted):
    fold, option = run.job.experiment.folds[0], option_of(run, "copy-last-rerank")
    found = refitted("copy-last-rerank")
    before, now = (read_json(job.folder(option, fold) / "reranker" / "fit.json") for job in (run.job, found.job))
    assert now["lambdamart"]["trees"] == before["lambdamart"]["trees"]
    with np.load(found.job.folder(option, fold) / "lists-train.npz") as lists:
        read = run.job.experiment.bank.document_of[lists["target"]]
    assert set(read.tolist()) > set(fold.split.train.tolist())


def test_an_option_that_uses_another_model_gets_it_refitted(run, refitted, tmp_path):
    found, fold = refitted("fusion"), run.job.experiment.folds[0]
    used = read_json(run.job.folder(option_of(run, "fusion"), fold) / "borrowed.json")["option"]
    assert found.facts["model"]["documents"] == 16
    assert (found.job.folder(option_of(run, used), found.fold) / "checkpoint").exists()
    assert load_retriever(found.job, option_of(run, "fusion"), found.fold, Baselines(found.job)).name == "fusion"

    winner = Winner(found.job, option_of(run, "fusion"), found.fold, run.record, "whole", refit=found.facts)
    build_bundle(winner, tmp_path / "bundle")
    released = segue.load(tmp_path / "bundle", texts=False)
    contract = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert contract["refit"]["note"] == found.facts["note"]
    assert contract["training_documents"] == 16
    assert released.bundle.confidence is None
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert card.index(found.facts["note"]) < card.index("| fusion |"), "it is read before the numbers"
