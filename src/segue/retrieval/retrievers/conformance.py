"""Rules of retrievers, to be run on any retriever."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from segue.retrieval.retrievers.interface import Retriever
from segue.types import Bank, Contexts, Rankings, Windows
from segue.windows.windows import gather_contexts

CLOSE = 1e-5
"""Difference of scores that may change places between two computations of the same ranking."""


def check_retriever(
    retriever: Retriever,
    bank: Bank,
    windows: Windows,
    *,
    k: int = 10,
    permuted: tuple[Retriever, Bank, Windows] | None = None,
) -> None:
    """Run all rules on one retriever.

    Args:
        retriever: a retriever with exact search; an approximate index need not agree with exact ranks.
        bank: the bank of its pool.
        windows: some windows of the bank.
        k: places of the rankings.
        permuted: the same retriever over the same bank with its rows in another order, that bank, and the same windows
            in its row numbers.

    Raises:
        AssertionError: names the rule that is broken.
    """
    contexts = gather_contexts(bank, windows, texts=retriever.reads_text)
    rankings = retriever.rank(contexts, k)
    ranks = retriever.target_ranks(contexts, windows.target)
    check_form(rankings, len(windows), k)
    check_candidates(retriever, bank, contexts, rankings)
    check_agreement(bank, windows, rankings, ranks)
    check_single(retriever, contexts, windows, rankings, ranks)
    if permuted is not None:
        other, other_bank, other_windows = permuted
        other_contexts = gather_contexts(other_bank, other_windows, texts=other.reads_text)
        again = other.target_ranks(other_contexts, other_windows.target)
        assert np.array_equal(ranks, again), "ranks depend on the order of the bank's rows"


def check_form(rankings: Rankings, batch: int, k: int) -> None:
    """Check that a ranking has k places, filled ones first, with scores that fall."""
    rows, scores = rankings.rows, rankings.scores
    assert rows.shape == scores.shape == (batch, k), "a ranking has k places for each context"
    filled = rows >= 0
    assert (filled[:, :-1] | ~filled[:, 1:]).all(), "empty places are before filled ones"
    assert (rows[~filled] == -1).all(), "empty places hold row -1"
    assert np.isneginf(scores[~filled]).all(), "empty places hold score -inf"
    falls = scores[:, :-1] >= scores[:, 1:]
    assert falls[filled[:, 1:]].all(), "scores increase along a ranking"


def check_candidates(retriever: Retriever, bank: Bank, contexts: Contexts, rankings: Rankings) -> None:
    """Check that excluded and deleted passages never appear, and each duplicate group once."""
    for rows, exclude in zip(rankings.rows, contexts.exclude, strict=True):
        answered = rows[rows >= 0]
        groups = bank.duplicate_group[answered]
        assert bank.alive[answered].all(), "a deleted passage was answered"
        assert len(np.unique(groups)) == len(groups), "a duplicate group was answered twice"
        gone = bank.duplicate_group[exclude[exclude >= 0]]
        assert not np.isin(groups, gone).any(), "an excluded passage or its duplicate was answered"
        left = retriever.pool.size - len(np.unique(gone))
        assert len(answered) >= min(len(rows), left), "places stayed empty though candidates were left"


def check_agreement(bank: Bank, windows: Windows, rankings: Rankings, ranks: Int[np.ndarray, "window"]) -> None:
    """Check that a target's rank is its place in the ranking, or lower within a tie."""
    found = bank.duplicate_group[rankings.rows] == bank.duplicate_group[windows.target][:, None]
    found &= rankings.rows >= 0
    for window in range(len(windows)):
        rank, places = int(ranks[window]), np.flatnonzero(found[window])
        assert rank >= 1, "ranks count from 1"
        if len(places) == 0:
            assert rank > rankings.rows.shape[1], "a target of small rank is missing from the ranking"
            continue
        scores, place = rankings.scores[window], int(places[0])
        before = int((scores > scores[place] + CLOSE).sum())
        assert before < rank, "fewer candidates are counted before the target than the ranking shows"
        tied = scores[-1] >= scores[place] - CLOSE  # the tie may go on behind the last place
        assert tied or rank <= int((scores >= scores[place] - CLOSE).sum()), "rank and ranking disagree"


def check_single(
    retriever: Retriever, contexts: Contexts, windows: Windows, rankings: Rankings, ranks: Int[np.ndarray, "window"]
) -> None:
    """Check that contexts have the same results in a batch and alone."""
    for window in range(len(windows)):
        part = slice(window, window + 1)
        one = contexts.take(part)
        alone = retriever.target_ranks(one, windows.target[part])
        assert alone[0] == ranks[window], "a rank depends on the other contexts of the batch"
        scores = retriever.rank(one, rankings.rows.shape[1]).scores
        filled = rankings.rows[window] >= 0
        close = np.abs(scores[0][filled] - rankings.scores[window][filled]) <= CLOSE * (1 + np.abs(scores[0][filled]))
        assert close.all(), "scores depend on the other contexts of the batch"
