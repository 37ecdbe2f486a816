"""A small run with texts and an encoder that needs no model, made once for the tests of bundles and of serving."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from processes import environment
from records import SETUP

from segue.bank.build import build_bank
from segue.bundles.build import Winner, build_bundle
from segue.comparison.job import Job
from segue.comparison.options import choose_options
from segue.comparison.record import Record
from segue.comparison.run import run_triage
from segue.comparison.settings import ComparisonSettings, TriageSettings
from segue.comparison.summary import compare
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.passages import PassageSettings
from segue.encoders import EncoderSettings
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.experiment import build_experiment
from segue.models import ModelSettings
from segue.retrieval.rerank.lambdamart import LambdaMartSettings
from segue.retrieval.rerank.listwise import ListwiseSettings
from segue.retrieval.rerank.settings import RerankSettings
from segue.training.train import TrainingSettings
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

DIMENSION, CONTEXT = 12, 3
PATIENCE = 200
"""Seconds after which a client gives up: on no machine that is merely busy, but before the time limit of a test."""
SUBJECTS = ("glaciers", "violins", "harbours", "enzymes", "castles", "comets", "orchards", "bridges")


def sentence(document: int, place: int) -> str:
    """Return a sentence that stands in one passage alone."""
    subject = SUBJECTS[document % len(SUBJECTS)]
    return f"Note {place} of volume {document} says that {subject} change once more in part {place}."


@dataclass(frozen=True)
class Run:
    """A finished run."""

    job: Job
    record: Record

    def bundle(self, option: str, out: Path, name: str = "a test bundle", index: Path | None = None) -> Path:
        """Build the bundle of an option."""
        chosen = next(one for one in self.job.options if one.name == option)
        build_bundle(Winner(self.job, chosen, self.job.experiment.folds[0], self.record, name, index), out)
        return out


def make_run(
    folder: Path, *, names: tuple[str, ...] = ("mlp", "copy-last-rerank"), salt: str = "",
    **rerank: object,
) -> Run:  # fmt: skip
    """Build a bank of 16 documents of 12 passages, and compare a few options on it."""
    bank = make_bank_on_disk(folder, salt=salt)
    job = make_toy_job(bank, folder, names, encoder_settings(salt))
    job = job.with_tables(rerank=job.recipe.rerank.model_copy(update=rerank))
    results = run_triage(job)
    about = {"pool": job.experiment.pool.size, "windows": len(job.experiment.folds[0].test), "documents": 4}
    return Run(job, Record.model_validate(SETUP | about | dict(compare(job, results))))


def encoder_settings(salt: str = "") -> EncoderSettings:
    """Return the settings of the encoder that draws vectors from hashes."""
    return EncoderSettings(name="fake_encoder:HashEncoder", options={"dimension": DIMENSION, "salt": salt})


def make_bank_on_disk(folder: Path, *, salt: str = ""):
    """Write the documents as JSONL and encode them."""
    lines = [
        {"id": f"volume/{number} №{number}", "text": "\n\n".join(sentence(number, place) for place in range(12))}
        for number in range(16)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    settings = PassageSettings(target_characters=70, minimum_characters=20)
    corpus = JsonlCorpus(kind="jsonl", path=str(folder / "corpus.jsonl"))
    return build_bank(corpus, encoder_settings(salt), folder / "bank", passages=settings)


def make_toy_job(bank, folder: Path, names: tuple[str, ...], encoder: EncoderSettings) -> Job:
    """Return a job whose plan is written, so that it takes seconds."""
    options = choose_options(list(names))
    steps = {option.name: 10 for option in options if option.planned}
    about = {"steps_per_second": {}, "score_seconds": 0.0, "budget_minutes": 1.0}
    (folder / "plan.json").write_text(json.dumps({"format": 1, "steps": steps, **about}))
    from segue.encoders import load_encoder

    recipe = ComparisonSettings(
        encoder=encoder,
        model=ModelSettings(size="toy", name="mlp"),
        training=TrainingSettings(batch_size=32, steps=10, evaluations=2, precision="float32", device="cpu"),
        evaluation=EvaluationSettings(resamples=100, latency_queries=5, run_depth=10),
        triage=TriageSettings(budget_minutes=1000, plan=str(folder / "plan.json")),
        gates="report",
        rerank=RerankSettings(
            first=12, bm25=6, bm25_context=6, alone=15, lists=80,
            features=("prediction", "context", "density", "list", "words", "length", "places"),
            lambdamart=LambdaMartSettings(rounds=5, leaves=5, least_in_leaf=5),
            listwise=ListwiseSettings(width=8, heads=2, layers=1, epochs=1),
        ),
    )  # fmt: skip
    experiment = build_experiment(bank, SplitSettings(test=0.25, validation=0.2), WindowSettings(context=CONTEXT))
    return Job(recipe, experiment, options, lambda: load_encoder(encoder), folder / "run")


@contextmanager
def serving(bundle: Path, *words: str):
    """Run ``segue serve`` as a process of its own; yield its address and the process."""
    command = [sys.executable, "-m", "segue", "serve", str(bundle), "--port", "0", *words]
    process = subprocess.Popen(command, env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        yield address_of(process), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def address_of(process: subprocess.Popen) -> str:
    """Read the address that a server says it listens on."""
    for line in process.stdout:
        found = re.search(r"listening on (http://\S+)", line)
        if found:
            return found.group(1)
    raise AssertionError(f"the server ended: {process.stderr.read()}")


def some_vectors(seed: int, count: int = 2) -> list[list[float]]:
    """Return unit vectors that the bank does not hold."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()
