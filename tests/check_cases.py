"""Cases by hand, for the tests of single checks: ``from check_cases import row, small_case, vectors_row``."""

from __future__ import annotations

import dataclasses

import numpy as np
from worlds import make_bank

from segue.checks import Case, CaseEntry, Effort, Trained
from segue.evaluation.evaluate import EvaluationSettings, evaluate
from segue.evaluation.experiment import Fold
from segue.evaluation.result import Evaluation
from segue.files import write_json
from segue.models import ModelCard, ModelSettings, build_model, hash_documents, save_predictor
from segue.models.conformance import as_if_trained
from segue.models.tensors import save_tensors
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.predictor import predictor_retriever
from segue.training.losses.loss import LossSettings, build_loss
from segue.training.state import LOSS_FILE
from segue.training.train import TrainingSettings
from segue.types import Split
from segue.windows.windows import WindowSettings, make_windows

EFFORT = Effort(windows=200, steps=10, batches=2, resamples=300)


def small_case(bank, *rows, context=2, test=None, subject=None, **more) -> Case:
    """Return a case over a bank whose last documents are tested (default: half of them, at least one)."""
    count = len(bank.first_row)
    tested = test if test is not None else max(1, count // 2)
    known = np.arange(count - tested)
    split = Split(known[: len(known) // 2], known[len(known) // 2 :], np.arange(count - tested, count))
    settings = WindowSettings(context=context)
    fold = Fold(split, *(make_windows(bank, part, settings) for part in (split.train, split.validation, split.test)))
    return Case(bank, Pool(bank), (fold,), np.arange(count), context, entries=rows, subject=subject,
                **{"effort": EFFORT, **more})  # fmt: skip


def row(name, retriever, *, family="baseline", **more) -> CaseEntry:
    """Return a row that was not evaluated."""
    return CaseEntry(name, retriever.intent, 0, family, lambda: retriever, **more)


def vectors_row(name, query, bank, **more) -> CaseEntry:
    """Return a row that asks with what ``query`` makes of contexts."""
    return row(name, VectorRetriever(name, "candidate", query, Pool(bank)), **more)


def fixed_queries(case, vectors):
    """Return a query that answers the given vectors, one for each test window in order."""
    place = {int(last): number for number, last in enumerate(case.folds[0].test.context[:, -1])}
    return lambda contexts: np.stack([vectors[place[int(last)]] for last in contexts.rows[:, -1]]).astype(np.float32)


def with_rows(case, *rows, subject=None, **changes) -> Case:
    """Return the case with these rows, the first one being the subject unless another is named."""
    return dataclasses.replace(case, entries=rows, subject=subject or rows[0].name, _cache={}, **changes)


def evaluated(case, asked: CaseEntry, **changes) -> CaseEntry:
    """Return a row with its evaluation on test, of which parts may be replaced."""
    settings = EvaluationSettings(resamples=200, latency_queries=0, run_depth=20)
    found = evaluate(asked.retriever, case.bank, case.folds[0].test, groups=case.groups, settings=settings)
    return dataclasses.replace(asked, evaluation=dataclasses.replace(found, metrics={}, **changes))


def by_hand(case, name, ranks, *, family="architecture", fresh=None, **changes) -> CaseEntry:
    """Return a row of which only ranks are known: one of each test window, or one for all of them."""
    test = case.folds[0].test
    ranks = np.broadcast_to(np.asarray(ranks, dtype=np.int64), len(test)).copy()
    documents = case.bank.document_of[test.target].astype(np.int64)
    pools = {} if fresh is None else {"fresh": np.broadcast_to(np.asarray(fresh, dtype=np.int64), len(test)).copy()}
    parts = {"cosine": None, "rankings": np.full((len(test), 1), -1, dtype=np.int64), "intent": "candidate",
             "exclude": "context", **changes}  # fmt: skip
    found = Evaluation(
        name=name, pool_size=case.pool.size, targets=test.target, documents=documents, groups=case.groups[documents],
        ranks=ranks, ranks_by_pool=pools, resamples=100, **parts,
    )  # fmt: skip
    retriever = VectorRetriever(name, "candidate", copy_last, case.pool)
    return CaseEntry(name, parts["intent"], 0, family, lambda: retriever, found)


def toy_checkpoint(folder, bank, *, documents=(), space=None, context=2) -> Trained:
    """Save an untrained toy predictor that says it was trained on ``documents`` (ids), and return it as trained."""
    predictor = build_model(ModelSettings(name="mlp", size="toy"), dimension=bank.dimension, context=context)
    card = ModelCard(name="toy", space=space, training_documents=hash_documents(documents))
    save_predictor(predictor, folder / "checkpoint", card=card)
    return Trained(folder, LossSettings(), TrainingSettings())


def trained_row(
    folder, bank, *, loss, name="model", context=2, anchor=True, documents="identity", record=None, **training
) -> CaseEntry:
    """Return a row of an untrained toy predictor in a folder as training leaves it; ``training`` are its settings.

    A document tower is moved off the identity, as if it had learnt.
    """
    settings = TrainingSettings(**{"batch_size": 16, "steps": 20, "device": "cpu", "precision": "float32", **training})
    predictor = build_model(ModelSettings(name="mlp", size="toy", anchor=anchor, documents=documents),
                            dimension=bank.dimension, context=context)  # fmt: skip
    if predictor.documents is not None:
        as_if_trained(predictor)
    card = ModelCard(name=name, space=bank.space.to_json(), training_documents=[], loss="", loss_space="raw", seed=1)
    save_predictor(predictor, folder / "checkpoint", card=card)
    write_json(folder / "training.json", record or {"batch_size": settings.batch_size})
    (folder / "training").mkdir()
    save_tensors(folder / "training" / LOSS_FILE, build_loss(loss, bank.dimension).state_dict())
    retriever = predictor_retriever(name, "candidate", predictor, pool=Pool(bank))
    return row(name, retriever, family="loss", trained=Trained(folder, loss, settings))


def bank_case(vectors, texts) -> Case:
    """Return the case of a bank alone: vectors [document, passage, dim] and the texts of each document."""
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float32)
    bank = make_bank(flat, [len(passages) for passages in texts], [text for passages in texts for text in passages])
    return Case(bank, Pool(bank))
