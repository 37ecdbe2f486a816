"""A comparison finds what is there, finds nothing in noise, and goes on where it was killed."""

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import torch
import worlds
from ir_measures import RR, Success, nDCG
from safetensors.torch import load_file

from segue.comparison.calibration import _encoding_seconds, timed_loss
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import as_retriever
from segue.comparison.job import Job, spread
from segue.comparison.options import OPTIONS, Option, choose_options
from segue.comparison.plan import require_affordable
from segue.comparison.run import run_triage, winning_loss
from segue.comparison.scoring import evaluate_on_test, time_answers
from segue.comparison.settings import ComparisonSettings, TriageSettings
from segue.comparison.summary import compare, merged, paired_differences
from segue.errors import InputError, StorageError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.evaluation.gates import REPORT_GATES, Condition, GateSettings
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import summarise
from segue.models import ModelSettings, load_predictor
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.training.loop import TrainingLoop
from segue.training.train import TrainingSettings
from segue.types import Windows
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts
from segue.workflows.triage import write_runs


def no_encoder():
    raise InputError("there is no encoder in a synthetic world.")


def job_on(bank, out: Path, options, *, folds: int | None = None, **training) -> Job:
    settings = {"batch_size": 64, "steps": 20, "evaluations": 2, "precision": "float32", "device": "cpu", **training}
    recipe = ComparisonSettings(
        model=ModelSettings(size="toy", name="mlp"),
        training=TrainingSettings(**settings),
        evaluation=EvaluationSettings(resamples=200, latency_queries=5, run_depth=10),
        triage=TriageSettings(budget_minutes=1000, plan=str(_plan(out, options, settings["steps"]))),
        gates="report",
    )
    split = SplitSettings(folds=folds, test=0.25, validation=0.2)
    experiment = build_experiment(bank, split, WindowSettings(context=3))
    return Job(recipe, experiment, tuple(options), no_encoder, out)


def _plan(out: Path, options, steps: int) -> Path:
    """Write a plan, so that no test depends on how fast this machine is."""
    path = out.parent / f"{out.name}-plan.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {option.name: steps for option in options if option.trained}
    record = {"steps": named, "steps_per_second": {}, "score_seconds": 0.0, "budget_minutes": 1.0}
    path.write_text(json.dumps({"format": 1, **record}))
    return path


def without_times(value):
    """Leave out of a record everything that a clock measured."""
    if isinstance(value, dict):
        timed = ("seconds", "latency", "time")
        return {k: without_times(v) for k, v in value.items() if k not in timed and not k.endswith("_ms")}
    if isinstance(value, list):
        return [without_times(item) for item in value if not (isinstance(item, dict) and item.get("name") == "latency")]
    return value


SMALL = choose_options(["ar-cosine", "infonce", "infonce-projected", "mlp"])


def test_baselines_are_never_optional():
    names = [option.name for option in choose_options(["ar-cosine"])]
    assert {"chance", "oracle", "copy-last", "mean", "exp-mean", "ridge", "bm25", "encoder-context"} <= set(names)


def test_a_comparison_measures_every_option_and_says_why_one_could_not_be(tmp_path):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", SMALL, folds=2)
    record = compare(job, run_triage(job)).to_json()
    rows = {row["name"]: row for row in record["entries"]}
    assert [row["name"] for row in record["entries"]] == [option.name for option in SMALL]
    assert rows["encoder-context"]["status"] == "skipped"
    assert "no encoder" in rows["encoder-context"]["reason"]
    assert rows["oracle"]["metrics"]["R@1"]["value"] == 1.0
    assert rows["infonce-projected"]["compatibility"]["projected"].keys() == {"matched", "random", "recall_5"}
    assert rows["mlp"]["training"]["anchor"] is True
    assert record["winner"] not in {"chance", "oracle", "infonce-projected"}
    assert len(record["procedure"]["chosen"]) == 2
    assert {gate["name"] for gate in record["gates"]} == {gate.name for gate in REPORT_GATES}
    json.dumps(record, allow_nan=False)


def test_the_whole_bank_may_win_and_is_what_the_winning_loss_is_timed_as(tmp_path):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", choose_options(["infonce-bank", "mlp"]))
    results = run_triage(job)
    assert results["infonce-bank"][0].status in ("done", "under-trained")
    record = results["mlp"][0].training
    assert record is not None
    assert (record["loss_name"], record["loss"]) == ("infonce-bank", "InfoNCE over the whole bank (raw, τ 0.05)")
    assert record["precision"] in ("float32", "bfloat16")
    anchored = next(option for option in job.options if option.name == "mlp")
    assert timed_loss(job, anchored) == "infonce-bank"
    fewer = dataclasses.replace(job, options=choose_options(["infonce", "mlp"]))
    assert timed_loss(fewer, anchored) == "infonce"


def test_with_folds_every_document_is_tested_once(tmp_path):
    bank = worlds.drift_world(1, 12, 10, 16)
    job = job_on(bank, tmp_path / "run", choose_options([]), folds=3)
    evaluation = merged(run_triage(job))["copy-last"]
    assert evaluation.num_documents == 12
    assert len(evaluation) == 12 * (10 - 3)
    assert len(np.unique(evaluation.targets)) == len(evaluation)


def test_noise_scores_chance_and_passes_no_gate(tmp_path):
    job = job_on(worlds.noise_world(3, 24, 14, 16), tmp_path / "run", choose_options(["infonce", "mlp"]))
    record = compare(job, run_triage(job)).to_json()
    pool = job.experiment.pool.size
    for row in record["entries"]:
        if row["name"] in ("oracle", "encoder-context"):
            continue
        interval = row["metrics"]["R@5"]
        # The three context passages are out of the candidates, so chance is a little above 5 / pool.
        assert interval["low"] <= 5 / (pool - 3) <= interval["high"], row["name"]
    quality = [gate for gate in record["gates"] if gate["name"] != "latency"]
    assert quality
    assert all(gate["outcome"] != "pass" for gate in quality)


@pytest.mark.parametrize("architecture", ["amn", "bidirectional-gru", "gru", "lstm", "transformer", "mamba", "mlp"])
def test_every_learned_model_solves_a_world_with_a_known_transition(tmp_path, architecture):
    bank = worlds.transition_world(0, 120, 12, 16)
    option = Option("solver", "loss", "", "", model=architecture, loss="infonce", anchor=False)
    job = job_on(bank, tmp_path / "run", [option], steps=500, batch_size=256, evaluations=5, article_dropout=0.0,
                 span_corruption=0.0, learning_rate=5e-3, patience=None)  # fmt: skip
    evaluation = merged(run_triage(job))["solver"]
    assert evaluation.metrics["R@1"].value > 0.95


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


def kill_after(calls: int) -> Callable[[int, int | None, str], None]:
    left = [calls]

    def progress(done: int, total: int | None, note: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    return progress


def test_a_killed_comparison_resumes_to_the_same_numbers(tmp_path):
    bank = worlds.drift_world(2, 14, 10, 16)
    undisturbed = job_on(bank, tmp_path / "whole", SMALL, folds=2)
    expected = compare(undisturbed, run_triage(undisturbed)).to_json()
    job = job_on(bank, tmp_path / "killed", SMALL, folds=2)
    for calls in (3, 30, 55, 80):
        with pytest.raises(Killed):
            run_triage(job, progress=kill_after(calls))
    assert without_times(compare(job, run_triage(job)).to_json()) == without_times(expected)


def test_a_run_never_goes_on_with_another_split(tmp_path):
    options = choose_options([])
    run_triage(job_on(worlds.noise_world(1, 12), tmp_path / "run", options))
    with pytest.raises(InputError, match="holds a split or bank that differs"):
        run_triage(job_on(worlds.noise_world(1, 16), tmp_path / "run", options))


def test_what_failed_is_tried_again_and_a_full_disk_stops_the_run(tmp_path, monkeypatch):
    options = choose_options(["infonce"])
    job = job_on(worlds.drift_world(1, 12, 10, 16), tmp_path / "run", options)
    name = "segue.comparison.tasks.train_option"

    def fails(error: Exception):
        def attempt(*args, **kwargs):
            raise error

        return attempt

    with monkeypatch.context() as patched:
        patched.setattr(name, fails(StorageError("disk full")))
        with pytest.raises(StorageError):
            run_triage(job)
        patched.setattr(name, fails(InputError("diverged")))
        assert run_triage(job)["infonce"][0].status == "failed"
    assert run_triage(job)["infonce"][0].evaluation is not None


def test_a_run_never_goes_on_with_another_bank(tmp_path):
    bank = worlds.noise_world(1, 12)
    run_triage(job_on(bank, tmp_path / "run", choose_options([])))
    other = dataclasses.replace(bank, hash="other vectors")
    with pytest.raises(InputError, match="a split or bank that differs"):
        run_triage(job_on(other, tmp_path / "run", choose_options([])))


def test_gates_compare_the_procedure_with_the_option_itself(tmp_path):
    job = job_on(worlds.drift_world(1, 12, 10, 16), tmp_path / "run", choose_options([]), folds=2)
    against_itself = GateSettings(name="x", any_of=(Condition(metric="MRR", at_least=0.5, against="copy-last"),))
    job = job.with_tables(gates=(against_itself,))
    record = compare(job, run_triage(job)).to_json()
    assert record["winner"] == "copy-last"
    assert record["gates"][0]["candidate"] == "copy-last"
    assert record["gates"][0]["outcome"] == "fail"


def test_a_gate_over_an_under_trained_reference_is_not_enough_evidence(tmp_path):
    job = job_on(worlds.drift_world(1, 12, 10, 16), tmp_path / "run", choose_options([]), folds=2)
    over_mean = GateSettings(name="x", any_of=(Condition(metric="MRR", at_least=-1.0, against="mean"),))
    job = job.with_tables(gates=(over_mean,))
    results = run_triage(job)
    assert compare(job, results).gates[0].outcome == "pass"
    first, second = results["mean"]
    late = {**results, "mean": [first, dataclasses.replace(second, status="under-trained")]}
    (gate,) = compare(job, late).gates
    assert gate.outcome == "not-enough-evidence"
    assert "mean is under-trained" in gate.reason


def test_other_tools_compute_from_the_run_files_what_stands_in_the_report(tmp_path):
    """Ties, duplicates and repeated contexts included: every other passage of this world has a twin."""
    bank = twins_world()
    job = job_on(bank, tmp_path / "run", choose_options([]))
    results = run_triage(job)
    write_runs(job, results)
    qrels = list(ir_measures.read_trec_qrels(str(job.out / "qrels.trec")))
    for name, evaluation in merged(results).items():
        assert len({line.query_id for line in qrels}) == len(evaluation)
        with gzip.open(job.out / "options" / name / "run.trec.gz", "rt") as handle:
            run = list(ir_measures.read_trec_run(handle.read()))
        measures = {"R@5": Success @ 5, "R@1": Success @ 1, "R@10": Success @ 10, "nDCG@10": nDCG @ 10, "MRR": RR @ 10}
        found = ir_measures.calc_aggregate(measures.values(), qrels, run)
        ours = summarise(evaluation.ranks, depth=10)
        for metric, measure in measures.items():
            assert found[measure] == pytest.approx(ours[metric], abs=1e-9), (name, metric)


def twins_world() -> worlds.MemoryBank:
    """Return a world in which texts and vectors repeat across documents, so that ties and duplicates are everywhere."""
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((12 * 10, 16))
    vectors[1::2] = vectors[generator.integers(0, 6, 60) * 2]
    texts = [f"passage {row}" if row % 4 else f"said {row % 3} times" for row in range(120)]
    return worlds.make_bank(worlds.unit(vectors), [10] * 12, texts)


def test_paired_differences_are_those_of_the_ranks(tmp_path):
    job = job_on(worlds.drift_world(4, 12, 10, 16), tmp_path / "run", choose_options([]))
    evaluations = merged(run_triage(job))
    found = paired_differences(evaluations)["mean"]["copy-last"]["MRR"]
    by_hand = (1 / evaluations["mean"].ranks).mean() - (1 / evaluations["copy-last"].ranks).mean()
    assert found.value == pytest.approx(by_hand, abs=1e-12)
    assert "chance" not in [name for name, delta in paired_differences(evaluations).items() if delta]


TOWERS = choose_options(["two-tower", "siamese"])


def test_two_towers_and_siamese_are_rows_like_every_other(tmp_path):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", TOWERS, folds=2, steps=40, learning_rate=5e-3)
    record = compare(job, run_triage(job)).to_json()
    rows = {row["name"]: row for row in record["entries"]}
    for name, documents in (("two-tower", "linear"), ("siamese", "shared")):
        row, folder = rows[name], job.out / "options" / name / "fold-0"
        assert row["family"] == "towers"
        assert row["training"]["documents"] == documents
        assert row["training"]["model"] == "bidirectional-gru"
        assert row["metrics"]["R@5"]["value"] > 0
        assert "cosine" not in row["metrics"], "the cosine with vectors of another space says nothing"
        assert row["fresh"]["R@5"] >= row["metrics"]["R@5"]["value"]
        config = json.loads((folder / "checkpoint" / "config.json").read_text())
        assert config["model"]["documents"] == documents


def test_an_untrained_two_tower_scores_what_its_anchor_scores(tmp_path):
    job = job_on(worlds.drift_world(1, 24, 12, 16), tmp_path / "run", TOWERS, evaluations=1)
    results = run_triage(job)
    anchors = [results[name][0].validation["MRR"] for name in ("copy-last", "mean", "exp-mean")]
    for name in ("two-tower", "siamese"):
        start = results[name][0].training["curve"][0]
        assert (start["step"], start["MRR"]) == (0, pytest.approx(max(anchors), abs=1e-9))


def test_a_tower_s_row_is_read_back_with_its_own_bank(tmp_path):
    job = job_on(worlds.drift_world(1, 16, 12, 16), tmp_path / "run", TOWERS, steps=30, learning_rate=5e-3)
    results = run_triage(job)
    fold = job.experiment.folds[0]
    option = next(option for option in TOWERS if option.name == "two-tower")
    predictor, _ = load_predictor(job.folder(option, fold) / "checkpoint")
    retriever = as_retriever(OptionOnFold(job, option, fold, Baselines(job)), predictor)
    contexts = gather_contexts(job.experiment.bank, fold.test)
    ranks = retriever.target_ranks(contexts, fold.test.target)
    assert np.array_equal(ranks, results[option.name][0].evaluation.ranks)
    with torch.no_grad():
        encoded = predictor.encode_documents(torch.from_numpy(job.experiment.bank.vectors)).numpy()
    assert np.allclose(retriever.pool.bank.gather(np.arange(len(encoded))), encoded, atol=1e-6)


def test_the_plan_sets_time_aside_for_encoding_the_bank_again(tmp_path):
    job = job_on(worlds.drift_world(1, 24, 12, 16), tmp_path / "run", TOWERS, folds=2)
    towers = [option for option in TOWERS if option.trained]
    plain = _encoding_seconds(job, [option for option in OPTIONS if option.name == "ar-cosine"], Baselines(job))
    assert _encoding_seconds(job, towers, Baselines(job)) > plain == 0.0


def test_p_values_are_adjusted_by_hand_over_all_options_of_a_reference(tmp_path):
    job = job_on(worlds.drift_world(4, 12, 10, 16), tmp_path / "run", choose_options([]))
    evaluations = merged(run_triage(job))
    found = paired_differences(evaluations)
    reference, kind = "copy-last", "R@5"
    names = [name for name in evaluations if reference in found[name]]
    raw = {}
    for name in names:
        ours, theirs = ((evaluations[one].ranks <= 5).astype(float) for one in (name, reference))
        raw[name] = paired(ours, theirs, evaluations[name].groups, resamples=200, seed=evaluations[name].seed).p_value
    largest, adjusted = 0.0, {}
    for place, name in enumerate(sorted(names, key=raw.get)):
        largest = max(largest, (len(names) - place) * raw[name])
        adjusted[name] = min(1.0, largest)
    assert {name: found[name][reference][kind].p for name in names} == pytest.approx(adjusted)
    assert any(adjusted[name] > raw[name] for name in names)


def test_no_test_passage_reaches_a_training(tmp_path):
    """Two banks that differ in the vectors of test documents alone give the same weights and the same list."""
    options = choose_options(["infonce"])
    bank = worlds.drift_world(1, 16, 12, 16)
    tested = job_on(bank, tmp_path / "first", options).experiment.test_documents
    noise = np.random.default_rng(5).standard_normal(bank.vectors.shape).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    other = dataclasses.replace(bank, vectors=np.where(np.isin(bank.document_of, tested)[:, None], noise, bank.vectors))
    weights = []
    for name, one in (("first", bank), ("second", other)):
        job = job_on(one, tmp_path / name, options)
        assert np.array_equal(job.experiment.test_documents, tested)
        run_triage(job)
        folder = job.folder(next(option for option in job.options if option.name == "infonce"), job.experiment.folds[0])
        weights.append(load_file(folder / "checkpoint" / "model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_test_evaluation_resamples_the_groups_of_the_experiment(tmp_path):
    job = job_on(worlds.drift_world(1, 12, 10, 16), tmp_path / "run", choose_options([]))
    experiment = dataclasses.replace(job.experiment, groups=np.arange(12) // 4)
    job, option = dataclasses.replace(job, experiment=experiment), choose_options(["copy-last"])[0]
    (fold,) = experiment.folds
    evaluation = evaluate_on_test(job, option, fold, Baselines(job).retriever("copy-last", fold))
    assert evaluation.groups.tolist() == (experiment.bank.document_of[fold.test.target] // 4).tolist()


def test_windows_are_spread_from_the_first_to_the_last_in_their_order():
    windows = Windows(np.arange(20).reshape(10, 2), np.arange(10))
    assert spread(windows, 4).target.tolist() == [0, 3, 6, 9]
    assert spread(windows, 4).context.tolist() == [[0, 1], [6, 7], [12, 13], [18, 19]]
    assert len(spread(windows, 10)) == len(spread(windows, 11)) == 10


def test_timed_queries_are_divided_among_folds_and_are_twenty_at_least(tmp_path):
    for queries, expected in ((99, 33), (5, 20), (0, 0)):
        job = job_on(worlds.noise_world(documents=12, length=14), tmp_path / str(queries), SMALL, folds=3)
        settings = job.recipe.evaluation.model_copy(update={"latency_queries": queries})
        retriever = VectorRetriever("copy-last", "candidate", copy_last, Pool(job.experiment.bank))
        timings = time_answers(job.with_tables(evaluation=settings), job.experiment.folds[1], retriever)
        assert len(timings.get("total", ())) == expected


def test_the_winning_loss_of_a_fold_is_the_best_on_its_validation(tmp_path):
    options = [option for option in OPTIONS if option.name in ("ar-cosine", "infonce", "infonce-ar")]
    job = job_on(worlds.noise_world(documents=12, length=8), tmp_path, options, folds=2)
    first = {"ar-cosine": {"MRR": 0.1}, "infonce": {"MRR": 0.3}, "infonce-ar": {"MRR": 0.2}}
    second = {"ar-cosine": {"MRR": 0.4}, "infonce": {"MRR": 0.2}, "infonce-ar": None}
    assert [winning_loss(job, scores) for scores in (first, second)] == ["infonce", "ar-cosine"]


def test_the_recipes_own_loss_is_that_without_a_name(tmp_path):
    job = job_on(worlds.noise_world(documents=12, length=8), tmp_path, SMALL)
    assert job.loss_settings(None) is job.loss_settings("recipe") is job.recipe.loss
    assert job.loss_settings("infonce-0.85-ar-0.15") is job.losses["infonce-ar"]


def test_a_cost_is_measured_once_also_in_a_folder_that_is_there(tmp_path):
    job = job_on(worlds.noise_world(documents=12, length=8), tmp_path, SMALL)
    (tmp_path / "options" / "rerank").mkdir(parents=True)  # a run that was killed left it
    measured = []

    def cost():
        measured.append(1)
        return 30_000.0  # seconds, half of the 1,000 minutes that the budget is

    require_affordable(job, "rerank", share=0.5, cost=cost, fix="leave it out")
    with pytest.raises(InputError, match="rerank is over budget"):
        require_affordable(job, "rerank", share=0.4, cost=cost, fix="leave it out")
    assert len(measured) == 1


def test_what_one_option_trained_is_not_trained_again_for_another(tmp_path, monkeypatch):
    """The first stage of ``rerank`` is the recipe's model from the anchor under ``infonce-bank``, as ``mlp`` is."""
    monkeypatch.setattr("segue.comparison.run.winning_loss", lambda job, scores: "infonce-bank")
    job = job_on(worlds.drift_world(2, 14, 10, 16), tmp_path / "run", choose_options(["mlp", "rerank"]))
    steps: list[int] = []
    monkeypatch.setattr(TrainingLoop, "_step", lambda self, step=TrainingLoop._step: steps.append(1) or step(self))
    results = run_triage(job)
    assert len(steps) == 3 * 20  # rerank's first stage and its halves
    records = [results[name][0].training for name in ("mlp", "rerank")]
    assert records[0]["curve"] == records[1]["curve"]
