"""Rows that fine-tune the encoder: run end to end on a toy, skipped with their cost where the budget is too small."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from text_world import bert_folder, encoder_settings, topic_bank

from segue.checks import AUDIT
from segue.checks.build_case import case_of_job
from segue.checks.run import run_checks
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.reranked import cross_fitting_folds
from segue.comparison.job import Job
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings, TriageSettings
from segue.comparison.summary import compare
from segue.encoders import load_encoder
from segue.errors import InputError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.models import ModelSettings
from segue.retrieval.registry import KINDS
from segue.retrieval.rerank.lambdamart import LambdaMart, LambdaMartSettings
from segue.retrieval.rerank.lists import TrainingLists
from segue.retrieval.rerank.settings import RerankSettings
from segue.retrieval.saving import PartReader, PartWriter
from segue.text_models.settings import CrossEncoderSettings, DualEncoderSettings, TextSettings
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts

EXACT = {"precision": "float32", "device": "cpu"}
TEXT = TextSettings(
    share=1.0,
    dual_encoder_steps=30,
    dual_encoder=DualEncoderSettings(documents="frozen", layers=2, maximum_tokens=32, learning_rate=3e-3, **EXACT),
    cross_encoder_steps=20,
    cross_encoder=CrossEncoderSettings(
        layers=2, maximum_tokens=32, context_tokens=16, learning_rate=3e-3, evaluations=2, negatives=5, **EXACT
    ),
    candidates=10,
)
NAMES = ("text-dual-encoder", "cross-encoder")
RERANK = RerankSettings(
    first=20, bm25=10, bm25_context=10, lists=150, features=("context", "words"),
    lambdamart=LambdaMartSettings(rounds=10, leaves=5, least_in_leaf=20),
)  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("text")
    settings = encoder_settings(bert_folder(folder))
    bank = topic_bank(settings)
    everything = build_experiment(bank, SplitSettings(test=0.25, validation=0.2), WindowSettings(context=2))
    recipe = ComparisonSettings(
        encoder=settings, model=ModelSettings(size="toy", name="mlp"), text=TEXT, rerank=RERANK,
        evaluation=EvaluationSettings(resamples=200, latency_queries=5, run_depth=10),
        triage=TriageSettings(budget_minutes=100), gates="report",
    )  # fmt: skip
    return Job(recipe, everything, choose_options(NAMES), lambda: load_encoder(settings), folder / "run")


@pytest.fixture(scope="module")
def results(job):
    return run_triage(job)


def test_both_rows_are_trained_scored_and_recorded(job, results):
    record = {row["name"]: row for row in compare(job, results).to_json()["entries"]}
    for name, steps in zip(NAMES, (30, 20), strict=True):
        assert results[name][0].status in ("done", "under-trained"), results[name][0].reason
        assert record[name]["training"]["planned_steps"] == steps
        assert record[name]["metrics"]["R@5"]["value"] is not None
        cost = json.loads((job.out / "options" / name / "cost.json").read_text())
        assert cost["seconds"] > 0


def test_what_was_learnt_shows(results):
    """The toy's topics can be learnt: a reader that learnt them beats the encoder that did not.

    Measured: mean reciprocal rank 0.085 against 0.051.
    """
    untrained = results["encoder-context"][0].evaluation.ranks
    trained = results["text-dual-encoder"][0].evaluation.ranks
    assert (1 / trained).mean() > 1.3 * (1 / untrained).mean()


def test_both_rows_are_checked_like_any_other(job, results):
    found = run_checks(AUDIT, case_of_job(job, results))
    assert [check.statement for check in found if "broke" in check.statement] == []
    assert {check.code: check.outcome for check in found if check.outcome == "issue"} == {}


def test_a_row_whose_documents_learn_too_is_checked_on_its_own_vectors(job, tmp_path: Path):
    """The checks ask it about copies of the bank, in other orders: each has to be encoded again."""
    learning = TEXT.dual_encoder.model_copy(update={"documents": "trained"})
    job = job.with_tables(text=TEXT.model_copy(update={"dual_encoder": learning}))
    own = dataclasses.replace(job, out=tmp_path / "run", options=choose_options(NAMES[:1]))
    found = run_checks(AUDIT, case_of_job(own, run_triage(own)))
    assert [check.statement for check in found if check.outcome == "issue" or "broke" in check.statement] == []


def test_a_finished_row_is_read_back(job, results):
    for name in NAMES:
        (job.folder(next(option for option in job.options if option.name == name), job.experiment.folds[0])
         / "result.json").unlink()  # fmt: skip
    again = run_triage(job)
    for name in NAMES:
        assert again[name][0].training["seconds"] == results[name][0].training["seconds"]
        assert (again[name][0].evaluation.ranks == results[name][0].evaluation.ranks).all()


def test_a_row_too_dear_is_skipped_with_its_cost(job, tmp_path: Path):
    out = tmp_path / "run"
    for name in NAMES:
        (out / "options" / name).mkdir(parents=True)
        (out / "options" / name / "cost.json").write_text(json.dumps({"format": 1, "seconds": 600.0}))
    triage, text = TriageSettings(budget_minutes=10), TEXT.model_copy(update={"share": 0.3})
    small = dataclasses.replace(job.with_tables(triage=triage, text=text), out=out)
    found = run_triage(small)
    for name in NAMES:
        assert found[name][0].status == "skipped"
        assert "10.0 minutes" in found[name][0].reason
        assert "budget_minutes = 34" in found[name][0].reason


def test_a_bank_whose_encoder_is_not_there_skips_them(job, tmp_path: Path):
    from segue.errors import explain

    def nobody():
        raise InputError(explain("there is no encoder to ask"))

    found = run_triage(dataclasses.replace(job, out=tmp_path / "run", load_encoder=nobody))
    assert {found[name][0].reason for name in NAMES} == {"there is no encoder to ask."}


def test_a_baseline_that_encodes_is_skipped_with_its_cost_where_a_share_is_set(job, tmp_path: Path):
    settings = TriageSettings(budget_minutes=1e-6, encoder_share=0.5)
    small = dataclasses.replace(
        job.with_tables(triage=settings), out=tmp_path / "run", options=choose_options(("encoder-context",))
    )
    (found,) = run_triage(small)["encoder-context"]
    assert found.status == "skipped"
    assert "encoder-context is over budget" in found.reason
    cost = json.loads((small.out / "options" / "encoder-context" / "cost.json").read_text())
    assert cost["seconds"] > 0
    enough = TriageSettings(budget_minutes=1e-6 + cost["seconds"] / 30, encoder_share=0.5)
    (again,) = run_triage(small.with_tables(triage=enough))["encoder-context"]
    assert again.status == "done"
    (without,) = run_triage(
        dataclasses.replace(small.with_tables(triage=TriageSettings(budget_minutes=1e-6)), out=tmp_path / "b")
    )["encoder-context"]
    assert (without.evaluation.ranks == again.evaluation.ranks).all()


class Reached(Exception):
    """Training would begin now."""


@pytest.mark.parametrize(("name", "module"), [(NAMES[0], "dual_encoder"), (NAMES[1], "cross_encoder")])
def test_text_options_train_on_windows_of_training_documents_alone(job, tmp_path: Path, monkeypatch, name, module):
    trained = []

    def spy(bank, given, *others, **options):
        trained.extend(bank.document_of[getattr(given, "windows", given).target].tolist())
        raise Reached

    monkeypatch.setattr(f"segue.comparison.entries.text.{module}.train_{module}", spy)
    own = dataclasses.replace(job, out=tmp_path / "run", options=choose_options((name,)))
    (fold,) = own.experiment.folds
    with pytest.raises(Reached):
        run_triage(own)
    assert trained
    assert set(trained) <= set(fold.split.train.tolist())


def test_lists_are_scored_by_trees_of_the_other_half_of_the_documents(job, results):
    """Where copy-last-rerank takes no part, its lists and its trees are made all the same, and kept."""
    folder = job.out / "options" / "cross-encoder" / "fold-0"
    assert json.loads((folder / "borrowed.json").read_text())["option"] == "copy-last-rerank"
    (fold,) = job.experiment.folds
    bank, baselines = job.experiment.bank, Baselines(job)
    lists = TrainingLists.load(folder / "lists-scored.npz")
    half, _ = cross_fitting_folds(fold, bank, job.experiment.groups, seed=job.seed(fold))
    inside = np.isin(bank.document_of[lists.windows.target], half.split.train)
    for number, scored in enumerate((~inside, inside)):
        trees = LambdaMart.load(folder / f"half-{number}", baselines.features)
        some = lists.take(np.flatnonzero(scored)[:2])
        drawn = TrainingLists.load(folder.parents[1] / "copy-last-rerank" / "fold-0" / "lists-train.npz")
        same = [int(np.flatnonzero(drawn.windows.target == target)[0]) for target in some.windows.target]
        contexts = gather_contexts(bank, some.windows, texts=True)
        expected = trees.scores(contexts, drawn.candidates.take(np.array(same)))
        np.testing.assert_allclose(some.candidates.first, expected, rtol=1e-6)


def test_reading_is_a_stage_of_its_own(results):
    assert set(results["cross-encoder"][0].evaluation.timings) == {"predict", "search", "rerank", "read", "total"}


def test_saved_parts_answer_as_the_run_does(job, results, tmp_path: Path):
    option = next(option for option in job.options if option.name == "cross-encoder")
    (fold,) = job.experiment.folds
    retriever, bank = load_retriever(job, option, fold, Baselines(job)), job.experiment.bank
    about = json.loads(json.dumps(retriever.save_part(PartWriter(tmp_path, None, None, lambda: np.zeros(0), None))))
    reader = PartReader(tmp_path, bank, KINDS, load_encoder=job.load_encoder, encoder=job.recipe.encoder,
                        index={"kind": "exact"}, device="cpu")  # fmt: skip
    contexts = gather_contexts(bank, fold.validation.take(slice(5)), texts=True)
    expected, found = retriever.rank(contexts, 10), reader.read(about).rank(contexts, 10)
    assert np.array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    with pytest.raises(InputError, match="older version"):
        reader.read({"kind": "cross-encoder"})
