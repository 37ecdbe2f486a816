import dataclasses

import numpy as np
import pytest
from worlds import MemoryBank, all_windows, make_bank, messy_world, reverse_documents

from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.fusion import Diversified, Fusion
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.conformance import check_retriever
from segue.types import Windows
from segue.windows.windows import excluded_rows, following_rows, gather_contexts

TIE = 1e-6


def oldest(contexts):
    """The oldest passage as the query."""
    return contexts.vectors[np.arange(len(contexts)), contexts.mask.argmax(axis=1)]


def make_cascade(kind: str, bank: MemoryBank) -> Cascade:
    pool = Pool(bank)
    copying = VectorRetriever("copy-last", "candidate", copy_last, pool, ExactIndex(pool))
    words = Bm25(bank, pool)
    kinds = {
        "shallow": Cascade("c", "candidate", copying, 3, ByCosine(oldest, bank)),
        "words too": Cascade("c", "candidate", copying, 6, ByCosine(oldest, bank), ((words, 5),)),
        "over words": Cascade("c", "candidate", words, 9, ByCosine(mean, bank)),
        "fusion": Cascade("c", "candidate", copying, 8, Fusion(), ((words, 8), (words.with_query("context"), 8))),
        "diversified": Cascade("c", "candidate", copying, 9, Diversified(ByCosine(oldest, bank), bank, 0.7)),
        "everything": Cascade("c", "candidate", copying, 500, ByCosine(oldest, bank)),
    }
    return kinds[kind]


KINDS = ("shallow", "words too", "over words", "fusion", "diversified", "everything")


@pytest.mark.parametrize("kind", KINDS)
def test_every_cascade_keeps_the_contract_of_retrievers(kind):
    bank = messy_world()
    windows = all_windows(bank, minimum=1).take(slice(None, None, 3))
    other, moved = reverse_documents(bank, windows)
    cascade = make_cascade(kind, bank)
    assert isinstance(cascade, Retriever)
    check_retriever(cascade, bank, windows, k=12, permuted=(make_cascade(kind, other), other, moved))
    check_retriever(cascade, bank, windows.take(slice(0, 4)), k=len(bank) + 5)
    check_retriever(cascade.over(other), other, moved.take(slice(0, 4)))


class Naive:
    """A cascade of copying and words in loops: groups of equal texts, the best member stands for its group."""

    def __init__(self, bank, depth, words):
        self.bank, self.depth, self.words = bank, depth, words

    def ranks(self, contexts, window, targets, exclude, documents=None):
        """Return the rank of each target of one window among the passages of some documents."""
        bank, groups = self.bank, self.bank.duplicate_group
        rows = [row for row in range(len(bank)) if bank.alive[row]
                and (documents is None or bank.document_of[row] in documents)]  # fmt: skip
        gone = {int(groups[row]) for row in exclude if row >= 0}
        last = contexts.vectors[window][-1].astype(np.float64)
        first = self._by_group({row: float(bank.vectors[row].astype(np.float64) @ last) for row in rows})
        candidates = self._best({group: score for group, (score, _) in first.items() if group not in gone}, self.depth)
        if self.words is not None:
            retriever, count = self.words
            scores = retriever.values(contexts.take(slice(window, window + 1)))[0]
            by_words = self._by_group({row: float(scores[row]) for row in rows})
            allowed = {group: score for group, (score, _) in by_words.items() if group not in gone}
            candidates |= self._best(allowed, count)
        query = oldest(contexts)[window].astype(np.float64)
        again = {group: float(bank.vectors[first[group][1]].astype(np.float64) @ query) for group in candidates}
        return [self._rank(int(groups[target]), first, again, gone) for target in targets]

    def _by_group(self, scores):
        best = {}
        for row, score in scores.items():
            group = int(self.bank.duplicate_group[row])
            if group not in best or score > best[group][0]:
                best[group] = (score, row)
        return best

    @staticmethod
    def _best(scores, count):
        falling = sorted(scores.values(), reverse=True)
        cut = falling[count] + TIE * max(1, abs(falling[count])) if count < len(falling) else -np.inf
        return {group for group, score in scores.items() if score > cut}

    @staticmethod
    def _rank(own, first, again, gone):
        if own in again:
            return 1 + sum(score > again[own] - TIE for group, score in again.items() if group != own)
        others = {group: score for group, (score, _) in first.items() if group not in gone | again.keys() | {own}}
        return 1 + len(again) + sum(score > first[own][0] - TIE for score in others.values())


@pytest.mark.parametrize("kind", ["shallow", "words too"])
def test_ranks_equal_a_naive_loop_under_every_pool_and_exclusion(kind):
    bank = messy_world()
    windows = all_windows(bank, minimum=1).take(slice(None, None, 2))
    cascade = make_cascade(kind, bank)
    naive = Naive(bank, cascade.depth, cascade.sources[0] if cascade.sources else None)
    contexts = gather_contexts(bank, windows, texts=True)
    targets = following_rows(bank, windows)
    excludes = [excluded_rows(bank, windows, which) for which in ("context", "none", "prefix")]
    scores = cascade.score(contexts)
    together = scores.ranks_under(cascade.pool, targets, excludes=excludes)
    documents = np.unique(bank.document_of)[::2]
    here = np.isin(bank.document_of[windows.target], documents)
    some = cascade.score(contexts.take(here)).ranks(
        Pool(bank, documents), windows.target[here], exclude=excludes[0][here]
    )
    own = scores.ranks_in_document(bank, windows.target, exclude=excludes[0])
    for window in range(len(windows)):
        there = targets[window] >= 0
        for exclude, ranks in zip(excludes, together, strict=True):
            expected = naive.ranks(contexts, window, targets[window][there], exclude[window])
            assert ranks[window][there].tolist() == expected
            assert (ranks[window][~there] == -1).all()
        asked = (contexts, window, windows.target[window : window + 1], excludes[0][window])
        if here[window]:
            assert some[here[:window].sum()] == naive.ranks(*asked, set(documents.tolist()))[0]
        assert own[window] == naive.ranks(*asked, {int(bank.document_of[windows.target[window]])})[0]


def test_a_target_that_was_not_drawn_stands_behind_all_that_were():
    # Cosines with the last passage (row 0): 0.9, 0.8, 0.7, 0.6 for rows 1 to 4. Two are drawn and change places.
    angles = np.arccos([1.0, 0.9, 0.8, 0.7, 0.6])
    bank = make_bank(np.stack([np.cos(angles), np.sin(angles)], axis=1), [5])
    windows = Windows(np.array([[0]] * 4), np.array([1, 2, 3, 4]))
    first = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    cascade = Cascade("c", "candidate", first, 2, ByCosine(lambda contexts: -contexts.vectors[:, -1], bank))
    contexts = gather_contexts(bank, windows)
    assert cascade.target_ranks(contexts, windows.target).tolist() == [2, 1, 3, 4]
    rankings = cascade.rank(contexts, 5)
    assert rankings.rows[0].tolist() == [2, 1, 3, 4, -1]
    assert np.allclose(rankings.scores[0][:4], [-0.8, -0.9, -1.9, -2.0])


def test_a_source_draws_none_of_those_that_tie_at_its_cut():
    bank = make_bank(np.eye(6), [6], ("cat dog", "cat dog bird", "cat fish", "stone", "water", "fire"))
    windows = Windows(np.array([[0]]), np.array([1]))
    first = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    cascade = Cascade("c", "candidate", first, 1, ByCosine(oldest, bank), ((Bm25(bank, Pool(bank)), 3),))
    drawn = cascade.candidates(gather_contexts(bank, windows, texts=True))
    assert sorted(drawn.candidates.rows[0].tolist()) == [1, 2]  # copying ties everywhere, words from the third place on


def test_stages_end_in_order_and_ranks_as_served_are_the_exact_ones():
    bank = messy_world()
    windows = all_windows(bank).take(slice(0, 3))
    laps: list[str] = []
    make_cascade("words too", bank).rank(gather_contexts(bank, windows, texts=True), 5, lap=laps.append)
    assert laps == ["predict", "search", "rerank"]


def test_a_cascade_reads_text_and_counts_the_bank_where_one_of_its_parts_does():
    bank = messy_world()
    shallow, words = make_cascade("shallow", bank), make_cascade("words too", bank)
    assert (shallow.reads_text, shallow.counts_bank, shallow.batch_limit) == (False, False, None)
    assert (words.reads_text, words.counts_bank) == (True, True)
    assert words.batch_limit == words.sources[0][0].batch_limit
    counted = words.counting(np.array([0]))
    contexts = gather_contexts(bank, all_windows(bank).take(slice(0, 4)), texts=True)
    expected = words.sources[0][0].counting(np.array([0])).values(contexts)
    assert np.array_equal(counted.sources[0][0].values(contexts), expected)
    assert make_cascade("diversified", bank).counting(np.array([0])).reranker.trade_off == 0.7


def test_large_batches_are_reranked_in_parts(monkeypatch):
    bank = messy_world()
    windows = all_windows(bank)
    contexts = gather_contexts(bank, windows, texts=True)
    whole = make_cascade("words too", bank)
    ranks = whole.target_ranks(contexts, windows.target)
    monkeypatch.setattr("segue.retrieval.retrievers.cascade.LISTS_AT_ONCE", 5)
    words = whole.sources[0][0]
    words.batch_limit = 7
    parts = dataclasses.replace(whole)
    assert np.array_equal(ranks, parts.target_ranks(contexts, windows.target))
    assert parts.rank(contexts, 4).rows.shape == (len(windows), 4)
