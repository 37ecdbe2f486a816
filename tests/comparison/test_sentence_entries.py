"""A reranker that reads sentences, end to end: a passage starts with the words that the one before ends with."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import HashEncoder
from worlds import make_bank

from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import Job
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings
from segue.errors import InputError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.models import ModelSettings
from segue.retrieval.rerank.lambdamart import LambdaMartSettings
from segue.retrieval.rerank.settings import RerankSettings
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

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
    assert job.encodes_sentences
    assert not job.with_tables(rerank=RerankSettings()).encodes_sentences
    assert not dataclasses.replace(job, options=choose_options(["copy-last"])).encodes_sentences
    seen = []
    sentences = Baselines(job).sentences(lambda *said: seen.append(said[:2]))
    assert seen[-1] == (DOCUMENTS * LENGTH,) * 2
    assert sentences.gather(np.array([0]))[1].tolist() == [[True, True, False, False, False, False]]
    assert (tmp_path / "cache" / "sentences" / "sentences.json").exists()


def test_vectors_without_texts_have_no_sentences(tmp_path):
    with pytest.raises(InputError, match="no sentences"):
        Baselines(job_on(tmp_path, texts=False)).sentences()
