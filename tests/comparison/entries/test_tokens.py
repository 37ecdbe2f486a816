"""What reads tokens is trained, resumed, reranked, checked, released and served like every other model."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from bundle_world import make_toy_job
from records import SETUP
from text_world import bert_folder, encoder_settings, topic_texts

import segue
from segue.bank.build import build_bank
from segue.bundles.build import Winner, build_bundle
from segue.checks import AUDIT
from segue.checks.build_case import case_of_job
from segue.checks.run import run_checks
from segue.comparison.calibration import _reading_seconds
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.options import choose_options
from segue.comparison.record import Record
from segue.comparison.run import run_triage
from segue.comparison.settings import TriageSettings
from segue.comparison.summary import compare
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.passages import PassageSettings
from segue.errors import InputError
from segue.files import read_json
from segue.models import ModelSettings, load_predictor
from segue.models.tokens import Tokens
from segue.text_models.settings import TextSettings, TokensSettings
from segue.training import loop
from segue.windows.windows import gather_contexts

NAMES = ("tokens", "bm25-by-model", "rerank")
SIZE = {"depth": 2, "maximum_tokens": 16}
DOCUMENTS, LENGTH = 16, 10


def job_of(folder, *, names=NAMES, settings=None):
    """Return a comparison whose model reads tokens, over a bank on disk."""
    settings = settings or encoder_settings(bert_folder(folder))
    texts = topic_texts(documents=DOCUMENTS, length=LENGTH, noise=12)
    lines = [json.dumps({"id": str(n), "paragraphs": texts[n * LENGTH : (n + 1) * LENGTH]}) for n in range(DOCUMENTS)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    corpus = JsonlCorpus(kind="jsonl", path=str(folder / "corpus.jsonl"))
    passages = PassageSettings(target_characters=40, minimum_characters=20)
    bank = build_bank(corpus, settings, folder / "bank", passages=passages)
    own = TokensSettings(steps=8, batch_size=16, learning_rate=1e-2, evaluations=2)
    job = make_toy_job(bank, folder, names, settings)
    return job.with_tables(model=ModelSettings(name="tokens", options=SIZE), text=TextSettings(share=1.0, tokens=own))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return job_of(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def results(job):
    return run_triage(job)


def folder_of(job, name):
    (option,) = (option for option in job.options if option.name == name)
    return job.folder(option, job.experiment.folds[0])


def test_it_has_its_own_steps_and_the_first_stage_of_a_reranker_those_of_the_plan(job, results):
    assert {name: results[name][0].reason for name in NAMES} == dict.fromkeys(NAMES)
    training = results["tokens"][0].training
    assert (training["planned_steps"], training["batch_size"], training["loss_name"]) == (8, 16, "infonce-bank")
    assert [point["step"] for point in training["curve"]] == [0, 4, 8]
    assert read_json(job.out / "plan.json")["steps"] == {"rerank": 10}
    assert read_json(folder_of(job, "tokens").parent / "cost.json")["seconds"] > 0
    reranker = results["rerank"][0].training["reranker"]
    assert (reranker["trainings"], reranker["half_steps"]) == (3, [10, 10])


def test_the_best_model_orders_the_candidates_of_words(job, results):
    assert read_json(folder_of(job, "bm25-by-model") / "borrowed.json")["option"] == "tokens"


def test_checks_examine_it_like_any_other_model(job, results):
    found = run_checks(AUDIT, case_of_job(job, results))
    assert [check.statement for check in found if "broke" in check.statement or check.outcome == "issue"] == []
    assert next(check for check in found if check.code == "SG112").outcome == "passed"


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_answers_texts_as_the_run_did(job, results, tmp_path, name):
    (option,) = (option for option in job.options if option.name == name)
    setup = {"pool": job.experiment.pool.size, "windows": 1, "documents": 1}
    record = Record.model_validate(SETUP | setup | dict(compare(job, results)))
    build_bundle(Winner(job, option, job.experiment.folds[0], record, "tokens"), tmp_path / "bundle")
    released = segue.load(tmp_path / "bundle")
    read = ["ta tb na nb", "tc nd ta ne tb"]
    answer = released.next(read, k=3)
    assert len(answer.passages) == 3
    with pytest.raises(InputError, match="reads texts"):
        released.next(vectors=np.eye(2, 32))
    if name == "tokens":
        predictor, _ = load_predictor(folder_of(job, name) / "checkpoint")
        vectors = torch.zeros(1, 3, 32)
        vectors[0, 1:] = torch.from_numpy(released.encode(read))
        with torch.no_grad():
            expected = predictor(vectors, torch.tensor([[False, True, True]]), [tuple(read)])[0]
        np.testing.assert_allclose(answer.prediction, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["tokens", "rerank"])
def test_evaluation_reads_a_context_once_and_an_answer_reads_it_anew(job, results, monkeypatch, name):
    (option,) = (option for option in job.options if option.name == name)
    live = load_retriever(job, option, job.experiment.folds[0], Baselines(job))
    contexts = gather_contexts(job.experiment.bank, job.experiment.folds[0].test.take(slice(0, 2)), texts=True)
    read = []
    whole = Tokens.read
    monkeypatch.setattr(Tokens, "read", lambda self, texts: read.append(len(texts)) or whole(self, texts))
    live.score(contexts)
    assert read == []
    live.rank(contexts, 3)
    assert read == [2]


class Stop(Exception):
    pass


def test_interrupted_anywhere_it_ends_in_the_same_bits(job, results, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "EVALUATION_SECONDS", 0.0)
    monkeypatch.setattr(loop, "STATE_SHARE", 1e9)
    again = dataclasses.replace(job, out=tmp_path / "run", options=choose_options(["tokens"]))
    for stop_after in (2, 3, 1, 100):

        def interrupt(self, left=[stop_after], advance=loop.TrainingLoop.advance):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise Stop
            advance(self)

        with monkeypatch.context() as patch:
            patch.setattr(loop.TrainingLoop, "advance", interrupt)
            try:
                run_triage(again)
            except Stop:
                continue
    for file in ("model.safetensors", "reader/model.safetensors"):
        whole, resumed = ((folder_of(one, "tokens") / "checkpoint" / file).read_bytes() for one in (job, again))
        assert whole == resumed


def test_it_is_skipped_where_it_costs_too_much(job, tmp_path):
    again = dataclasses.replace(job, out=tmp_path / "run", options=choose_options(["tokens"]))
    again = again.with_tables(triage=TriageSettings(budget_minutes=5))
    (again.out / "options" / "tokens").mkdir(parents=True)
    (again.out / "options" / "tokens" / "cost.json").write_text(json.dumps({"format": 1, "seconds": 600.0}))
    (found,) = run_triage(again)["tokens"]
    assert found.status == "skipped"
    assert "tokens is over budget" in found.reason
    assert "10.0 minutes" in found.reason


def test_it_is_skipped_where_no_transformer_made_the_bank(tmp_path):
    from bundle_world import encoder_settings as hashes

    small = job_of(tmp_path, names=("tokens",), settings=hashes())
    (found,) = run_triage(small)["tokens"]
    assert found.status == "skipped"
    assert "the encoder 'hash' cannot be fine-tuned" in found.reason


def test_the_plan_pays_for_reading_where_the_recipe_s_model_reads(job):
    planned = [option for option in job.options if option.planned]
    assert _reading_seconds(job, planned, Baselines(job)) > 0.0
    mlp = job.with_tables(model=ModelSettings(name="mlp", size="toy"))
    assert _reading_seconds(mlp, planned, Baselines(mlp)) == 0.0
