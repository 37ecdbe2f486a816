"""Faults in training: batches, negatives, temperature, objectives, the order of the text, and how much there is."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import worlds
from fault import Fault
from healthy import EFFORT, STEPS, calm, copied_run, run_healthy
from story import StoryEncoder, story_texts

from segue.checks.build_case import case_of_job
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import train_option
from segue.comparison.job import FoldResult
from segue.comparison.scoring import evaluate_on_test, score_on_validation, time_answers
from segue.files import read_json
from segue.ranking.pool import Pool
from segue.training.losses.loss import LossSettings, LossTerm
from segue.windows.near_duplicates import document_groups

SUBJECT = "mlp"
VERSIONS = 4


def retrained(healthy, folder, *, loss=None, fold=None, steps=STEPS, **training):
    """Return the case after the subject was trained again on another loss, windows or settings, and evaluated."""
    shutil.copytree(healthy.job.out, folder)
    experiment = healthy.job.experiment
    fold = fold or experiment.folds[0]
    job = dataclasses.replace(
        healthy.job.with_tables(loss=loss or LossSettings(),
                                training=healthy.job.recipe.training.model_copy(update=training)),
        out=folder, experiment=dataclasses.replace(experiment, folds=(fold,)),
    )  # fmt: skip
    option = next(option for option in job.options if option.name == SUBJECT)
    shutil.rmtree(job.folder(option, fold))
    retriever, record = train_option(OptionOnFold(job, option, fold, Baselines(job), "recipe", steps))
    evaluation = evaluate_on_test(job, option, fold, retriever).timed(time_answers(job, fold, retriever))
    result = FoldResult("done", None, score_on_validation(retriever, job, fold), record, evaluation)
    results = {**healthy.results, SUBJECT: [result]}
    return dataclasses.replace(case_of_job(job, calm(results), subject=SUBJECT), effort=EFFORT)


def accumulated_batch(healthy, folder):
    """The record counts four accumulated batches of 128 as one of 512."""
    case = copied_run(healthy, folder)
    (row,) = case.entries_named(SUBJECT)
    path = row.trained.folder / "training.json"
    record = read_json(path)
    path.write_text(json.dumps(record | {"batch_size": 4 * record["batch_size"]}))
    return case


def small_batch(healthy, folder):
    """Training was cut to what fits into memory, and the record keeps the size that was planned."""
    case = retrained(healthy, folder, batch_size=16)
    (row,) = case.entries_named(SUBJECT)
    path = row.trained.folder / "training.json"
    path.write_text(json.dumps(read_json(path) | {"batch_size": 128}))
    return case


def versions_of_documents(healthy, folder):
    """Training documents stand there in four versions: other letters, the same words, hence the same vectors."""
    case = healthy.case
    flat = list(case.bank.passage_texts)
    train = case.folds[0].split.train
    for number, document in enumerate(train):
        first, original = case.bank.first_row[document], case.bank.first_row[train[number - number % VERSIONS]]
        for place in range(case.bank.num_rows[document]):
            flat[first + place] = _in_version(flat[original + place], number % VERSIONS)
    bank = _bank([flat[row : row + count] for row, count in zip(case.bank.first_row, case.bank.num_rows, strict=True)])
    bank = dataclasses.replace(bank, hash="in memory, in versions")  # nothing fitted to the healthy bank is read back
    experiment = dataclasses.replace(healthy.job.experiment, bank=bank, pool=Pool(bank),
                                     groups=document_groups(bank, 0.5))  # fmt: skip
    job = dataclasses.replace(healthy.job, experiment=experiment)
    return retrained(dataclasses.replace(healthy, job=job), folder)


def _in_version(text: str, version: int) -> str:
    """Write the first words in capitals: the encoder does not see it, the duplicate groups do."""
    words = text.split()
    return " ".join([*(word.upper() for word in words[:version]), *words[version:]])


def shuffled_documents(healthy, folder):
    """The passages of each document were stored in another order than that of reading."""
    generator = np.random.default_rng(0)
    texts = [[passages[place] for place in generator.permutation(len(passages))] for passages in story_texts()]
    return run_healthy(folder / "run", bank=_bank(texts)).case


def _bank(texts):
    flat = [text for passages in texts for text in passages]
    encoder = StoryEncoder()
    bank = worlds.make_bank(encoder.encode(flat), [len(passages) for passages in texts], flat)
    return worlds.MemoryBank(**{**bank.__dict__, "space": encoder.space})


def at_temperature(temperature):
    loss = LossSettings(terms=(LossTerm(kind="infonce", temperature=temperature),))
    return lambda healthy, folder: retrained(healthy, folder, loss=loss)


def opposed_objectives(healthy, folder):
    """The AR term is added with the wrong sign, so that it pushes predictions away from their targets."""
    wrong = LossTerm(kind="ar-cosine").model_copy(update={"weight": -8.0})
    loss = LossSettings(terms=(LossTerm(kind="infonce"), wrong))
    return retrained(healthy, folder, loss=loss, learning_rate=1e-2)


def mean_over_components(healthy, folder):
    """The squared error is averaged over components, as a library does it: 2 / dimension of what it should be."""
    dimension = healthy.case.bank.dimension
    terms = (LossTerm(kind="infonce", weight=0.85), LossTerm(kind="mse", weight=0.15 * 2 / dimension))
    return retrained(healthy, folder, loss=LossSettings(terms=terms))


def few_training_documents(count):
    def inject(healthy, folder):
        case = healthy.case
        (fold,) = case.folds
        kept = np.isin(case.documents(fold.train), fold.split.train[:count])
        split = dataclasses.replace(fold.split, train=fold.split.train[:count])
        return retrained(healthy, folder, fold=dataclasses.replace(fold, split=split, train=fold.train.take(kept)))

    return inject


FAULTS = [
    Fault("accumulated-batch", "a batch of 512 is claimed, and made of four accumulated ones of 128",
          accumulated_batch, {"SG205": "issue"}, cause="too-few-negatives"),
    Fault("batch-cut-to-fit", "training was cut to batches of 16, the record says 128", small_batch,
          {"SG201": "tip", "SG205": "issue", "SG209": "issue"},
          "with an eighth of the windows and negatives the subject hardly learns more than to copy the last passage",
          cause="too-few-negatives", half="unseen"),
    Fault("versions-as-negatives", "training documents in four versions contrast with each other",
          versions_of_documents,
          {"SG104": "tip", "SG112": "issue", "SG201": "tip", "SG202": "tip", "SG205": "issue", "SG211": "tip",
           "SG215": "tip"},
          "four versions of a document count as one: only nine documents remain, which are memorised and too few to "
          "beat shared words; the entries that were not trained again were ranked among other texts"),
    Fault("temperature-one", "the temperature is 1", at_temperature(1.0), {"SG212": "issue"}, cause="temperature",
          enters="recipe"),
    Fault("temperature-hundredth", "the temperature is 0.01", at_temperature(0.01), {"SG212": "issue"},
          cause="temperature", half="unseen", enters="recipe"),
    Fault("shuffled-documents", "passages were stored in random order", shuffled_documents,
          {"SG201": "issue", "SG202": "tip", "SG211": "tip", "SG213": "tip"},
          "without an order shared words win, and what was learnt does not carry over to other documents",
          cause="no-order-to-learn", enters="corpus"),
    Fault("opposed-objectives", "the AR term has the wrong sign", opposed_objectives,
          {"SG201": "issue", "SG204": "issue", "SG208": "issue", "SG216": "tip"},
          "predictions that are pushed away from their targets find few of them, and everywhere the same passages",
          cause="objectives-conflict"),
    Fault("mean-over-components", "the squared error is averaged over components", mean_over_components,
          {"SG204": "issue"}, half="unseen", enters="recipe"),
    Fault("five-training-documents", "there are five training documents", few_training_documents(5),
          {"SG201": "tip", "SG205": "tip", "SG211": "tip", "SG215": "tip"},
          "five documents do not fill a batch, and are too few to beat shared words", cause="too-little-data"),
    Fault("ten-training-documents", "there are ten training documents", few_training_documents(10),
          {"SG202": "tip", "SG215": "tip"}, "so few documents are memorised", cause="too-little-data",
          half="unseen"),
]  # fmt: skip
