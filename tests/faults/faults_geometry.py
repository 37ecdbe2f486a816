"""Faults in where vectors lie, what is copied and counted, and what takes the time."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import torch
import worlds
from fault import Fault
from healthy import copied_run, run_healthy, with_retriever, with_row
from story import StoryEncoder, story_texts

from segue.comparison.scoring import score_on_validation
from segue.encoders.space import PROBES, Space
from segue.evaluation.evaluate import evaluate
from segue.evaluation.gates import Condition, GateSettings
from segue.models import ModelSettings, anchor_weights, build_model, load_predictor, save_predictor
from segue.retrieval.retrievers import DenseRetriever
from segue.retrieval.retrievers.baselines import mean

SUBJECT = "mlp"
PAUSE = 0.004
"""Seconds that a slow stage sleeps."""


def evaluated(healthy, case, name, *, timed=False):
    """Return the case with a row's validation and test measured again, as the retriever behind it answers now."""
    (row,), job, fold = case.entries_named(name), healthy.job, case.folds[0]
    settings = job.recipe.evaluation.model_copy(update={"latency_queries": 100})
    again = evaluate(row.retriever, case.bank, fold.test, groups=case.groups, settings=settings,
                     fresh_documents=fold.split.test)  # fmt: skip
    if not timed:
        again = dataclasses.replace(again, timings=row.evaluation.timings, metrics={})
    return with_row(case, name, evaluation=again, validation=score_on_validation(row.retriever, job, fold))


def with_weights(healthy, folder, change, *, name=SUBJECT):
    """Return the case after a row's checkpoint was changed, with all that was measured on it."""
    case = copied_run(healthy, folder)
    (row,) = case.entries_named(name)
    predictor, config = load_predictor(row.trained.folder / "checkpoint")
    changed = change(predictor) or predictor
    card = config.model_copy(update={"metrics": {}, "training": {}})
    save_predictor(changed, row.trained.folder / "checkpoint", card=card)
    return evaluated(healthy, case, name)


@torch.no_grad()
def answer_constantly(predictor):
    """Leave of the predictor its last layer's bias alone."""
    predictor.anchor.weights.zero_()
    head = predictor.correction.head
    head.weight.zero_()
    head.bias.copy_(torch.randn(head.bias.shape, generator=torch.Generator().manual_seed(0)))


@torch.no_grad()
def answer_in_a_plane(predictor):
    """Leave two directions of the last layer, and no anchor."""
    predictor.anchor.weights.zero_()
    head = predictor.correction.head
    u, values, v = torch.linalg.svd(head.weight, full_matrices=False)
    head.weight.copy_(u[:, :2] * values[:2] @ v[:2])
    head.bias.zero_()


@torch.no_grad()
def pull_to_one_point(predictor):
    """Add a large common vector to every prediction."""
    head = predictor.correction.head
    pull = torch.randn(head.bias.shape, generator=torch.Generator().manual_seed(1))
    head.bias.add_(2.5 * pull / pull.norm() * len(pull) ** 0.5)


def copy_by_another_architecture(predictor):
    """Put a recurrent net there that never left its anchor, the last passage."""
    settings = ModelSettings(name="gru", size="toy", anchor=True)
    return build_model(settings, dimension=predictor.dimension, context=predictor.context)


@torch.no_grad()
def answer_with_the_mean(predictor):
    """Leave the anchor alone, and let it be the mean."""
    predictor.start_anchor(anchor_weights("mean", predictor.context))
    predictor.correction.head.weight.zero_()
    predictor.correction.head.bias.zero_()


def changed_weights(change):
    return lambda healthy, folder: with_weights(healthy, folder, change)


def hub_passage(healthy, folder):
    """One passage was put on top of every ranking, as a boosted or badly cached answer would."""
    (row,) = healthy.case.entries_named(SUBJECT)
    evaluation = row.evaluation
    hub = int(healthy.case.folds[0].split.train[0]) * 16
    pushed = np.concatenate([np.full((len(evaluation), 1), hub), evaluation.rankings[:, :-1]], axis=1)
    changed = dataclasses.replace(evaluation, rankings=pushed, ranks=evaluation.ranks + 1, metrics={})
    return with_row(healthy.case, SUBJECT, evaluation=changed)


class NarrowEncoder(StoryEncoder):
    """Adds a vector to every text, the same for all: unrelated passages have a high cosine."""

    def encode(self, texts, *, progress=lambda *_: None):
        common = np.random.default_rng(5).standard_normal(self.dimension)
        vectors = super().encode(texts, progress=progress) + 1.3 * common / np.linalg.norm(common)
        return worlds.unit(vectors)


class DominatedEncoder(StoryEncoder):
    """One component is large and says nothing: it depends on the number of letters."""

    def encode(self, texts, *, progress=lambda *_: None):
        vectors = super().encode(texts, progress=progress)
        seeds = [sum(text.encode()) for text in texts]
        vectors[:, 0] = [1.5 * np.random.default_rng(seed).standard_normal() for seed in seeds]
        return worlds.unit(vectors)


def another_bank(encoder_class):
    """Return what runs the whole comparison again, with all its trainings, on a bank of another encoder."""

    def inject(healthy, folder):
        encoder = encoder_class()
        documents = story_texts(0, 60)
        texts = [text for passages in documents for text in passages]
        space = Space(encoder_class.__name__, "", encoder.dimension, "sum", True, "", None, "float32",
                      encoder.encode(PROBES))  # fmt: skip
        encoder.space = space
        bank = worlds.make_bank(encoder.encode(texts), [len(passages) for passages in documents], texts)
        bank = worlds.MemoryBank(**{**bank.__dict__, "space": space})
        return run_healthy(folder / "run", bank=bank, encoder=lambda: encoder).case

    return inject


def slow_search(healthy, folder):
    """The index sleeps before it answers."""
    (row,) = healthy.case.entries_named(SUBJECT)
    index = row.retriever.index

    def search(queries, k, *, exclude):
        time.sleep(PAUSE if len(queries) == 1 else 0)
        return index.search(queries, k, exclude=exclude)

    slow = SimpleNamespace(**{name: getattr(index, name) for name in dir(index) if not name.startswith("_")})
    slow.search = search
    retriever = dataclasses.replace(row.retriever, index=slow)
    return evaluated(healthy, with_retriever(healthy.case, SUBJECT, retriever), SUBJECT, timed=True)


def slow_predictor(healthy, folder):
    """The net takes its time; the gate is about the whole answer."""
    (row,) = healthy.case.entries_named(SUBJECT)

    def query(contexts):
        time.sleep(PAUSE if len(contexts) == 1 else 0)
        return row.retriever.query(contexts)

    gate = GateSettings(name="answer", any_of=(Condition(metric="total_p95_ms", at_most=3),))
    retriever = dataclasses.replace(row.retriever, query=query)
    case = with_retriever(dataclasses.replace(healthy.case, gates=(gate,)), SUBJECT, retriever)
    return evaluated(healthy, case, SUBJECT, timed=True)


def undeclared_word_counts(healthy, folder):
    return with_row(with_row(healthy.case, "bm25", declares={}), "bm25-context", declares={})


class DensityCorrected(DenseRetriever):
    """Cosine with the mean of the context, less how dense the bank is around a passage; it does not say that it counts.

    The correction is that of cross-domain similarity local scaling (Conneau et al., 2018).
    """

    def __init__(self, bank, pool):
        super().__init__("mean", "candidate", pool=pool, bank=bank)
        self.vectors = bank.gather(np.arange(len(bank)))
        near = np.sort(self.vectors @ self.vectors.T, axis=1)[:, -11:-1]
        self.density = near.mean(axis=1)

    def over(self, bank):
        return DensityCorrected(bank, type(self.pool)(bank))

    def values(self, contexts):
        return (2 * mean(contexts) @ self.vectors.T - self.density).astype(np.float64)


def hidden_density(healthy, folder):
    case = healthy.case
    return with_retriever(case, "mean", DensityCorrected(case.bank, case.pool))


WORSE = {"SG201": "issue", "SG216": "issue"}
"""A broken model loses to the baselines, and holds too few targets for a reranker."""

FAULTS = [
    Fault("constant-predictions", "the model gives the same answer to every "
        "context", changed_weights(answer_constantly),
          {"SG206": "issue", "SG208": "issue", **WORSE},
          "the same answer retrieves the same passages, seldom the target", cause="collapsed"),
    Fault("rank-two-predictions", "the model answers in a plane", changed_weights(answer_in_a_plane),
          {"SG206": "issue", "SG208": "issue", **WORSE}, "a plane has few neighbours, seldom the target",
          cause="collapsed", half="unseen"),
    Fault("anisotropic-bank", "the encoder adds a common vector to every passage", another_bank(NarrowEncoder),
          {"SG207": "tip", "SG201": "tip", "SG211": "tip"},
          "trained on such a bank the model wins by less, and cosine chooses another option", enters="class"),
    Fault("dominant-direction", "one component of the bank is large and carries no "
        "information", another_bank(DominatedEncoder),
          {"SG207": "issue", "SG209": "issue", "SG111": "tip", "SG203": "tip", "SG211": "tip", **WORSE},
          "models learn nothing from noise: they stay at their anchors and are no better than these", half="unseen",
          enters="class"),
    Fault("hub-queries", "a common vector was added to every prediction", changed_weights(pull_to_one_point),
          {"SG208": "issue", **WORSE}, "hubs take the places of the targets", cause="hubs"),
    Fault("hub-passage", "one passage is first in every ranking", hub_passage,
          {"SG208": "issue", "SG201": "tip"}, "one of five places is lost", cause="hubs", half="unseen"),
    Fault("copies-the-last-passage", "a recurrent net answers with the last passage",
          changed_weights(copy_by_another_architecture),
          {"SG209": "issue", "SG111": "tip", "SG201": "issue", "SG216": "tip"},
          "a copy is no better than copying, and copying is not the best baseline", cause="copies-the-context"),
    Fault("copies-the-mean", "the model answers with the mean of the context", changed_weights(answer_with_the_mean),
          {"SG209": "issue", "SG111": "tip", "SG201": "issue"}, "a copy is no better than copying",
          cause="copies-the-context", half="unseen"),
    Fault("slow-search", "the index takes milliseconds longer", slow_search, {"SG214": "issue"}, cause="slow-stage"),
    Fault("slow-predictor", "the net takes milliseconds longer", slow_predictor, {"SG214": "issue"},
          cause="slow-stage", half="unseen"),
    Fault("undeclared-word-counts", "words are counted over the test passages, undeclared",
          undeclared_word_counts, {"SG217": "issue"}, cause="test-statistics"),
    Fault("hidden-density", "a correction by the density of the bank that is declared free of statistics",
          hidden_density, {"SG217": "issue", "SG107": "issue"},
          "the density that it does not declare also depends on later passages", cause="future-leaks", half="unseen"),
]  # fmt: skip
