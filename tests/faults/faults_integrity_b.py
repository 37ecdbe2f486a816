"""Faults behind the numbers: the future in a prediction, ids in a ranking, other spaces, other models, bad indexes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from fault import Fault
from healthy import copied_run, with_retriever, with_row
from torch import nn

from segue.evaluation.evaluate import EvaluationSettings, evaluate
from segue.files import read_json
from segue.models import build_model, load_predictor, save_predictor
from segue.ranking.ordering import rank_exactly
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers import DenseRetriever, VectorRetriever, no_lap
from segue.retrieval.retrievers.baselines import Oracle, copy_last, mean, normalise
from segue.training.batches import Batches
from segue.types import Rankings, Windows
from segue.windows.windows import gather_contexts

# The metric does not look at the truth.


@dataclass
class BestIsRight:
    """Calls the rank of the best answer that of the target."""

    inner: VectorRetriever

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def over(self, bank):
        return BestIsRight(self.inner.over(bank))

    def score(self, contexts):
        return self.inner.score(contexts)

    def rank(self, contexts, k, *, lap=no_lap):
        return self.inner.rank(contexts, k, lap=lap)

    def target_ranks(self, contexts, targets, *, pool=None):
        return np.ones(len(targets), dtype=np.int64)


def metric_without_truth(healthy, folder):
    (row,) = healthy.case.entries_named("mean")
    return with_retriever(healthy.case, "mean", BestIsRight(row.retriever))


# The future reaches the prediction.


class ShiftedBatches(Batches):
    """The last passage a model is trained on is the one that it shall predict."""

    def batch(self, step):
        windows = self.windows.take(self.chosen(step))
        shifted = gather_contexts(self.bank, Windows(windows.context + 1, windows.target))
        return dataclasses.replace(super().batch(step), context=torch.from_numpy(shifted.vectors))


def training_gather_shifted(healthy, folder):
    return healthy.with_case(batches=ShiftedBatches)


def evaluation_gather_shifted(healthy, folder):
    def gather(bank, windows, **how):
        rows = np.where(windows.context >= 0, windows.context + 1, -1)
        return gather_contexts(bank, Windows(rows, windows.target), **how)

    return healthy.with_case(gather=gather)


@dataclass
class Centred:
    """Subtracts the mean of all passages, those that are asked about among them."""

    bank: object

    def __post_init__(self):
        self.centre = self.bank.gather(np.arange(len(self.bank))).mean(axis=0)

    def over(self, bank):
        return Centred(bank)

    def __call__(self, contexts):
        return normalise(mean(contexts) - 0.5 * self.centre)


@dataclass
class BothWays:
    """Reads the document of its last passage in both directions."""

    bank: object

    def over(self, bank):
        return BothWays(bank)

    def __call__(self, contexts):
        document = self.bank.document_of[contexts.rows[:, -1]]
        whole = [
            self.bank.gather(np.arange(first, first + count)).mean(axis=0)
            for first, count in zip(self.bank.first_row[document], self.bank.num_rows[document], strict=True)
        ]
        return normalise(mean(contexts) + np.stack(whole))


def _with_query(case, name, query, **changes):
    (row,) = case.entries_named(name)
    return with_retriever(case, name, dataclasses.replace(row.retriever, query=query, **changes))


def normaliser_of_test_passages(healthy, folder):
    return _with_query(healthy.case, "mean", Centred(healthy.case.bank))


def bidirectional_model(healthy, folder):
    return _with_query(healthy.case, "mean", BothWays(healthy.case.bank))


# Ids, row numbers and positions reach the ranking.


class GapReranker(DenseRetriever):
    """Adds a bonus to the passage of the same document at the next position."""

    def __init__(self, bank):
        super().__init__("mean", "candidate", pool=Pool(bank), bank=bank)
        self.bank = bank

    def over(self, bank):
        return GapReranker(bank)

    def values(self, contexts):
        scores = mean(contexts).astype(np.float64) @ self.bank.gather(np.arange(len(self.bank))).T
        last = contexts.rows[:, -1]
        same = self.bank.document_of[None] == self.bank.document_of[last][:, None]
        gap = self.bank.position[None].astype(int) - self.bank.position[last][:, None]
        return scores + 0.2 * (same & (gap == 1))


@dataclass
class TiesByRow:
    """Sorts with a stable sort and calls the place of the target its rank: equal scores stand by row number."""

    inner: VectorRetriever

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def over(self, bank):
        return TiesByRow(self.inner.over(bank))

    def score(self, contexts):
        return self.inner.score(contexts)

    def _order(self, contexts, pool):
        vectors = pool.bank.gather(np.arange(len(pool.bank))).astype(np.float64)
        scores = (self.inner.query(contexts)[:, None] * vectors[None]).sum(axis=2)
        scores[:, ~pool.mask] = -np.inf
        query, place = np.nonzero(contexts.exclude >= 0)
        scores[query, contexts.exclude[query, place]] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable"), -np.sort(-scores, axis=1)

    def rank(self, contexts, k, *, lap=no_lap):
        order, scores = self._order(contexts, self.inner.pool)
        return Rankings(np.where(np.isinf(scores), -1, order)[:, :k], scores[:, :k].astype(np.float32))

    def target_ranks(self, contexts, targets, *, pool=None):
        order, _ = self._order(contexts, pool or self.inner.pool)
        return 1 + np.argmax(order == targets[:, None], axis=1)


def rerank_with_the_gap(healthy, folder):
    return with_retriever(healthy.case, "mean", GapReranker(healthy.case.bank))


def ties_by_row_number(healthy, folder):
    (row,) = healthy.case.entries_named("mean")
    return with_retriever(healthy.case, "mean", TiesByRow(row.retriever))


# The loss lives in another space than the search.


def projection_undeclared(healthy, folder):
    return with_row(healthy.case, "infonce-projected", intent="candidate")


def projection_denied_by_the_checkpoint(healthy, folder):
    case = copied_run(healthy, folder)
    (row,) = case.entries_named("infonce-projected")
    _edit(row.trained.folder / "checkpoint" / "config.json", loss_space="raw")
    return with_row(case, "infonce-projected", intent="candidate")


def projection_not_measured(healthy, folder):
    case = copied_run(healthy, folder)
    (row,) = case.entries_named("infonce-projected")
    _edit(row.trained.folder / "training.json", compatibility=None)
    return case


def _edit(path: Path, **changes):
    path.write_text(json.dumps({**read_json(path), **changes}))


# The query is no prediction.


def truth_as_query(healthy, folder):
    """The oracle's query function behind a model's name."""
    test = healthy.case.folds[0].test
    return _with_query(healthy.case, "mlp", Oracle(healthy.case.bank, test))


@dataclass
class NextRow:
    """Looks up the passage after the last one."""

    bank: object

    def over(self, bank):
        return NextRow(bank)

    def __call__(self, contexts):
        return self.bank.gather((contexts.rows[:, -1] + 1) % len(self.bank))


def next_row_as_query(healthy, folder):
    return _with_query(healthy.case, "mlp", NextRow(healthy.case.bank))


def no_model(healthy, folder):
    """The evaluation script searched with the last passage and wrote the model's name above it."""
    case = _with_query(healthy.case, "mlp", copy_last)
    (copied,) = case.entries_named("copy-last")
    (row,) = case.entries_named("mlp")
    return with_row(case, "mlp", evaluation=_as_fast_as(row, copied.evaluation))


def _as_fast_as(row, evaluation):
    """Give an evaluation a row's name and timings: how busy the machine is now is no part of a fault."""
    return dataclasses.replace(evaluation, name=row.name, timings=row.evaluation.timings, metrics={})


def untrained_anchor(healthy, folder):
    """The checkpoint was written before the first step, and is evaluated as it is."""
    case = copied_run(healthy, folder)
    checkpoint = case.entries_named("mlp")[0].trained.folder / "checkpoint"
    trained, config = load_predictor(checkpoint)
    fresh = build_model(trained.settings, dimension=trained.dimension, context=trained.context)
    save_predictor(fresh, checkpoint, card=config)
    return _evaluated(case, "mlp")


def _evaluated(case, name):
    """Evaluate a row again, as it is now."""
    (row,) = case.entries_named(name)
    fold = case.fold_of(row)
    again = evaluate(
        row.retriever, case.bank, fold.test, groups=case.groups, fresh_documents=fold.split.test,
        settings=EvaluationSettings(resamples=500, latency_queries=0, run_depth=50),
    )  # fmt: skip
    return with_row(case, name, evaluation=_as_fast_as(row, again))


# It is another model.


class Plain(nn.Module):
    """A user's architecture, as it was trained."""

    def __init__(self, dimension, context):
        super().__init__()
        self.inner = nn.Linear(dimension, 8)
        self.head = nn.Linear(8, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class Renewed(Plain):
    """The same parameters under the same names after an edit of the forward pass."""

    def forward(self, context, mask):
        return self.head(torch.relu(self.inner(context[:, -1])))


def other_forward_pass(healthy, folder):
    case = copied_run(healthy, folder)
    checkpoint = case.entries_named("ar-cosine")[0].trained.folder / "checkpoint"
    trained, config = load_predictor(checkpoint)
    settings = trained.settings.model_copy(update={"name": f"{__name__}:Plain", "options": {}})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = build_model(settings, dimension=trained.dimension, context=trained.context)
    save_predictor(own, checkpoint, card=config)
    model = json.loads((checkpoint / "config.json").read_text())["model"]
    _edit(checkpoint / "config.json", model={**model, "name": f"{__name__}:Renewed"})
    return case


def swapped_weights(healthy, folder):
    case = copied_run(healthy, folder)
    one, other = (
        case.entries_named(name)[0].trained.folder / "checkpoint" / "model.safetensors"
        for name in ("ar-cosine", "infonce-ar")
    )
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    return case


def checkpoint_of_another_option(healthy, folder):
    """Everything of the checkpoint agrees with itself; it only is not the one that was evaluated."""
    case = copied_run(healthy, folder)
    one, other = (case.entries_named(name)[0].trained.folder / "checkpoint" for name in ("ar-cosine", "infonce"))
    shutil.rmtree(other)
    shutil.copytree(one, other)
    return case


# The index does not find what is there.


class InvertedLists:
    """An approximate index that looks into a few of its lists.

    Args:
        pool: one row a candidate.
        lists: cells of the vectors.
        probes: cells looked into.
    """

    def __init__(self, pool, *, lists=24, probes=1):
        self.pool = pool
        vectors = np.ascontiguousarray(pool.bank.gather(pool.members), dtype=np.float32)
        self._lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(pool.bank.dimension), pool.bank.dimension, lists,
                                         faiss.METRIC_INNER_PRODUCT)  # fmt: skip
        self._lists.train(vectors)
        self._lists.add(vectors)
        self._lists.nprobe = probes

    def search(self, queries, k, *, exclude):
        removed = set(zip(*(part.tolist() for part in self.pool.removed_pairs(exclude)), strict=True))

        def fetch(which, count):
            _, found = self._lists.search(np.ascontiguousarray(queries[which], dtype=np.float32), self.pool.size)
            for place, query in enumerate(which.tolist()):
                found[place] = [-1 if (query, member) in removed else member for member in found[place].tolist()]
            return found, np.full(len(which), -np.inf, dtype=np.float32)

        return rank_exactly(queries, self.pool, k, fetch=fetch)


def _with_index(case, name, index):
    (row,) = case.entries_named(name)
    return with_retriever(case, name, dataclasses.replace(row.retriever, index=index))


def one_probe(healthy, folder):
    return _with_index(healthy.case, "mlp", InvertedLists(healthy.case.pool, probes=1))


def index_over_stale_vectors(healthy, folder):
    """A third of the documents was encoded again after the index was built."""
    bank = healthy.case.bank
    old = np.array(bank.vectors)
    changed = bank.document_of % 3 == 0
    old[changed] = np.roll(old[changed], 1, axis=1)
    return _with_index(healthy.case, "mlp", ExactIndex(Pool(dataclasses.replace(bank, vectors=old))))


def index_half_filled(healthy, folder):
    """The index was built while the bank was still being filled."""
    half = Pool(healthy.case.bank, np.arange(len(healthy.case.bank.first_row) // 2))
    return _with_index(healthy.case, "mlp", ExactIndex(half))


FAULTS = [
    Fault("metric-without-truth", "the rank that is counted is that of the best answer", metric_without_truth,
          {"SG103": "issue"}, cause="truth-is-wrong", half="unseen"),
    Fault("training-gather-shifted", "training reads the passage that it has to predict", training_gather_shifted,
          {"SG107": "issue"}, cause="future-leaks"),
    Fault("evaluation-gather-shifted", "evaluation reads the passage that has to be predicted",
          evaluation_gather_shifted, {"SG102": "issue", "SG107": "issue", "SG108": "issue"},
          "the rows that are read and excluded are not those of the window", cause="future-leaks", half="unseen"),
    Fault("normaliser-of-test-passages", "the mean that is subtracted from queries was also taken over test passages",
          normaliser_of_test_passages, {"SG107": "issue", "SG217": "issue"},
          "that mean is a statistic of test passages", cause="future-leaks"),
    Fault("bidirectional-model", "the model reads the whole document in both directions", bidirectional_model,
          {"SG107": "issue", "SG109": "issue"}, "it finds the document by its number", cause="future-leaks",
          half="unseen"),
    Fault("rerank-with-the-gap", "a rerank feature sees how far apart two passages of a document are",
          rerank_with_the_gap, {"SG109": "issue"}, cause="metadata-oracle"),
    Fault("ties-by-row-number", "equal scores are ranked in the order of their rows", ties_by_row_number,
          {"SG109": "issue"}, cause="metadata-oracle", half="unseen"),
    Fault("projection-undeclared", "the loss is computed behind a head, the raw vectors are searched, and this is not "
        "declared",
          projection_undeclared, {"SG110": "issue"}, cause="loss-space-not-served"),
    Fault("projection-denied", "the checkpoint says that the loss was computed on raw vectors; its head says otherwise",
          projection_denied_by_the_checkpoint, {"SG110": "issue"}, cause="loss-space-not-served", half="unseen"),
    Fault("projection-not-measured", "the entry declares its projection, but recall was never measured behind it",
          projection_not_measured, {"SG110": "issue"}, cause="loss-space-not-served", half="unseen"),
    Fault("truth-as-query", "the oracle answers under a model's name", truth_as_query, {"SG111": "issue"},
          cause="query-is-the-truth"),
    Fault("next-row-as-query", "the query is the row after the last passage", next_row_as_query,
          {"SG107": "issue", "SG109": "issue", "SG111": "issue"},
          "the next row is the future, and it is found by its number", cause="query-is-the-truth", half="unseen"),
    Fault("no-model", "the last passage was searched under a model's name", no_model,
          {"SG111": "tip", "SG112": "issue", "SG201": "issue", "SG209": "issue", "SG216": "tip"},
          "what was evaluated is not what the checkpoint answers, and a copy beats no baseline", cause="wrong-model"),
    Fault("untrained-anchor", "the checkpoint was written before the first step", untrained_anchor,
          {"SG111": "tip", "SG201": "issue", "SG209": "issue", "SG216": "tip"}, "a copy beats no baseline",
          cause="copies-the-context"),
    Fault("other-forward-pass", "the architecture's code was edited after training", other_forward_pass,
          {"SG112": "issue"}, cause="wrong-model"),
    Fault("swapped-weights", "the weights of two options were swapped", swapped_weights, {"SG112": "issue"},
          cause="wrong-model", half="unseen"),
    Fault("checkpoint-of-another-option", "the checkpoint is complete, but belongs to another option",
          checkpoint_of_another_option, {"SG112": "issue"}, cause="wrong-model", half="unseen"),
    Fault("one-probe", "the approximate index looks into one of its 24 lists", one_probe, {"SG113": "issue"},
          cause="index-misses"),
    Fault("index-over-stale-vectors", "a third of the documents was encoded again after the index was built",
          index_over_stale_vectors, {"SG101": "issue", "SG113": "issue"},
          "targets are not found by their own vectors either", cause="target-not-searched", half="unseen"),
    Fault("index-half-filled", "the index holds the first half of the documents", index_half_filled,
          {"SG101": "issue", "SG113": "issue"}, "targets are not found by their own vectors either",
          cause="target-not-searched"),
]  # fmt: skip
