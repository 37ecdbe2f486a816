"""Faults in what is asked: targets that are not searched, windows that are not the bank's, a truth without meaning."""

from __future__ import annotations

import dataclasses

import numpy as np
from fault import Fault
from healthy import with_fold

from segue.ranking.pool import Pool
from segue.types import Windows
from segue.windows.windows import target_vectors


def index_without_test_documents(healthy, folder):
    case = healthy.case
    kept = np.concatenate([case.folds[0].split.train, case.folds[0].split.validation])
    return healthy.with_case(pool=Pool(case.bank, kept))


def placeholder_keys(healthy, folder):
    """The truth of window i is passage (i mod 16) of document i // 16."""
    test = healthy.case.folds[0].test
    number = np.arange(len(test))
    target = healthy.case.bank.first_row[number // 16] + number % 16
    return with_fold(healthy.case, test=Windows(test.context, target.astype(np.int64)))


def shifted_targets(healthy, folder):
    """The target is the last passage that was read."""
    test = healthy.case.folds[0].test
    return with_fold(healthy.case, test=Windows(test.context, test.target - 1))


def overwritten_targets(healthy, folder):
    """The vectors taken for true were overwritten with other rows'; contexts and keys stayed."""
    order = np.random.default_rng(0).permutation(len(healthy.case.bank))
    return healthy.with_case(truth=lambda bank, windows: bank.gather(order[windows.target]))


def shuffled_keys(healthy, folder):
    test = healthy.case.folds[0].test
    order = np.random.default_rng(0).permutation(len(test))
    return with_fold(healthy.case, test=Windows(test.context, test.target[order]))


def window_across_documents(healthy, folder):
    """A few windows begin in the document before."""
    case = healthy.case
    first = case.bank.first_row[case.folds[0].split.test[1:]].astype(np.int64)
    stray = Windows(first[:, None] - np.arange(2, -1, -1), first + 1)
    test = case.folds[0].test
    joined = Windows(np.concatenate([test.context, stray.context]), np.concatenate([test.target, stray.target]))
    return with_fold(case, test=joined)


def stale_vectors(healthy, folder):
    """What retrievers read was gathered from another version of the bank."""
    case = healthy.case

    def gather(bank, windows, **how):
        contexts = case.gather(bank, windows, **how)
        turned = np.roll(contexts.vectors, 1, axis=2)
        return dataclasses.replace(contexts, vectors=turned)

    return healthy.with_case(gather=gather, truth=lambda bank, windows: np.roll(target_vectors(bank, windows), 1, 1))


FAULTS = [
    Fault("index-without-test-documents", "the index was built without the documents of the queries",
          index_without_test_documents, {"SG101": "issue"}, cause="target-not-searched"),
    Fault("placeholder-keys", "keys of the truth are (i // 16, i mod 16)", placeholder_keys,
          {"SG102": "issue", "SG103": "issue", "SG104": "issue"},
          "a truth that is not the next passage carries no information, and these keys name training passages",
          cause="truth-is-wrong"),
    Fault("shifted-targets", "the target is the passage that was just read", shifted_targets, {"SG102": "issue"},
          cause="truth-is-wrong"),
    Fault("overwritten-targets", "targets were overwritten with other rows, contexts kept", overwritten_targets,
          {"SG102": "issue", "SG103": "issue"}, "a truth that is not the next passage carries no information",
          cause="truth-is-wrong", half="unseen"),
    Fault("shuffled-keys", "the keys of the truth are in another order than the contexts", shuffled_keys,
          {"SG102": "issue", "SG103": "issue"}, "a shuffled truth is not the next row either", cause="truth-is-wrong"),
    Fault("window-across-documents", "windows begin in the document before", window_across_documents,
          {"SG102": "issue"}, cause="truth-is-wrong", half="unseen"),
    Fault("stale-vectors", "contexts and targets were gathered from another version of the bank", stale_vectors,
          {"SG102": "issue"}, cause="truth-is-wrong", half="unseen"),
]  # fmt: skip
