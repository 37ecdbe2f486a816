"""Tuning finds what is better, stops what is hopeless, goes on as if never killed, and reads validation only."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import worlds
from recorded_curves import record

from segue.comparison import calibration, tuning
from segue.comparison.calibration import FAILED_RATE, calibrate
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import build_predictor_and_loss, model_settings, training_settings
from segue.comparison.job import Job
from segue.comparison.options import OPTIONS, choose_options
from segue.comparison.plan import Plan, plan_trials
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings, TriageSettings, TuningSettings
from segue.comparison.summary import compare
from segue.comparison.tuning import Choice, own_choice, suggest, tune, tuned, tuning_record, widest, with_choice
from segue.errors import InputError, MissingExtraError, SettingsError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.files import read_json, read_jsonl
from segue.models import ModelSettings
from segue.recipe import parse_recipe
from segue.training.loop import TrainingLoop
from segue.training.state import TrainingState
from segue.training.train import TrainingSettings
from segue.types import no_progress
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

EVALUATIONS = 5
AR, WHOLE = (next(one for one in OPTIONS if one.name == name) for name in ("ar-cosine", "infonce-bank"))


def job_on(out: Path, *names: str, trials: int = 4, folds: int | None = None, **training: Any) -> Job:
    about = {"batch_size": 64, "steps": 12, "evaluations": 4, "precision": "float32", "device": "cpu", **training}
    bank = worlds.drift_world(1, 16, 12, 16)
    recipe = ComparisonSettings(
        model=ModelSettings(size="toy", name="mlp"),
        training=TrainingSettings(**about),
        evaluation=EvaluationSettings(resamples=200, latency_queries=5, run_depth=10),
        triage=TriageSettings(budget_minutes=3),
        tuning=TuningSettings(options=names, trials=trials),
    )
    split = SplitSettings(folds=folds, test=0.25, validation=0.2)
    experiment = build_experiment(bank, split, WindowSettings(context=3))
    return Job(recipe, experiment, choose_options(names), no_encoder, out)


def no_encoder():
    raise InputError("there is no encoder in a synthetic world.")


def search_in(job: Job, option=AR, *, steps: int = 12) -> OptionOnFold:
    return OptionOnFold(job, option, job.experiment.folds[0], Baselines(job), option.loss, steps)


class FakeLoop(TrainingLoop):
    """A training whose validation MRR is known: 0.5 less the distance, in decades, of its learning rate from 0.003."""

    advanced: list[int] = []  # noqa: RUF012  (each test sets its own)

    def __init__(self, search: OptionOnFold, choice: Choice, number: int) -> None:
        self.state = TrainingState(seconds=1.0)
        self.best = 0.5 - abs(np.log10(choice.learning_rate) - np.log10(0.003))
        self.number, self.steps = number, EVALUATIONS

    def note(self) -> str:
        return ""

    def advance(self) -> None:
        FakeLoop.advanced.append(self.number)
        if self.state.step == self.steps:
            self.state.finished = True
            return
        self.state.step += 1
        share = self.state.step / self.steps
        self.state.curve.append({"step": self.state.step, "MRR": float(self.best * share)})


@pytest.fixture
def known_world(monkeypatch):
    FakeLoop.advanced = []
    monkeypatch.setattr(tuning, "_loop", FakeLoop)


def trials_of(job: Job, option=AR) -> list[dict[str, Any]]:
    return read_jsonl(job.out / "tuning" / option.name / "fold-0" / "trials.jsonl")


def test_the_best_known_setting_is_found_and_used(tmp_path, known_world):
    job = job_on(tmp_path / "run", "ar-cosine", trials=20)
    found = tune(search_in(job))
    best = read_json(tmp_path / "run/tuning/ar-cosine/fold-0/best.json")
    assert abs(np.log10(best["settings"]["learning_rate"] / 0.003)) < 0.1  # random draws of ±0.7 decades, then learnt
    assert found.recipe.training.learning_rate == best["settings"]["learning_rate"]
    assert best["validation_mrr"]["before"] == pytest.approx(0.5 - np.log10(3))
    assert best["validation_mrr"]["after"] > best["validation_mrr"]["before"]
    assert (best["trials"], best["steps"]) == (20, 12)


def test_the_first_trial_is_the_recipes_own(tmp_path, known_world):
    job = job_on(tmp_path / "run", "ar-cosine", learning_rate=0.003, weight_decay=0.5)
    found = tune(search_in(job))
    first = trials_of(job)[0]
    assert first["settings"] == dataclasses.asdict(own_choice(job, AR, loss=AR.loss))
    assert (first["settings"]["learning_rate"], first["settings"]["weight_decay"]) == (0.003, 0.5)
    assert found is job  # it is the best there is, so nothing changes, not even a bit


def test_hopeless_trials_are_stopped_and_said_to_be(tmp_path, known_world):
    job = job_on(tmp_path / "run", "ar-cosine", trials=20)
    tune(search_in(job))
    trials, best = trials_of(job), read_json(tmp_path / "run/tuning/ar-cosine/fold-0/best.json")
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert best["pruned"] == len(pruned) > 0
    complete = [trial for trial in trials if trial["state"] == "complete"]
    for trial in pruned:
        place = len(trial["curve"]) - 1
        before = [other["curve"][place] for other in complete if other["number"] < trial["number"]]
        assert place < EVALUATIONS - 1, "a trial that has ended saves nothing"
        assert max(trial["curve"]) < np.median(before)
        assert len(before) >= tuning.BEFORE_PRUNING


def test_a_tool_has_the_curve_of_every_trial(tmp_path, known_world, monkeypatch):
    job = job_on(tmp_path / "run", "ar-cosine", trials=6, report_to=("tensorboard",))
    found = record(monkeypatch, job.out)
    tune(search_in(job))
    assert found.keys() == {f"tuning/ar-cosine/fold-0/trial-{number}" for number in range(6)}
    for trial in trials_of(job):
        *points, finished = found[f"tuning/ar-cosine/fold-0/trial-{trial['number']}"]
        assert points == [(step, {"validation/MRR": value}) for step, value in enumerate(trial["curve"], start=1)]
        assert finished is True


@pytest.mark.parametrize("kept", [0, 1, 5, 9])
def test_a_killed_search_goes_on_with_the_same_trials(tmp_path, known_world, kept):
    whole = job_on(tmp_path / "whole", "ar-cosine", trials=10)
    tune(search_in(whole))
    expected = trials_of(whole)
    job = job_on(tmp_path / "killed", "ar-cosine", trials=10)
    folder = tmp_path / "killed/tuning/ar-cosine/fold-0"
    folder.mkdir(parents=True)
    lines = [json.dumps(trial) for trial in expected]
    (folder / "trials.jsonl").write_text("".join(f"{line}\n" for line in lines[:kept]) + lines[kept][:40])
    FakeLoop.advanced = []
    tune(search_in(job))
    assert trials_of(job) == expected
    assert min(FakeLoop.advanced) == kept, "finished trials are not trained again"


def test_a_killed_trial_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("segue.training.loop.EVALUATION_SECONDS", 0.0)
    monkeypatch.setattr("segue.training.loop.STATE_SHARE", 1e9)
    whole, job = (job_on(tmp_path / name, "ar-cosine", trials=2) for name in ("whole", "killed"))
    tune(search_in(whole))
    calls = 0

    def kill(step: int, total: int | None, note: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 25:  # within the second trial
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(dataclasses.replace(search_in(job), progress=kill))
    assert len(trials_of(job)) == 1
    assert list((tmp_path / "killed/tuning/ar-cosine/fold-0/work").glob("trial-1/state.safetensors"))
    tune(search_in(job))
    untimed = [[{**trial, "seconds": 0.0} for trial in trials_of(one)] for one in (whole, job)]
    assert untimed[0] == untimed[1]
    assert not (tmp_path / "killed/tuning/ar-cosine/fold-0/work").exists()


def test_trials_of_another_search_are_refused(tmp_path, known_world):
    job = job_on(tmp_path / "run", "ar-cosine")
    tune(search_in(job))
    (tmp_path / "run/tuning/ar-cosine/fold-0/best.json").unlink()
    with pytest.raises(InputError, match=r"trial 0 in .* belongs to another search.*delete that folder"):
        tune(search_in(job, steps=13))


def test_a_trial_that_cannot_be_trained_is_recorded_and_never_the_best(tmp_path, monkeypatch):
    class Diverging(FakeLoop):
        def advance(self) -> None:
            if self.number != 1:
                raise InputError("the loss diverged.")
            super().advance()

    monkeypatch.setattr(tuning, "_loop", Diverging)
    job = job_on(tmp_path / "run", "ar-cosine")
    tune(search_in(job))
    best = read_json(tmp_path / "run/tuning/ar-cosine/fold-0/best.json")
    assert (best["failed"], best["best_trial"], best["validation_mrr"]["before"]) == (3, 1, None)
    assert trials_of(job)[0]["reason"] == "the loss diverged."
    shutil.rmtree(tmp_path / "run")
    monkeypatch.setattr(tuning, "_loop", lambda *_: (_ for _ in ()).throw(InputError("no windows.")))
    with pytest.raises(InputError, match="no trial of ar-cosine could be trained: got no windows"):
        tune(search_in(job))


class Forbidden:
    """Test windows that may not be touched."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"tuning read the test windows' {name}")

    def __len__(self) -> int:
        raise AssertionError("tuning counted the test windows")


def test_test_windows_are_never_read(tmp_path):
    job = job_on(tmp_path / "run", "infonce-bank")
    search = search_in(job, WHOLE)
    fold = dataclasses.replace(search.fold)
    object.__setattr__(fold, "test", Forbidden())
    tune(dataclasses.replace(search, fold=fold))
    assert len(trials_of(job, WHOLE)) == 4
    assert not (tmp_path / "run/looks.jsonl").exists()


@pytest.mark.parametrize("option", [AR, WHOLE])
def test_what_is_asked_for_holds_the_recipes_own_and_reaches_the_training(tmp_path, option):
    job = job_on(tmp_path / "run", option.name, learning_rate=0.5, span_corruption=0.0, article_dropout=0.4)
    own = own_choice(job, option, loss=option.loss)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial({name: value for name, value in dataclasses.asdict(own).items() if value is not None})
    assert suggest(study.ask(), own) == own
    assert (own.temperature is None) == (option is AR)
    choice = Choice(0.01, 0.1, 0.25, 0.11 if option is WHOLE else None, 2.0, False, True)
    changed = with_choice(job, option, choice, loss=option.loss)
    fold = job.experiment.folds[0]
    training = training_settings(changed, option, fold, steps=7)
    assert (training.learning_rate, training.weight_decay, training.steps) == (0.01, 0.1, 7)
    assert (training.article_dropout, training.span_corruption) == (0.0, 0.1)
    predictor, loss = build_predictor_and_loss(OptionOnFold(changed, option, fold, Baselines(changed), option.loss))
    assert predictor.settings.dropout == 0.25
    assert predictor.settings.options == {"width": 64}  # the toy MLP has 32
    assert predictor.settings.anchor == option.anchor
    assert dict(loss.temperatures) == ({"infonce-bank": 0.11} if option is WHOLE else {})


def test_only_infonce_terms_change_their_temperature(tmp_path):
    option = next(one for one in OPTIONS if one.name == "infonce-ar")
    job = job_on(tmp_path / "run", option.name)
    own = own_choice(job, option, loss=option.loss)
    changed = with_choice(job, option, dataclasses.replace(own, temperature=0.03), loss=option.loss)
    before, after = job.loss_settings(option.loss).terms, changed.loss_settings(option.loss).terms
    assert [term.temperature for term in after] == [0.03, before[1].temperature]
    assert changed.loss_settings("infonce") == job.loss_settings("infonce")


def test_a_plan_reckons_with_the_widest_model_and_every_trial(tmp_path):
    job = job_on(tmp_path / "run", "ar-cosine", trials=3, folds=2)
    assert model_settings(widest(job, AR), AR).options == {"width": 64}
    plan = calibrate(job, Baselines(job), seconds_spent=0.0, progress=no_progress)
    assert plan.trial_steps == 12  # a toy model takes all the steps there are
    with pytest.raises(SettingsError, match=r"do not fit.*0 steps for each of 6 trials.*at least 20.*raise \[triage\]"):
        calibrate(job.with_tables(training=job.recipe.training.model_copy(update={"steps": 100})), Baselines(job),
                  seconds_spent=3600.0, progress=no_progress)  # fmt: skip


def own_job(out: Path, **tables: Any) -> Job:
    """Return a job with a model and a loss of the user's own, both of which are tuned, and with the baselines."""
    job = job_on(out)
    recipe = parse_recipe({
        "corpus": {"kind": "wikipedia-dump"},
        "models": {"mine": {"name": "own_models:Honest", "options": {"width": 8}}},
        "losses": {"sharp": {"terms": [{"kind": "infonce", "temperature": 0.05}]}},
        "tuning": {"options": ["mine", "sharp"], "trials": 2}, "triage": {"options": "baselines"}, **tables,
    })  # fmt: skip
    recipe = recipe.model_copy(update={name: getattr(job.recipe, name) for name in ("model", "training", "evaluation")})
    return dataclasses.replace(job, recipe=recipe, options=recipe.chosen_options())


def test_models_and_losses_of_ones_own_are_tuned(tmp_path):
    job = own_job(tmp_path / "run")
    assert [option.name for option in job.searched] == ["sharp", "mine"]
    for option in job.searched:
        tune(OptionOnFold(job, option, job.experiment.folds[0], Baselines(job), "sharp", 4))
        assert [trial["state"] for trial in trials_of(job, option)] == ["complete"] * 2
        first, second = (trial["settings"] for trial in trials_of(job, option))
        assert first["learning_rate"] == job.recipe.training.learning_rate != second["learning_rate"]
        assert first["temperature"] == 0.05 != second["temperature"]
    assert [(entry["option"], entry["loss"]) for entry in tuning_record(job)] == [("sharp", "sharp"), ("mine", "sharp")]
    assert model_settings(widest(job, job.searched[1]), job.searched[1]).options == {"width": 16}


def test_what_tuning_finds_reaches_a_model_and_a_loss_of_ones_own(tmp_path):
    job = own_job(tmp_path / "run")
    for name, loss in (("mine", "infonce"), ("sharp", "sharp")):
        option, fold = next(one for one in job.options if one.name == name), job.experiment.folds[0]
        choice = Choice(0.01, 0.1, None if name == "mine" else 0.25, 0.11, 0.5, False, False)
        changed = with_choice(job, option, choice, loss=loss)
        predictor, built = build_predictor_and_loss(OptionOnFold(changed, option, fold, Baselines(changed), loss))
        assert dict(built.temperatures) == {"infonce": 0.11}
        assert predictor.settings.options == {"width": 4 if name == "mine" else 16}
        assert training_settings(changed, option, fold, steps=1).learning_rate == 0.01


def test_a_model_that_cannot_be_imported_costs_the_others_nothing_in_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "CALIBRATION_SHARE", 0.0005)
    job = own_job(tmp_path / "run", tuning=TuningSettings())
    models = {"gone": ModelSettings(name="no_such_module:Net"), **job.recipe.models}
    recipe = job.recipe.model_copy(update={"models": models})
    plan = calibrate(dataclasses.replace(job, recipe=recipe, options=recipe.chosen_options()), Baselines(job),
                     seconds_spent=0.0, progress=no_progress)  # fmt: skip
    assert plan.steps == {"sharp": 12, "gone": 12, "mine": 12}
    assert plan.steps_per_second["gone"] == FAILED_RATE > plan.steps_per_second["mine"] > 0


def test_steps_of_trials_follow_from_their_share():
    # 2 options, 4 trainings each: 8 x 2.5 s score; a step of both in all trainings takes 4 (1/10 + 1/5) = 1.2 s
    how: dict[str, Any] = {"most_steps": 1000, "trainings": 4, "scoring": 2.5}
    assert plan_trials({"a": 10.0, "b": 5.0}, seconds=80.0, **how) == (50, pytest.approx(80.0))
    assert plan_trials({"a": 10.0, "b": 5.0}, seconds=44.0, **how) == (20, pytest.approx(44.0))
    with pytest.raises(SettingsError, match="19 steps for each of 8 trials in 43 s"):
        plan_trials({"a": 10.0, "b": 5.0}, seconds=43.0, **how)


def test_a_plan_of_before_tuning_can_be_read_but_not_tuned_by(tmp_path):
    job = job_on(tmp_path / "run", "ar-cosine")
    path = tmp_path / "plan.json"
    Plan({"ar-cosine": 12}, {}, 0.0, 1.0).save(path)
    record = read_json(path)
    del record["trial_steps"]
    path.write_text(json.dumps(record))
    planned = job.with_tables(triage=TriageSettings(plan=str(path)))
    with pytest.raises(InputError, match="no steps for the trials"):
        run_triage(planned)
    untuned = planned.with_tables(tuning=TuningSettings())
    assert compare(untuned, run_triage(untuned)).tuning == ()


def test_what_was_trained_before_is_not_searched_any_more(tmp_path, monkeypatch):
    job = job_on(tmp_path / "run", "ar-cosine")
    folder = job.folder(AR, job.experiment.folds[0])
    folder.mkdir(parents=True)
    (folder / "training.json").write_text("{}")
    monkeypatch.setattr(tuning, "require_optuna", lambda: pytest.fail("there is nothing to search"))
    tuning.require_extra(job)
    assert tune(search_in(job)) is job


@pytest.mark.parametrize("folds", [None, 2])
def test_a_triage_tunes_each_fold_and_trains_with_what_it_found(tmp_path, folds):
    job = job_on(tmp_path / "run", "infonce-bank", "mlp", trials=2, folds=folds)
    Plan({"infonce-bank": 12, "mlp": 12}, {}, 0.0, 1.0, trial_steps=6).save(tmp_path / "plan.json")
    job = job.with_tables(triage=TriageSettings(plan=str(tmp_path / "plan.json")))
    record = compare(job, run_triage(job)).to_json()
    entries = record["tuning"]
    assert [(entry["option"], entry["fold"]) for entry in entries] == [
        (name, fold) for name in ("infonce-bank", "mlp") for fold in range(folds or 1)
    ]
    for entry in entries:
        assert (entry["trials"], entry["steps"]) == (2, 6)
        assert entry["loss"] == "infonce-bank"  # the winning loss, where there is no other
        after, before = entry["validation_mrr"]["after"], entry["validation_mrr"]["before"]
        assert after >= before
        option = next(one for one in job.options if one.name == entry["option"])
        fold = job.experiment.folds[entry["fold"]]
        config = read_json(job.folder(option, fold) / "checkpoint" / "config.json")
        width = {0.5: 16, 1.0: None, 2.0: 64}[entry["settings"]["width"]]
        assert width is None or f'"width": {width}' in json.dumps(config)
        training = training_settings(tuned(job, option, fold, loss=entry["loss"]), option, fold, steps=12)
        assert training.learning_rate == entry["settings"]["learning_rate"]
    json.dumps(record, allow_nan=False)
    again = compare(job, run_triage(job)).to_json()["tuning"]
    assert again == entries == tuning_record(job)


def test_without_the_extra_it_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    job = job_on(tmp_path / "run", "ar-cosine")
    with pytest.raises(MissingExtraError, match=r"pip install 'segue\[tune\]'"):
        run_triage(job)
    assert not (tmp_path / "run/options").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["ar-onyl"], "nearest: 'ar-cosine'"),
        (["copy-last"], "nothing to tune: got copy-last"),
        (["ar-cosine", "ar-cosine"], "tuned once"),
    ],
)
def test_options_that_cannot_be_tuned_are_refused_in_the_recipe(options, message):
    with pytest.raises(SettingsError, match=message):
        parse_recipe({"corpus": {"kind": "folder", "path": "x"}, "tuning": {"options": options}})


def test_by_default_nothing_is_tuned(tmp_path):
    assert TuningSettings().options == ()
    assert parse_recipe({"corpus": {"kind": "folder", "path": "x"}}).tuning == TuningSettings()
