"""Faults of models of a user's: they read the batch, or hold the passages that they have to predict."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from fault import Fault
from healthy import with_retriever

from segue.retrieval.retrievers.baselines import mean, normalise


def _with_query(healthy, query):
    (row,) = healthy.case.entries_named("mean")
    return with_retriever(healthy.case, "mean", dataclasses.replace(row.retriever, query=query))


def next_window_of_the_batch(healthy, folder):
    return _with_query(
        healthy, lambda contexts: normalise(mean(contexts) + np.roll(contexts.vectors[:, -1], -1, axis=0))
    )


def centred_by_the_batch(healthy, folder):
    return _with_query(healthy, lambda contexts: normalise(mean(contexts) - 0.9 * mean(contexts).mean(axis=0)))


@dataclass
class Memory:
    """The passage after the one that is most like the last passage, of a copy; the rest is the mean of the context."""

    vectors: np.ndarray
    share: float

    def __call__(self, contexts):
        nearest = (contexts.vectors[:, -1] @ self.vectors.T).argmax(axis=1)
        after = self.vectors[np.minimum(nearest + 1, len(self.vectors) - 1)]
        return normalise(self.share * after + (1 - self.share) * mean(contexts))


def copy_of_the_bank(healthy, folder):
    return _with_query(healthy, Memory(np.array(healthy.case.bank.vectors), 1.0))


def a_fifth_of_a_copy(healthy, folder):
    return _with_query(healthy, Memory(np.array(healthy.case.bank.vectors), 0.2))


_FAULTS = [
    Fault("next-window-of-the-batch", "the model reads the next window of its batch", next_window_of_the_batch,
          {"SG118": "issue"}, cause="batch-dependence"),
    Fault("centred-by-the-batch", "the mean of the batch is subtracted from each answer", centred_by_the_batch,
          {"SG118": "issue"}, cause="batch-dependence", half="unseen"),
    Fault("copy-of-the-bank", "the model looks the next passage up in a copy of the bank", copy_of_the_bank,
          {"SG111": "issue", "SG119": "issue"}, "what it finds is the truth", cause="private-copy"),
    Fault("a-fifth-of-a-copy", "a fifth of the answer is looked up in a copy of the bank", a_fifth_of_a_copy,
          {"SG119": "issue"}, cause="private-copy", half="unseen"),
]  # fmt: skip
FAULTS = [dataclasses.replace(fault, enters="class") for fault in _FAULTS]
