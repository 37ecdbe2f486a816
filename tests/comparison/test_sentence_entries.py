"""A reranker that reads sentences, end to end: a passage starts with the words that the one before ends with."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import HashEncoder
from worlds import make_bank

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.comparison.job import Job
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings
from segue.errors import InputError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.files import read_json
from segue.models import ModelSettings
from segue.retrieval.rerank.lambdamart import LambdaMartSettings
from segue.retrieval.rerank.settings import RerankSettings
from segue.retrieval.rerank.two_steps import TwoSteps
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts

DOCUMENTS, LENGTH = 24, 8
RERANK = RerankSettings(
    first=200, bm25=0, bm25_context=0, features=("prediction", "context", "sentences", "places"),
    lambdamart=LambdaMartSettings(rounds=20, least_in_leaf=5),
)  # fmt: skip


def chained_texts():
    """Return passages whose second sentence is the first of the next; their vectors as a whole say nothing."""
    said = [f"Statement number {row} of this long story, told once more." for row in range(DOCUMENTS * (LENGTH + 1))]
    starts = [n * (LENGTH + 1) + place for n in range(DOCUMENTS) for place in range(LENGTH)]
    return [f"{said[start]} {said[start + 1]}" for start in starts]


def job_on(out: Path, *, texts=True, rerank=RERANK) -> Job:
    encoder = HashEncoder(dimension=16)
    vectors = encoder.encode(chained_texts())
    bank = make_bank(vectors, [LENGTH] * DOCUMENTS, chained_texts() if texts else None)
    bank = dataclasses.replace(bank, space=encoder.space)
    everything = build_experiment(
        bank, SplitSettings(test=0.25, validation=0.2, near_duplicates=1.0), WindowSettings(context=2)
    )
    recipe = ComparisonSettings(
        model=ModelSettings(size="toy"), rerank=rerank, gates="report",
        evaluation=EvaluationSettings(resamples=200, latency_queries=5, run_depth=10),
    )  # fmt: skip
    return Job(recipe, everything, choose_options(["copy-last", "copy-last-rerank"]), lambda: encoder, out)


def test_a_row_that_reads_sentences_finds_what_vectors_of_passages_cannot(tmp_path):
    results = run_triage(job_on(tmp_path))
    first = {name: (results[name][0].evaluation.ranks == 1).mean() for name in ("copy-last", "copy-last-rerank")}
    assert first["copy-last"] < 0.1
    assert first["copy-last-rerank"] > 0.8


def test_sentences_are_encoded_only_where_a_fitted_reranker_reads_them(tmp_path):
    job = job_on(tmp_path)
    assert job.pieces == ["sentences"]
    assert job.with_tables(rerank=RerankSettings()).pieces == []
    assert dataclasses.replace(job, options=choose_options(["copy-last"])).pieces == []
    seen = []
    sentences = Baselines(job).pieces("sentences", lambda *said: seen.append(said[:2]))
    assert seen[-1] == (DOCUMENTS * LENGTH,) * 2
    assert sentences.packed(np.array([0]))[1].tolist() == [2]
    assert (tmp_path / "cache" / "sentences" / "sentences.json").exists()


def test_vectors_without_texts_have_no_sentences(tmp_path):
    with pytest.raises(InputError, match="no sentences"):
        Baselines(job_on(tmp_path, texts=False)).pieces("sentences")


def test_two_steps_are_fitted_crosswise_recorded_and_read_back(tmp_path):
    rerank = RERANK.model_copy(update={"kept": 30, "quick": ("context", "sentences"), "first": 60})
    job = job_on(tmp_path, rerank=rerank)
    option, fold = next(one for one in job.options if one.name == "copy-last-rerank"), job.experiment.folds[0]
    unit = OptionOnFold(job, option, fold, Baselines(job), option.loss)
    cascade, _ = CascadeBuilder(unit).build()
    assert isinstance(cascade.reranker, TwoSteps)
    folder = job.folder(option, fold)
    fit = read_json(folder / "reranker" / "fit.json")
    drawn = np.load(folder / "lists-validation.npz")["label"] >= 0
    assert 0 < fit["quick"]["targets_kept"]["validation"] <= drawn.sum()
    assert fit["lambdamart"]["lists_with_target"] == fit["quick"]["targets_kept"]["training"]
    contexts = gather_contexts(job.experiment.bank, fold.validation.take(slice(0, 8)), texts=True)
    answers = cascade.rank(contexts, 70)
    again, _ = CascadeBuilder(dataclasses.replace(unit, baselines=Baselines(job))).build()
    assert np.array_equal(again.rank(contexts, 70).rows, answers.rows)
    two, candidates = cascade.reranker, cascade.candidates(contexts).candidates
    quick = two.quick.scores(contexts, candidates)
    for number, rows in enumerate(answers.rows):
        known = dict(zip(candidates.rows[number].tolist(), quick[number].tolist(), strict=True))
        placed = [known[row] for row in rows.tolist() if row in known]
        assert min(placed[:30]) >= max(placed[len(placed) - 20 :]) - 1e-6  # what is kept stands before the rest
