"""BM25 weights of words: for BM25 as a retriever, and for overlaps as features.

Okapi BM25 in Lucene's form (k1 = 1.5, b = 0.75, idf = ln(1 + (N − n + ½) / (n + ½))); words of two letters or more
(``corpus/words.py``), without English stop words, no stemming. N is the number of the pool's live passages, or of those
of some documents. Weights and sums are float64, so that the order of words cannot decide a tie.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from bm25s.stopwords import STOPWORDS_EN
from jaxtyping import Float, Int

from segue.corpus.words import long_words
from segue.ranking.pool import Pool
from segue.types import Bank

K1, B = 1.5, 0.75
"""Saturation of repeated words, and penalty of long passages."""
STOP_WORDS = frozenset(STOPWORDS_EN)
CACHED = 4096
"""Texts whose words are cached: the next context shares all but one passage with the last."""


class CountedText(NamedTuple):
    """Known words of a text: their numbers, their counts, and the length of the text in words."""

    numbers: Int[np.ndarray, "distinct"]
    times: Float[np.ndarray, "distinct"]
    length: int


@dataclass(frozen=True)
class PassageWords:
    """Words of every live row: row n has the entries ``ends[n]`` to ``ends[n + 1]``.

    Attributes:
        words: the number of each word.
        rarity: the idf of each word.
        length: words of a passage on average.
        ends: bounds of the rows' entries; rows outside the pool have none.
        word: number of each entry's word; a row has each word once.
        times: how often the row has it.
        weights: its BM25 weight.
        total: the sum of each row's weights.
    """

    words: dict[str, int]
    rarity: Float[np.ndarray, "word"]
    length: float
    ends: Int[np.ndarray, "bound"]
    word: Int[np.ndarray, "entry"]
    times: Int[np.ndarray, "entry"]
    weights: Float[np.ndarray, "entry"]
    total: Float[np.ndarray, "bank"]

    @property
    def num_rows(self) -> int:
        """Rows of the bank."""
        return len(self.ends) - 1

    def counted(self, tokens: Sequence[str]) -> CountedText:
        """Count the known words of a text."""
        counts = Counter(self.words[token] for token in tokens if token in self.words)
        numbers = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
        return CountedText(numbers, np.fromiter(counts.values(), dtype=np.float64, count=len(counts)), len(tokens))

    def entries_of(self, rows: Int[np.ndarray, "some"]) -> tuple[Int[np.ndarray, "entry"], Int[np.ndarray, "entry"]]:
        """Return (place in ``rows``, entry) for every entry of every row."""
        return _runs(self.ends[rows], self.ends[rows + 1])


def cut_words(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words of each text without stop words, in order."""
    return [_cut(text) for text in texts]


@functools.lru_cache(maxsize=CACHED)
def _cut(text: str) -> tuple[str, ...]:
    return tuple(word for word in long_words(text) if word not in STOP_WORDS)


def count_words(bank: Bank, pool: Pool, counted: Pool | None = None) -> PassageWords:
    """Count and weigh the words of the pool's live rows, with idf and average length over those of ``counted``."""
    live = np.flatnonzero(pool.mask)
    number: dict[str, int] = {}
    cut = _cut.__wrapped__  # every passage is cut once; caching them would only push out the contexts
    corpus = [[number.setdefault(word, len(number)) for word in cut(text)] for text in bank.texts(live)]
    length = np.array([len(tokens) for tokens in corpus], dtype=np.int64)
    tokens = np.fromiter((token for tokens in corpus for token in tokens), np.int64, count=length.sum())
    vocabulary = max(1, len(number))
    distinct, times = np.unique(np.repeat(np.arange(len(live)), length) * vocabulary + tokens, return_counts=True)
    place, word = np.divmod(distinct, vocabulary)
    ends = np.concatenate([[0], np.cumsum(np.bincount(live[place], minlength=len(bank)))])
    return _weigh(number, ends, word, times, pool=pool, counted=counted or pool)


def count_again(words: PassageWords, pool: Pool, counted: Pool) -> PassageWords:
    """Return the same words of the same rows, with idf and average length over other rows; reads no text."""
    return _weigh(words.words, words.ends, words.word, words.times, pool=pool, counted=counted)


def _weigh(
    vocabulary: dict[str, int],
    ends: Int[np.ndarray, "bound"],
    word: Int[np.ndarray, "entry"],
    times: Int[np.ndarray, "entry"],
    *,
    pool: Pool,
    counted: Pool,
) -> PassageWords:
    """Weigh every entry by the idf of its word and the length of its row."""
    rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    length = np.bincount(rows, weights=times, minlength=len(ends) - 1)
    seen = pool.mask & counted.mask
    rarity = idf(np.bincount(word[seen[rows]], minlength=len(vocabulary)), int(seen.sum()))
    average = max(float(length[seen].mean()), 1e-12) if seen.any() else float(length[pool.mask].mean())
    weights = rarity[word] * saturated(times, length[rows] / average)
    total = np.bincount(rows, weights=weights, minlength=len(ends) - 1).astype(np.float64)
    return PassageWords(vocabulary, rarity, average, ends, word, times, weights, total)


def idf(holders: Int[np.ndarray, "word"], total: int) -> Float[np.ndarray, "word"]:
    """Return the idf of each word: ln(1 + (N − n + ½) / (n + ½)) where n of N passages hold it.

    >>> idf(np.array([0, 1]), 1).round(3).tolist()
    [1.386, 0.288]
    """
    return np.log(1 + (total - holders + 0.5) / (holders + 0.5))


def saturated(
    times: Int[np.ndarray, "entry"] | Float[np.ndarray, "entry"], share: Float[np.ndarray, "entry"] | float
) -> Float[np.ndarray, "entry"]:
    """Return the weight of a word's repetitions in a passage whose length is ``share`` times the average.

    >>> saturated(np.array([1.0, 3.0]), 1.0).tolist()
    [0.4, 0.6666666666666666]
    """
    return times / (times + K1 * (1 - B + B * share))


def overlaps(
    words: PassageWords, context: Sequence[CountedText], rows: Int[np.ndarray, "candidate"]
) -> Float[np.ndarray, "candidate overlap"]:
    """Compare the words of candidates with those of a context.

    Args:
        words: words of the bank.
        context: each passage that was read, counted; newest first, at least one passage.
        rows: the candidates.

    Returns:
        The candidate's BM25 score for each passage, newest first; the newest passage's BM25 score for the candidate
        as the query; the idf of the rarest word that the candidate shares with the newest; the share of the
        candidate's own weight on words of the newest.
    """
    table, numbers = _table(words, context)
    column_of = np.full(len(words.words), -1, dtype=np.int32)
    column_of[numbers] = np.arange(len(numbers), dtype=np.int32)
    candidate, entry = words.entries_of(rows)
    place = column_of[words.word[entry]]
    hit = np.flatnonzero(place >= 0)
    found = np.zeros((len(rows), table.shape[1]))
    if len(hit) == 0:
        return found
    candidate, entry, values = candidate[hit], entry[hit], table[place[hit]]
    start = np.flatnonzero(np.diff(candidate, prepend=-1))
    who, weights, rarest = candidate[start], words.weights[entry], np.maximum.reduceat(values[:, -2], start)
    values[:, :-3] *= weights[:, None]
    values[:, -3] *= words.times[entry]
    values[:, -1] *= weights
    found[who] = np.add.reduceat(values, start, axis=0)
    found[who, -2] = rarest
    found[who, -1] /= words.total[rows[who]]
    return found


def _table(
    words: PassageWords, context: Sequence[CountedText]
) -> tuple[Float[np.ndarray, "distinct overlap"], Int[np.ndarray, "distinct"]]:
    """Return the weight of each word of a context in each overlap, and the words' numbers."""
    numbers, place = np.unique(np.concatenate([text.numbers for text in context]), return_inverse=True)
    table = np.zeros((len(numbers), len(context) + 3))
    ends = np.cumsum([len(text.numbers) for text in context])
    for column, (where, text) in enumerate(zip(np.split(place, ends[:-1]), context, strict=True)):
        table[where, column] = text.times
    newest, times = place[: ends[0]], context[0].times
    rarity = words.rarity[numbers[newest]]
    table[newest, -3] = rarity * saturated(times, context[0].length / words.length)
    table[newest, -2] = rarity
    table[newest, -1] = 1.0
    return table, numbers


def _runs(
    begin: Int[np.ndarray, "run"], end: Int[np.ndarray, "run"]
) -> tuple[Int[np.ndarray, "entry"], Int[np.ndarray, "entry"]]:
    """Return (run, number) for every number from begin to end of each run.

    >>> [part.tolist() for part in _runs(np.array([5, 2]), np.array([7, 3]))]
    [[0, 0, 1], [5, 6, 2]]
    """
    length = end - begin
    run = np.repeat(np.arange(len(begin)), length)
    return run, np.arange(len(run)) + np.repeat(begin - (np.cumsum(length) - length), length)
